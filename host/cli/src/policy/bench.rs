//! `policy bench`: what a decision of a module costs on this machine.
//!
//! Each call is measured by itself on a fresh instance, as the operator makes it, fuel and limits included.

mod sizes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use comfy_table::CellAlignment;
use engine::{Binding, Engine, Kind, Module};
use serde_json::{Value, json};

use self::sizes::Sized;
use super::of_kind;
use crate::style::{Style, Tone};

/// Which module to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component, plain or packed with zstd or gzip.
    module: PathBuf,
    /// Settings, as JSON.
    #[arg(long, value_name = "JSON", value_parser = super::json, default_value = "{}")]
    settings: Value,
    /// How many calls to measure for each number of members. A p99 wants at least 200.
    #[arg(long, default_value_t = 2_000)]
    calls: usize,
    /// One JSON object instead of a table. Times are nanoseconds.
    #[arg(long)]
    json: bool,
}

/// How many of what there are several of the questions have.
const SIZES: [usize; 4] = [3, 7, 9, 100];

/// What was measured of questions of a size.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    size: usize,
    p50: Duration,
    p99: Duration,
    fuel: u64,
    memory_bytes: usize,
}

/// Measures a module.
///
/// # Errors
/// It does not load, or fails.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { module: path, settings, calls, json } = arguments;
    ensure!(calls > 0, "--calls: expected at least 1");
    let bytes = std::fs::read(&path).with_context(|| format!("{} could not be read", path.display()))?;
    let packed = super::packed(bytes.clone()).map(|packed| packed.len()).ok();
    let started = Instant::now();
    let (engine, module) = super::load(bytes).await.with_context(|| path.display().to_string())?;
    let loading = started.elapsed();
    let known = module.clone();
    let rows = tokio::task::spawn_blocking(move || {
        of_kind!(known.kind(), Asked => {
            let binding = engine.bind::<Asked>(known, &settings).context("--settings")?;
            SIZES.into_iter().map(|size| measure(&binding, size, calls)).collect::<anyhow::Result<Vec<Row>>>()
        })
    });
    let rows = rows.await??;
    if json {
        println!("{:#}", as_json(&module, packed, calls, &rows));
    } else {
        print!("{}", text(&module, packed, loading, &rows, Style::of_stdout()));
        println!("{calls} calls each, a fresh instance for every call");
    }
    if cfg!(debug_assertions) {
        eprintln!("note: this grampus was built without optimisation; the one that ships is faster");
    }
    Ok(ExitCode::SUCCESS)
}

fn measure<Q: Sized>(binding: &Arc<Binding<Q>>, size: usize, calls: usize) -> anyhow::Result<Row> {
    let question = Q::of_size(size).context("there is no question to ask")?;
    (0..calls / 10).for_each(|_| drop(binding.decide(&question)));
    let mut times: Vec<Duration> = (0..calls)
        .map(|_| {
            let started = Instant::now();
            std::hint::black_box(binding.decide(&question));
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    let evaluation = binding.decide(&question);
    evaluation.result.with_context(|| format!("the module fails with {size} {}", unit(Q::KIND)))?;
    let (p50, p99) = (share(&times, 50), share(&times, 99));
    Ok(Row { size, p50, p99, fuel: evaluation.fuel, memory_bytes: evaluation.memory_bytes })
}

/// What questions of a decision have several of.
fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::PrimarySelection => "members",
        Kind::Scaling => "servers",
        Kind::ConfigTuning => "settings",
        Kind::BackupWindow => "servers",
    }
}

/// The value that so many per cent of sorted ones do not exceed.
fn share(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn as_json(module: &Module, packed: Option<usize>, calls: usize, rows: &[Row]) -> Value {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let said = module.description();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({unit(module.kind()): row.size, "p50Ns": nanos(row.p50), "p99Ns": nanos(row.p99), "fuel": row.fuel,
                "memoryBytes": row.memory_bytes})
        })
        .collect();
    json!({"engine": Engine::version(), "module": said.name, "version": said.version, "digest": module.digest(),
        "bytes": module.bytes(), "packedBytes": packed, "calls": calls, "rows": rows})
}

fn text(module: &Module, packed: Option<usize>, loading: Duration, rows: &[Row], style: Style) -> String {
    let packed = packed.map_or_else(String::new, |packed| format!(", {packed} packed with zstd"));
    let head = format!(
        "{} {}: {} bytes{packed}; compiled and loaded in {} ms\n",
        module.description().name,
        module.description().version,
        module.bytes(),
        loading.as_millis()
    );
    let mut table = style.table();
    table.set_header([unit(module.kind()), "p50", "p99", "fuel", "memory"].map(|title| style.cell(title, Tone::Quiet)));
    for Row { size, p50, p99, fuel, memory_bytes } in rows {
        let micros = |time: &Duration| format!("{:.1} µs", time.as_nanos() as f64 / 1_000.0);
        let memory = format!("{} KiB", memory_bytes.div_ceil(1 << 10));
        table.add_row([size.to_string(), micros(p50), micros(p99), fuel.to_string(), memory]);
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    format!("{head}{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_values_that_were_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!((share(&times, 50), share(&times, 99)), (Duration::from_micros(100), Duration::from_micros(198)));
        assert_eq!(share(&times[..1], 99), Duration::from_micros(1));
    }
}

//! One decision, native and in the sandbox: run by the engine's own example, because that is the optimised musl
//! binary and nothing else shares its process.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use kit::Steps;
use serde_json::Value;

use crate::figures::{Figure, Report};

/// Runs the example and takes its figures over.
pub fn measure(steps: &Steps, times: usize, report: &mut Report) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = steps.step("timing decisions", || {
        Command::new(cargo)
            .current_dir(here)
            .args(["run", "--quiet", "--release", "--package", "engine", "--example", "decision_bench", "--"])
            .arg(times.to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")
    })?;
    ensure!(output.status.success(), "the engine's decision_bench failed; see above");
    let figures: Value = serde_json::from_slice(&output.stdout).context("decision_bench printed no JSON")?;
    for row in figures["rows"].as_array().into_iter().flatten() {
        let question = row["question"].as_str().unwrap_or("a question");
        for how in ["native", "sandboxed"] {
            let figure =
                figure(&row[how], times).with_context(|| format!("decision_bench gave no figures for {how}"))?;
            report.push(Figure { what: format!("one decision, {how}: {question}"), ..figure });
        }
    }
    Ok(())
}

fn figure(told: &Value, samples: usize) -> Option<Figure> {
    let nanos = |field: &str| told[field].as_u64();
    Some(Figure { what: String::new(), samples, p50_ns: nanos("p50")?, p99_ns: nanos("p99"), max_ns: nanos("max") })
}

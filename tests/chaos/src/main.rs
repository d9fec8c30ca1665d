//! Hurts a cluster again and again, in an order that a seed decides, while writers remember what they were told;
//! then looks for every acknowledged row on every member.
//!
//! It asserts no time and prints many. An interrupt ends it after the fault under way. It stops at the first thing that does not hold and leaves the lab as it is,
//! for whoever wants to see why.

mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use kit::{Cluster, Environment, Load, Scenario, Steps, survive};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use report::Report;
use serde_json::json;

/// How long what lasts is left so, in milliseconds: from less than any detection takes to much more.
const HOLD_MS: std::ops::Range<u64> = 300..9_000;

/// What is done.
#[derive(Parser)]
struct Arguments {
    /// How many faults. They come in rounds in which each kind comes once.
    #[arg(long, default_value_t = Scenario::ALL.len())]
    runs: usize,
    /// What decides their order and how long they last. The same seed gives the same again.
    #[arg(long, default_value_t = rand::random())]
    seed: u64,
    /// Only kinds whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// For how many seconds what lasts is left so, rather than for up to nine as the seed decides.
    #[arg(long)]
    hold_s: Option<u64>,
    /// How many write at the same time.
    #[arg(long, default_value_t = 8)]
    writers: u64,
    /// Where the report is written, as text.
    #[arg(long, default_value = "target/chaos.txt")]
    output: PathBuf,
    /// Where each fault is written as a line of JSON, after the lines of earlier runs.
    #[arg(long, default_value = "target/chaos.jsonl")]
    log: PathBuf,
    /// Hurts nothing, and only reports every fault of the log together.
    #[arg(long)]
    summary: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.summary {
        print!("{}", Report::read(&arguments.log)?);
        return Ok(());
    }
    let steps = Steps::new(true);
    let kinds: Vec<_> = Scenario::ALL
        .into_iter()
        .filter(|kind| arguments.only.as_ref().is_none_or(|only| kind.to_string().contains(only)))
        .collect();
    ensure!(!kinds.is_empty(), "no fault is called so; there are: {:?}", Scenario::ALL.map(|kind| kind.to_string()));
    let env = Arc::new(Environment::up(&steps)?);
    let mut report = Report::default();
    println!("  seed {}", arguments.seed);
    let result = env.block_on(play(&env, &arguments, &kinds, &mut report));
    let text = format!("{report}seed {}, {} writers\n", arguments.seed, arguments.writers);
    println!("{text}");
    report.append(&arguments.log)?;
    if let Some(directory) = arguments.output.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&arguments.output, text).with_context(|| format!("cannot write {}", arguments.output.display()))?;
    println!("written to {}", arguments.output.display());
    result
}

async fn play(env: &Arc<Environment>, arguments: &Arguments, kinds: &[Scenario], report: &mut Report) -> Result<()> {
    let cluster = Cluster::named(env, "grampus-chaos", "chaos");
    cluster.make_namespace().await?;
    cluster.remove().await?;
    cluster.apply(json!({ "storage": { "size": "1Gi" }, "resources": { "limits": { "memory": "2Gi" } } })).await?;
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let load = Load { writers: arguments.writers, ..Load::default() };
    let mut round: Vec<Scenario> = Vec::new();
    let enough = Arc::new(AtomicBool::new(false));
    tokio::spawn({
        let enough = Arc::clone(&enough);
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                println!("  this fault is mended and looked at, then the report follows");
                enough.store(true, Ordering::Relaxed);
            }
        }
    });
    for number in 1..=arguments.runs {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        if round.is_empty() {
            round = kinds.to_vec();
            round.shuffle(&mut random);
        }
        let Some(kind) = round.pop() else { break };
        let chosen = Duration::from_millis(random.random_range(HOLD_MS));
        let hold = arguments.hold_s.map_or(chosen, Duration::from_secs);
        let run = survive(&cluster, kind, hold, load).await;
        let run = run.with_context(|| format!("fault {number}, {kind}, seed {}", arguments.seed))?;
        println!("  {number:>4}  {run}");
        let verdict = run.hold();
        report.add(&run);
        verdict.with_context(|| format!("fault {number}, {kind}, seed {}", arguments.seed))?;
    }
    cluster.remove().await
}

//! Measures what users feel: how long writes stop, and how long a judgement takes. Prints a table and writes it as
//! JSON. It asserts no time; it fails only when rows are lost.

mod decision;
mod failover;
mod faults;
mod figures;
mod group;
mod rest;
mod swap;
mod throughput;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use figures::Report;
use kit::{Cluster, Environment, PolicyModule, Steps};
use serde_json::json;

/// What is measured.
#[derive(Parser)]
struct Arguments {
    /// How many times the primary is killed.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How many switchovers are made.
    #[arg(long, default_value_t = 10)]
    switchovers: usize,
    /// How many times a module is swapped.
    #[arg(long, default_value_t = 10)]
    swaps: usize,
    /// How many times each further kind of fault strikes, in each place of the operator; none if 0.
    #[arg(long, default_value_t = 3)]
    faults: usize,
    /// How many times the primary of a group of Group Replication is killed, under each of its settings; none if 0.
    #[arg(long, default_value_t = 3)]
    group_kills: usize,
    /// How many pairs of throughput are measured; none if 0.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// How long each half of a pair writes, in seconds.
    #[arg(long, default_value_t = 10)]
    pair_seconds: u64,
    /// How many decisions are timed; none if 0.
    #[arg(long, default_value_t = 10_000)]
    decisions: usize,
    /// Where the figures are written.
    #[arg(long, default_value = "target/bench.json")]
    output: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let steps = Steps::new(true);
    let policy = steps.step("building the policy prefer-zone", || PolicyModule::build("prefer-zone"))?;
    let mut report = Report::default();
    if arguments.decisions > 0 {
        decision::measure(&steps, arguments.decisions, &mut report)?;
    }
    let env = Arc::new(Environment::up_optimised(&steps)?);
    let measured: Result<()> = env.block_on(async {
        let cluster = Cluster::named(&env, "grampus-bench", "bench");
        let step = steps.begin("a cluster of three");
        cluster.make_namespace().await?;
        cluster.remove().await?;
        cluster.apply(json!({ "storage": { "size": "1Gi" }, "resources": { "limits": { "memory": "2Gi" } } })).await?;
        cluster.wait_serving(3, failover::WHOLE).await?;
        step.done();
        rest::measure(&steps, &cluster, &mut report).await?;
        failover::kills(&steps, &cluster, arguments.kills, &mut report).await?;
        failover::switchovers(&steps, &cluster, arguments.switchovers, &mut report).await?;
        swap::measure(&steps, &cluster, &policy, arguments.swaps, &mut report).await?;
        faults::measure(&steps, &cluster, arguments.faults, &mut report).await?;
        let plain = Cluster::named(&env, "grampus-bench", "plain");
        let lasts = Duration::from_secs(arguments.pair_seconds);
        throughput::measure(&steps, &cluster, &plain, arguments.pairs, lasts, &mut report).await?;
        cluster.remove().await?;
        group::kills(&steps, &plain, arguments.group_kills, &mut report).await
    });
    // What was measured before something went wrong is still true.
    report.print();
    if let Some(directory) = arguments.output.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&arguments.output, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("cannot write {}", arguments.output.display()))?;
    println!("written to {}", arguments.output.display());
    measured
}

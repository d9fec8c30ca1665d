//! Measures what users feel: how long writes stop, and how long a judgement takes. Prints a table and writes it as
//! JSON. It asserts no time; it fails only when rows are lost.

mod backups;
mod decision;
mod dump;
mod failover;
mod faults;
mod figures;
mod group;
mod rejoin;
mod rest;
mod swap;
mod throughput;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use figures::Report;
use kit::{Cluster, Environment, PolicyModule, Steps};
use serde_json::{Value, json};

/// A part that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What a decision and a swap of modules cost; the only part that needs no lab.
    Decisions,
    /// What Grampus uses at rest.
    Rest,
    /// Killed primaries.
    Kills,
    /// Members that come back with their data, and with a copy.
    Rejoins,
    /// Switchovers.
    Switchovers,
    /// Modules swapped through a ConfigMap.
    Swaps,
    /// Further kinds of faults.
    Faults,
    /// Rows a second, against a mysqld set up by hand.
    Throughput,
    /// Full backups, their recovery and the replay of an archive, beside mysqldump and mysqlbinlog.
    Backups,
    /// Killed primaries of Group Replication.
    GroupKills,
}

/// What is measured.
#[derive(Parser)]
struct Arguments {
    /// Only these parts; all if not given.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How many times the primary is killed.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How many times a former primary comes back, and a replica is rebuilt.
    #[arg(long, default_value_t = 5)]
    rejoins: usize,
    /// How much data there is then, in MiB.
    #[arg(long, default_value_t = 512)]
    rejoin_mib: usize,
    /// How many switchovers are made.
    #[arg(long, default_value_t = 10)]
    switchovers: usize,
    /// How many times a module is swapped.
    #[arg(long, default_value_t = 10)]
    swaps: usize,
    /// How many times each further kind of fault strikes, in each place of the operator; none if 0.
    #[arg(long, default_value_t = 3)]
    faults: usize,
    /// Only the further kinds of faults with these words in their names, such as 'loses power'; all if not given.
    #[arg(long, default_value = "")]
    fault: String,
    /// Only with the operator that acts in this place, where that matters; in both if not given.
    #[arg(long, value_enum)]
    place: Option<faults::Place>,
    /// How many times the primary of a group of Group Replication is killed, under each of its settings; none if 0.
    #[arg(long, default_value_t = 3)]
    group_kills: usize,
    /// How many pairs of throughput are measured; none if 0.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// How long each half of a pair writes, in seconds.
    #[arg(long, default_value_t = 30)]
    pair_seconds: u64,
    /// How many full backups and recoveries are made; none if 0.
    #[arg(long, default_value_t = 3)]
    backups: usize,
    /// How much data is backed up, in MiB.
    #[arg(long, default_value_t = 2_048)]
    backup_mib: u64,
    /// How many decisions are timed in each way; none if 0.
    #[arg(long, default_value_t = 10_000)]
    decisions: usize,
    /// How often a module is swapped while eight threads decide; none if 0.
    #[arg(long, default_value_t = 10_000)]
    swaps_beside_decisions: usize,
    /// How many modules are loaded at once, and how many clusters use one; none if 0.
    #[arg(long, default_value_t = 500)]
    modules: usize,
    /// Measure the build of the tests, which is there at once, and not the optimised one that ships.
    #[arg(long)]
    development: bool,
    /// Where the figures are written.
    #[arg(long, default_value = "target/bench.json")]
    output: PathBuf,
}

/// What every mysqld that is measured asks of its node, with Grampus and without. A pod that asks for no processor time
/// gets next to none where something else wants it.
fn resources() -> Value {
    json!({ "requests": { "cpu": "500m" }, "limits": { "memory": "2Gi" } })
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether nothing that is wanted needs a Kubernetes.
    fn needs_no_lab(&self) -> bool {
        !self.only.is_empty() && self.only.iter().all(|part| *part == Part::Decisions)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let steps = Steps::new(true);
    let mut report = Report::default();
    let measured = measure(&steps, &arguments, &mut report);
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

fn measure(steps: &Steps, arguments: &Arguments, report: &mut Report) -> Result<()> {
    if arguments.wants(Part::Decisions) {
        let Arguments { decisions, swaps_beside_decisions: swaps, modules, .. } = *arguments;
        decision::measure(steps, decision::Amounts { decisions, swaps, modules }, report)?;
    }
    if arguments.needs_no_lab() {
        return Ok(());
    }
    let policy = steps.step("building the policy prefer-zone", || PolicyModule::build("prefer-zone"))?;
    let env = if arguments.development { Environment::up(steps)? } else { Environment::up_optimised(steps)? };
    let env = Arc::new(env);
    env.block_on(in_the_lab(steps, &env, &policy, arguments, report))
}

async fn in_the_lab(
    steps: &Steps,
    env: &Arc<Environment>,
    policy: &PolicyModule,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<()> {
    // Nothing of a part that is not wanted is nothing measured.
    let times = |part, times| if arguments.wants(part) { times } else { 0 };
    let cluster = Cluster::named(env, "grampus-bench", "bench");
    let step = steps.begin("a cluster of three");
    cluster.make_namespace().await?;
    cluster.remove().await?;
    cluster.apply(json!({ "storage": { "size": "1Gi" }, "resources": resources() })).await?;
    cluster.wait_serving(3, failover::WHOLE).await?;
    step.done();
    if arguments.wants(Part::Rest) {
        rest::measure(steps, &cluster, report).await?;
    }
    failover::kills(steps, &cluster, times(Part::Kills, arguments.kills), report).await?;
    let rejoins = times(Part::Rejoins, arguments.rejoins);
    rejoin::measure(steps, &cluster, rejoin::Amounts { times: rejoins, mebibytes: arguments.rejoin_mib }, report)
        .await?;
    failover::switchovers(steps, &cluster, times(Part::Switchovers, arguments.switchovers), report).await?;
    swap::measure(steps, &cluster, policy, times(Part::Swaps, arguments.swaps), report).await?;
    let chosen = faults::Chosen { words: &arguments.fault, place: arguments.place };
    faults::measure(steps, &cluster, chosen, times(Part::Faults, arguments.faults), report).await?;
    let plain = Cluster::named(env, "grampus-bench", "plain");
    let lasts = Duration::from_secs(arguments.pair_seconds);
    throughput::measure(steps, &cluster, &plain, times(Part::Throughput, arguments.pairs), lasts, report).await?;
    cluster.remove().await?;
    let amounts = backups::Amounts { times: times(Part::Backups, arguments.backups), mebibytes: arguments.backup_mib };
    backups::measure(steps, &cluster.beside("data"), &plain, amounts, report).await?;
    group::kills(steps, &plain, times(Part::GroupKills, arguments.group_kills), report).await
}

//! What Grampus uses when nothing happens: memory and processor time of agents and operators.

use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Cluster, Operator, ProcessFacts, Steps};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::failover::WHOLE;
use crate::figures::{Amount, Report};

/// Over how long processor time is counted.
const OVER: Duration = Duration::from_secs(60);

/// How long new clusters are left alone before they count as being at rest.
const SETTLED: Duration = Duration::from_secs(30);

/// What the kernel counts processor time in (`USER_HZ`): hundredths of a second on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// How many clusters of three are added to see what one more costs.
const MORE: usize = 6;

/// What the cost of one more is extrapolated to: what `design` gives a budget for.
const MANY: f64 = 1_000.0;

/// What processes use: the largest and the busiest of them.
struct Used {
    resident_mib: f64,
    own_mib: f64,
    percent: f64,
}

/// Looks at the agents of a cluster and at the operators, and at these again with more clusters.
pub async fn measure(steps: &Steps, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let step = steps.begin("looking at what rests");
    let agents = cluster.fingerprints().await?.into_iter().map(|found| found.first).collect();
    tell(report, "agent at rest", &used(agents).await?);
    let one = used(operators(cluster).await?).await?;
    tell(report, "operator at rest, one cluster", &one);
    step.done();

    let step = steps.begin(&format!("the same with {MORE} clusters more"));
    let more: Vec<_> = (0..MORE).map(|number| cluster.beside(&format!("rest-{number}"))).collect();
    for cluster in &more {
        cluster.remove().await?;
        cluster.apply(json!({ "storage": { "size": "1Gi" }, "resources": small() })).await?;
    }
    for cluster in &more {
        cluster.wait_serving(3, WHOLE).await?;
    }
    sleep(SETTLED).await;
    let all = used(operators(cluster).await?).await?;
    tell(report, &format!("operator at rest, {} clusters", MORE + 1), &all);
    let extrapolated = |one: f64, all: f64| one + (all - one) / MORE as f64 * (MANY - 1.0);
    report.amount(Amount {
        what: format!("  extrapolated to {MANY} clusters"),
        value: format!(
            "{:.0} MiB of its own, {:.0} % of a core",
            extrapolated(one.own_mib, all.own_mib),
            extrapolated(one.percent, all.percent)
        ),
    });
    for cluster in &more {
        cluster.remove().await?;
    }
    step.done();
    Ok(())
}

/// As little as a cluster may have: many are to fit beside each other.
fn small() -> Value {
    json!({ "requests": { "cpu": "50m", "memory": "512Mi" }, "limits": { "memory": "1Gi" } })
}

async fn operators(cluster: &Cluster) -> Result<Vec<ProcessFacts>> {
    let found = Operator::of(cluster.env()).fingerprints().await?;
    Ok(found.into_iter().map(|found| found.first).collect())
}

fn tell(report: &mut Report, who: &str, used: &Used) {
    report.amount(Amount {
        what: format!("{who}: memory of the largest"),
        value: format!(
            "{:.1} MiB, {:.1} of it its own (the rest is its program's file)",
            used.resident_mib, used.own_mib
        ),
    });
    report.amount(Amount { what: format!("{who}: the busiest"), value: format!("{:.2} % of a core", used.percent) });
}

async fn used(processes: Vec<ProcessFacts>) -> Result<Used> {
    let before = processes.iter().map(|process| seconds(*process)).collect::<Result<Vec<_>>>()?;
    sleep(OVER).await;
    let mut most = Used { resident_mib: 0.0, own_mib: 0.0, percent: 0.0 };
    for (process, before) in processes.into_iter().zip(before) {
        most.resident_mib = most.resident_mib.max(mib(process, "VmRSS:")?);
        most.own_mib = most.own_mib.max(mib(process, "RssAnon:")?);
        most.percent = most.percent.max(100.0 * (seconds(process)? - before) / OVER.as_secs_f64());
    }
    Ok(most)
}

/// Processor time that a process has used.
fn seconds(process: ProcessFacts) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).context("the process is gone")?;
    // The name in brackets may hold spaces; the fields are counted from behind it. utime and stime are 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')').context("no process")?.1.split_whitespace().collect();
    let ticks =
        fields.iter().skip(11).take(2).map(|field| field.parse::<f64>()).sum::<std::result::Result<f64, _>>()?;
    Ok(ticks / TICKS_A_SECOND)
}

/// A line of what the kernel says of a process's memory.
pub fn mib(process: ProcessFacts, line: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).context("the process is gone")?;
    let found = status.lines().find_map(|found| found.strip_prefix(line));
    let kib: f64 = found.with_context(|| format!("no {line}"))?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

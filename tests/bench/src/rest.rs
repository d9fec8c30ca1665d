//! What Grampus uses when nothing happens: memory and processor time of agents and operators.

use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Cluster, Operator, ProcessFacts, Steps};
use tokio::time::sleep;

use crate::figures::{Amount, Report};

/// Over how long processor time is counted.
const OVER: Duration = Duration::from_secs(20);

/// What the kernel counts processor time in (`USER_HZ`): hundredths of a second on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// Looks at the agents of a cluster and at the operators.
pub async fn measure(steps: &Steps, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let step = steps.begin("looking at what rests");
    let agents = cluster.fingerprints().await?.into_iter().map(|found| found.first).collect();
    let operators = Operator::of(cluster.env()).fingerprints().await?.into_iter().map(|found| found.first).collect();
    let groups: [(&str, Vec<ProcessFacts>); 2] = [("agent", agents), ("operator", operators)];
    let before: Vec<Vec<f64>> = groups.iter().map(|(_, all)| seconds(all)).collect::<Result<_>>()?;
    sleep(OVER).await;
    for ((who, all), before) in groups.iter().zip(before) {
        let used = seconds(all)?.iter().zip(before).map(|(now, before)| now - before).fold(0.0, f64::max);
        let resident = all.iter().map(|process| resident_kib(*process)).collect::<Result<Vec<_>>>()?;
        let most = resident.into_iter().max().context("there is none")?;
        report.amount(Amount {
            what: format!("{who} at rest, the largest: memory"),
            value: format!("{:.1} MiB", most as f64 / 1024.0),
        });
        let percent = 100.0 * used / OVER.as_secs_f64();
        report.amount(Amount {
            what: format!("{who} at rest, the busiest: of a core"),
            value: format!("{percent:.2} %"),
        });
    }
    step.done();
    Ok(())
}

fn seconds(processes: &[ProcessFacts]) -> Result<Vec<f64>> {
    processes.iter().map(|process| used(*process)).collect()
}

/// Processor time that a process has used.
fn used(process: ProcessFacts) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).context("the process is gone")?;
    // The name in brackets may hold spaces; the fields are counted from behind it. utime and stime are 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')').context("no process")?.1.split_whitespace().collect();
    let ticks =
        fields.iter().skip(11).take(2).map(|field| field.parse::<f64>()).sum::<std::result::Result<f64, _>>()?;
    Ok(ticks / TICKS_A_SECOND)
}

fn resident_kib(process: ProcessFacts) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

//! How long writes stop when the primary is killed or moved, and where that time goes.
//!
//! What a user feels is measured by writers through the Service. Where the time goes is read from the operator's
//! log, whose clock is the same computer's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kit::{Cluster, Ledger, Load, LogLine, Operator, Steps, Writer};

use crate::figures::Report;

/// How long a cluster may take to be whole.
pub const WHOLE: Duration = Duration::from_secs(240);

/// The parts of a failover, in order. Each ends with a line of the log: the claim, the last freeze, the choice, the
/// opening, the new EndpointSlice.
const PARTS: [&str; 5] = ["detect", "freeze", "decide", "catch up and promote", "endpoints"];

/// Kills the primary's mysqld again and again.
pub async fn kills(steps: &Steps, cluster: &Cluster, times: usize, report: &mut Report) -> Result<()> {
    if times == 0 {
        return Ok(());
    }
    let step = steps.begin("killing the primary");
    let (mut gaps, mut firsts) = (Vec::new(), Vec::new());
    let mut parts: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for number in 1..=times {
        step.tell(&format!("{number} of {times}"));
        let primary = cluster.wait_serving(3, WHOLE).await?;
        let mut writer = Writer::start(cluster, Load::default()).await?;
        writer.wait_rows(100, WHOLE).await?;
        let began = writer.began();
        let clock = Timestamp::now();
        let killed = Ledger::moment(began, cluster.kill_mysqld(&primary).await?);
        cluster
            .wait_for("another primary", WHOLE, || async {
                Ok(cluster.primary().await.ok().filter(|leader| *leader != primary))
            })
            .await?;
        writer.wait_rows(200, WHOLE).await?;
        cluster.wait_serving(3, WHOLE).await?;
        let ledger = writer.stop().await?;
        let outage = ledger.longest_outage(killed).context("nothing was written after the kill")?;
        gaps.push(outage.lasted());
        let first = ledger.first_after(killed).context("nothing was written after the kill")?;
        firsts.push(first.saturating_sub(killed));
        ledger.check(cluster).await?.hold()?;
        let lines = Operator::of(cluster.env()).log_since(clock).await?;
        for (part, took) in taken(&lines, clock, &cluster.name) {
            parts.entry(part).or_default().push(took);
        }
    }
    step.done_with(&format!("{times} kills, nothing lost"));
    report.add("mysqld killed → first acknowledged write", firsts);
    for (part, samples) in parts {
        report.add(&format!("  of that: {}", PARTS[part]), samples);
    }
    report.add("mysqld killed: gap between acknowledged writes", gaps);
    Ok(())
}

/// Moves the primary again and again.
pub async fn switchovers(steps: &Steps, cluster: &Cluster, times: usize, report: &mut Report) -> Result<()> {
    if times == 0 {
        return Ok(());
    }
    let step = steps.begin("moving the primary");
    let mut gaps = Vec::new();
    for number in 1..=times {
        step.tell(&format!("{number} of {times}"));
        cluster.wait_serving(3, WHOLE).await?;
        let mut writer = Writer::start(cluster, Load::default()).await?;
        writer.wait_rows(100, WHOLE).await?;
        cluster.switchover(None).await?.succeeded()?;
        writer.wait_rows(100, WHOLE).await?;
        cluster.wait_serving(3, WHOLE).await?;
        let ledger = writer.stop().await?;
        gaps.push(ledger.longest_outage(Duration::ZERO).context("nothing was written")?.lasted());
        ledger.check(cluster).await?.hold()?;
    }
    step.done_with(&format!("{times} switchovers, nothing lost"));
    report.add("switchover: gap between acknowledged writes", gaps);
    Ok(())
}

/// When each part of a failover ended, as far as the log tells. A part that is not told is left out, and so is
/// what follows it.
fn taken(lines: &[LogLine], killed: Timestamp, cluster: &str) -> Vec<(usize, Duration)> {
    let mine: Vec<_> = lines.iter().filter(|line| line.text("cluster").ends_with(cluster)).collect();
    let advanced = |phase: &str| {
        let line =
            mine.iter().find(|line| line.text("message") == "record advanced" && line.text("record").contains(phase));
        line.map(|line| line.at)
    };
    let done = |order: &str, by: Option<Timestamp>| {
        let ended = mine.iter().filter(|line| line.text("message") == "done" && line.text("order").ends_with(order));
        ended.map(|line| line.at).rfind(|at| by.is_none_or(|by| *at <= by))
    };
    let (claimed, chosen) = (advanced("Freezing"), advanced("Promoting"));
    let frozen = chosen.and_then(|chosen| done("freeze", Some(chosen)));
    let opened = done("open as primary", None);
    let pointed =
        mine.iter().find(|line| line.text("message") == "pointed" && line.text("slice").ends_with("-primary"));
    let ends = [claimed, frozen, chosen, opened, pointed.map(|line| line.at)];
    let mut before = killed;
    let mut parts = Vec::new();
    for (part, end) in ends.into_iter().enumerate() {
        let Some(end) = end else { break };
        parts.push((part, Duration::try_from(end.duration_since(before)).unwrap_or_default()));
        before = end.max(before);
    }
    parts
}

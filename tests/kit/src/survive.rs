//! One fault under load, from whole to whole, and what came of it.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::{Cluster, Ledger, Load, Monitor, Reads, Scenario, Verdict, Writer};

/// How long a cluster may take to be whole again. Generous: it bounds a wait and tests nothing.
const WHOLE: Duration = Duration::from_secs(240);

/// How many rows have to be acknowledged before a blow, and after it.
const ROWS: u64 = 200;

/// What came of a fault.
#[derive(Debug)]
pub struct Survived {
    /// What was done.
    pub kind: Scenario,
    /// How long it was left so, if it lasts.
    pub held: Option<Duration>,
    /// The longest time between two acknowledged writes that ended after it.
    pub gap: Duration,
    /// From its undoing until every member was in good standing again.
    pub whole: Duration,
    /// From the writers' end until every member had everything.
    pub alike: Duration,
    /// What the members had of what was acknowledged.
    pub verdict: Verdict,
    /// How many epochs began meanwhile.
    pub epochs: u64,
    /// What reading back showed.
    pub reads: Reads,
}

impl Survived {
    /// That nothing was lost, that no two servers acknowledged at the same time, and that no healthy primary was replaced. Rows that could not be read back at
    /// once are told and not yet demanded to be none: one in 25,000 was seen, and why is not known.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn hold(&self) -> Result<()> {
        self.verdict.hold()?;
        let (changes, epochs) = (self.verdict.changes, self.epochs);
        ensure!(changes <= epochs, "the acknowledging server changed {changes} times in {epochs} epochs: two writers");
        ensure!(epochs == 0 || self.kind.takes_the_primary(), "a primary that nothing happened to was replaced");
        Ok(())
    }
}

impl fmt::Display for Survived {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.map(|held| format!(" for {:.1} s", held.as_secs_f64())).unwrap_or_default();
        write!(
            out,
            "{}{held}: gap {} ms, whole {:.1} s later, alike {:.1} s after the last write, {} acknowledged, {} unknown, {} lost, {} read back, {} of them in vain",
            self.kind,
            self.gap.as_millis(),
            self.whole.as_secs_f64(),
            self.alike.as_secs_f64(),
            self.verdict.acknowledged,
            self.verdict.unknown,
            self.verdict.missing.len(),
            self.reads.done,
            self.reads.stale.len(),
        )?;
        self.reads.stale.iter().try_for_each(|stale| write!(out, "; {stale}"))
    }
}

/// Strikes a cluster of three while it is written to, mends what lasts after `hold`, waits until it is whole again,
/// and looks for every acknowledged row on every member.
///
/// # Errors
/// It did not become whole, or could not be looked at. Whether rows are missing is in the verdict.
pub async fn survive(cluster: &Cluster, kind: Scenario, hold: Duration, load: Load) -> Result<Survived> {
    cluster.wait_serving(3, WHOLE).await.context("before the fault")?;
    let mut writer = Writer::start(cluster, load).await?;
    writer.wait_rows(ROWS, WHOLE).await?;
    let began = writer.began();
    let monitor = Monitor::start(cluster.application().await?, writer.table(), writer.newest());
    let before = cluster.record().await?.epoch;
    let struck = kind.strike(cluster).await;
    let at = struck.at;
    let held = struck.lasts().then_some(hold);
    if let Some(hold) = held {
        sleep(hold).await;
    }
    struck.mend(cluster)?;
    let mended = Instant::now();
    writer.wait_rows(ROWS, WHOLE).await?;
    cluster.wait_serving(3, WHOLE).await?;
    let whole = mended.elapsed();
    let reads = monitor.stop().await;
    let epochs = cluster.record().await?.epoch.saturating_sub(before);
    let ledger = writer.stop().await?;
    let gap = ledger.longest_outage(Ledger::moment(began, at)).context("nothing was written after the fault")?;
    let stopped = Instant::now();
    let verdict = ledger.check(cluster).await?;
    Ok(Survived { kind, held, gap: gap.lasted(), whole, alike: stopped.elapsed(), verdict, epochs, reads })
}

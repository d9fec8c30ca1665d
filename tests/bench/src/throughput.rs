//! What Grampus costs MySQL's own throughput: a Grampus primary against the same mysqld set up by hand with the same
//! semi-synchronous replication, in alternating pairs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kit::{Cluster, Load, Login, Member, Plain, Steps, Writer, caught_up};
use tokio::time::sleep;

use crate::failover;
use crate::figures::{Amount, Ratio, Report};

/// How many write at the same time: what `design` asks the figures for.
const WRITERS: u64 = 16;

/// What a primary of Grampus has in its my.cnf and a plain mysqld has not, as far as it bears on writing.
const OPTIONS: &str = "--plugin-load-add=semisync_source.so --plugin-load-add=semisync_replica.so \
    --sync-binlog=1 --innodb-flush-log-at-trx-commit=1 --replica-parallel-workers=16 --skip-name-resolve=ON \
    --loose-rpl-semi-sync-source-timeout=4294967295 --loose-rpl-semi-sync-source-wait-point=AFTER_SYNC \
    --loose-rpl-semi-sync-replica-enabled=ON --replica-net-timeout=1 --back-log=1000";

/// What follows from the size of a Grampus pod and bears on writing, so that the other gets the same.
const SIZED: [&str; 4] =
    ["innodb_buffer_pool_size", "innodb_redo_log_capacity", "temptable_max_ram", "max_binlog_size"];

/// Writes to one and to the other in turns, each for `lasts`.
pub async fn measure(
    steps: &Steps,
    cluster: &Cluster,
    plain: &Cluster,
    pairs: usize,
    lasts: Duration,
    report: &mut Report,
) -> Result<()> {
    if pairs == 0 {
        return Ok(());
    }
    let step = steps.begin("throughput, by turns with a mysqld set up by hand");
    let options = format!("{OPTIONS} {}", sized(cluster).await?);
    let by_hand = Plain::raise_with(plain, &options, &crate::resources()).await?;
    let sides = async {
        by_hand.replicate().await?;
        by_hand.members[0]
            .run(&[
                "SET GLOBAL rpl_semi_sync_source_wait_for_replica_count=1",
                "SET GLOBAL rpl_semi_sync_source_enabled=ON",
            ])
            .await?;
        let (mut ours, mut theirs) = (Side::default(), Side::default());
        for number in 1..=pairs {
            step.tell(&format!("{number} of {pairs}"));
            ours.rows.push(rows(primary(cluster).await?, lasts).await?);
            let leader = cluster.member(&cluster.primary().await?).await?;
            ours.behind.push(settle(&leader, &cluster.members().await?).await?);
            theirs.rows.push(rows(by_hand.login(0), lasts).await?);
            theirs.behind.push(settle(&by_hand.members[0], &by_hand.members).await?);
        }
        Ok::<_, anyhow::Error>((ours, theirs))
    };
    let sides = sides.await;
    by_hand.remove().await?;
    let (ours, theirs) = sides?;
    let ratios = ours.rows.iter().zip(&theirs.rows).map(|(ours, theirs)| ours / theirs);
    report.ratio(Ratio::of("rows a second, Grampus's primary ÷ the same mysqld by hand", ratios.collect()));
    ours.tell("Grampus", report);
    theirs.tell("by hand", report);
    step.done();
    Ok(())
}

/// What was measured of one of the two.
#[derive(Default)]
struct Side {
    /// Rows a second.
    rows: Vec<f64>,
    /// How long its replicas took afterwards to apply what they had received.
    behind: Vec<Duration>,
}

impl Side {
    fn tell(mut self, whose: &str, report: &mut Report) {
        self.rows.sort_by(f64::total_cmp);
        let (least, most) =
            (self.rows.first().copied().unwrap_or_default(), self.rows.last().copied().unwrap_or_default());
        let value = format!("{least:.0} to {most:.0}");
        report.amount(Amount { what: format!("  rows a second, {whose}"), value });
        report.add(&format!("its replicas caught up afterwards, {whose}"), self.behind);
    }
}

/// Replicas may be behind by now, and what they still apply would be taken from whoever is measured next.
async fn settle(primary: &Member, members: &[Member]) -> Result<Duration> {
    let began = Instant::now();
    caught_up(primary, members, failover::WHOLE).await?;
    Ok(began.elapsed())
}

/// The primary itself: a Service in between would be measured too.
async fn primary(cluster: &Cluster) -> Result<Login> {
    let member = cluster.member(&cluster.primary().await?).await?;
    Ok(Login { database: cluster.application().await?.database, ..member.login })
}

/// What the size of a Grampus pod makes of its mysqld, as options of another.
pub async fn sized(cluster: &Cluster) -> Result<String> {
    let member = cluster.member(&cluster.primary().await?).await?;
    let mut options = Vec::new();
    for name in SIZED {
        let value: u64 = member.ask(&format!("SELECT @@GLOBAL.{name}")).await?;
        options.push(format!("--{name}={value}"));
    }
    Ok(options.join(" "))
}

/// Acknowledged rows a second.
async fn rows(login: Login, lasts: Duration) -> Result<f64> {
    let mut writer = Writer::start_at(vec![login], Load { writers: WRITERS, rest: Duration::ZERO }).await?;
    writer.wait_rows(WRITERS, Duration::from_secs(30)).await.context("warming up")?;
    let before = writer.acknowledged();
    sleep(lasts).await;
    let written = writer.acknowledged() - before;
    writer.stop().await?;
    Ok(written as f64 / lasts.as_secs_f64())
}

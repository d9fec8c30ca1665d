//! What Grampus costs MySQL's own throughput: a Grampus primary against the same mysqld set up by hand with the same
//! semi-synchronous replication, in alternating pairs.

use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Cluster, Load, Login, Plain, Steps, Writer};
use tokio::time::sleep;

use crate::figures::{Ratio, Report};

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
    let ratios = async {
        by_hand.replicate().await?;
        by_hand.members[0]
            .run(&[
                "SET GLOBAL rpl_semi_sync_source_wait_for_replica_count=1",
                "SET GLOBAL rpl_semi_sync_source_enabled=ON",
            ])
            .await?;
        let mut ratios = Vec::new();
        for number in 1..=pairs {
            step.tell(&format!("{number} of {pairs}"));
            let ours = rows(primary(cluster).await?, lasts).await?;
            let theirs = rows(by_hand.login(0), lasts).await?;
            ratios.push(ours / theirs);
        }
        Ok::<_, anyhow::Error>(ratios)
    };
    let ratios = ratios.await;
    by_hand.remove().await?;
    report.ratio(Ratio::of("rows a second, Grampus's primary ÷ the same mysqld by hand", ratios?));
    step.done();
    Ok(())
}

/// The primary itself: a Service in between would be measured too.
async fn primary(cluster: &Cluster) -> Result<Login> {
    let member = cluster.member(&cluster.primary().await?).await?;
    Ok(Login { database: cluster.application().await?.database, ..member.login })
}

async fn sized(cluster: &Cluster) -> Result<String> {
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

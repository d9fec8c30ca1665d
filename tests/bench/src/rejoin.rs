//! How long a member takes to be a replica in good standing again: a former primary, which keeps its data once what
//! nobody acknowledged is cut off, beside one that gets a copy of everything.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kit::{Cluster, Load, Steps, Writer};

use crate::failover::WHOLE;
use crate::figures::Report;

/// The table that makes the data large.
const FILLER: &str = "filler";

/// How many MiB one statement adds: a transaction that replicas take in one piece, and not too large for that.
const STRIDE: usize = 16;

/// How much is measured, in MiB of data, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Amounts {
    /// How many times each way is taken, by turns.
    pub times: usize,
    /// How much data there is besides.
    pub mebibytes: usize,
}

/// Kills the primary and rebuilds a replica, by turns.
pub async fn measure(steps: &Steps, cluster: &Cluster, amounts: Amounts, report: &mut Report) -> Result<()> {
    let Amounts { times, mebibytes } = amounts;
    if times == 0 {
        return Ok(());
    }
    let step = steps.begin(&format!("rejoining with {mebibytes} MiB of data"));
    let database = cluster.application().await?.database.context("the application has no database")?;
    fill(cluster, &database, mebibytes, &step).await?;
    let (mut kept, mut copied) = (Vec::new(), Vec::new());
    for number in 1..=times {
        step.tell(&format!("{number} of {times}"));
        kept.push(former_primary(cluster).await?);
        copied.push(rebuilt(cluster).await?);
    }
    let primary = cluster.member(&cluster.wait_serving(3, WHOLE).await?).await?;
    primary.run(&[&format!("DROP TABLE `{database}`.{FILLER}")]).await?;
    step.done();
    report.add(&format!("{mebibytes} MiB: primary killed → a replica in good standing, its data kept"), kept);
    report.add(&format!("{mebibytes} MiB: rebuild asked for → a replica in good standing, by a copy"), copied);
    Ok(())
}

async fn fill(cluster: &Cluster, database: &str, mebibytes: usize, step: &kit::Step) -> Result<()> {
    let primary = cluster.member(&cluster.wait_serving(3, WHOLE).await?).await?;
    let table = format!("`{database}`.{FILLER}");
    primary.run(&[&format!("CREATE TABLE {table} (id BIGINT AUTO_INCREMENT PRIMARY KEY, v BLOB)")]).await?;
    let more = format!(
        "INSERT INTO {table} (v) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
         SELECT RANDOM_BYTES(1024) FROM n AS a JOIN n AS b ON b.i <= {STRIDE}"
    );
    for done in 0..mebibytes.div_ceil(STRIDE) {
        step.tell(&format!("filling: {} of {mebibytes} MiB", done * STRIDE));
        primary.run(&[&more]).await?;
    }
    cluster.wait_serving(3, WHOLE).await.map(drop)
}

async fn former_primary(cluster: &Cluster) -> Result<Duration> {
    let primary = cluster.wait_serving(3, WHOLE).await?;
    let mut writer = Writer::start(cluster, Load::default()).await?;
    writer.wait_rows(100, WHOLE).await?;
    let began = Instant::now();
    cluster.kill_mysqld(&primary).await?;
    cluster
        .wait_for("another primary", WHOLE, || async {
            Ok(cluster.primary().await.ok().filter(|leader| *leader != primary))
        })
        .await?;
    cluster.wait_serving(3, WHOLE).await?;
    let took = began.elapsed();
    writer.stop().await?.check(cluster).await?.hold()?;
    Ok(took)
}

async fn rebuilt(cluster: &Cluster) -> Result<Duration> {
    let primary = cluster.wait_serving(3, WHOLE).await?;
    let members = cluster.record().await?.members;
    let replica = members.into_iter().find(|member| member.name != primary).context("there is no replica")?;
    let began = Instant::now();
    let asked = cluster.env().plugin(&["rebuild", &cluster.name, &replica.name, "-n", &cluster.namespace, "--yes"])?;
    ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    cluster
        .wait_for("another copy", WHOLE, || async {
            let now = cluster.record().await?.incarnation_of(&replica.name);
            Ok((now.is_some() && now != Some(replica.incarnation)).then_some(()))
        })
        .await?;
    cluster.wait_serving(3, WHOLE).await?;
    Ok(began.elapsed())
}

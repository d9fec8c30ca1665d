//! The control: writes that are acknowledged too early must be seen to be lost, or a check that finds nothing
//! missing would prove nothing.
//!
//! Three plain mysqlds without semi-sync, no Grampus anywhere: the replicas' links are cut 300 ms before the
//! source is killed, five times. What the replicas hold then is what any promotion would have had.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{WHOLE, world};
use kit::{Cluster, Load, Plain, Writer};
use mysql_async::prelude::Queryable;

const KILLS: usize = 5;

/// How long the links are cut before the kill.
const CUT: Duration = Duration::from_millis(300);

#[test]
fn without_semi_sync_the_check_sees_losses_in_five_of_five_kills() {
    world().run(async |_| {
        let cluster = world().cluster("control");
        let plain = Plain::raise(&cluster, "").await?;
        let result = losses(&cluster, &plain).await;
        // The lab is everybody's: no cut outlives the test.
        cluster.env().lab.heal_all()?;
        plain.remove().await?;
        let losses = result?;
        println!("control: acknowledged rows missing on both replicas after each kill: {losses:?}");
        ensure!(losses.len() == KILLS && losses.iter().all(|lost| *lost > 0), "the check is blind: {losses:?}");
        Ok(())
    });
}

async fn losses(cluster: &Cluster, plain: &Plain) -> Result<Vec<usize>> {
    plain.replicate().await?;
    let mut losses = Vec::new();
    for _ in 0..KILLS {
        losses.push(one_kill(cluster, plain).await?);
    }
    Ok(losses)
}

/// How many acknowledged rows neither replica has after a cut and a kill.
async fn one_kill(cluster: &Cluster, plain: &Plain) -> Result<usize> {
    let mut writer = Writer::start_at(vec![plain.login(0)], Load::default()).await?;
    writer.wait_rows(50, WHOLE).await?;
    for replica in 1..plain.members.len() {
        cluster.env().lab.cut(plain.node(0), Some(plain.node(replica)), false)?;
    }
    tokio::time::sleep(CUT).await;
    plain.kill(0).await?;
    let ledger = writer.stop().await?;
    // Whatever a replica has received it may still apply.
    for member in &plain.members[1..] {
        let mut conn = member.login.connect().await?;
        conn.query_drop("STOP REPLICA IO_THREAD").await?;
        let received: Option<String> = conn
            .query_first("SELECT received_transaction_set FROM performance_schema.replication_connection_status")
            .await?;
        let received = received.unwrap_or_default().replace(char::is_whitespace, "");
        conn.query_drop(format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{received}', 20)")).await?;
    }
    let mut missing = BTreeSet::new();
    for member in &plain.members[1..] {
        missing.insert(ledger.missing_on(member, "app").await?);
    }
    cluster.env().lab.heal_all()?;
    plain.up(0).await?;
    plain.replicate().await?;
    missing.first().copied().context("there are no replicas")
}

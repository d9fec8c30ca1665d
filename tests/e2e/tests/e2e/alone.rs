//! Nobody is there to tell a primary anything: no operator at all, or none that it reaches.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{FAILOVER, world};
use kit::{Cluster, Operator, Writer, eventually};

use crate::{nothing_is_lost, under_load};

/// How long a primary that is cut off may take to end its own mysqld: several times what it should.
const FENCED: Duration = Duration::from_secs(30);

#[test]
fn a_killed_primary_opens_again_without_an_operator() {
    world().run(async |cluster| {
        let operator = Operator::of(cluster.env());
        let before = cluster.record().await?;
        operator.scale(0).await?;
        let alone = async {
            let mut writer = under_load(&cluster).await?;
            cluster.kill_mysqld(&before.primary).await?;
            writer.wait_rows(100, FAILOVER).await?;
            Ok::<_, anyhow::Error>(writer)
        };
        let alone = alone.await;
        operator.scale(2).await?;
        nothing_is_lost(&cluster, alone?, "mysqld of the primary killed without an operator").await?;
        let after = cluster.record().await?;
        ensure!(
            (after.epoch, &after.primary) == (before.epoch, &before.primary),
            "the returned operator replaced a primary that serves"
        );
        Ok(())
    });
}

#[test]
fn a_primary_that_is_cut_off_ends_its_own_mysqld_while_another_takes_over() {
    world().run(async |cluster| {
        let writer = under_load(&cluster).await?;
        fences_itself(&cluster, Some(writer)).await
    });
}

#[test]
fn a_primary_that_is_cut_off_together_with_an_operator_ends_its_own_mysqld_though_no_commit_waits() {
    world().run(async |cluster| {
        Operator::of(cluster.env()).place_primary(&cluster, true).await?;
        fences_itself(&cluster, None).await
    });
}

/// Cuts the primary's node off until its mysqld is gone, and sees that writes go on through another one.
async fn fences_itself(cluster: &Cluster, writer: Option<Writer>) -> Result<()> {
    let before = cluster.record().await?;
    let node = cluster.node_of(&before.primary).await?;
    let mysqld = cluster.fingerprint(&before.primary).await?.mysqld.context("the primary runs no mysqld")?;
    let lab = &cluster.env().lab;
    lab.cut(&node, None, false)?;
    let meanwhile = async {
        // A node's processes are seen from outside, so the cut hides nothing.
        eventually("mysqld of the primary that is cut off to be gone", FENCED, || async {
            Ok((!mysqld.is_there()).then_some(()))
        })
        .await?;
        let mut writer = match writer {
            Some(writer) => writer,
            None => under_load(cluster).await?,
        };
        writer.wait_rows(100, FAILOVER).await?;
        Ok::<_, anyhow::Error>(writer)
    };
    let meanwhile = meanwhile.await;
    lab.heal_all()?;
    let writer = match meanwhile {
        Ok(writer) => writer,
        Err(error) => return Err(error.context(cluster.diagnosis().await)),
    };
    nothing_is_lost(cluster, writer, "primary cut off until it fenced itself").await?;
    let after = cluster.record().await?;
    ensure!(after.epoch > before.epoch && after.primary != before.primary, "nobody took over");
    Ok(())
}

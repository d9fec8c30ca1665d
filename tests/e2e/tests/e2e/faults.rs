//! Things break, and nothing that was acknowledged is lost.

use anyhow::{Result, ensure};
use e2e::{FAILOVER, world};
use kit::Cluster;
use topology::record::Record;

use crate::{event, nothing_is_lost, under_load};

/// Waits until somebody else leads, under a later epoch.
async fn another_leads(cluster: &Cluster, former: &str, epoch: u64) -> Result<String> {
    cluster
        .wait_for(&format!("somebody else than {former} to lead"), FAILOVER, || async {
            let later = cluster.record().await?.epoch > epoch;
            let primary = cluster.primary().await?;
            Ok((later && primary != former).then_some(primary))
        })
        .await
}

/// Nobody's data was copied: a former primary is back with its own, without what nobody acknowledged.
async fn data_is_kept(cluster: &Cluster, before: &Record) -> Result<()> {
    let now = cluster.record().await?;
    ensure!(now.members == before.members, "a member was copied anew: {:?}, before {:?}", now.members, before.members);
    Ok(())
}

#[test]
fn a_killed_mysqld_costs_no_acknowledged_row() {
    world().run(async |cluster| {
        let (primary, record) = (cluster.primary().await?, cluster.record().await?);
        let before = cluster.fingerprint(&primary).await?;
        let writer = under_load(&cluster).await?;
        cluster.kill_mysqld(&primary).await?;
        another_leads(&cluster, &primary, record.epoch).await?;
        nothing_is_lost(&cluster, writer, "mysqld of the primary killed").await?;
        data_is_kept(&cluster, &record).await?;
        let after = cluster.fingerprint(&primary).await?;
        ensure!(after.container == before.container, "the agent should have started mysqld again by itself");
        ensure!(after.mysqld != before.mysqld, "that mysqld was never killed");
        Ok(())
    });
}

#[test]
fn a_killed_container_costs_no_acknowledged_row() {
    world().run(async |cluster| {
        let (primary, record) = (cluster.primary().await?, cluster.record().await?);
        let writer = under_load(&cluster).await?;
        cluster.kill_container(&primary).await?;
        another_leads(&cluster, &primary, record.epoch).await?;
        nothing_is_lost(&cluster, writer, "container of the primary killed").await?;
        data_is_kept(&cluster, &record).await
    });
}

#[test]
fn a_deleted_pod_costs_no_acknowledged_row() {
    world().run(async |cluster| {
        let (primary, epoch) = (cluster.primary().await?, cluster.record().await?.epoch);
        let writer = under_load(&cluster).await?;
        cluster.delete_pod(&primary).await?;
        another_leads(&cluster, &primary, epoch).await?;
        // Whether its agent or the operator was quicker: the role moved because of the deletion, not of a loss.
        event(&cluster, "SwitchoverStarted", "is being deleted").await?;
        nothing_is_lost(&cluster, writer, "pod of the primary deleted").await
    });
}

#[test]
fn writes_never_stop_for_a_killed_replica() {
    world().run(async |cluster| {
        let record = cluster.record().await?;
        let replica = record.members.iter().map(|member| &member.name).find(|name| **name != record.primary);
        let replica = replica.unwrap().clone();
        let before = cluster.fingerprint(&replica).await?;
        let writer = under_load(&cluster).await?;
        cluster.kill_mysqld(&replica).await?;
        cluster
            .wait_for("the replica to run again", FAILOVER, || async {
                let mysqld = cluster.fingerprint(&replica).await?.mysqld;
                Ok((mysqld.is_some() && mysqld != before.mysqld).then_some(()))
            })
            .await?;
        nothing_is_lost(&cluster, writer, "mysqld of a replica killed").await?;
        let after = cluster.record().await?;
        ensure!(
            (after.epoch, &after.primary) == (record.epoch, &record.primary),
            "the primary was replaced for nothing"
        );
        Ok(())
    });
}

#[test]
fn a_node_without_power_costs_no_acknowledged_row_and_comes_back() {
    world().run(async |cluster| {
        let (primary, epoch) = (cluster.primary().await?, cluster.record().await?.epoch);
        let writer = under_load(&cluster).await?;
        let (node, _) = cluster.crash_node_of(&primary).await?;
        let failed_over = another_leads(&cluster, &primary, epoch).await;
        // The lab is everybody's: the node gets its power back whatever came of it.
        let returned = cluster.return_node(&node);
        failed_over?;
        returned?;
        nothing_is_lost(&cluster, writer, "node of the primary crashed").await
    });
}

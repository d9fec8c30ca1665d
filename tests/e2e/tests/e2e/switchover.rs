//! The primary is moved on purpose.

use anyhow::{Result, ensure};
use e2e::{NAMESPACE, world};
use kit::Cluster;

use crate::{nothing_is_lost, under_load};

#[test]
fn a_switchover_asks_the_policy_and_restarts_nothing() {
    world().run(async |cluster| {
        let (primary, before) = (cluster.primary().await?, cluster.fingerprints().await?);
        let writer = under_load(&cluster).await?;
        let operated = cluster.switchover(None).await?;
        let status = operated.succeeded()?;
        let chosen = cluster.primary().await?;
        ensure!(chosen != primary && status.to.as_deref() == Some(&chosen), "{primary} → {chosen}, told as {status:?}");
        let reason = status.reason.as_deref().unwrap_or_default();
        ensure!(reason.contains("most-advanced"), "the reason should be the policy's: {reason}");
        nothing_is_lost(&cluster, writer, "switchover").await?;
        ensure!(cluster.fingerprints().await? == before, "a switchover restarted something");
        Ok(())
    });
}

#[test]
fn a_switchover_to_a_named_member_goes_there() {
    world().run(async |cluster| {
        let target = some_replica(&cluster).await?;
        let before = cluster.fingerprints().await?;
        let writer = under_load(&cluster).await?;
        let output = cluster.env().plugin(&["switchover", "pool", "--to", &target, "-n", NAMESPACE])?;
        ensure!(output.status.success(), "kubectl grampus switchover failed: {output:?}");
        ensure!(cluster.primary().await? == target, "{target} was named, and does not lead");
        nothing_is_lost(&cluster, writer, "switchover to a named member").await?;
        ensure!(cluster.fingerprints().await? == before, "a switchover restarted something");
        Ok(())
    });
}

#[test]
fn a_switchover_to_a_stranger_changes_nothing() {
    world().run(async |cluster| {
        let primary = cluster.primary().await?;
        let operated = cluster.switchover(Some("pool-9")).await?;
        let message = operated.status.message.clone().unwrap_or_default();
        ensure!(operated.succeeded().is_err() && message.contains("pool-9"), "it should say who is unknown: {message}");
        ensure!(cluster.primary().await? == primary, "the primary was moved for nothing");
        Ok(())
    });
}

async fn some_replica(cluster: &Cluster) -> Result<String> {
    let record = cluster.record().await?;
    let mut replicas = record.members.into_iter().map(|member| member.name).filter(|name| *name != record.primary);
    Ok(replicas.next_back().unwrap())
}

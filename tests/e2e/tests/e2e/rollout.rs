//! Planned disruptions: a restart, a node that is emptied, an upgrade of Grampus, and a spec that changes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{FAILOVER, NAMESPACE, TOLD, WHOLE, world};
use kit::{Cluster, Fingerprint, ask_all};
use objects::conditions::ROLLOUT_PENDING;
use serde_json::json;

use crate::{event, nothing_is_lost, under_load};

/// How long three pods may take to be replaced one after the other. Generous: it bounds a wait and tests nothing.
const ROLLED_OUT: Duration = Duration::from_secs(240);

/// Every pod is another one, and of the same cluster.
fn all_replaced(before: &[Fingerprint], now: &[Fingerprint]) -> Result<()> {
    ensure!(before.len() == now.len(), "there are other members: {now:?}");
    let same: Vec<_> = before.iter().zip(now).filter(|(old, new)| old.uid == new.uid).collect();
    ensure!(same.is_empty(), "not replaced: {same:?}");
    Ok(())
}

#[test]
fn a_restart_replaces_every_pod_and_moves_the_role_once() {
    world().run(async |cluster| {
        let (before, record) = (cluster.fingerprints().await?, cluster.record().await?);
        let writer = under_load(&cluster).await?;
        // The command blocks, so it has a thread of its own; writers go on meanwhile.
        let asked = cluster.clone();
        let output = tokio::task::spawn_blocking(move || asked.env().plugin(&["restart", "pool", "-n", NAMESPACE]));
        let output = output.await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "kubectl grampus restart failed: {output:?}");
        ensure!(said.contains("3 of 3 restarted"), "it should say how far it came: {said}");
        let progress = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(progress.contains("2 of 3 restarted"), "it should say how far it has come: {progress}");
        nothing_is_lost(&cluster, writer, "every member restarted").await?;
        all_replaced(&before, &cluster.fingerprints().await?)?;
        let after = cluster.record().await?;
        ensure!(after.epoch == record.epoch + 1, "the role should have moved once: {} → {}", record.epoch, after.epoch);
        ensure!(after.members == record.members, "nobody's data had to be copied");
        event(&cluster, "SwitchoverStarted", "a restart was asked for").await
    });
}

#[test]
fn a_primary_leaves_a_node_that_is_emptied_before_its_pod_has_to() {
    world().run(async |cluster| {
        let (primary, record) = (cluster.primary().await?, cluster.record().await?);
        let node = cluster.node_of(&primary).await?;
        let writer = under_load(&cluster).await?;
        let env = cluster.env();
        let emptied = async {
            env.kubectl(&["cordon", &node])?;
            cluster
                .wait_for("the primary to give way", FAILOVER, || async {
                    Ok(cluster.primary().await.ok().filter(|now| *now != primary))
                })
                .await?;
            event(&cluster, "SwitchoverStarted", "closed to new pods").await?;
            let only = format!("--pod-selector=grampus.dev/cluster={}", cluster.name);
            env.kubectl(&["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", &only, "--timeout=60s"])
        };
        let emptied = emptied.await;
        // The lab is everybody's: the node is opened again whatever came of it.
        env.kubectl(&["uncordon", &node])?;
        emptied?;
        nothing_is_lost(&cluster, writer, "node of the primary emptied").await?;
        let after = cluster.record().await?;
        ensure!(after.epoch == record.epoch + 1, "the role should have moved once: {} → {}", record.epoch, after.epoch);
        Ok(())
    });
}

#[test]
fn an_upgrade_of_the_operator_restarts_nobody_and_a_changed_spec_rolls_out() {
    world().run(async |cluster| {
        let (before, primary) = (cluster.fingerprints().await?, cluster.primary().await?);
        let other = format!("GRAMPUS_IMAGE={}-other", cluster.env().image);
        let own = format!("GRAMPUS_IMAGE={}", cluster.env().image);
        install(&cluster, &other).await?;
        let pending = cluster.wait_condition(ROLLOUT_PENDING, "True", TOLD).await;
        let unhurt = cluster.fingerprints().await;
        install(&cluster, &own).await?;
        let pending = pending?;
        ensure!(pending.reason == "NeedsRestart", "{}: {}", pending.reason, pending.message);
        for member in &before {
            ensure!(pending.message.contains(&member.pod), "it should name {}: {}", member.pod, pending.message);
        }
        ensure!(unhurt? == before, "an upgrade of the operator restarted something");
        cluster.wait_condition(ROLLOUT_PENDING, "False", TOLD).await?;
        ensure!(
            cluster.fingerprints().await? == before && cluster.primary().await? == primary,
            "something was touched"
        );

        let writer = under_load(&cluster).await?;
        let connections = 200 + i64::from(rand_byte());
        cluster.patch_spec(json!({ "config": { "max_connections": connections } })).await?;
        cluster.wait_condition(ROLLOUT_PENDING, "True", TOLD).await?;
        cluster.wait_condition(ROLLOUT_PENDING, "False", ROLLED_OUT).await?;
        nothing_is_lost(&cluster, writer, "a changed spec rolled out").await?;
        all_replaced(&before, &cluster.fingerprints().await?)?;
        let values: Vec<i64> = ask_all(&cluster.members().await?, "SELECT @@GLOBAL.max_connections").await?;
        ensure!(values.iter().all(|value| *value == connections), "they should all run with {connections}: {values:?}");
        Ok(())
    });
}

/// Another run of the tests finds the cluster as this one leaves it, and must change something all the same.
fn rand_byte() -> u8 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.subsec_nanos().to_le_bytes()[0])
}

/// Changes what the operator's Deployment is told, and waits until only operators that know it run.
async fn install(cluster: &Cluster, variable: &str) -> Result<()> {
    let env = cluster.env();
    env.kubectl(&["-n", kit::OPERATOR_NAMESPACE, "set", "env", "deployment/grampus-operator", variable])?;
    let status = ["-n", kit::OPERATOR_NAMESPACE, "rollout", "status", "deployment/grampus-operator", "--timeout=90s"];
    env.kubectl(&status)?;
    cluster.wait_serving(3, WHOLE).await.map(drop).context("after the operator was changed")
}

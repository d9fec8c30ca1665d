//! The operator is absent, dies at the worst moment, or finds that somebody else was at work.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{FAILOVER, WHOLE, world};
use k8s_openapi::api::apps::v1::StatefulSet;
use kit::{Operator, eventually};
use kube::Api;
use kube::api::{Patch, PatchParams};
use topology::record::Phase;

use crate::{nothing_is_lost, under_load};

#[test]
fn a_failover_outlives_the_operator_that_began_it() {
    world().run(async |cluster| {
        let operator = Operator::of(cluster.env());
        let (primary, epoch) = (cluster.primary().await?, cluster.record().await?.epoch);
        let leader = operator.leader().await?;
        let writer = under_load(&cluster).await?;
        cluster.kill_mysqld(&primary).await?;
        // A failover that is over before it is seen is still one whose operator is taken away right then.
        let _ = eventually("the failover to begin", Duration::from_secs(10), || async {
            let record = cluster.record().await?;
            Ok((record.epoch > epoch || record.phase != Phase::Serving).then_some(()))
        })
        .await;
        operator.delete_pod(&leader).await?;
        nothing_is_lost(&cluster, writer, "operator deleted during a failover").await?;
        ensure!(cluster.primary().await? != primary, "{primary} leads again, though its mysqld was killed");
        operator.scale(2).await
    });
}

/// Between any two steps: the names are those of `operator::failure_points`.
const POINTS: [&str; 6] = ["claimed", "freeze-sent", "chosen", "promote-sent", "pointed", "serving"];

#[test]
fn a_failover_is_finished_wherever_the_operator_that_began_it_ends() {
    world().run(async |cluster| {
        let operator = Operator::of(cluster.env());
        let mut writer = under_load(&cluster).await?;
        for point in POINTS {
            let primary = cluster.primary().await?;
            // The Lease may still name one that is gone, and may name a new one before the kubelet has told of it.
            let leader = cluster
                .wait_for("an operator that acts", FAILOVER, || async {
                    let leader = operator.leader().await?;
                    Ok(operator.fingerprint(&leader).await.is_ok().then_some(leader))
                })
                .await?;
            let process = operator.end_at(&leader, point).await?;
            cluster.kill_mysqld(&primary).await?;
            cluster
                .wait_for(&format!("the operator to end at {point}"), FAILOVER, || async {
                    Ok((!process.is_there()).then_some(()))
                })
                .await?;
            writer.wait_rows(100, FAILOVER).await?;
            // One that was restarted by the kubelet would be restarted ever later.
            operator.delete_pod(&leader).await?;
            operator.scale(2).await?;
            cluster.wait_serving(3, WHOLE).await?;
        }
        nothing_is_lost(&cluster, writer, "an operator ended at six places of a failover").await
    });
}

#[test]
fn a_cluster_serves_without_an_operator() {
    world().run(async |cluster| {
        let operator = Operator::of(cluster.env());
        let (record, before) = (cluster.record().await?, cluster.fingerprints().await?);
        operator.scale(0).await?;
        let alone = async {
            let writer = under_load(&cluster).await?;
            tokio::time::sleep(Duration::from_secs(10)).await;
            let mut writer = writer;
            writer.wait_rows(100, FAILOVER).await?;
            Ok::<_, anyhow::Error>(writer)
        };
        let alone = alone.await;
        operator.scale(2).await?;
        nothing_is_lost(&cluster, alone?, "no operator").await?;
        let after = cluster.record().await?;
        ensure!(
            (after.epoch, &after.primary) == (record.epoch, &record.primary),
            "the returned operator moved the primary"
        );
        ensure!(cluster.fingerprints().await? == before, "something was restarted");
        Ok(())
    });
}

#[test]
fn a_stateful_set_scaled_by_hand_is_put_back() {
    world().run(async |cluster| {
        let sets: Api<StatefulSet> = cluster.api();
        let writer = under_load(&cluster).await?;
        let two = serde_json::json!({ "spec": { "replicas": 2 } });
        sets.patch("pool", &PatchParams::default(), &Patch::Merge(&two)).await?;
        cluster
            .wait_for("the StatefulSet to want three pods again", WHOLE, || async {
                let set = sets.get("pool").await?;
                Ok((set.spec.and_then(|spec| spec.replicas) == Some(3)).then_some(()))
            })
            .await?;
        let result: Result<()> = nothing_is_lost(&cluster, writer, "StatefulSet scaled by hand").await;
        result
    });
}

//! What is written down is taken away: the record goes back, the status is emptied, too few members are left to know.

use anyhow::{Context, Result, bail, ensure};
use e2e::{FAILOVER, NAMESPACE, TOLD, WHOLE, world};
use kit::eventually;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use objects::api::{MysqlCluster, MysqlTopology, MysqlTopologySpec};
use objects::conditions::PRIMARY_AVAILABLE;
use topology::record::{Member, Phase, Record};

use crate::{event, nothing_is_lost, under_load};

#[test]
fn a_record_that_went_back_is_adopted_as_the_members_remember_it() {
    world().run(async |cluster| {
        let old = cluster.record().await?;
        cluster.switchover(None).await?.succeeded()?;
        let writer = under_load(&cluster).await?;
        let before = cluster.record().await?;
        ensure!(
            before.epoch > old.epoch && before.primary != old.primary,
            "the old record should name another primary"
        );
        put_back(&cluster, &old).await?;
        let adopted = eventually("a record above all that members remember", FAILOVER, || async {
            let record = cluster.record().await?;
            Ok((record.epoch > before.epoch && record.phase == Phase::Serving).then_some(record))
        });
        let adopted = adopted.await?;
        ensure!(adopted.members == before.members, "its members are those that the members remember");
        nothing_is_lost(&cluster, writer, "record put back to an older epoch").await
    });
}

/// Replaces the record by an older one, as a restore of etcd does: with what it said, and unasked.
async fn put_back(cluster: &kit::Cluster, old: &Record) -> Result<()> {
    let records: Api<MysqlTopology> = cluster.api();
    let metadata = ObjectMeta { name: Some(cluster.name.clone()), ..ObjectMeta::default() };
    let object = MysqlTopology { metadata, spec: MysqlTopologySpec { record: old.clone() } };
    records.delete(&cluster.name, &DeleteParams::default()).await.context("deleting the record")?;
    records.create(&PostParams::default(), &object).await.context("making the old record")?;
    Ok(())
}

#[test]
fn a_status_that_is_emptied_is_written_again_and_nothing_moves() {
    world().run(async |cluster| {
        let (record, before) = (cluster.record().await?, cluster.status().await?);
        let clusters: Api<MysqlCluster> = cluster.api();
        let nothing = serde_json::json!([{ "op": "replace", "path": "/status", "value": {} }]);
        let nothing = Patch::Json::<()>(serde_json::from_value(nothing)?);
        clusters.patch_status(&cluster.name, &PatchParams::default(), &nothing).await.context("emptying the status")?;
        cluster
            .wait_for("the status to be whole again", TOLD, || async {
                let now = cluster.status().await?;
                let names = |status: &objects::api::MysqlClusterStatus| {
                    let members = status.members.iter().map(|member| (member.name.clone(), member.role));
                    members.collect::<Vec<_>>()
                };
                let conditions = before.conditions.iter().all(|condition| {
                    now.conditions
                        .iter()
                        .any(|found| (&found.type_, &found.status) == (&condition.type_, &condition.status))
                });
                let whole = names(&now) == names(&before) && now.primary == before.primary && now.epoch == before.epoch;
                Ok((whole && conditions).then_some(()))
            })
            .await?;
        ensure!(cluster.record().await? == record, "a status decides nothing");
        Ok(())
    });
}

#[test]
fn too_few_members_wait_until_somebody_accepts_the_loss_by_naming_the_epoch() {
    world().run(async |cluster| {
        let before = cluster.record().await?;
        let last = before.members.iter().rev().find(|member| member.name != before.primary).context("a replica")?;
        let lost: Vec<_> = before.members.iter().filter(|member| member.name != last.name).collect();
        let mut agents = Vec::new();
        for member in lost.iter().rev() {
            let found = cluster.fingerprint(&member.name).await?;
            // The agent first, or it would start its mysqld again.
            agents.push(Pid::from_raw(found.first.pid));
            kill(Pid::from_raw(found.first.pid), Signal::SIGSTOP)?;
            kill(Pid::from_raw(found.mysqld.context("it runs mysqld")?.pid), Signal::SIGKILL)?;
        }
        let outcome = accept_without(&cluster, &before, &last.name, &lost).await;
        for agent in agents {
            // One that the kubelet replaced meanwhile is gone.
            let _ = kill(agent, Signal::SIGCONT);
        }
        outcome?;
        // Nobody wrote, so nobody has anything that was given up: they come back by themselves.
        cluster.wait_serving(3, WHOLE).await?;
        Ok(())
    });
}

async fn accept_without(cluster: &kit::Cluster, before: &Record, last: &str, lost: &[&Member]) -> Result<()> {
    let waits = cluster.wait_for("the cluster to say what it waits for", TOLD, || async {
        let condition = cluster.condition(PRIMARY_AVAILABLE).await?;
        let epoch = cluster.record().await?.epoch;
        // A member that has just gone silent is waited for: whoever answers cannot be given up.
        let gone = |said: &str| lost.iter().all(|member| said.contains(&format!("{}: not reachable", member.name)));
        let waits = condition.filter(|condition| condition.reason == "NoQuorum" && gone(&condition.message));
        Ok(waits.map(|condition| (condition.message, epoch)))
    });
    let (said, epoch) = waits.await?;
    ensure!(said.contains("accept-data-loss"), "it says what can be done: {said}");
    let accept = |named: u64| {
        let named = named.to_string();
        cluster.env().plugin(&["accept-data-loss", &cluster.name, "-n", NAMESPACE, "--epoch", &named])
    };
    let refused = accept(epoch + 1)?;
    let shown = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && shown.contains("not reachable"), "shown first, and refused: {shown}");
    ensure!(cluster.record().await?.epoch == epoch, "nothing was asked for");
    let accepted = accept(epoch)?;
    if !accepted.status.success() {
        bail!("{}{}", String::from_utf8_lossy(&accepted.stdout), String::from_utf8_lossy(&accepted.stderr));
    }
    let record = cluster.record().await?;
    ensure!((record.primary.as_str(), record.acks) == (last, before.acks), "{record:?}");
    ensure!(record.given_up.last().is_some_and(|given_up| given_up.members.len() == 2), "{record:?}");
    event(cluster, "DataLossAccepted", &lost[0].name).await
}

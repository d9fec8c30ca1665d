//! Policies are swapped, and whatever is wrong with one is told while the one before goes on deciding.

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, TOLD, world};
use kit::{Cluster, Packed};
use objects::api::PolicyStatus;
use objects::conditions::POLICY_READY;
use serde_json::{Value, json};
use topology::decision::Question;

use crate::{event, nothing_is_lost, under_load};

pub(crate) fn names(map: &str, key: &str, settings: Value) -> Value {
    json!({ "policies": { "primarySelection": {
        "module": { "configMap": { "name": map, "key": key } }, "settings": settings,
    }}})
}

pub(crate) async fn in_force(cluster: &Cluster) -> Result<PolicyStatus> {
    let policies = cluster.status().await?.policies.and_then(|policies| policies.primary_selection);
    policies.context("the status names no policy")
}

/// Brings a module in as a person does.
fn push(cluster: &Cluster, name: &str, component: &[u8]) -> Result<()> {
    let file = std::env::temp_dir().join(format!("grampus-e2e-{name}.wasm"));
    std::fs::write(&file, component)?;
    let path = file.to_str().context("a path that is no text")?;
    let output = cluster.env().plugin(&["policy", "push", name, path, "-n", NAMESPACE])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "push: {said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains(&format!("configmap/{name} key policy.wasm.zst: {name}")), "push said: {said}");
    std::fs::remove_file(&file).context("removing the module that was pushed")
}

/// Back to what the shared cluster has.
pub(crate) async fn back_to_default(cluster: &Cluster) -> Result<()> {
    cluster.patch_spec(json!({ "policies": null })).await?;
    wait_in_force(cluster, "most-advanced").await
}

pub(crate) async fn wait_in_force(cluster: &Cluster, name: &str) -> Result<()> {
    cluster
        .wait_for(&format!("{name} to be in force"), TOLD, || async {
            let condition = cluster.condition(POLICY_READY).await?;
            let ready =
                condition.is_some_and(|condition| condition.status == "True" && condition.message.contains(name));
            Ok((ready && in_force(cluster).await?.name == name).then_some(()))
        })
        .await
}

/// Applies a spec that names a bad module, and expects to be told why while nothing else changes.
pub(crate) async fn is_refused(cluster: &Cluster, spec: Value, why: &str) -> Result<()> {
    let (before, fingerprints, primary) =
        (in_force(cluster).await?, cluster.fingerprints().await?, cluster.primary().await?);
    cluster.patch_spec(spec).await?;
    cluster
        .wait_for(&format!("PolicyReady=False with `{why}`"), TOLD, || async {
            let condition = cluster.condition(POLICY_READY).await?;
            Ok(condition.filter(|condition| condition.status == "False" && condition.message.contains(why)))
        })
        .await?;
    event(cluster, "PolicyRefused", why).await?;
    let after = in_force(cluster).await?;
    ensure!((&after.name, &after.digest) == (&before.name, &before.digest), "another policy is in force: {after:?}");
    ensure!(after.problem.is_some(), "the status does not say what is wrong");
    ensure!(
        cluster.primary().await? == primary && cluster.fingerprints().await? == fingerprints,
        "the cluster was touched"
    );
    Ok(())
}

#[test]
fn a_swapped_policy_decides_and_nothing_restarts() {
    world().run(async |cluster| {
        let before = cluster.fingerprints().await?;
        let primary = cluster.primary().await?;
        let status = cluster.status().await?;
        let wanted = status.members.iter().rev().find(|member| member.name != primary).context("no replica")?.clone();
        let zone = wanted.zone.clone().context("no zone")?;
        push(&cluster, "prefer-zone", &world().prefer_zone.component)?;
        cluster.patch_spec(names("prefer-zone", "policy.wasm.zst", json!({ "zones": [zone] }))).await?;
        wait_in_force(&cluster, "prefer-zone").await?;
        let operated = cluster.switchover(None).await?;
        let reason = operated.succeeded()?.reason.clone().unwrap_or_default();
        ensure!(cluster.primary().await? == wanted.name, "{} should lead", wanted.name);
        ensure!(reason.contains(&format!("zone {zone}")) && reason.contains("prefer-zone"), "its reason: {reason}");
        ensure!(cluster.fingerprints().await? == before, "a swap restarted something");
        cluster.delete_policy("prefer-zone").await?;
        back_to_default(&cluster).await
    });
}

#[test]
fn a_config_map_deleted_while_in_use_takes_nothing_away() {
    world().run(async |cluster| {
        cluster.apply_policy("prefer-zone", "policy.wasm.zst", &world().prefer_zone.packed, Packed::Labelled).await?;
        cluster.patch_spec(names("prefer-zone", "policy.wasm.zst", json!({ "zones": ["a", "b", "c"] }))).await?;
        wait_in_force(&cluster, "prefer-zone").await?;
        cluster.delete_policy("prefer-zone").await?;
        let why = "there is no ConfigMap prefer-zone";
        cluster
            .wait_for("PolicyReady=False", TOLD, || async {
                let condition = cluster.condition(POLICY_READY).await?;
                Ok(condition.filter(|condition| condition.status == "False" && condition.message.contains(why)))
            })
            .await?;
        let operated = cluster.switchover(None).await?;
        let reason = operated.succeeded()?.reason.clone().unwrap_or_default();
        ensure!(reason.contains("prefer-zone"), "the module that was in force should still decide: {reason}");
        back_to_default(&cluster).await
    });
}

#[test]
fn a_module_that_cannot_be_used_is_told_and_the_one_before_decides() {
    world().run(async |cluster| {
        let good = &world().prefer_zone;
        back_to_default(&cluster).await?;
        let nothing = json!({});
        is_refused(&cluster, names("nowhere", "policy.wasm", nothing.clone()), "there is no ConfigMap nowhere").await?;
        cluster.apply_policy("unlabelled", "policy.wasm.zst", &good.packed, Packed::Bare).await?;
        is_refused(&cluster, names("unlabelled", "policy.wasm.zst", nothing.clone()), "lacks the label").await?;
        cluster.apply_policy("labelled", "policy.wasm.zst", &good.packed, Packed::Labelled).await?;
        is_refused(&cluster, names("labelled", "other.wasm", nothing.clone()), "has no other.wasm").await?;
        cluster.apply_policy("text", "policy.wasm", b"#!/bin/sh\n", Packed::Labelled).await?;
        is_refused(&cluster, names("text", "policy.wasm", nothing.clone()), "WebAssembly").await?;
        cluster.apply_policy("world", "policy.wasm", &engine::fixtures::other_world(), Packed::Labelled).await?;
        is_refused(&cluster, names("world", "policy.wasm", nothing.clone()), "grampus:primary-selection").await?;
        is_refused(&cluster, names("labelled", "policy.wasm.zst", json!({ "zones": [] })), "zones").await?;
        for map in ["unlabelled", "labelled", "text", "world"] {
            cluster.delete_policy(map).await?;
        }
        back_to_default(&cluster).await
    });
}

#[test]
fn a_module_that_never_names_anybody_is_overruled_and_told_of() {
    world().run(async |cluster| {
        cluster.apply_policy("hostile", "policy.wasm.zst", &world().hostile.packed, Packed::Labelled).await?;
        let mut spec = names("hostile", "policy.wasm.zst", json!({ "do": "hold" }));
        spec["policies"]["primarySelection"]["maxHold"] = "1s".into();
        cluster.patch_spec(spec).await?;
        wait_in_force(&cluster, "hostile").await?;
        let writer = under_load(&cluster).await?;
        let primary = cluster.primary().await?;
        cluster.kill_mysqld(&primary).await?;
        nothing_is_lost(&cluster, writer, "primary killed under a policy that only holds").await?;
        ensure!(cluster.primary().await? != primary, "{primary} leads again, though its mysqld was killed");
        let told = cluster.wait_condition(POLICY_READY, "False", TOLD).await?;
        for words in ["hostile", "held for longer than it may", "most-advanced"] {
            ensure!(told.message.contains(words), "PolicyReady says: {}", told.message);
        }
        ensure!(told.reason == "ModuleFailed", "PolicyReady has the reason {}", told.reason);
        event(&cluster, "PolicyFailed", "held for longer than it may").await?;
        cluster.delete_policy("hostile").await?;
        back_to_default(&cluster).await
    });
}

/// The decisions of a kind that the plugin prints, oldest first.
pub fn journal<Q: engine::DecisionKind>(cluster: &Cluster) -> Result<Vec<engine::Entry<Q>>> {
    let output = cluster.env().plugin(&["journal", &cluster.name, "-n", &cluster.namespace])?;
    ensure!(output.status.success(), "kubectl grampus journal failed: {output:?}");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut entries = Vec::new();
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if value["decision"] == Q::KIND.name() {
            entries.push(serde_json::from_value(value).with_context(|| line.to_owned())?);
        }
    }
    Ok(entries)
}

/// A metric of the operator that acts, from its own mouth.
pub async fn counter(cluster: &Cluster, name: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let operator = kit::Operator::of(cluster.env());
    let leader = operator.leader().await?;
    let pod = operator.pods().await?.into_iter().find(|pod| pod.metadata.name.as_ref() == Some(&leader));
    let address = pod.and_then(|pod| pod.status?.pod_ip).context("the operator that acts has no address")?;
    let mut stream = tokio::net::TcpStream::connect((address.as_str(), 8080)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_shadow_disagrees_in_a_switchover_and_the_journal_outlives_every_operator() {
    world().run(async |cluster| {
        let status = cluster.status().await?;
        let primary = cluster.primary().await?;
        let mut replicas = status.members.iter().filter(|member| member.name != primary);
        let (wanted, other) = (replicas.next().context("no replica")?, replicas.next().context("no second replica")?);
        let zone = |member: &objects::api::MemberStatus| member.zone.clone().context("no zone");
        cluster.apply_policy("prefer-zone", "policy.wasm.zst", &world().prefer_zone.packed, Packed::Labelled).await?;
        cluster.apply_policy("hostile", "policy.wasm.zst", &world().hostile.packed, Packed::Labelled).await?;
        let shadow = |map: &str, settings: Value| {
            json!({ "module": { "configMap": { "name": map, "key": "policy.wasm.zst" } }, "settings": settings })
        };
        let mut spec = names("prefer-zone", "policy.wasm.zst", json!({ "zones": [zone(wanted)?] }));
        spec["policies"]["primarySelection"]["shadows"] = json!([
            shadow("prefer-zone", json!({ "zones": [zone(other)?] })),
            shadow("hostile", json!({ "do": "loop", "afterRehearsal": true })),
        ]);
        cluster.patch_spec(spec).await?;
        wait_in_force(&cluster, "prefer-zone").await?;
        cluster
            .wait_for("both shadows to be asked", TOLD, || async {
                let shadows = in_force(&cluster).await?.shadows;
                Ok((shadows.len() == 2 && shadows.iter().all(|shadow| shadow.name.is_some())).then_some(()))
            })
            .await?;
        cluster.switchover(None).await?.succeeded()?;
        ensure!(cluster.primary().await? == wanted.name, "{} should lead, whatever a shadow says", wanted.name);
        let decided = cluster
            .wait_for("the switchover and its shadows in the journal", TOLD, || async {
                let decided = journal::<Question>(&cluster)?.into_iter().rev().find(|entry| {
                    let said = entry.shadows.iter().map(|one| engine::disagrees(one, &entry.answer));
                    let became = entry.outcome.as_deref().is_some_and(|outcome| outcome.contains("leads since"));
                    became && said.collect::<Vec<_>>() == [true, false]
                });
                Ok(decided)
            })
            .await?;
        ensure!(engine::chosen(&decided.answer) == Some(wanted.name.as_str()), "{decided:?}");
        ensure!(engine::in_words(&decided.shadows[0].said).starts_with(&other.name), "{decided:?}");
        ensure!(engine::in_words(&decided.shadows[1].said).contains("does it loop?"), "{decided:?}");
        let counted = counter(&cluster, "grampus_policy_shadow_disagreements_total").await?;
        ensure!(counted.lines().any(|line| line.contains("prefer-zone") && !line.ends_with(" 0")), "{counted}");

        let operator = kit::Operator::of(cluster.env());
        operator.scale(0).await?;
        operator.scale(2).await?;
        cluster.switchover(None).await?.succeeded()?;
        cluster
            .wait_for("the journal to go on where it was", TOLD, || async {
                let entries = journal::<Question>(&cluster)?;
                let before = entries.iter().position(|entry| entry.id == decided.id);
                let before = before.context("the decision before the restart is gone")?;
                Ok(entries[before + 1..].iter().any(|entry| entry.question.epoch > decided.question.epoch).then_some(()))
            })
            .await?;
        cluster
            .wait_for("an explanation of who would lead", e2e::FAILOVER, || async {
                let output = cluster.env().plugin(&["explain", &cluster.name, "-n", &cluster.namespace])?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let whole = ["were lost now", "would lead", "shadows", "fails: ", "last decisions", "leads since"];
                Ok(whole.iter().all(|words| text.contains(words)).then_some(()))
            })
            .await?;
        cluster.delete_policy("prefer-zone").await?;
        cluster.delete_policy("hostile").await?;
        back_to_default(&cluster).await
    });
}

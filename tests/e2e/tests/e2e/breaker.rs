//! A module that passes every trial and fails when it matters is taken out of use, and comes back when it answers again.

use anyhow::{Context as _, Result, ensure};
use e2e::{FAILOVER, NAMESPACE, TOLD, world};
use engine::Change;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kit::{Cluster, Packed};
use kube::Api;
use kube::api::ListParams;
use objects::api::{OutOfUseStatus, policy};
use objects::conditions::POLICY_READY;
use serde_json::{Value, json};
use topology::decision::Question;

use crate::policies::{back_to_default, in_force, is_refused, journal, names, wait_in_force};

/// In how many epochs the module traps: one more than it takes until it is out of use.
const SPELL: u64 = 3;

/// Events of this reason about a cluster.
async fn events(cluster: &Cluster, reason: &str) -> Result<usize> {
    let events: Api<Event> = cluster.api();
    let about = |event: &Event| event.regarding.as_ref().and_then(|about| about.name.clone());
    let events = events.list(&ListParams::default()).await?.items;
    let told = events.iter().filter(|event| event.reason.as_deref() == Some(reason));
    Ok(told.filter(|event| about(event).as_deref() == Some(cluster.name.as_str())).count())
}

/// A module that traps in some epochs.
fn traps(settings: Value) -> Value {
    let mut all = json!({ "do": "trap", "afterRehearsal": null, "fromEpoch": null, "untilEpoch": null });
    if let (Value::Object(all), Value::Object(settings)) = (&mut all, settings) {
        all.extend(settings);
    }
    names("hostile", policy::PACKED, all)
}

/// What `explain` says.
fn explained(cluster: &Cluster) -> Result<String> {
    let output = cluster.env().plugin(&["explain", &cluster.name, "-n", NAMESPACE])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Changes the primary by policies, whichever it is that decides, and says why whoever leads was chosen.
async fn move_on(cluster: &Cluster) -> Result<String> {
    Ok(cluster.switchover(None).await?.succeeded()?.reason.clone().unwrap_or_default())
}

/// Moves on until no question that is remembered is of a later epoch than the cluster: one of this name that is gone may have
/// come further, and its questions are put to a new module too.
async fn newest_epoch(cluster: &Cluster) -> Result<u64> {
    loop {
        move_on(cluster).await?;
        let epoch = cluster.record().await?.epoch;
        let asked = cluster.wait_for("a real question in the journal", TOLD, || async {
            let epochs: Vec<_> = journal::<Question>(cluster)?.iter().map(|entry| entry.question.epoch).collect();
            Ok(epochs.contains(&epoch).then_some(epochs))
        });
        if asked.await?.into_iter().all(|asked| asked <= epoch) {
            return Ok(epoch);
        }
    }
}

/// Moves on until the module in force is out of use: some questions of one change suffice as a rule.
async fn wear_out(cluster: &Cluster) -> Result<OutOfUseStatus> {
    for _ in 0..2 {
        let reason = move_on(cluster).await?;
        ensure!(reason.contains("most-advanced"), "the default decides where the module traps: {reason}");
        let out = cluster.wait_for("the status to tell of the module", TOLD, || async {
            let policy = in_force(cluster).await?;
            Ok((policy.breaker.is_some() || policy.failed.is_some()).then_some(policy.out_of_use))
        });
        if let Some(out) = out.await? {
            return Ok(out);
        }
    }
    anyhow::bail!("the module trapped in two changes of primary and is still in use")
}

#[test]
fn a_module_that_traps_when_it_matters_is_taken_out_of_use_and_comes_back_when_it_answers() {
    world().run(async |cluster| {
        back_to_default(&cluster).await?;
        let epoch = newest_epoch(&cluster).await?;
        cluster.apply_policy("hostile", policy::PACKED, &world().hostile.packed, Packed::Labelled).await?;
        // Built-in questions it survives, and not those that this cluster asked.
        is_refused(&cluster, traps(json!({ "afterRehearsal": true })), "rehearsal (\"what was asked at").await?;

        let (opened, closed) =
            (events(&cluster, "PolicyBreakerOpened").await?, events(&cluster, "PolicyBreakerClosed").await?);
        cluster.patch_spec(traps(json!({ "fromEpoch": epoch + 1, "untilEpoch": epoch + SPELL }))).await?;
        wait_in_force(&cluster, "hostile").await?;
        let out = wear_out(&cluster).await?;
        let told = cluster.wait_condition(POLICY_READY, "False", TOLD).await?;
        ensure!(told.reason == "BreakerOpen" && told.message.contains("told to panic"), "PolicyReady says: {told:?}");
        ensure!(out.instead.contains("most-advanced") && out.until.0 > out.since.0, "{out:?}");
        let text = explained(&cluster)?;
        for words in ["out of use since", "told to panic", "meanwhile most-advanced", "is put to it again"] {
            ensure!(text.contains(words), "explain says nothing of `{words}`:\n{text}");
        }
        println!("{text}");

        // Until the cluster is where the module answers again: what is asked first in a change is of the epoch before it.
        while cluster.record().await?.epoch < epoch + SPELL {
            let reason = move_on(&cluster).await?;
            ensure!(reason.contains("most-advanced"), "{reason}");
        }
        cluster
            .wait_for("nothing to have failed, because it was not asked", TOLD, || async {
                Ok(in_force(&cluster).await?.failed.is_none().then_some(()))
            })
            .await?;
        ensure!(events(&cluster, "PolicyBreakerOpened").await? == opened + 1, "told more than once, or not at all");

        let until = in_force(&cluster).await?.out_of_use.context("it is back too soon")?.until.0;
        cluster
            .wait_for("its pause to be over", FAILOVER, || async { Ok((Timestamp::now() > until).then_some(())) })
            .await?;
        let reason = move_on(&cluster).await?;
        ensure!(reason.contains("hostile"), "it answers again, and was not asked: {reason}");
        wait_in_force(&cluster, "hostile").await?;
        cluster
            .wait_for("both changes in the journal", TOLD, || async {
                let changes: Vec<_> = journal::<Question>(&cluster)?.iter().filter_map(|entry| entry.breaker).collect();
                Ok(changes.ends_with(&[Change::Opened, Change::Closed]).then_some(()))
            })
            .await?;
        ensure!(events(&cluster, "PolicyBreakerClosed").await? == closed + 1, "told more than once, or not at all");
        ensure!(!explained(&cluster)?.contains("out of use"), "explain still says that it is out of use");
        cluster.delete_policy("hostile").await?;
        back_to_default(&cluster).await
    });
}

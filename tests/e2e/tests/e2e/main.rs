//! Everything `make demo` shows, and the other ways in which a cluster is hurt or misused, on a real Kubernetes.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of a test for something else")]

mod advice;
mod alone;
mod archive;
mod backup;
mod bad_input;
mod certificates;
mod control;
mod drill;
mod faults;
mod import;
mod mend;
mod operator;
mod point_in_time;
mod policies;
mod policy_life;
mod readers;
mod rebuild;
mod recovery;
mod retention;
mod rollout;
mod runbook;
mod scale;
mod scenarios;
mod switchover;
mod view;
mod window;

use anyhow::{Context, Result};
use k8s_openapi::api::events::v1::Event;
use kit::{Cluster, Load, Writer};
use kube::Api;
use kube::api::ListParams;

/// Writers that are at work: what a fault meets.
async fn under_load(cluster: &Cluster) -> Result<Writer> {
    let mut writer = Writer::start(cluster, Load::default()).await?;
    rows_go_on(cluster, &mut writer).await?;
    Ok(writer)
}

/// That rows are acknowledged, with a diagnosis if they are not.
async fn rows_go_on(cluster: &Cluster, writer: &mut Writer) -> Result<()> {
    match writer.wait_rows(100, e2e::FAILOVER).await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(cluster.diagnosis().await)),
    }
}

/// That writes go on, and that every acknowledged row is on every member once the cluster is whole again.
async fn nothing_is_lost(cluster: &Cluster, mut writer: Writer, what: &str) -> Result<()> {
    rows_go_on(cluster, &mut writer).await?;
    cluster.wait_serving(3, e2e::WHOLE).await?;
    let ledger = writer.stop().await?;
    let outage = ledger.longest_outage(std::time::Duration::ZERO).context("hardly anything was written")?;
    let verdict = ledger.check(cluster).await?;
    println!(
        "{what}: {} rows acknowledged, {} unknown, {} missing; longest gap {} ms",
        verdict.acknowledged,
        verdict.unknown,
        verdict.missing.len(),
        outage.lasted().as_millis()
    );
    verdict.hold()
}

/// Waits for an Event about the cluster with this reason whose note contains this text.
async fn event(cluster: &Cluster, reason: &str, note: &str) -> Result<()> {
    let events: Api<Event> = cluster.api();
    cluster
        .wait_for(&format!("an Event {reason} with `{note}`"), e2e::TOLD, || async {
            let events = events.list(&ListParams::default()).await?.items;
            let found = events.into_iter().any(|event| {
                event.regarding.and_then(|about| about.name).as_deref() == Some(cluster.name.as_str())
                    && event.reason.as_deref() == Some(reason)
                    && event.note.is_some_and(|text| text.contains(note))
            });
            Ok(found.then_some(()))
        })
        .await
}

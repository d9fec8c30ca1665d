//! Asks for the drills that are due: a MysqlOperation for the last moment of a schedule, if there is none yet.
//!
//! Its name is made from that moment, so that nobody asks twice. A drill that found nothing out is asked for again, a few
//! times; one that failed is not, because a person has to see to it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Resource as _, ResourceExt as _};
use objects::api::{DrillResult, MysqlCluster, MysqlOperation, MysqlOperationSpec, OperationType, labels};
use objects::validate::drill_schedule;

use crate::Context;

/// How often a drill is tried that finds nothing out, and how long after the last try.
const TRIES: u32 = 3;
const RETRY: SignedDuration = SignedDuration::from_mins(30);

/// Asks for what is due of every cluster, of which these were asked for already.
pub async fn ask_for_all(context: &Context, drills: &[Arc<MysqlOperation>]) {
    let now = Timestamp::now();
    for cluster in context.cache.clusters.state() {
        let Some(name) = due(&cluster, drills, now) else { continue };
        if let Err(error) = ask(context, &cluster, &name).await {
            tracing::warn!(%error, cluster = cluster.name_any(), "a drill that is due was not asked for");
        }
    }
}

/// The name of the drill that is to be asked for, if one is.
fn due(cluster: &MysqlCluster, drills: &[Arc<MysqlOperation>], now: Timestamp) -> Option<String> {
    if cluster.spec.paused || cluster.metadata.deletion_timestamp.is_some() {
        return None;
    }
    // A schedule that cannot be read is the resources controller's to tell.
    let schedule = drill_schedule(cluster.spec.backup.as_ref()?)?.ok()?;
    let moment = schedule.last_due(cluster.creation_timestamp()?.0, now)?;
    let stem = format!("{}-drill-{}", cluster.name_any(), moment.strftime("%Y%m%d-%H%M"));
    for attempt in 1..=TRIES {
        let name = if attempt == 1 { stem.clone() } else { format!("{stem}-{attempt}") };
        let asked = drills.iter().find(|drill| drill.name_any() == name && drill.namespace() == cluster.namespace());
        let Some(asked) = asked else { return Some(name) };
        let status = asked.status.as_ref()?.drill.as_ref()?;
        let over = status.at.as_ref()?.0.checked_add(RETRY).is_ok_and(|again| again <= now);
        if status.result != Some(DrillResult::Inconclusive) || !over {
            return None;
        }
    }
    None
}

async fn ask(context: &Context, cluster: &MysqlCluster, name: &str) -> Result<(), kube::Error> {
    let operations: Api<MysqlOperation> =
        Api::namespaced(context.client.clone(), &cluster.namespace().unwrap_or_default());
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([(labels::DRILL_OF.to_owned(), cluster.name_any())].into()),
        owner_references: cluster.owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    let spec = MysqlOperationSpec::new(&cluster.name_any(), OperationType::Drill);
    match operations.create(&PostParams::default(), &MysqlOperation { metadata, spec, status: None }).await {
        Ok(_) => {
            tracing::info!(name, "a drill is asked for");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(drill: serde_json::Value, paused: bool) -> MysqlCluster {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": "shop", "namespace": "store", "creationTimestamp": "2026-11-20T00:00:00Z" },
            "spec": { "storage": { "size": "1Gi" }, "backup": { "store": {}, "timeZone": "Asia/Shanghai", "drill": drill }, "paused": paused },
        });
        serde_json::from_value(object).unwrap()
    }

    fn ended(name: &str, result: &str, at: &str) -> Arc<MysqlOperation> {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlOperation", "metadata": { "name": name, "namespace": "store" },
            "spec": { "cluster": "shop", "type": "Drill" }, "status": { "drill": { "result": result, "at": at } },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn at(drills: &[Arc<MysqlOperation>], now: &str) -> Option<String> {
        let sundays = serde_json::json!({ "schedule": "0 5 * * 0" });
        due(&cluster(sundays, false), drills, now.parse().unwrap())
    }

    #[test]
    fn every_look_at_one_moment_names_one_drill_and_what_was_missed_is_made_up_for_once() {
        // Sunday at five in Shanghai is Saturday evening in UTC.
        assert_eq!(at(&[], "2026-11-21T20:59:59Z"), None, "nothing is due from before the cluster was made");
        for now in ["2026-11-21T21:00:00Z", "2026-11-27T03:00:00Z", "2026-11-28T20:59:59Z"] {
            assert_eq!(at(&[], now).as_deref(), Some("shop-drill-20261121-2100"), "{now}");
        }
        assert_eq!(at(&[], "2026-12-30T00:00:00Z").as_deref(), Some("shop-drill-20261226-2100"), "only the last");
        let done = [ended("shop-drill-20261121-2100", "Succeeded", "2026-11-21T21:04:00Z")];
        assert_eq!(at(&done, "2026-11-27T03:00:00Z"), None);
    }

    #[test]
    fn what_found_nothing_out_is_tried_again_a_few_times_and_what_failed_is_not() {
        let failed = [ended("shop-drill-20261121-2100", "Failed", "2026-11-21T21:04:00Z")];
        assert_eq!(at(&failed, "2026-11-27T03:00:00Z"), None);
        let mut all = vec![ended("shop-drill-20261121-2100", "Inconclusive", "2026-11-21T21:04:00Z")];
        assert_eq!(at(&all, "2026-11-21T21:33:59Z"), None, "not at once");
        assert_eq!(at(&all, "2026-11-21T21:34:00Z").as_deref(), Some("shop-drill-20261121-2100-2"));
        all.push(ended("shop-drill-20261121-2100-2", "Inconclusive", "2026-11-21T21:40:00Z"));
        assert_eq!(at(&all, "2026-11-21T22:10:00Z").as_deref(), Some("shop-drill-20261121-2100-3"));
        all.push(ended("shop-drill-20261121-2100-3", "Inconclusive", "2026-11-21T22:20:00Z"));
        assert_eq!(at(&all, "2026-11-27T03:00:00Z"), None);
    }

    #[test]
    fn nothing_is_due_without_a_schedule_or_while_paused() {
        let now = "2026-11-27T03:00:00Z".parse().unwrap();
        assert_eq!(due(&cluster(serde_json::Value::Null, false), &[], now), None);
        assert_eq!(due(&cluster(serde_json::json!({ "schedule": "0 5 * * 0" }), true), &[], now), None);
    }
}

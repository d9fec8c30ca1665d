//! Asks for the backups that are due: a MysqlBackup for the last moment of a schedule, if there is none yet.
//!
//! Its name is made from that moment, so that nobody asks twice, whoever looks and however often. What was missed while
//! no operator ran is made up for once; moments before the cluster was made, or before that, are not. A policy may have it
//! wait for a while.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt as _};
use objects::api::{MysqlBackup, MysqlBackupSpec, MysqlCluster, labels};
use objects::validate::backup_schedule;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::window::Windows;
use crate::Context;

/// How often schedules are looked at: no moment is finer than a minute.
const LOOK: Duration = Duration::from_secs(10);

/// Asks for what is due until the term ends. `made` are the backups that there are.
pub(super) async fn run(context: Arc<Context>, made: Store<MysqlBackup>, term: CancellationToken) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was last asked for, so that nobody asks the API server every time; losing it costs one refusal.
    let mut asked = std::collections::HashMap::new();
    let mut windows = Windows::new(made.clone());
    // Nobody is asked about a backup that is there already; before all are known, that cannot be told.
    let Some(Ok(())) = term.run_until_cancelled(made.wait_until_ready()).await else { return };
    while term.run_until_cancelled(tick.tick()).await.is_some() {
        let now = Timestamp::now();
        for cluster in context.cache.clusters.state() {
            let Some((name, moment)) = due(&cluster, now) else { continue };
            let key = (cluster.namespace(), cluster.name_any(), cluster.uid());
            let there = ObjectRef::new(&name).within(&cluster.namespace().unwrap_or_default());
            if asked.get(&key) == Some(&moment) || made.get(&there).is_some() {
                continue;
            }
            if !windows.is_open(&context, &cluster, moment, now).await {
                continue;
            }
            match ask(&context, &cluster, name).await {
                Ok(()) => drop(asked.insert(key, moment)),
                Err(error) => {
                    tracing::warn!(%error, cluster = cluster.name_any(), "a backup that is due was not asked for")
                }
            }
        }
    }
}

/// The name of the backup that was due last, and when that was.
pub(super) fn due(cluster: &MysqlCluster, now: Timestamp) -> Option<(String, Timestamp)> {
    if cluster.spec.paused || cluster.metadata.deletion_timestamp.is_some() {
        return None;
    }
    // A schedule that cannot be read is the resources controller's to tell.
    let schedule = backup_schedule(cluster.spec.backup.as_ref()?)?.ok()?;
    let moment = schedule.last_due(cluster.creation_timestamp()?.0, now)?;
    let name = format!("{}-{}", cluster.name_any(), moment.strftime("%Y%m%d-%H%M"));
    Some((name, moment))
}

/// Asks for a backup of this name, unless there is one.
pub(super) async fn ask(context: &Context, cluster: &MysqlCluster, name: String) -> Result<(), kube::Error> {
    let backups: Api<MysqlBackup> = Api::namespaced(context.client.clone(), &cluster.namespace().unwrap_or_default());
    let metadata = ObjectMeta {
        name: Some(name),
        labels: Some(
            [(labels::CLUSTER, cluster.name_any()), (labels::SCHEDULED_FOR, cluster.uid().unwrap_or_default())]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
        ),
        ..ObjectMeta::default()
    };
    let spec = MysqlBackupSpec { cluster: cluster.name_any(), method: None };
    match backups.create(&PostParams::default(), &MysqlBackup { metadata, spec, status: None }).await {
        Ok(created) => {
            tracing::info!(backup = created.name_any(), "a backup is asked for");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(backup: serde_json::Value, paused: bool) -> MysqlCluster {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": "shop", "namespace": "store", "creationTimestamp": "2026-11-20T00:00:00Z" },
            "spec": { "storage": { "size": "1Gi" }, "backup": backup, "paused": paused },
        });
        serde_json::from_value(object).unwrap()
    }

    fn nightly() -> serde_json::Value {
        serde_json::json!({ "store": {}, "schedule": "0 2 * * *", "timeZone": "Asia/Shanghai" })
    }

    #[test]
    fn every_look_at_one_moment_names_one_backup() {
        let at = |text: &str| due(&cluster(nightly(), false), text.parse().unwrap()).map(|(name, _)| name);
        assert_eq!(at("2026-11-26T18:00:00Z").as_deref(), Some("shop-20261126-1800"));
        assert_eq!(at("2026-11-27T17:59:59Z").as_deref(), Some("shop-20261126-1800"));
        assert_eq!(at("2026-11-20T10:00:00Z"), None, "nothing is due from before the cluster was made");
    }

    #[test]
    fn nothing_is_due_without_a_schedule_or_while_paused() {
        let now = "2026-11-26T18:00:00Z".parse().unwrap();
        assert_eq!(due(&cluster(serde_json::json!({ "store": {} }), false), now), None);
        assert_eq!(due(&cluster(nightly(), true), now), None);
    }
}

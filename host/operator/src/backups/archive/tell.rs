//! Tells of an archive in the status of its cluster. Only this controller's fields are written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource as _, ResourceExt as _};
use objects::api::{ArchiveStatus, MysqlCluster, MysqlClusterStatus};
use objects::conditions::{BACKUPS_CURRENT, find};
use topology::gtid::GtidSet;

use crate::Context;

/// Who writes these fields of the status.
const MANAGER: &str = "grampus/backups";

/// The longest GTID set that an Event names whole: notes have at most 1024 bytes.
const LONGEST_SET: usize = 600;

/// Whether something of this controller stands in the status.
pub fn is_told(cluster: &MysqlCluster) -> bool {
    let status = cluster.status.as_ref();
    let told = |status: &MysqlClusterStatus| status.backup.as_ref().is_some_and(|backup| backup.archive.is_some());
    status.is_some_and(|status| told(status) || find(&status.conditions, BACKUPS_CURRENT).is_some())
}

/// Writes what is so.
pub async fn publish(
    context: &Context,
    cluster: &MysqlCluster,
    archive: &ArchiveStatus,
    condition: &Condition,
) -> Result<(), kube::Error> {
    apply(context, cluster, serde_json::json!({ "backup": { "archive": archive }, "conditions": [condition] })).await
}

/// Takes back what was written: nobody asks for an archive any more.
pub async fn withdraw(context: &Context, cluster: &MysqlCluster) {
    if let Err(error) = apply(context, cluster, serde_json::json!({})).await {
        tracing::warn!(%error, cluster = cluster.name_any(), "what was told of an archive could not be taken back");
    }
}

async fn apply(context: &Context, cluster: &MysqlCluster, status: serde_json::Value) -> Result<(), kube::Error> {
    let patch = serde_json::json!({
        "apiVersion": MysqlCluster::api_version(&()),
        "kind": MysqlCluster::kind(&()),
        "metadata": { "name": cluster.name_any() },
        "status": status,
    });
    let api: Api<MysqlCluster> = Api::namespaced(context.client.clone(), &cluster.namespace().unwrap_or_default());
    let params = PatchParams::apply(MANAGER).force();
    api.patch_status(&cluster.name_any(), &params, &Patch::Apply(&patch)).await.map(drop)
}

/// An Event about a hole. One that cannot be written is a pity and nothing more: the entry of the segment says the same.
pub async fn hole(context: &Context, cluster: &MysqlCluster, member: &str, missing: &GtidSet) {
    let mut named = missing.to_string();
    if named.len() > LONGEST_SET {
        named = format!("{} transactions", missing.count());
    }
    let note = format!(
        "{named} were purged from every member's binary log before they were archived, by {member} as well: nothing can be \
         recovered to a moment among them. A full backup is made at once, from which the archive goes on"
    );
    let event = Event {
        type_: EventType::Warning,
        reason: "ArchiveHole".to_owned(),
        note: Some(note),
        action: "Archive".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &cluster.object_ref(&())).await {
        tracing::warn!(%error, "an Event could not be written");
    }
}

//! Tells of an archive in the status of its cluster. Only this controller's fields are written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use objects::api::{ArchiveStatus, MysqlCluster, MysqlClusterStatus};
use objects::conditions::{BACKUPS_CURRENT, find};
use topology::gtid::GtidSet;

use crate::Context;
use crate::backups::tell::{apply, event};

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
    apply(context, cluster, MANAGER, serde_json::json!({ "backup": { "archive": archive }, "conditions": [condition] }))
        .await
}

/// Takes back what was written: nobody asks for an archive any more.
pub async fn withdraw(context: &Context, cluster: &MysqlCluster) {
    if let Err(error) = apply(context, cluster, MANAGER, serde_json::json!({})).await {
        tracing::warn!(%error, cluster = cluster.name_any(), "what was told of an archive could not be taken back");
    }
}

/// An Event about a hole; the entry of the segment says the same.
pub async fn hole(context: &Context, cluster: &MysqlCluster, member: &str, missing: &GtidSet) {
    let mut named = missing.to_string();
    if named.len() > LONGEST_SET {
        named = format!("{} transactions", missing.count());
    }
    let note = format!(
        "{named} were purged from every member's binary log before they were archived, by {member} as well: nothing can be \
         recovered to a moment among them. A full backup is made at once, from which the archive goes on"
    );
    event(context, cluster, EventType::Warning, "ArchiveHole", "Archive", note).await;
}

//! Tells of what is kept in the status of a cluster. Only this controller's field is written, and only when it changed.

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use objects::api::{MysqlCluster, RetentionStatus};

use crate::Context;
use crate::backups::tell::{apply, event};

/// Who writes this field of the status.
const MANAGER: &str = "grampus/retention";

fn told(cluster: &MysqlCluster) -> Option<&RetentionStatus> {
    cluster.status.as_ref()?.backup.as_ref()?.retention.as_ref()
}

/// Whether something of this controller stands in the status.
pub fn is_told(cluster: &MysqlCluster) -> bool {
    told(cluster).is_some()
}

/// Writes what is so, if something else stands there.
pub async fn publish(context: &Context, cluster: &MysqlCluster, status: &RetentionStatus) -> Result<(), kube::Error> {
    if told(cluster) == Some(status) {
        return Ok(());
    }
    apply(context, cluster, MANAGER, serde_json::json!({ "backup": { "retention": status } })).await
}

/// Takes back what was written: everything is kept now.
pub async fn withdraw(context: &Context, cluster: &MysqlCluster) {
    if let Err(error) = apply(context, cluster, MANAGER, serde_json::json!({})).await {
        tracing::warn!(%error, cluster = cluster.name_any(), "what was told of retention could not be taken back");
    }
}

/// An Event about what was removed.
pub async fn removed(context: &Context, cluster: &MysqlCluster, note: String) {
    event(context, cluster, EventType::Normal, "BackupsRemoved", "Remove", note).await;
}

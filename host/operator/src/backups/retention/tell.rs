//! Tells of what is kept in the status of a cluster. Only this controller's field is written, and only when it changed.

use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource as _, ResourceExt as _};
use objects::api::{MysqlCluster, RetentionStatus};

use crate::Context;

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
    apply(context, cluster, serde_json::json!({ "backup": { "retention": status } })).await
}

/// Takes back what was written: everything is kept now.
pub async fn withdraw(context: &Context, cluster: &MysqlCluster) {
    if let Err(error) = apply(context, cluster, serde_json::json!({})).await {
        tracing::warn!(%error, cluster = cluster.name_any(), "what was told of retention could not be taken back");
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

/// An Event about what was removed. One that cannot be written is a pity and nothing more.
pub async fn removed(context: &Context, cluster: &MysqlCluster, note: String) {
    let event = Event {
        type_: EventType::Normal,
        reason: "BackupsRemoved".to_owned(),
        note: Some(note),
        action: "Remove".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &cluster.object_ref(&())).await {
        tracing::warn!(%error, "an Event could not be written");
    }
}

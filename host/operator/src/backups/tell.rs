//! How what is told of backups gets into a cluster's status and into Events. Each who tells something is a manager of fields
//! of its own, so that nobody takes back what another wrote.

use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource as _, ResourceExt as _};
use objects::api::MysqlCluster;

use crate::Context;

/// Writes all that this manager has to tell: what it wrote before and is not in it is taken back.
pub async fn apply(
    context: &Context,
    cluster: &MysqlCluster,
    manager: &str,
    status: serde_json::Value,
) -> Result<(), kube::Error> {
    let patch = serde_json::json!({
        "apiVersion": MysqlCluster::api_version(&()),
        "kind": MysqlCluster::kind(&()),
        "metadata": { "name": cluster.name_any() },
        "status": status,
    });
    let api: Api<MysqlCluster> = Api::namespaced(context.client.clone(), &cluster.namespace().unwrap_or_default());
    let params = PatchParams::apply(manager).force();
    api.patch_status(&cluster.name_any(), &params, &Patch::Apply(&patch)).await.map(drop)
}

/// The API server takes notes of up to 1024 bytes.
const LONGEST_NOTE: usize = 1000;

/// An Event. One that cannot be written is a pity and nothing more: what it tells of stands elsewhere too.
pub async fn event(
    context: &Context,
    about: &impl kube::Resource<DynamicType = ()>,
    type_: EventType,
    reason: &str,
    action: &str,
    mut note: String,
) {
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None };
    if let Err(error) = context.recorder.publish(&event, &about.object_ref(&())).await {
        tracing::warn!(%error, reason, "an Event could not be written");
    }
}

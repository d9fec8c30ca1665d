//! Tells of drills: in the status of the operation, in that of the cluster and of the backup, and in an Event at the end.
//!
//! Nothing is decided by it but that what has ended is not begun again. Only this controller's fields are written.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};
use objects::api::{
    BackupsStatus, DrillResult, DrillStatus, MysqlBackup, MysqlCluster, MysqlOperation, MysqlOperationStatus, Outcome,
};
use objects::conditions::{BACKUPS_VERIFIED, find};

use super::judge::{Known, reason};
use crate::Context;
use crate::backups::tell::{apply, event};

/// Who writes these fields of a cluster's status.
const MANAGER: &str = "grampus/drills";

/// How far a drill is.
pub async fn running(context: &Context, drill: &MysqlOperation, instance: Option<String>, message: &str) {
    let before = drill.status.clone().unwrap_or_default();
    let known = before.drill.clone().unwrap_or_default();
    let status = MysqlOperationStatus {
        outcome: Some(Outcome::Running),
        message: Some(message.to_owned()),
        started_at: before.started_at.clone().or_else(|| Some(Time(Timestamp::now()))),
        drill: Some(DrillStatus { instance: instance.or_else(|| known.instance.clone()), ..known }),
        ..before.clone()
    };
    if before != status {
        write(context, drill, &status).await;
    }
}

/// It has come to an end.
pub async fn ended(context: &Context, drill: &MysqlOperation, cluster: Option<&MysqlCluster>, end: DrillStatus) {
    let result = end.result.unwrap_or(DrillResult::Inconclusive);
    let message = end.message.clone().unwrap_or_default();
    tracing::info!(drill = drill.name_any(), ?result, message, "a drill has ended");
    let before = drill.status.clone().unwrap_or_default();
    let succeeded = result == DrillResult::Succeeded;
    let status = MysqlOperationStatus {
        outcome: Some(if succeeded { Outcome::Succeeded } else { Outcome::Failed }),
        message: Some(message.clone()),
        started_at: before.started_at.clone().or_else(|| end.at.clone()),
        finished_at: end.at.clone(),
        drill: Some(end.clone()),
        ..before
    };
    if !write(context, drill, &status).await {
        return;
    }
    let Some(cluster) = cluster else { return };
    if let (true, Some(path), Some(at)) = (succeeded, &end.backup, &end.at) {
        verified(context, cluster, path, at).await;
    }
    let kind = if succeeded { EventType::Normal } else { EventType::Warning };
    event(context, cluster, kind, reason(result), "Drill", message).await;
}

/// Writes the status of an operation. Whoever could not, looks again.
async fn write(context: &Context, drill: &MysqlOperation, status: &MysqlOperationStatus) -> bool {
    let operations: Api<MysqlOperation> =
        Api::namespaced(context.client.clone(), &drill.namespace().unwrap_or_default());
    let patch = Patch::Merge(serde_json::json!({ "status": status }));
    let written = operations.patch_status(&drill.name_any(), &PatchParams::default(), &patch).await;
    if let Err(error) = &written {
        tracing::warn!(drill = drill.name_any(), %error, "the status of a drill could not be written");
    }
    written.is_ok()
}

/// Marks the MysqlBackup that lies there, if there is one.
async fn verified(context: &Context, cluster: &MysqlCluster, path: &str, at: &Time) {
    let backups: Api<MysqlBackup> = Api::namespaced(context.client.clone(), &cluster.namespace().unwrap_or_default());
    let marked = async {
        for backup in backups.list(&ListParams::default()).await?.items {
            if backup.status.as_ref().and_then(|status| status.path.as_deref()) == Some(path) {
                let patch = Patch::Merge(serde_json::json!({ "status": { "verifiedAt": at } }));
                backups.patch_status(&backup.name_any(), &PatchParams::default(), &patch).await?;
            }
        }
        Ok::<_, kube::Error>(())
    };
    if let Err(error) = marked.await {
        tracing::warn!(%error, path, "a backup could not be marked as verified");
    }
}

/// Says in the status of a cluster what its drills came to, where it does not say so yet.
pub async fn of_cluster(context: &Context, cluster: &MysqlCluster, known: Option<Known>, now: Timestamp) {
    let shown = cluster.status.clone().unwrap_or_default();
    let (drill, verified_at) = shown.backup.map(|backup| (backup.drill, backup.verified_at)).unwrap_or_default();
    let condition = find(&shown.conditions, BACKUPS_VERIFIED);
    let status = match known {
        None if drill.is_none() && verified_at.is_none() && condition.is_none() => return,
        None => serde_json::json!({}),
        Some(known) => {
            let finding = known.finding();
            let wanted = known.succeeded.as_ref().map(|(at, _)| at.clone());
            if finding.is_told_by(&shown.conditions) && drill == known.last && verified_at == wanted {
                return;
            }
            let condition = finding.over(&shown.conditions, None, &Time(now));
            let mut status = serde_json::json!({ "conditions": [condition] });
            if known.last.is_some() {
                let drills = BackupsStatus { drill: known.last, verified_at: wanted, ..BackupsStatus::default() };
                status["backup"] = serde_json::json!(drills);
            }
            status
        }
    };
    if let Err(error) = apply(context, cluster, MANAGER, status).await {
        tracing::warn!(cluster = cluster.name_any(), %error, "what drills came to could not be written");
    }
}

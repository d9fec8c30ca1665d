//! The operations that people ask for: takes the oldest, says how far it has come, and how it ended.
//!
//! An operation is a wish. This module must never move a role; it only puts the wish into the snapshot.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use objects::api::{MysqlOperation, MysqlOperationStatus, OperationType, Outcome};
use topology::record::{Phase, Record};
use topology::snapshot::{Snapshot, Switchover};

use super::publish::Choice;
use crate::Context;
use crate::cache::ClusterKey;

/// The operation under way, if one is.
pub struct Agenda {
    context: Arc<Context>,
    key: ClusterKey,
    api: Api<MysqlOperation>,
    current: Option<Current>,
    last_finished: Option<String>,
}

struct Current {
    name: String,
    uid: String,
    to: Option<String>,
    from: String,
    began: Timestamp,
    until: Timestamp,
    reason: Option<String>,
}

impl Agenda {
    /// Nothing asked for yet.
    pub fn new(context: &Arc<Context>, key: &ClusterKey) -> Self {
        let api = Api::namespaced(context.client.clone(), &key.namespace);
        Self { context: context.clone(), key: key.clone(), api, current: None, last_finished: None }
    }

    /// What the snapshot says of it.
    pub fn switchover(&self) -> Option<Switchover> {
        let current = self.current.as_ref()?;
        let left = current.until.duration_since(Timestamp::now());
        Some(Switchover {
            to: current.to.clone(),
            from: current.from.clone(),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(0),
        })
    }

    /// Takes up the oldest unfinished operation.
    pub async fn refresh(&mut self, record: Option<&Record>, leads: bool) {
        if self.current.is_some() || !leads {
            return;
        }
        let Some(record) = record.filter(|record| record.phase == Phase::Serving) else { return };
        let open = self.context.cache.open_operations(&self.key);
        // The watch may not have shown yet that the last one is finished.
        let next = open.into_iter().find(|operation| operation.uid() != self.last_finished);
        let Some(operation) = next else { return };
        let OperationType::Switchover = operation.spec.kind;
        let before = operation.status.clone().unwrap_or_default();
        let from = before.from.clone().unwrap_or_else(|| record.primary.clone());
        let began = before.started_at.map_or_else(Timestamp::now, |time| time.0);
        let lasts = SignedDuration::from_secs(i64::from(operation.spec.timeout_seconds));
        let current = Current {
            name: operation.name_any(),
            uid: operation.uid().unwrap_or_default(),
            to: operation.spec.to.clone(),
            from: from.clone(),
            began,
            until: began.checked_add(lasts).unwrap_or(began),
            reason: None,
        };
        tracing::info!(cluster = %self.key, operation = current.name, from, to = current.to, "switchover begins");
        self.current = Some(current);
        self.write(Outcome::Running, format!("moving the primary away from {from}"), None).await;
    }

    /// Finishes the operation if what it asked for is so, cannot be so, or its time is over.
    pub async fn settle(&mut self, snapshot: &Snapshot, choice: Option<&Choice>) {
        let Some(current) = self.current.as_mut() else { return };
        let Some(record) = &snapshot.record else { return };
        if let Some(reason) = choice.and_then(Choice::reason) {
            current.reason = Some(reason);
        }
        let moved = record.primary != current.from;
        let open = super::cluster::open_primary(snapshot).is_some();
        if record.phase == Phase::Serving && open && (moved || current.to.as_deref() == Some(record.primary.as_str())) {
            let primary = record.primary.clone();
            let message = if moved {
                format!("{primary} leads since epoch {}", record.epoch)
            } else {
                format!("{primary} leads already")
            };
            self.finish(Outcome::Succeeded, message, Some(primary)).await;
            return;
        }
        if moved || record.phase != Phase::Serving {
            return;
        }
        let refusal = choice.and_then(Choice::refusal);
        let named = current.to.is_some();
        if let Some(refusal) = refusal.filter(|_| named && open) {
            self.finish(Outcome::Failed, format!("{refusal}; nothing was changed"), None).await;
        } else if Timestamp::now() >= current.until && open {
            let why =
                choice.and_then(Choice::refusal).unwrap_or_else(|| "writes under way did not end in time".to_owned());
            self.finish(Outcome::Failed, format!("{why}; the former primary takes writes as before"), None).await;
        }
    }

    async fn finish(&mut self, outcome: Outcome, message: String, to: Option<String>) {
        self.write(outcome, message, to).await;
        self.last_finished = self.current.take().map(|current| current.uid);
    }

    async fn write(&self, outcome: Outcome, message: String, to: Option<String>) {
        let Some(current) = &self.current else { return };
        tracing::info!(cluster = %self.key, operation = current.name, ?outcome, message, "switchover");
        let finished = outcome != Outcome::Running;
        let status = MysqlOperationStatus {
            outcome: Some(outcome),
            message: Some(message),
            reason: current.reason.clone(),
            from: Some(current.from.clone()),
            to: to.or_else(|| current.to.clone()),
            started_at: Some(Time(current.began)),
            finished_at: finished.then(|| Time(Timestamp::now())),
            ..MysqlOperationStatus::default()
        };
        let patch = serde_json::json!({ "status": status });
        if let Err(error) = self.api.patch_status(&current.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            tracing::warn!(cluster = %self.key, operation = current.name, %error, "the operation's status was not written");
        }
    }
}

//! The operations that people ask for: takes the oldest, says how far it has come, and how it ended.
//!
//! An operation is a wish. This module must never move a role; it only puts the wish into the snapshot.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use objects::api::{MysqlOperation, MysqlOperationSpec, MysqlOperationStatus, OperationType, Outcome};
use topology::facts::{DataState, JobState};
use topology::record::{Phase, Record};
use topology::snapshot::{MemberView, Rebuild, Snapshot, Switchover};

use super::cluster::open_primary;
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
    wish: Wish,
    began: Timestamp,
    until: Timestamp,
    reason: Option<String>,
}

/// What was asked for.
enum Wish {
    /// Another primary than `from`.
    Switchover { from: String, to: Option<String> },
    /// Another copy of the data than this one.
    Rebuild(Rebuild),
}

/// How an operation ends.
struct End {
    outcome: Outcome,
    message: String,
    to: Option<String>,
}

impl End {
    fn failed(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, message: message.into(), to: None }
    }

    fn succeeded(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Succeeded, message: message.into(), to: None }
    }
}

impl Agenda {
    /// Nothing asked for yet.
    pub fn new(context: &Arc<Context>, key: &ClusterKey) -> Self {
        let api = Api::namespaced(context.client.clone(), &key.namespace);
        Self { context: context.clone(), key: key.clone(), api, current: None, last_finished: None }
    }

    /// The change of primary that was asked for.
    pub fn switchover(&self) -> Option<Switchover> {
        let current = self.current.as_ref()?;
        let Wish::Switchover { from, to } = &current.wish else { return None };
        let left = current.until.duration_since(Timestamp::now());
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(0);
        Some(Switchover { to: to.clone(), from: from.clone(), left_ms })
    }

    /// The copy of the data that somebody wants replaced.
    pub fn rebuild(&self) -> Option<Rebuild> {
        match &self.current.as_ref()?.wish {
            Wish::Rebuild(rebuild) => Some(rebuild.clone()),
            Wish::Switchover { .. } => None,
        }
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
        let before = operation.status.clone().unwrap_or_default();
        let began = before.started_at.as_ref().map_or_else(Timestamp::now, |time| time.0);
        let lasts = SignedDuration::from_secs(i64::from(operation.spec.timeout_seconds));
        let (wish, message) = wish(&operation.spec, &before, record);
        let current = Current {
            name: operation.name_any(),
            uid: operation.uid().unwrap_or_default(),
            wish,
            began,
            until: began.checked_add(lasts).unwrap_or(began),
            reason: None,
        };
        tracing::info!(cluster = %self.key, operation = current.name, message, "operation begins");
        self.current = Some(current);
        self.write(Outcome::Running, message, None).await;
    }

    /// Finishes the operation if what it asked for is so, cannot be so, or its time is over.
    pub async fn settle(&mut self, snapshot: &Snapshot, choice: Option<&Choice>) {
        let Some(current) = self.current.as_mut() else { return };
        let Some(record) = &snapshot.record else { return };
        if let Some(reason) = choice.and_then(Choice::reason) {
            current.reason = Some(reason);
        }
        let over = Timestamp::now() >= current.until;
        let end = match &current.wish {
            Wish::Switchover { from, to } => switched(snapshot, record, choice, from, to.as_deref(), over),
            Wish::Rebuild(rebuild) => rebuilt(snapshot, record, rebuild, over),
        };
        if let Some(End { outcome, message, to }) = end {
            self.write(outcome, message, to).await;
            self.last_finished = self.current.take().map(|current| current.uid);
        }
    }

    async fn write(&self, outcome: Outcome, message: String, to: Option<String>) {
        let Some(current) = &self.current else { return };
        tracing::info!(cluster = %self.key, operation = current.name, ?outcome, message, "operation");
        let finished = outcome != Outcome::Running;
        let status = MysqlOperationStatus {
            outcome: Some(outcome),
            message: Some(message),
            reason: current.reason.clone(),
            started_at: Some(Time(current.began)),
            finished_at: finished.then(|| Time(Timestamp::now())),
            ..match &current.wish {
                Wish::Switchover { from, to: wanted } => MysqlOperationStatus {
                    from: Some(from.clone()),
                    to: to.or_else(|| wanted.clone()),
                    ..MysqlOperationStatus::default()
                },
                Wish::Rebuild(rebuild) => MysqlOperationStatus {
                    incarnation: Some(rebuild.incarnation.to_string()),
                    ..MysqlOperationStatus::default()
                },
            }
        };
        let patch = serde_json::json!({ "status": status });
        if let Err(error) = self.api.patch_status(&current.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            tracing::warn!(cluster = %self.key, operation = current.name, %error, "the operation's status was not written");
        }
    }
}

/// What an operation asks for, in the words of whoever took it up first, and a sentence about it.
fn wish(spec: &MysqlOperationSpec, before: &MysqlOperationStatus, record: &Record) -> (Wish, String) {
    match spec.kind {
        OperationType::Switchover => {
            let from = before.from.clone().unwrap_or_else(|| record.primary.clone());
            let message = format!("moving the primary away from {from}");
            (Wish::Switchover { from, to: spec.to.clone() }, message)
        }
        OperationType::Rebuild => {
            let member = spec.member.clone().unwrap_or_default();
            let known = before.incarnation.as_ref().and_then(|known| known.parse().ok());
            // A stranger has none; what is asked then is refused when it is looked at.
            let incarnation = known.or_else(|| record.incarnation_of(&member)).unwrap_or_default();
            let message = format!("copying the data of {member} anew");
            (Wish::Rebuild(Rebuild { member, incarnation }), message)
        }
    }
}

/// How a switchover ends, if it does now.
fn switched(
    snapshot: &Snapshot,
    record: &Record,
    choice: Option<&Choice>,
    from: &str,
    to: Option<&str>,
    over: bool,
) -> Option<End> {
    let moved = record.primary != from;
    let open = open_primary(snapshot).is_some();
    let primary = &record.primary;
    if record.phase == Phase::Serving && open && (moved || to == Some(primary.as_str())) {
        let message = if moved {
            format!("{primary} leads since epoch {}", record.epoch)
        } else {
            format!("{primary} leads already")
        };
        return Some(End { to: Some(primary.clone()), ..End::succeeded(message) });
    }
    if moved || record.phase != Phase::Serving || !open {
        return None;
    }
    let refusal = choice.and_then(Choice::refusal);
    if let Some(refusal) = refusal.as_ref().filter(|_| to.is_some()) {
        return Some(End::failed(format!("{refusal}; nothing was changed")));
    }
    over.then(|| {
        let why = refusal.unwrap_or_else(|| "writes under way did not end in time".to_owned());
        End::failed(format!("{why}; the former primary takes writes as before"))
    })
}

/// How a rebuild ends, if it does now.
fn rebuilt(snapshot: &Snapshot, record: &Record, rebuild: &Rebuild, over: bool) -> Option<End> {
    let Rebuild { member, incarnation } = rebuild;
    match record.incarnation_of(member) {
        None => return Some(End::failed(format!("{member} is no voting member; nothing was changed"))),
        Some(now) if now != *incarnation => {
            return Some(End::succeeded(format!("{member} votes with a new copy of the data")));
        }
        Some(_) if record.primary == *member => {
            return Some(End::failed(format!("{member} leads, so its data is what counts: switch over first")));
        }
        Some(_) => {}
    }
    let report = snapshot.member(member).and_then(MemberView::report);
    // Once the copy is there it only has to be proved and to be taken in.
    let copied = report.is_some_and(|report| report.data != DataState::Ready { incarnation: *incarnation });
    let job = report.and_then(|report| report.job.as_ref()).map(|job| &job.state);
    match job {
        _ if copied || !over => None,
        Some(JobState::Running { .. }) => None,
        Some(JobState::Failed { error }) => Some(End::failed(format!("{error}; the old data is still there"))),
        Some(JobState::Done) | None => {
            let why = "the copy could not be begun in time; the member's message in the cluster's status says why";
            Some(End::failed(format!("{why}; the old data is still there")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(primary: &str, data: u128) -> Record {
        let member = |name: &str, data| topology::record::Member {
            name: name.to_owned(),
            incarnation: uuid::Uuid::from_u128(data),
        };
        Record {
            epoch: 3,
            phase: Phase::Serving,
            generation: 0,
            primary: primary.to_owned(),
            primary_since_epoch: 3,
            primary_server_uuid: None,
            members: vec![member("shop-0", 1), member("shop-2", data)],
            leaving: None,
            acks: 1,
            raising_acks: None,
            base: topology::gtid::GtidSet::new(),
        }
    }

    fn end(record: &Record, member: &str, over: bool) -> Option<(Outcome, String)> {
        let snapshot = Snapshot {
            namespace: "default".to_owned(),
            cluster: "shop".to_owned(),
            now_unix_ms: 0,
            record: Some(record.clone()),
            record_unchanged_ms: 0,
            record_is_ours: true,
            desired: topology::snapshot::Desired { replicas: 2, acks: 1 },
            members: Vec::new(),
            readers: topology::readers::Readers::default(),
            switchover: None,
            rebuild: None,
            without_primary_ms: 0,
            raise_barrier: None,
        };
        let rebuild = Rebuild { member: member.to_owned(), incarnation: uuid::Uuid::from_u128(2) };
        rebuilt(&snapshot, record, &rebuild, over).map(|end| (end.outcome, end.message))
    }

    #[test]
    fn a_rebuild_ends_when_the_record_has_another_copy_or_when_it_cannot_begin() {
        assert_eq!(end(&record("shop-0", 2), "shop-2", false), None);
        let (outcome, message) = end(&record("shop-0", 7), "shop-2", false).unwrap();
        assert_eq!((outcome, message.as_str()), (Outcome::Succeeded, "shop-2 votes with a new copy of the data"));
        for (record, member, over, says) in [
            (record("shop-0", 2), "shop-9", false, "no voting member"),
            (record("shop-2", 2), "shop-2", false, "switch over first"),
            (record("shop-0", 2), "shop-2", true, "could not be begun"),
        ] {
            let (outcome, message) = end(&record, member, over).unwrap();
            assert_eq!(outcome, Outcome::Failed);
            assert!(message.contains(says), "{message}");
        }
    }
}

//! The operations that people ask for: takes the oldest, says how far it has come, and how it ended.
//!
//! An operation is a wish. This module must never move a role; it only puts the wish into the snapshot.

mod restart;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use objects::api::{MysqlOperation, MysqlOperationSpec, MysqlOperationStatus, OperationType, Outcome};
use topology::assess::Assessment;
use topology::facts::{DataState, JobState};
use topology::record::{Phase, Record};
use topology::snapshot::{AcceptLoss, MemberView, Rebuild, Restart, Snapshot, Switchover};

use super::acceptance::{self, Verdict};
use super::cluster::open_primary;
use super::observe::unix_ms;
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
    /// What was last said of it.
    message: String,
}

/// What was asked for.
enum Wish {
    /// Another primary than `from`.
    Switchover { from: String, to: Option<String> },
    /// Another copy of the data than this one.
    Rebuild(Rebuild),
    /// Going on without members that do not answer.
    AcceptLoss(AcceptLoss),
    /// Other pods than those made before.
    Restart(Restart),
}

/// How an operation ends.
#[derive(Debug)]
struct End {
    outcome: Outcome,
    message: String,
    to: Option<String>,
    accepted: Option<String>,
    missing: Vec<String>,
}

impl End {
    fn failed(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, message: message.into(), to: None, accepted: None, missing: Vec::new() }
    }

    fn succeeded(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Succeeded, ..Self::failed(message) }
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
            Wish::Switchover { .. } | Wish::AcceptLoss(_) | Wish::Restart(_) => None,
        }
    }

    /// The members that somebody wants restarted.
    pub fn restart(&self) -> Option<Restart> {
        match &self.current.as_ref()?.wish {
            Wish::Restart(restart) => Some(restart.clone()),
            Wish::Switchover { .. } | Wish::Rebuild(_) | Wish::AcceptLoss(_) => None,
        }
    }

    /// That somebody accepts to lose what absent members hold.
    pub fn accept_loss(&self) -> Option<AcceptLoss> {
        match &self.current.as_ref()?.wish {
            Wish::AcceptLoss(accept) => Some(accept.clone()),
            Wish::Switchover { .. } | Wish::Rebuild(_) | Wish::Restart(_) => None,
        }
    }

    /// Takes up the oldest unfinished operation. One that accepts a loss goes before the others, which cannot go on without
    /// a primary and are taken up again after it.
    pub async fn refresh(&mut self, record: Option<&Record>, leads: bool) {
        let accepting = self.current.as_ref().is_some_and(|current| matches!(current.wish, Wish::AcceptLoss(_)));
        let Some(record) = record.filter(|_| leads && !accepting) else { return };
        let mut open = self.context.cache.open_operations(&self.key);
        // The watch may not have shown yet that the last one is finished.
        open.retain(|operation| operation.uid() != self.last_finished);
        let accepts = |operation: &&Arc<MysqlOperation>| operation.spec.kind == OperationType::AcceptDataLoss;
        let next = match open.iter().find(accepts) {
            Some(operation) => Some(operation),
            None if self.current.is_some() || record.phase != Phase::Serving => None,
            None => open.first(),
        };
        let Some(operation) = next else { return };
        let before = operation.status.clone().unwrap_or_default();
        let began = before.started_at.as_ref().map_or_else(Timestamp::now, |time| time.0);
        let lasts = SignedDuration::from_secs(i64::from(operation.spec.patience_seconds()));
        let Some((wish, message)) = wish(operation, &before, record) else { return };
        let current = Current {
            name: operation.name_any(),
            uid: operation.uid().unwrap_or_default(),
            wish,
            began,
            until: began.checked_add(lasts).unwrap_or(began),
            reason: None,
            message,
        };
        tracing::info!(cluster = %self.key, operation = current.name, message = current.message, "operation begins");
        let message = current.message.clone();
        self.current = Some(current);
        self.write(End { outcome: Outcome::Running, ..End::failed(message) }).await;
    }

    /// Finishes the operation if what it asked for is so, cannot be so, or its time is over.
    pub async fn settle(&mut self, snapshot: &Snapshot, assessment: &Assessment, choice: Option<&Choice>) {
        let Some(current) = self.current.as_mut() else { return };
        let Some(record) = &snapshot.record else { return };
        if let Some(reason) = choice.and_then(Choice::reason) {
            current.reason = Some(reason);
        }
        let over = Timestamp::now() >= current.until;
        let end = match &current.wish {
            Wish::Switchover { from, to } => switched(snapshot, record, choice, from, to.as_deref(), over),
            Wish::Rebuild(rebuild) => rebuilt(snapshot, record, rebuild, over),
            Wish::AcceptLoss(accept) => accepted(snapshot, record, assessment, accept, over),
            Wish::Restart(asked) => restart::restarted(snapshot, &assessment.upkeep, asked, over),
        };
        if let Some(end) = end {
            self.write(end).await;
            self.last_finished = self.current.take().map(|current| current.uid);
            return;
        }
        if let Wish::Restart(asked) = &current.wish {
            let progress = restart::progress(snapshot, &assessment.upkeep, asked);
            if progress != current.message {
                current.message.clone_from(&progress);
                self.write(End { outcome: Outcome::Running, ..End::failed(progress) }).await;
            }
        }
    }

    async fn write(&self, end: End) {
        let End { outcome, message, to, accepted, missing } = end;
        let Some(current) = &self.current else { return };
        tracing::info!(cluster = %self.key, operation = current.name, ?outcome, message, "operation");
        let finished = outcome != Outcome::Running;
        let status = MysqlOperationStatus {
            outcome: Some(outcome),
            message: Some(message),
            reason: current.reason.clone(),
            started_at: Some(Time(current.began)),
            finished_at: finished.then(|| Time(Timestamp::now())),
            accepted,
            missing,
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
                Wish::AcceptLoss(_) => MysqlOperationStatus { to, ..MysqlOperationStatus::default() },
                Wish::Restart(_) => MysqlOperationStatus::default(),
            }
        };
        let patch = serde_json::json!({ "status": status });
        if let Err(error) = self.api.patch_status(&current.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            tracing::warn!(cluster = %self.key, operation = current.name, %error, "the operation's status was not written");
        }
    }
}

/// What an operation asks for, in the words of whoever took it up first, and a sentence about it. None for one that is not
/// about roles or pods.
fn wish(operation: &MysqlOperation, before: &MysqlOperationStatus, record: &Record) -> Option<(Wish, String)> {
    let spec: &MysqlOperationSpec = &operation.spec;
    let asked = match spec.kind {
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
        OperationType::AcceptDataLoss => {
            let epoch = spec.epoch.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or_default();
            let message = format!("going on from epoch {epoch} with the members that answer");
            (Wish::AcceptLoss(AcceptLoss { epoch, operation: operation.name_any() }), message)
        }
        OperationType::Restart => {
            // The clock of whoever made the pods, too, in whole seconds like theirs.
            let asked_unix_ms = operation.creation_timestamp().map_or(0, |time| unix_ms(time.0));
            let whose = spec.member.as_deref().unwrap_or("every member");
            let message = format!("restarting {whose}");
            (Wish::Restart(Restart { member: spec.member.clone(), asked_unix_ms }), message)
        }
        OperationType::Drill => return None,
    };
    Some(asked)
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

/// How the acceptance of a loss ends, if it does now.
fn accepted(
    snapshot: &Snapshot,
    record: &Record,
    assessment: &Assessment,
    accept: &AcceptLoss,
    over: bool,
) -> Option<End> {
    let open = open_primary(snapshot).is_some();
    match acceptance::verdict(record, open, &assessment.waiting, accept, over)? {
        Verdict::Failed(message) => Some(End::failed(message)),
        Verdict::Done { message, missing } => Some(End {
            to: Some(record.primary.clone()),
            accepted: Some(record.base.to_string()),
            missing,
            ..End::succeeded(message)
        }),
    }
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
        Some(JobState::Running { .. } | JobState::Unknown) => None,
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
    use crate::roles::fixtures;

    fn record(primary: &str, data: u128) -> Record {
        let member = |name: &str, data| topology::record::Member {
            name: name.to_owned(),
            incarnation: uuid::Uuid::from_u128(data),
        };
        Record {
            epoch: 3,
            phase: Phase::Serving,
            primary_since_epoch: 3,
            members: vec![member("shop-0", 1), member("shop-2", data)],
            acks: 1,
            ..Record::first(primary.to_owned())
        }
    }

    fn end(record: &Record, member: &str, over: bool) -> Option<(Outcome, String)> {
        let desired = topology::snapshot::Desired { replicas: 2, acks: 1 };
        let snapshot = Snapshot { record: Some(record.clone()), desired, ..fixtures::snapshot() };
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

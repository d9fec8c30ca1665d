//! What takes longer than a call: making the first data, copying another member's. One at a time, in the
//! background, and at its end reported as done or failed.
//!
//! A job holds the turn for as long as it lasts, so that no command meets a data directory in the middle of it.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use topology::facts::{DataState, JobKind, JobState, ServerState};
use topology::record::Record;
use wire::{BackupSource, DumpSource, Endpoint, Outcome, RecoveryTarget};

use super::fence::drained;
use super::refused;
use crate::member::Member;

/// The right to change what mysqld does.
type Turn = OwnedMutexGuard<()>;

/// Makes the first data directory.
pub fn initialize(member: &Arc<Member>, record: &Record, turn: Turn) -> Outcome {
    if let Some(reason) = no_first_data(member, record) {
        return refused(reason);
    }
    begin(member, JobKind::Initialize, turn, crate::initialize::initialize(Arc::clone(member)))
}

/// Makes the first data directory from a backup, and from the archive beside it as far as the target says.
pub fn restore(
    member: &Arc<Member>,
    record: &Record,
    source: BackupSource,
    target: Option<RecoveryTarget>,
    turn: Turn,
) -> Outcome {
    if let Some(reason) = no_first_data(member, record) {
        return refused(reason);
    }
    begin(member, JobKind::Initialize, turn, crate::restore::restore(Arc::clone(member), source, target))
}

/// Makes the first data directory from a dump of another server.
pub fn import(member: &Arc<Member>, record: &Record, dump: DumpSource, turn: Turn) -> Outcome {
    if let Some(reason) = no_first_data(member, record) {
        return refused(reason);
    }
    begin(member, JobKind::Initialize, turn, crate::restore::import(Arc::clone(member), dump))
}

/// Why this member does not make the first data, if it does not.
fn no_first_data(member: &Member, record: &Record) -> Option<String> {
    if record.primary != member.name() {
        return Some(format!("the first data is made by the record's primary, {}", record.primary));
    }
    (member.data() != DataState::Empty)
        .then(|| format!("there is data already ({:?}); expected an empty volume", member.data()))
}

/// Replaces the data by a copy of the donor's.
pub fn clone(member: &Arc<Member>, record: &Record, donor: Endpoint, turn: Turn) -> Outcome {
    if record.primary == member.name() {
        return refused("this member is the record's primary: there is nothing better to copy");
    }
    if donor.member == member.name() {
        return refused("a member cannot copy itself");
    }
    if is_taking_writes(member) {
        return refused("this server was opened and is not drained: drain or fence it first");
    }
    begin(member, JobKind::Clone, turn, crate::clone::clone(Arc::clone(member), donor))
}

fn is_taking_writes(member: &Member) -> bool {
    let opened = member.supervisor.now().running().is_some_and(|running| member.was_opened(running));
    match &member.latest.borrow().server {
        ServerState::Running(facts) => (opened || facts.open) && !drained(facts),
        _ => opened,
    }
}

fn begin(
    member: &Arc<Member>,
    kind: JobKind,
    turn: Turn,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> Outcome {
    member.set_job(kind, JobState::Running { stage: "beginning".to_owned() });
    let member = Arc::clone(member);
    tokio::spawn(async move {
        let result =
            tokio::spawn(work).await.unwrap_or_else(|why| Err(anyhow::anyhow!("the agent has a defect: {why}")));
        member.look_at_data();
        let state = match result {
            Ok(()) => JobState::Done,
            Err(why) => {
                tracing::error!(?kind, "{why:#}");
                JobState::Failed { error: format!("{why:#}") }
            }
        };
        member.set_job(kind, state);
        drop(turn);
    });
    Outcome::Pending { waiting_for: format!("the job {kind:?}, reported as `job`") }
}

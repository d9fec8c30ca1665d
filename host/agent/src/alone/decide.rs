//! What a primary does when it may be alone: a decision from what was noticed, and nothing else.
//!
//! Unknown is never taken for gone: a primary that has not been shown to be alone goes on. Nothing here may read a
//! clock or wait.

use std::time::Duration;

use topology::facts::ServerFacts;
use topology::gtid::GtidSet;
use topology::record::{Phase, Record};
use uuid::Uuid;

use crate::state::Remembered;

/// For how long no operator has been heard of, or no commit has been acknowledged while some wait, before a primary
/// begins to ask whether it is alone. An operator that restarts is back sooner.
pub const SUSPICION: Duration = Duration::from_secs(2);

/// How long replicas may take to acknowledge a heartbeat and still count as live (rule 13 of the protocol).
pub const LIVE: Duration = Duration::from_secs(2);

/// How long an answer of the API server, or an acknowledgement, counts where nothing waits for it: often enough to
/// end reads of a primary that is cut off, seldom enough to be no load for a thousand clusters.
pub const ROUND: Duration = Duration::from_secs(5);

/// How long a primary whose mysqld is gone waits for an operator (rule 8 of the protocol).
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What an open primary has noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// How many acknowledgements its commits wait for.
    pub acks: u32,
    /// For how long no operator has been heard of. Zero while one listens.
    pub operator_silent: Duration,
    /// For how long commits have waited without one that was acknowledged. Zero while none waits.
    pub stuck: Duration,
    /// How long ago a commit was acknowledged. None if none was while it watched.
    pub acknowledged: Option<Duration>,
    /// The API server.
    pub api: Api,
    /// Its own commit.
    pub heartbeat: Heartbeat,
}

/// What is known of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// It has not been asked.
    Unknown,
    /// It is being asked.
    Asking,
    /// It answered.
    InReach {
        /// How long ago it was asked.
        asked: Duration,
    },
    /// It did not answer.
    OutOfReach {
        /// How long ago it was asked.
        asked: Duration,
    },
}

/// What is known of the heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// None is under way.
    None,
    /// It came to nothing just now, for another reason than missing acknowledgements.
    Failed,
    /// It has been sent and has not returned.
    Sent {
        /// How long it has been seen to wait for acknowledgements, and nothing but those.
        waiting: Duration,
    },
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing but watch.
    Watch,
    /// Ask the API server for any answer.
    AskApi,
    /// Commit a heartbeat.
    Beat,
    /// End every commit that waits, and mysqld with it.
    Fence,
}

/// What an open primary does next. Every step gives rise to new evidence, so asking again is how it goes on.
pub fn next(now: &Situation) -> Step {
    if now.acks == 0 || (now.operator_silent <= SUSPICION && now.stuck <= SUSPICION) {
        return Step::Watch;
    }
    let asked = match now.api {
        Api::Asking => return Step::Watch,
        Api::Unknown => return Step::AskApi,
        Api::InReach { asked } | Api::OutOfReach { asked } if asked >= ROUND => return Step::AskApi,
        Api::InReach { .. } => return Step::Watch,
        Api::OutOfReach { asked } => asked,
    };
    if now.stuck <= SUSPICION && now.acknowledged.is_some_and(|ago| ago < ROUND) {
        return Step::Watch;
    }
    match now.heartbeat {
        Heartbeat::None => Step::Beat,
        Heartbeat::Failed => Step::Watch,
        // It has not come so far as to wait for replicas.
        Heartbeat::Sent { waiting } if waiting.is_zero() => Step::Watch,
        // Both must be so at the same time: what was asked before the heartbeat is asked again.
        Heartbeat::Sent { waiting } if asked > waiting => Step::AskApi,
        Heartbeat::Sent { waiting } if waiting < LIVE => Step::Watch,
        Heartbeat::Sent { .. } => Step::Fence,
    }
}

/// Why a member with these promises does not open without an operator, if it does not. `known` is what its logs hold,
/// if they were read.
pub fn objection(
    remembered: &Remembered,
    member: &str,
    incarnation: Option<Uuid>,
    known: Option<&GtidSet>,
) -> Option<&'static str> {
    let Some(record) = &remembered.record else { return Some("it has stored no record") };
    if record.primary != member {
        return Some("another member leads in the stored record");
    }
    if record.phase != Phase::Serving {
        return Some("the stored record is not Serving: somebody was choosing a primary");
    }
    if incarnation.is_none() || record.incarnation_of(member) != incarnation {
        return Some("its data is not what the record knows");
    }
    if record.leaving.as_deref() == Some(member) {
        return Some("it is being removed");
    }
    let opened = remembered.opened_epoch(incarnation);
    if opened.is_none_or(|epoch| epoch < record.primary_since_epoch) || !remembered.led_last(incarnation) {
        return Some("it never opened under the stored record");
    }
    if remembered.wait_count != Some(record.effective_acks()) {
        return Some("its commits did not wait for as many acknowledgements as the record promises");
    }
    if known.is_some_and(|known| !record.base.is_subset_of(known)) {
        return Some("its logs lack transactions that were there when it began to lead");
    }
    None
}

/// Why a server that was started closed on such data is not opened after all, if it is not.
pub fn objection_to_server(record: &Record, server: &ServerFacts) -> Option<&'static str> {
    if record.primary_server_uuid != Some(server.server_uuid) {
        return Some("it runs under another server_uuid than the record knows");
    }
    if server.replication.is_some() {
        return Some("it has a replication channel");
    }
    if !record.base.is_subset_of(&server.executed) {
        return Some("it lacks transactions that were there when it began to lead");
    }
    None
}

/// Whether to begin to reopen: nobody was there to say otherwise for long enough, and as many receivers as have to
/// acknowledge ask for this server. A receiver that was frozen, or follows somebody else, does not ask.
pub fn may_begin(closed: Duration, operator_silent: Duration, patience: Duration, asking: usize, acks: u32) -> bool {
    closed >= patience && operator_silent >= patience && asking >= acks as usize
}

#[cfg(test)]
mod tests;

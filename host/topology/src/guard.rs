//! The only door between an answer and an action.
//!
//! A policy may say anything. Whatever it says, nothing but [`guard`] makes an [`Approved`], and nothing but an
//! `Approved` moves a role. This module must never trust a candidate because a question once listed it.

use std::fmt;

use uuid::Uuid;

use crate::decision::Answer;
use crate::facts::ServerState;
use crate::gtid::GtidSet;
use crate::quorum::{Quorum, candidates, quorum};
use crate::record::{GivenUp, Phase, Record};
use crate::snapshot::{MemberView, Snapshot};

/// A choice that was found safe against the snapshot it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    primary: String,
    server_uuid: Uuid,
    required: GtidSet,
    given_up: Option<GivenUp>,
    reason: String,
}

impl Approved {
    /// The member that shall lead.
    pub fn primary(&self) -> &str {
        &self.primary
    }

    /// Its server_uuid, under which it will commit.
    pub fn server_uuid(&self) -> Uuid {
        self.server_uuid
    }

    /// What it must have executed before it opens: all that can have been acknowledged, and all it holds itself.
    pub fn required(&self) -> &GtidSet {
        &self.required
    }

    /// What may have been acknowledged and will not be in the history, where somebody accepted that.
    pub fn given_up(&self) -> Option<&GivenUp> {
        self.given_up.as_ref()
    }

    /// Why, in the policy's words.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Why an answer is not acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The policy wants nobody to lead yet.
    Held {
        /// Its words.
        reason: String,
    },
    /// It named somebody who is no voting member.
    UnknownCandidate {
        /// The name.
        candidate: String,
    },
    /// It named a member that cannot lead.
    IneligibleCandidate {
        /// The name.
        candidate: String,
        /// Why it cannot.
        reasons: Vec<String>,
    },
    /// Too few members are frozen to know what was acknowledged.
    NoQuorum {
        /// How many are needed.
        needed: usize,
        /// How many count.
        counted: usize,
    },
    /// There is nothing to choose in this phase.
    NotAsked,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { reason } => write!(out, "the policy holds: {reason}"),
            Self::UnknownCandidate { candidate } => write!(out, "`{candidate}` is not a voting member"),
            Self::IneligibleCandidate { candidate, reasons } => {
                write!(out, "`{candidate}` cannot lead: {}", reasons.join("; "))
            }
            Self::NoQuorum { needed, counted } => {
                write!(out, "{counted} of the {needed} members needed are frozen")
            }
            Self::NotAsked => out.write_str("there is nothing to choose now"),
        }
    }
}

/// Checks an answer against everything known now.
///
/// # Errors
/// A [`Refusal`] says which rule the answer breaks. It is final for this snapshot.
pub fn guard(snapshot: &Snapshot, answer: &Answer) -> Result<Approved, Refusal> {
    let record = snapshot.record.as_ref().ok_or(Refusal::NotAsked)?;
    if record.phase == Phase::Promoting || (record.phase == Phase::Freezing && !snapshot.record_is_ours) {
        return Err(Refusal::NotAsked);
    }
    let (name, reason) = match answer {
        Answer::Hold { reason } => return Err(Refusal::Held { reason: reason.clone() }),
        Answer::Promote { candidate, reason, .. } => (candidate, reason),
    };
    let quorum = match record.phase {
        Phase::Freezing => quorum(snapshot, record)
            .map_err(|few| Refusal::NoQuorum { needed: few.needed, counted: few.counted.len() })?,
        Phase::Serving | Phase::Promoting => prospective_quorum(snapshot, record).ok_or(Refusal::NotAsked)?,
    };
    let candidates = candidates(snapshot, record, &quorum);
    let Some(candidate) = candidates.iter().find(|candidate| candidate.name == *name) else {
        return Err(Refusal::UnknownCandidate { candidate: name.clone() });
    };
    if !candidate.is_eligible() {
        let reasons = candidate.ineligible.iter().map(|reason| reason.message.clone()).collect();
        return Err(Refusal::IneligibleCandidate { candidate: name.clone(), reasons });
    }
    let unidentified = || Refusal::IneligibleCandidate {
        candidate: name.clone(),
        reasons: vec!["its server_uuid is not known".to_owned()],
    };
    let chosen = snapshot.member(name).ok_or_else(unidentified)?;
    let server_uuid = server_uuid(record, chosen).ok_or_else(unidentified)?;
    let whole = chosen.known_transactions().unwrap_or_default();
    Ok(Approved {
        primary: name.clone(),
        server_uuid,
        required: quorum.union.union(&whole),
        given_up: quorum.given_up,
        reason: reason.clone(),
    })
}

/// What a switchover can expect: the primary still serves, so nothing is frozen and the union is what it holds.
pub(crate) fn prospective_quorum(snapshot: &Snapshot, record: &Record) -> Option<Quorum> {
    snapshot.planned(record)?;
    expected_quorum(snapshot, record)
}

/// The same, whether or not a change is due.
pub(crate) fn expected_quorum(snapshot: &Snapshot, record: &Record) -> Option<Quorum> {
    let primary = snapshot.member(&record.primary)?.server()?;
    Some(Quorum::of(primary.executed.clone()))
}

/// The server_uuid of a running member, or the recorded one of a primary that is stopped.
fn server_uuid(record: &Record, member: &MemberView) -> Option<Uuid> {
    match &member.report()?.server {
        ServerState::Running(facts) => Some(facts.server_uuid),
        ServerState::Stopped { .. } if record.primary == member.name => record.primary_server_uuid,
        ServerState::Stopped { .. } | ServerState::Starting | ServerState::Unresponsive { .. } => None,
    }
}

//! What is done: steps, and how an approved choice becomes some.
//!
//! A step says what, never how. Every one may be carried out twice, and a pass that is cut off anywhere is
//! followed by one that derives what is left from what it sees; nothing here may rely on an earlier pass.

use std::collections::BTreeSet;
use std::fmt;

use uuid::Uuid;

use crate::gtid::GtidSet;
use crate::guard::Approved;
use crate::record::{AcceptedLoss, Phase, Record};
use crate::snapshot::{MemberView, Snapshot};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Replace the record, if it is still the one of the snapshot. Nothing after it is done in the same pass.
    Advance {
        /// The new record.
        to: Box<Record>,
        /// Why, for people.
        because: String,
    },
    /// Tell a member something, under the record of the snapshot.
    Command {
        /// The pod's name.
        member: String,
        /// What.
        order: Order,
    },
    /// Ask a member at once whether it is there.
    Probe {
        /// The pod's name.
        member: String,
    },
    /// End a member's pod in an orderly way, so that another one is made in its place.
    Replace {
        /// The pod's name.
        member: String,
        /// Its identity: no other pod of that name is meant.
        uid: String,
        /// Why, for people.
        because: String,
    },
}

impl Step {
    /// The member that is told something.
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Command { member, .. } => Some(member),
            Self::Advance { .. } | Self::Probe { .. } | Self::Replace { .. } => None,
        }
    }
}

/// What a member is told. Members are named; whoever executes the step looks up where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Store the record.
    Store,
    /// Make the first data of the cluster.
    Initialize,
    /// Start mysqld closed.
    Start,
    /// Replace its data by a copy.
    Clone {
        /// Whose.
        donor: String,
    },
    /// Start mysqld closed, without what nobody acknowledged of what it had committed last.
    Trim,
    /// Receive from a member.
    Follow {
        /// Which.
        source: String,
    },
    /// Receive from a member, apply it so much later, and acknowledge nothing: what a read replica does.
    Read {
        /// Which.
        source: String,
        /// How much later, in seconds.
        delay_s: u64,
    },
    /// Receive nothing more.
    Freeze,
    /// Prove that it received everything the primary had committed by now.
    GrantStanding,
    /// Catch up and open.
    Promote {
        /// Who has what it lacks.
        source: Option<String>,
        /// What it must have executed before it opens.
        required: GtidSet,
    },
    /// Let commits wait for so many replicas.
    SetAcks {
        /// k.
        acks: u32,
    },
    /// Let nobody acknowledge any more whom the record does not let: lock their accounts and end their connections.
    Lock,
    /// End every commit that waits, unacknowledged, and mysqld with it.
    Fence,
    /// Let writes under way finish and take no more.
    Drain,
    /// Take writes again.
    Undrain,
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => out.write_str("store the record"),
            Self::Initialize => out.write_str("initialize the first data"),
            Self::Start => out.write_str("start mysqld closed"),
            Self::Clone { donor } => write!(out, "clone {donor}"),
            Self::Trim => out.write_str("start mysqld without its unacknowledged tail"),
            Self::Follow { source } => write!(out, "follow {source}"),
            Self::Read { source, delay_s: 0 } => write!(out, "read from {source}"),
            Self::Read { source, delay_s } => write!(out, "read from {source}, {delay_s} s later"),
            Self::Freeze => out.write_str("freeze"),
            Self::GrantStanding => out.write_str("prove its standing"),
            Self::Promote { source: None, .. } => out.write_str("open as primary"),
            Self::Promote { source: Some(source), .. } => write!(out, "catch up from {source} and open as primary"),
            Self::SetAcks { acks } => write!(out, "wait for {acks} acknowledgements"),
            Self::Lock => out.write_str("lock out whoever may not acknowledge"),
            Self::Fence => out.write_str("fence"),
            Self::Drain => out.write_str("drain"),
            Self::Undrain => out.write_str("take writes again"),
        }
    }
}

/// What follows from an approved choice.
///
/// In a freeze the choice is recorded; everything else follows from that record in the passes after it. In a
/// switchover the primary is drained first and the epoch is claimed when it is.
pub fn plan(snapshot: &Snapshot, approved: &Approved) -> Vec<Step> {
    let Some(record) = &snapshot.record else { return Vec::new() };
    match record.phase {
        Phase::Freezing => vec![promotion(record, approved)],
        Phase::Serving => vec![drain_or_claim(snapshot, record, approved)],
        Phase::Promoting => Vec::new(),
    }
}

fn promotion(record: &Record, approved: &Approved) -> Step {
    let to = Record {
        accepted_loss: None,
        given_up: record.given_up.iter().chain(approved.given_up()).cloned().collect(),
        phase: Phase::Promoting,
        generation: 0,
        primary: approved.primary().to_owned(),
        primary_since_epoch: record.epoch,
        primary_server_uuid: Some(approved.server_uuid()),
        base: approved.required().clone(),
        former_servers: former_servers(record, approved),
        // Whoever leads cannot be leaving: its removal begins anew once the role has moved on.
        leaving: record.leaving.clone().filter(|leaving| leaving != approved.primary()),
        ..record.clone()
    };
    Step::Advance { to: Box::new(to), because: format!("{}: {}", approved.primary(), approved.reason()) }
}

/// Who led before and left nothing in what the next primary begins with.
fn former_servers(record: &Record, approved: &Approved) -> Vec<Uuid> {
    let left_something: BTreeSet<_> = approved.required().servers().collect();
    let led: BTreeSet<_> = record.former_servers.iter().copied().chain(record.primary_server_uuid).collect();
    led.into_iter().filter(|server| *server != approved.server_uuid() && !left_something.contains(server)).collect()
}

fn drain_or_claim(snapshot: &Snapshot, record: &Record, approved: &Approved) -> Step {
    if snapshot.member(&record.primary).is_some_and(MemberView::is_drained) {
        let because = snapshot.planned(record).map(|planned| planned.because).unwrap_or_default();
        claim(record, format!("{} gives way to {}: {because}", record.primary, approved.primary()))
    } else {
        Step::Command { member: record.primary.clone(), order: Order::Drain }
    }
}

/// The next epoch, begun by a freeze.
pub(crate) fn claim(record: &Record, because: String) -> Step {
    Step::Advance { to: Box::new(record.claimed(None)), because }
}

/// The same, where somebody accepted that the freeze does without some members.
pub(crate) fn claim_without(record: &Record, without: Vec<String>, because: String) -> Step {
    let accepted = AcceptedLoss { epoch: record.epoch, without };
    Step::Advance { to: Box::new(record.claimed(Some(accepted))), because }
}

//! What keeps a replica from going on with the data it has, as its report shows it.
//!
//! Nothing here says what is to be done about it, and a single look proves nothing: an operator measures for how long a
//! trouble lasts ([`MemberView::trouble_ms`]).

use std::fmt;

use crate::facts::{MemberReport, ServerState, ThreadState};
use crate::snapshot::{MemberView, Snapshot};

/// What a receiver says when its source answers with error 1236, whatever the cause.
const FATAL: &str = "error 1236";

/// What follows where the cause is that binary logs are gone: of MySQL's `ER_SOURCE_HAS_PURGED_REQUIRED_GTIDS`, whose
/// words are the same since 8.0 but for what the source is called.
const PURGED: &str = "purged required binary logs";

/// So many ends in a row are no accident: the first two may be one crash and a start that met what it had left behind.
const TOO_MANY_ENDS: u32 = 3;

/// Why a replica cannot go on with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Its applier ends on an error.
    Applier {
        /// In mysqld's words.
        error: String,
    },
    /// The primary has no longer the binary logs that it needs.
    Purged {
        /// In mysqld's words.
        error: String,
    },
    /// Its mysqld ends by itself, again and again.
    Ends {
        /// How often.
        in_a_row: u32,
        /// How the last one ended.
        how: String,
    },
}

impl Trouble {
    /// A word for it, by which one trouble is told from another whatever the numbers in it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Applier { .. } => "applier",
            Self::Purged { .. } => "purged",
            Self::Ends { .. } => "ends",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applier { error } => write!(out, "its applier stops: {error}"),
            Self::Purged { error } => write!(out, "the primary has no longer the binary logs that it needs: {error}"),
            Self::Ends { in_a_row, how } => {
                write!(out, "its mysqld ended by itself {in_a_row} times in a row, the last time with {how}")
            }
        }
    }
}

/// What is wrong with a member's data, if its report shows anything.
pub fn trouble(snapshot: &Snapshot, member: &MemberView) -> Option<Trouble> {
    let report = member.report()?;
    report.data.incarnation()?;
    match &report.server {
        ServerState::Running(_) => replication(snapshot, member),
        // One that answers may be well again; until it ends once more nothing is wrong.
        ServerState::Stopped { .. } | ServerState::Starting => ends(report),
        ServerState::Unresponsive { .. } => None,
    }
}

fn ends(report: &MemberReport) -> Option<Trouble> {
    let ends = report.ends.as_ref().filter(|ends| ends.in_a_row >= TOO_MANY_ENDS)?;
    Some(Trouble::Ends { in_a_row: ends.in_a_row, how: ends.how.clone() })
}

fn replication(snapshot: &Snapshot, member: &MemberView) -> Option<Trouble> {
    let channel = member.server()?.replication.as_ref()?;
    if channel.is_broken() {
        return Some(Trouble::Applier { error: channel.applier_error.clone() });
    }
    // Another source may have what an earlier one had not.
    let primary = snapshot.member(&snapshot.record.as_ref()?.primary)?;
    let asks_the_primary = primary.pod.as_ref().is_some_and(|pod| pod.ip == channel.source_host);
    let error = &channel.receiver_error;
    let purged = channel.receiver == ThreadState::Off && error.contains(FATAL) && error.contains(PURGED);
    (asks_the_primary && purged).then(|| Trouble::Purged { error: error.clone() })
}

//! Whether a backup that is due may begin now: what a policy is asked and what it may answer.
//!
//! These are the host's own words, as in [`crate::decision`]. A policy can make a backup wait and never keep it from
//! being made: the question says until when, and nobody is asked any more then. Nothing here may hold a floating-point
//! number or an unordered collection.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measured::Load;
use crate::scaling::Role;

/// Everything a policy may know when a backup is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The namespace of the cluster.
    pub namespace: String,
    /// The name of the cluster.
    pub cluster: String,
    /// Milliseconds since 1970, UTC, on the operator's clock.
    pub now_unix_ms: u64,
    /// A number a policy may use where it wants to choose at random. The same for each question about one backup.
    pub seed: u64,
    /// What clocks show now in the time zone of the schedule.
    pub local: LocalTime,
    /// When the backup was due, in milliseconds since 1970, UTC.
    pub due_unix_ms: u64,
    /// When it begins whatever is answered, in milliseconds since 1970, UTC.
    pub latest_unix_ms: u64,
    /// The newest backup that succeeded. None where there is none.
    pub last: Option<LastBackup>,
    /// Every server that can be reached, sorted by name.
    pub servers: Vec<Server>,
    /// Further observations, sorted by name.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
}

/// What a clock on the wall shows, and a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalTime {
    /// The year.
    pub year: u32,
    /// The month, from 1.
    pub month: u32,
    /// The day of the month, from 1.
    pub day: u32,
    /// The day of the week, from 1 for Monday to 7 for Sunday.
    pub weekday: u32,
    /// Minutes since midnight, as the clock shows them: from 0 to 1439.
    pub minute_of_day: u32,
}

/// A backup that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastBackup {
    /// When it was complete, in milliseconds since 1970, UTC.
    pub ended_unix_ms: u64,
    /// How many seconds it took.
    pub took_s: u64,
    /// How many bytes of data were read for it.
    pub bytes: u64,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The pod's name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What was measured of it.
    #[serde(default)]
    pub load: Load,
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum Answer {
    /// The backup may begin.
    Begin {
        /// Why, in the policy's words.
        reason: String,
    },
    /// Not now. It is asked again after a minute.
    Postpone {
        /// Why, in the policy's words.
        reason: String,
    },
}

impl Answer {
    /// Why, in the policy's words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Begin { reason } | Self::Postpone { reason } => reason,
        }
    }
}

/// What comes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The backup begins.
    Begins,
    /// It waits, and whoever was asked is asked again.
    Waits,
    /// It begins although the policy would have it wait: it has waited for as long as it may.
    BeginsAnyway,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Begins => "it begins",
            Self::Waits => "it waits",
            Self::BeginsAnyway => "it has waited for as long as it may, and begins",
        })
    }
}

/// Lets a backup wait only for as long as the question says. Total.
pub fn guard(question: &Question, answer: &Answer) -> Verdict {
    match answer {
        Answer::Begin { .. } => Verdict::Begins,
        Answer::Postpone { .. } if question.now_unix_ms < question.latest_unix_ms => Verdict::Waits,
        Answer::Postpone { .. } => Verdict::BeginsAnyway,
    }
}

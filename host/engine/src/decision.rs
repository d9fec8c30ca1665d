//! What comes out: an answer, who gave it, and what went wrong on the way.
//!
//! These are values for status, Events, metrics and the journal. Nothing here may influence a choice.

use serde::{Deserialize, Serialize};
use topology::decision::Answer;

use crate::call::LogLine;

/// Who gave an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The module and settings in force.
    Configured,
    /// The pair that was in force before and had not failed.
    LastKnownGood,
    /// The module inside this program.
    Default,
    /// The default's rule as native code: only when the sandbox itself does not work.
    Native,
}

/// In what way a module failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// It crashed.
    Trap,
    /// It burnt all its fuel.
    OutOfFuel,
    /// It took too long.
    Timeout,
    /// It wanted too much memory.
    Memory,
    /// It handed over too many bytes at once.
    TooMuchData,
    /// It named a member that does not exist.
    UnknownCandidate,
    /// It named a member that may not lead.
    IneligibleCandidate,
    /// It named nobody for longer than it may.
    HeldTooLong,
    /// The sandbox failed, not the module.
    Sandbox,
}

/// How one module failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

/// What one binding made of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Its answer, checked against the question.
    pub result: Result<Answer, Failure>,
    /// Units of fuel it burnt. The same on every run with the same engine version and digest.
    pub fuel: u64,
    /// Bytes of memory its instance had in the end.
    pub memory_bytes: usize,
    /// Microseconds it took, instantiation included.
    pub took_micros: u64,
    /// What it said.
    pub logs: Vec<LogLine>,
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidedBy {
    /// The module's name.
    pub name: String,
    /// The module's version.
    pub version: String,
    /// The module's digest, `sha256:…`; `native` where no module decided.
    pub digest: String,
    /// Which of the modules it was.
    pub source: Source,
}

/// A module that was asked and failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedAttempt {
    /// Who it was.
    pub by: DecidedBy,
    /// How it failed.
    pub failure: Failure,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The answer. A promotion names an eligible member of the question.
    pub answer: Answer,
    /// Who gave it.
    pub by: DecidedBy,
    /// Who was asked before and failed, in order.
    pub failures: Vec<FailedAttempt>,
    /// Units of fuel, over all attempts.
    pub fuel: u64,
    /// Microseconds, over all attempts.
    pub took_micros: u64,
    /// What the modules said, in order.
    pub logs: Vec<LogLine>,
}

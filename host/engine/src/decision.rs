//! What comes out: an answer, who gave it, and what went wrong on the way.
//!
//! These are values for status, Events, metrics and the journal. Nothing here may influence a choice.

use serde::{Deserialize, Serialize};
use topology::decision::Answer;

use crate::breaker::Change;
use crate::call::LogLine;
use crate::kind::DecisionKind;
use crate::module::Binding;

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
    /// A module beside the one in force, whose answer nobody follows.
    Shadow,
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
    /// It handed over what the contract does not allow: an address outside of its memory, bytes that are no text.
    Malformed,
    /// It named a member that does not exist.
    UnknownCandidate,
    /// It named a member that may not lead.
    IneligibleCandidate,
    /// It wanted what no policy may have.
    ForbiddenWish,
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
pub struct Evaluation<A = Answer> {
    /// Its answer, checked against the question.
    pub result: Result<A, Failure>,
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

impl DecidedBy {
    /// A binding, as one of the modules that are asked.
    pub(crate) fn of<Q: DecisionKind>(binding: &Binding<Q>, source: Source) -> Self {
        let module = binding.module();
        let said = module.description();
        Self { name: said.name.clone(), version: said.version.clone(), digest: module.digest().to_owned(), source }
    }
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

/// What a module said when it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said<A = Answer> {
    /// It answered, and the question allows the answer.
    Answered(A),
    /// It failed.
    Failed(Failure),
}

/// One module that was asked, and what came of it: everything that is needed to ask it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt<A = Answer> {
    /// Who was asked.
    pub by: DecidedBy,
    /// The contract it was built against; `native` where no module was asked.
    pub abi: String,
    /// Its settings: the very text that it was given.
    pub settings: String,
    /// What it said.
    pub said: Said<A>,
    /// Why its answer was passed over, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<String>,
    /// Units of fuel it burnt.
    pub fuel: u64,
    /// Microseconds it took, instantiation included.
    pub took_micros: u64,
    /// What it wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
}

impl<A> Attempt<A> {
    /// Asks a binding alone.
    pub fn ask<Q: DecisionKind<Answer = A>>(binding: &Binding<Q>, source: Source, question: &Q) -> Self {
        let by = DecidedBy::of(binding, source);
        let Evaluation { result, fuel, took_micros, logs, memory_bytes: _ } = binding.decide(question);
        let said = match result {
            Ok(answer) => Said::Answered(answer),
            Err(failure) => Said::Failed(failure),
        };
        let (abi, settings) = (binding.module().abi().name().to_owned(), binding.settings_json().to_owned());
        Self { by, abi, settings, said, passed_over: None, fuel, took_micros, logs }
    }
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<A = Answer> {
    /// The answer. The question allows it: a promotion names an eligible member.
    pub answer: A,
    /// Who gave it.
    pub by: DecidedBy,
    /// Who was asked before and failed, in order.
    pub failures: Vec<FailedAttempt>,
    /// Units of fuel, over all attempts.
    pub fuel: u64,
    /// Microseconds, over all attempts.
    pub took_micros: u64,
    /// Everybody who was asked, in order.
    pub attempts: Vec<Attempt<A>>,
    /// What became of the configured module's breaker.
    pub breaker: Option<Change>,
}

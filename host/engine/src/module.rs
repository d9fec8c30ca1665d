//! A module that climbed the ladder, and a module joined with settings.
//!
//! A [`Binding`] is what decides. Its answers must never leave [`Binding::decide`] unchecked against the question.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use topology::decision::{Answer, Question};
use wasmtime::Store;

use crate::abi::{Abi, Ready};
use crate::call::{Called, Context, call, clean};
use crate::decision::{Evaluation, Failure, FailureKind};
use crate::limits::Limits;
use crate::runtime::Room;

/// What a module says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// A short name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line on what it prefers.
    pub summary: String,
    /// A JSON Schema of its settings.
    pub settings_schema: Option<String>,
}

/// What every call needs.
pub struct Sandbox {
    /// The runtime.
    pub engine: wasmtime::Engine,
    /// How much a call may cost.
    pub limits: Limits,
    /// How many may run.
    pub room: Room,
}

impl Sandbox {
    /// Runs something in a fresh store.
    pub fn call<T>(&self, run: impl FnOnce(&mut Store<Context>) -> wasmtime::Result<T>) -> Called<T> {
        call(&self.engine, &self.limits, &self.room, run)
    }
}

/// A module that can be bound to settings.
pub struct Module {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) ready: Ready,
    pub(crate) abi: Abi,
    pub(crate) digest: String,
    pub(crate) description: Description,
    pub(crate) bytes: usize,
    pub(crate) imports: Vec<String>,
    /// What it declares of its settings.
    pub(crate) schema: Option<serde_json::Value>,
}

impl fmt::Debug for Module {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Module").field("name", &self.description.name).field("digest", &self.digest).finish()
    }
}

impl Module {
    /// `sha256:…` of the unpacked component: however it was packed, the same module has the same digest.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The contract it was built against.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// What bounds each call of it.
    pub fn limits(&self) -> &Limits {
        &self.sandbox.limits
    }

    /// Bytes of the unpacked component.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The interfaces it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }
}

/// A module with its settings, which decide together.
#[derive(Debug)]
pub struct Binding {
    pub(crate) module: Arc<Module>,
    pub(crate) settings: String,
}

impl Binding {
    /// The module.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// The settings, as the JSON text the module gets.
    pub fn settings_json(&self) -> &str {
        &self.settings
    }

    /// Whether both are the same module with the same settings.
    pub fn is_same(&self, other: &Self) -> bool {
        self.module.digest == other.module.digest && self.settings == other.settings
    }

    /// Asks this binding alone, without anything to fall back to: for shadows, replays and benchmarks.
    ///
    /// Runs on the caller's thread for microseconds as a rule; [`Limits`] say what is the most.
    pub fn decide(&self, question: &Question) -> Evaluation {
        let module = &self.module;
        let called = module.sandbox.call(|store| module.ready.decide(store, question, &self.settings));
        let Called { result, fuel, memory_bytes, took_micros, logs } = called;
        let result = result.and_then(|answer| check(question, answer, module.sandbox.limits.text_bytes));
        Evaluation { result, fuel, memory_bytes, took_micros, logs }
    }
}

/// Lets an answer pass only if the question allows it, with its texts made fit to be shown.
pub fn check(question: &Question, answer: Answer, text_bytes: usize) -> Result<Answer, Failure> {
    let (candidate, reason, ranking) = match answer {
        Answer::Hold { reason } => return Ok(Answer::Hold { reason: clean(&reason, text_bytes) }),
        Answer::Promote { candidate, reason, ranking } => (candidate, reason, ranking),
    };
    let Some(chosen) = question.candidates.iter().find(|known| known.name == candidate) else {
        let names: Vec<&str> = question.candidates.iter().map(|known| known.name.as_str()).collect();
        let message = format!("it chose `{}`, which is none of: {}", clean(&candidate, 100), names.join(", "));
        return Err(Failure { kind: FailureKind::UnknownCandidate, message });
    };
    if let Some(first) = chosen.ineligible.first() {
        let message = format!("it chose `{candidate}`, which may not lead: {}", first.message);
        return Err(Failure { kind: FailureKind::IneligibleCandidate, message });
    }
    // The ranking only explains. What it says about nobody, or twice, explains nothing.
    let mut shown: Vec<topology::decision::Ranked> = Vec::new();
    for mut row in ranking {
        let known = question.candidates.iter().any(|candidate| candidate.name == row.name);
        if known && !shown.iter().any(|other| other.name == row.name) {
            row.reason = clean(&row.reason, text_bytes);
            shown.push(row);
        }
    }
    Ok(Answer::Promote { candidate, reason: clean(&reason, text_bytes), ranking: shown })
}

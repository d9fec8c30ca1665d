//! A module that climbed the ladder, and a module joined with settings.
//!
//! A [`Binding`] is what decides. Its answers must never leave [`Binding::decide`] unchecked against the question.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use topology::decision::Question;
use wasmtime::Store;

use crate::abi::{Abi, Ready};
use crate::call::{Called, Context, call};
use crate::compile::MachineCode;
use crate::decision::Evaluation;
use crate::kind::{DecisionKind, Kind};
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
    /// Kept for as long as the module is in use, for engines that are apart.
    pub(crate) _code: Option<Arc<MachineCode>>,
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

    /// What it decides.
    pub fn kind(&self) -> Kind {
        self.abi.kind()
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

/// A module with its settings, which decide together what `Q` asks.
pub struct Binding<Q = Question> {
    pub(crate) module: Arc<Module>,
    pub(crate) settings: String,
    pub(crate) asks: PhantomData<fn(&Q)>,
}

impl<Q> fmt::Debug for Binding<Q> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Binding").field("module", &self.module).field("settings", &self.settings).finish()
    }
}

impl<Q: DecisionKind> Binding<Q> {
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
    pub fn decide(&self, question: &Q) -> Evaluation<Q::Answer> {
        let module = &self.module;
        let called = module.sandbox.call(|store| question.ask(&module.ready, store, &self.settings));
        let Called { result, fuel, memory_bytes, took_micros, logs } = called;
        let result = result.and_then(|answer| question.check(answer, module.sandbox.limits.text_bytes));
        Evaluation { result, fuel, memory_bytes, took_micros, logs }
    }
}

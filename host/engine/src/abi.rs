//! The contracts this host speaks. Each version has a file that translates it to the host's own words.
//!
//! A contract is recognised by the names a component exports, never by what it says about itself. A published
//! version must never lose its file.

mod v0_1;

use topology::decision::{Answer, Question};
use wasmtime::Store;
use wasmtime::component::Component;

use crate::call::{Context, clean};
use crate::error::LoadError;
use crate::module::Description;

/// A contract this host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Abi {
    /// `grampus:primary-selection@0.1.0`.
    PrimarySelectionV0_1,
}

impl Abi {
    /// The name of the contract with its version.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrimarySelectionV0_1 => "grampus:primary-selection@0.1.0",
        }
    }

    /// The world a component of this contract is built for.
    pub fn world(self) -> &'static str {
        match self {
            Self::PrimarySelectionV0_1 => "grampus:primary-selection/primary-selection@0.1.0",
        }
    }

    /// The interface a component of this contract exports.
    pub fn interface(self) -> &'static str {
        match self {
            Self::PrimarySelectionV0_1 => "grampus:primary-selection/policy@0.1.0",
        }
    }

    /// Finds the contract of a component by its exports.
    pub(crate) fn of(component: &Component) -> Result<Self, LoadError> {
        let engine = component.engine();
        let ty = component.component_type();
        let names: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
        let known = [Self::PrimarySelectionV0_1];
        if let Some(abi) = known.into_iter().find(|abi| names.contains(&abi.interface())) {
            return Ok(abi);
        }
        let found = if names.is_empty() { "no exports".to_owned() } else { format!("`{}`", names.join("`, `")) };
        let found = clean(&found, NAME_BYTES);
        Err(LoadError::OtherWorld { expected: known.map(Self::interface).join("` or `"), found })
    }
}

/// Bytes of names that are shown: a component may have thousands, each of a hundred thousand letters.
const NAME_BYTES: usize = 300;

/// The interface that policies may import, without its version.
const LOG: &str = "grampus:log/log@";

/// The versions of it that are known. A later one of the same minor version is linked where it has the same functions.
const LOG_VERSION: &str = "0.1.";

/// Refuses imports other than the log, and gives the names of those.
pub fn check_imports(component: &Component) -> Result<Vec<String>, LoadError> {
    let ty = component.component_type();
    let mut allowed = Vec::new();
    for (import, _) in ty.imports(component.engine()) {
        let log = import.strip_prefix(LOG);
        if log.is_some_and(|version| version.starts_with(LOG_VERSION)) {
            allowed.push(import.to_owned());
            continue;
        }
        let hint = if import.starts_with("wasi:") {
            " Build it for wasm32-unknown-unknown instead of a WASI target: time and seed are in the question, and a policy has no files, clock or network"
        } else if log.is_some() {
            " This Grampus knows version 0.1 of it: build the module against that, or update Grampus"
        } else {
            ""
        };
        return Err(LoadError::ForbiddenImport { import: clean(import, NAME_BYTES), hint });
    }
    Ok(allowed)
}

/// A component that is ready to be instantiated.
pub enum Ready {
    /// By the rules of 0.1.
    V0_1(v0_1::Ready),
}

impl Ready {
    /// Links a component.
    pub fn link(abi: Abi, component: &Component) -> wasmtime::Result<Self> {
        match abi {
            Abi::PrimarySelectionV0_1 => v0_1::Ready::link(component).map(Self::V0_1),
        }
    }

    /// Makes an instance and throws it away. Types are only compared here.
    pub fn try_out(&self, store: &mut Store<Context>) -> wasmtime::Result<()> {
        match self {
            Self::V0_1(ready) => ready.try_out(store),
        }
    }

    /// Asks what it is.
    pub fn describe(&self, store: &mut Store<Context>) -> wasmtime::Result<Description> {
        match self {
            Self::V0_1(ready) => ready.describe(store),
        }
    }

    /// Lets it check settings. The inner error is a path and a message.
    pub fn validate(&self, store: &mut Store<Context>, json: &str) -> wasmtime::Result<Result<(), (String, String)>> {
        match self {
            Self::V0_1(ready) => ready.validate(store, json),
        }
    }

    /// Asks it.
    pub fn decide(&self, store: &mut Store<Context>, question: &Question, json: &str) -> wasmtime::Result<Answer> {
        match self {
            Self::V0_1(ready) => ready.decide(store, question, json),
        }
    }
}

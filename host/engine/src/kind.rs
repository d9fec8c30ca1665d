//! What is particular to a decision. Everything else in this crate is the same for all of them.
//!
//! A decision is known by the type of its question, so that a module of one can never be asked another's: a
//! [`Binding`] is of one decision, and only [`Engine::bind`] makes it, from a module whose contract is of the same.

mod backup_window;
mod config_tuning;
mod primary_selection;
mod scaling;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::Store;

use crate::abi::Ready;
use crate::call::Context;
use crate::decision::{DecidedBy, Failure, Source};
use crate::error::LoadError;
use crate::load::Engine;
use crate::module::Binding;

/// The decisions that policies make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Which replica shall lead.
    PrimarySelection,
    /// How many read replicas there are, and how large servers and volumes.
    Scaling,
    /// How mysqld is set.
    ConfigTuning,
    /// Whether a backup that is due may begin now.
    BackupWindow,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PrimarySelection, Self::Scaling, Self::ConfigTuning, Self::BackupWindow];

    /// Its name, as contracts and journals write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrimarySelection => "primary-selection",
            Self::Scaling => "scaling",
            Self::ConfigTuning => "config-tuning",
            Self::BackupWindow => "backup-window",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A decision, by its question.
pub trait DecisionKind: Clone + fmt::Debug + Eq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What may be answered.
    type Answer: Answered;

    /// Which decision it is.
    const KIND: Kind;

    /// One line on what decides where no module does.
    const NATIVE_SUMMARY: &str;

    /// The cluster that it is about, with its namespace.
    fn cluster(&self) -> (&str, &str);

    /// When it was asked, in milliseconds since 1970, UTC.
    fn asked_unix_ms(&self) -> u64;

    /// What it is about beside the cluster, in a few words.
    fn occasion(&self) -> String;

    /// The same without what changes by itself from one moment to the next.
    fn timeless(&self) -> Self;

    /// Situations that a module must survive before it decides anything real, with a name for each.
    fn rehearsals() -> Vec<(&'static str, Self)>;

    /// The rule of the default, without a sandbox. Total.
    fn decide_natively(&self) -> Self::Answer;

    /// Who that is.
    fn native() -> DecidedBy;

    /// The default as a module, where it needs to be one.
    ///
    /// # Errors
    /// Why it did not load when the engine was made.
    fn embedded(engine: &Engine) -> Result<Option<Arc<Binding<Self>>>, LoadError>;

    /// Asks an instance.
    ///
    /// # Errors
    /// What went wrong in the sandbox.
    #[doc(hidden)]
    fn ask(&self, ready: &Ready, store: &mut Store<Context>, settings: &str) -> wasmtime::Result<Self::Answer>;

    /// Lets an answer pass only if the question allows it, with its texts made fit to be shown.
    ///
    /// # Errors
    /// In what way the module failed.
    fn check(&self, answer: Self::Answer, text_bytes: usize) -> Result<Self::Answer, Failure>;
}

/// An answer to a question of some decision.
pub trait Answered: Clone + fmt::Debug + Eq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What is wanted, without the words. Two answers with the same are the same choice.
    fn wordless(&self) -> Self;

    /// Whether it only asks for time, while something waits for an answer.
    fn holds(&self) -> bool {
        false
    }

    /// The whole of it, for people.
    fn in_words(&self) -> String;
}

/// What an instance of another decision is told. It cannot happen: a binding is of the decision of its module.
fn another_decision() -> wasmtime::Error {
    wasmtime::Error::msg("the module makes another decision")
}

/// A default that keeps what there is, for decisions where doing nothing costs nothing.
fn keep() -> DecidedBy {
    DecidedBy {
        name: "keep".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: "native".to_owned(),
        source: Source::Default,
    }
}

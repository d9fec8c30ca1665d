//! Runs policy modules: loads what somebody wrote, asks it in a sandbox, and has an answer whatever happens.
//!
//! A module is a WebAssembly component that makes one kind of decision. It sees one question, may say things,
//! and gives one answer. This crate knows no Kubernetes and no async runtime: every call runs on the caller's
//! thread and is bounded by [`Limits`], so an async caller hands it to a thread for blocking work.
//!
//! - [`Engine::load`] takes bytes as they came from a ConfigMap and climbs a ladder of checks; each rung has an
//!   error of its own in [`LoadError`].
//! - [`Engine::bind`] joins a module with settings and rehearses it on built-in questions.
//! - [`Slot`] is one cluster's slot for one decision, [`PrimarySelection`] for example. Bindings are swapped in it while
//!   decisions run, and [`Slot::decide`] is total: configured module → last known good → embedded default → the same
//!   rule as native code.
//! - [`DecisionKind`] is what differs from decision to decision. It is implemented by the types of questions.
//! - [`Entry`] is a decision as a [`Ring`] keeps it, [`replay`] asks another module the same, and [`Shadows`] asks some
//!   beside the one in force.
//!
//! This crate must never let a module's answer out that its question does not allow.

#[macro_use]
mod abi;
mod breaker;
mod call;
mod compile;
mod decision;
mod dry_run;
mod embedded;
mod error;
mod guarded;
mod journal;
mod kind;
mod limits;
mod load;
mod module;
mod refused;
mod replay;
mod runtime;
mod schema;
mod selection;
mod shadow;
mod signature;
mod trust;
mod unpack;

#[cfg(feature = "build")]
pub mod build;
#[cfg(feature = "fixtures")]
pub mod fixtures;

pub use abi::Abi;
pub use breaker::{Breaker, Change, Terms};
pub use call::{Level, LogLine};
pub use compile::{Compiler, compile_child_main};
pub use decision::{Attempt, DecidedBy, Decision, Evaluation, FailedAttempt, Failure, FailureKind, Said, Source};
pub use dry_run::{REHEARSAL_NAMESPACE, built_in_questions};
pub use embedded::decide_natively;
pub use error::{EngineError, LoadError};
pub use guarded::OutOfUse;
pub use journal::{
    Bounds, CallLimits, Entry, FORMAT, Note, Outlook, Packed, Ring, Supposed, UnreadableJournal, Verdict, chosen,
    disagrees,
};
pub use kind::{Answered, DecisionKind, Kind};
pub use limits::Limits;
pub use load::{Engine, Options, module_digest};
pub use module::{Binding, Description, Module};
pub use replay::{Comparison, Repetition, Replayed, in_words, replay};
pub use selection::{BackupWindow, ConfigTuning, InForce, PrimarySelection, Scaling, Slot};
pub use shadow::{Busy, Shadows};
pub use signature::{KeyError, PublicKey, SecretKey, signed_message};
pub use trust::{Demand, Vouched};
pub use unpack::unpacked;

//! What a policy author uses: types, helpers and one macro for each decision.
//!
//! A policy is a plain library crate with one struct, one function and one macro:
//!
//! ```
//! use grampus_policy::primary_selection::*;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct PreferNode {
//!     node: String,
//! }
//!
//! impl Policy for PreferNode {
//!     fn decide(&self, question: &Question) -> Answer {
//!         question
//!             .weigh(|candidate, scales| {
//!                 scales.add_if(candidate.node == self.node, 10, "runs on the preferred node");
//!                 scales.veto_if(candidate.node_cordoned, "its node is cordoned");
//!             })
//!             .into_answer()
//!     }
//! }
//!
//! grampus_policy::primary_selection! {
//!     summary: "prefers one node, and never leads on a cordoned one",
//!     policy: PreferNode,
//! }
//! ```
//!
//! [`scaling`], [`config_tuning`] and [`backup_window`] are written in the same way, each with a trait and a macro of its own.
//!
//! This crate must never reach for a clock, randomness or I/O: a policy is a pure function of its question, and
//! the only import it may cause is `grampus:log`.

pub mod backup_window;
pub mod config_tuning;
pub mod log;
pub mod module;
pub mod primary_selection;
pub mod scaling;
pub mod settings;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

pub use settings::{NoSettings, SettingsError};

/// The value of a key in one of the lists that questions have.
fn lookup<'a>(list: &'a [(String, String)], key: &str) -> Option<&'a str> {
    list.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

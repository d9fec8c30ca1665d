//! What a policy author uses: types, helpers and one macro for each decision.
//!
//! A policy is a plain library crate with one function and one macro:
//!
//! ```
//! use grampus_policy::primary_selection::*;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     node: String,
//! }
//!
//! fn decide(question: &Question, settings: &Settings) -> Answer {
//!     question
//!         .rank(|candidate| {
//!             let there = candidate.node == settings.node;
//!             Scored::new(i64::from(there), if there { "runs on the preferred node" } else { "runs elsewhere" })
//!         })
//!         .into_answer()
//! }
//!
//! grampus_policy::primary_selection! {
//!     summary: "prefers one node",
//!     settings: Settings,
//!     decide: decide,
//! }
//! ```
//!
//! This crate must never reach for a clock, randomness or I/O: a policy is a pure function of its question, and
//! the only import it may cause is `grampus:log`.

pub mod log;
pub mod primary_selection;
pub mod settings;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

pub use settings::{NoSettings, SettingsError};

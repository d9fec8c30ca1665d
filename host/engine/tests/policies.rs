//! What the engine does with modules, good and bad, compiled by a child process as in production.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "policies/common.rs"]
mod common;
#[path = "policies/contracts.rs"]
mod contracts;
#[path = "policies/decisions.rs"]
mod decisions;
#[path = "policies/embedded.rs"]
mod embedded;
#[path = "policies/journal.rs"]
mod journal;
#[path = "policies/ladder.rs"]
mod ladder;
#[path = "policies/misbehaviour.rs"]
mod misbehaviour;
#[path = "policies/swap.rs"]
mod swap;

//! Modules that attack: each is loaded, bound and asked beside a cluster that goes on deciding, and costs no more than
//! [`arena`] allows. What a user is told of each stands in `attacks/snapshots`.
//!
//! A binary of its own, in which nothing else runs: what the operator's process and its compiling children cost is
//! measured. It must never start another program than the compiler.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "attacks/answering.rs"]
mod answering;
#[path = "attacks/arena.rs"]
mod arena;
#[path = "../../topology/tests/protocol/chance.rs"]
#[allow(dead_code, reason = "what is shared is more than this needs")]
mod chance;
#[path = "attacks/compiling.rs"]
mod compiling;
#[path = "attacks/fuzz.rs"]
mod fuzz;
#[path = "attacks/guest.rs"]
mod guest;
#[path = "attacks/linking.rs"]
mod linking;
#[path = "attacks/packing.rs"]
mod packing;
#[path = "attacks/running.rs"]
mod running;

//! The deciding half as the rest of Grampus sees it: the algebra that it rests on, whole histories of clusters in memory,
//! and the model in which every rule of the protocol is switched off once.
//!
//! One program, so that the world is compiled once.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of a test for something else")]

mod advice;
mod chance;
mod gtid;
mod guards;
mod histories;
mod membership;
mod mend;
mod model;
mod readers;
mod recovery;
mod silence;
mod suppose;
mod upkeep;
mod world;

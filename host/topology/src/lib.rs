//! The deciding half of Grampus: what is known about a cluster, what may be done about it, and why not.
//!
//! Everything here is pure, synchronous and total. This crate must never open a socket, read a clock or know
//! what Kubernetes is; it is handed a [`snapshot::Snapshot`] and answers with values. A server that cannot be
//! reached, a refusal and a wait are values too.
//!
//! The operator's loop reads in this order: [`snapshot`] → [`assess`] → a policy's [`decision`] → [`guard`] →
//! [`plan`]. What is asked of policies beside that, [`scaling`], [`tuning`] and [`backup_window`],
//! has a guard each.

pub mod advice;
pub mod assess;
pub mod backup_window;
pub mod decision;
pub mod facts;
pub mod gtid;
pub mod guard;
pub mod leads;
pub mod measured;
pub mod plan;
pub mod quorum;
pub mod readers;
pub mod reading;
pub mod record;
pub mod scaling;
pub mod signals;
pub mod snapshot;
pub mod trouble;
pub mod tuning;
pub mod upkeep;

//! What Grampus keeps in Kubernetes: its own kinds, and the objects that one cluster is made of.
//!
//! Everything here is pure: a custom resource goes in, a judgement or a set of objects comes out. This crate must
//! never hold a client, read a clock or draw a random number; whoever calls it brings those.
//!
//! It reads in this order: [`api`] (what a person asks for) → [`validate`] (whether it can be done, with every
//! default resolved) → [`children`] and [`secrets`] (what there must be) → [`conditions`] (what is reported).

pub mod advice;
pub mod api;
pub mod children;
pub mod conditions;
mod digest;
pub mod drill;
pub mod duration;
pub mod mysqld_options;
pub mod problem;
pub mod quantity;
pub mod schedule;
pub mod secrets;
pub mod validate;

pub use api::crds;
pub use problem::Problem;

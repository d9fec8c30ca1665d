//! What Grampus keeps in Kubernetes: its own kinds, and the objects that one cluster is made of.
//!
//! Everything here is pure: a custom resource goes in, a judgement or a set of objects comes out. This crate must
//! never hold a client, read a clock or draw a random number; whoever calls it brings those.

pub mod api;

pub use api::crds;

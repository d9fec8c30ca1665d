//! What authors of policies do, with the program that they use and without a cluster.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "author/c.rs"]
mod c;
#[path = "author/commands.rs"]
mod commands;
#[path = "author/paper.rs"]
mod paper;
#[path = "author/program.rs"]
mod program;
#[path = "author/tutorial.rs"]
mod tutorial;

//! Modules to measure with, and the engine they are loaded into: one that compiles in a child, as the operator's does.

use anyhow::Result;
use engine::{Compiler, Engine, Options};

/// The subcommand that compiles.
pub const COMPILE: &str = "compile-policy";

/// An engine like the operator's.
///
/// # Errors
/// The runtime does not work here.
pub fn engine() -> Result<Engine> {
    Ok(Engine::new(Options::new(Compiler::this_program(COMPILE)))?)
}

/// The same component with a custom section more, so that it is another module with another digest.
pub fn with_remark(component: &[u8], number: usize) -> Vec<u8> {
    /// The length of the section, of its name, and the name.
    const HEAD: [u8; 7] = [0, 14, 5, b'b', b'e', b'n', b'c'];
    let mut bytes = component.to_vec();
    bytes.extend_from_slice(&HEAD);
    bytes.extend_from_slice(format!("h{number:08}").as_bytes());
    bytes
}

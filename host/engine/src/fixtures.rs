//! Modules that do not deserve to be loaded, for tests here and in the lab.
//!
//! What misbehaves only while it runs is the policy crate `hostile` (`tests/hostile`), built with
//! [`crate::build::policy`]. Nothing here may be reachable from a release.

/// The smallest core module: eight bytes that need componentizing.
pub const CORE_MODULE: &[u8] = b"\0asm\x01\x00\x00\x00";

/// A file that is no WebAssembly.
pub const NOT_WASM: &[u8] = b"#!/bin/sh\necho promote shop-0\n";

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text of a fixture is valid")
}

/// A component of some other contract.
pub fn other_world() -> Vec<u8> {
    component(r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#)
}

/// A component that claims our contract and wants WASI's environment variables.
pub fn wants_wasi() -> Vec<u8> {
    component(
        r#"(component
            (import "wasi:cli/environment@0.2.0" (instance))
            (instance $i)
            (export "grampus:primary-selection/policy@0.1.0" (instance $i)))"#,
    )
}

/// A component that claims our contract and has none of its functions.
pub fn wrong_shape() -> Vec<u8> {
    component(r#"(component (instance $i) (export "grampus:primary-selection/policy@0.1.0" (instance $i)))"#)
}

/// A component whose code is damaged.
pub fn damaged() -> Vec<u8> {
    let mut bytes = other_world();
    let end = bytes.len() - 4;
    bytes.truncate(end);
    bytes
}

/// A valid component that is small when packed and costs seconds and hundreds of megabytes to compile.
pub fn enormous() -> Vec<u8> {
    use std::fmt::Write;

    /// Enough to exceed any limit a test sets, and below 8 MiB unpacked.
    const FUNCTIONS: usize = 40_000;
    let mut text = String::from("(component (core module ");
    for number in 0..FUNCTIONS {
        let body = "local.get 0 i64.const 3 i64.mul local.get 1 i64.xor local.set 0 ".repeat(12);
        // Writing to a string cannot fail.
        let _ = write!(text, "(func (param i64 i64) (result i64) {body} local.get 0 i64.const {number} i64.add)");
    }
    text.push_str("))");
    component(&text)
}

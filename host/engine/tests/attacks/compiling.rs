//! Attacks on the compiler: modules that are small and valid, and dear to compile.

use std::fmt::Write;

use engine::Engine;
use serde_json::json;

use crate::arena::{attack_with, options, three, turn};
use crate::guest::wrapped;

/// Bodies in which a number of locals meet at a number of places.
fn joins(locals: usize, places: usize) -> String {
    let mut body = format!("(func (param i32) (local {}) ", "i64 ".repeat(locals));
    for place in 0..places {
        let local = 1 + place % locals;
        let _ = write!(
            body,
            "(block (loop (br_if 1 (local.get 0))
                (local.set {local} (i64.add (local.get {local}) (i64.const {place}))) (br_if 0 (local.get 0))))"
        );
    }
    body.push(')');
    body
}

#[test]
fn compiling_costs_what_it_may_and_no_more() {
    let _turn = turn();
    // As in production, but for the patience of whoever runs this.
    let mut options = options();
    options.limits.compile_cpu_seconds = 1;
    let engine = Engine::new(options).unwrap();
    let nop = "(func)";
    let blocks = format!("(func {} {})", "block ".repeat(30_000), "end ".repeat(30_000));
    let ifs = format!("(func {} {})", "i32.const 1 if ".repeat(20_000), "end ".repeat(20_000));
    let adds = format!("(func (result i32) i32.const 1 {})", "i32.const 1 i32.add ".repeat(1_000_000));
    let deep =
        format!("(func (param i32) (result i32) {} {})", "local.get 0 ".repeat(50_000), "i32.add ".repeat(49_999));
    let table = format!("(func (param i32) (block (br_table {} (local.get 0))))", "0 ".repeat(60_000));
    let types: String = (0..50_000).map(|number| format!("(type (func (param {})))", params(number))).collect();
    let exports: String = std::iter::once("(func $f)".to_owned())
        .chain((0..90_000).map(|n| format!("(export \"{n}\" (func $f))")))
        .collect();
    let segments: String = format!("(memory 200) {}", "(data (i32.const 4) \"x\")".repeat(90_000));
    let sparse = "(memory 256) (data (i32.const 0) \"x\") (data (i32.const 16777000) \"x\")";
    let many = format!("(core module {sparse})").repeat(7);
    let cases = [
        ("thirty thousand blocks, one in another", wrapped(&blocks)),
        ("twenty thousand conditions, one in another", wrapped(&ifs)),
        ("one function of two million instructions", wrapped(&adds)),
        ("an expression of fifty thousand operands", wrapped(&deep)),
        ("a jump to sixty thousand places", wrapped(&table)),
        ("eighty jumps to sixty thousand places", wrapped(&table.repeat(80))),
        ("two hundred thousand functions of nothing", wrapped(&nop.repeat(200_000))),
        ("a function with fifty thousand locals", wrapped(&format!("(func (local {}))", "i64 ".repeat(49_999)))),
        ("as many locals as meet at as many places", wrapped(&joins(2_000, 2_000))),
        ("fifty thousand types", wrapped(&types)),
        ("ninety thousand exports", wrapped(&exports)),
        ("ninety thousand pieces of data", wrapped(&segments)),
        ("two bytes at the ends of 16 MiB", wrapped(sparse)),
        ("two bytes at the ends of 16 MiB, seven times", crate::guest::component(&many)),
        ("forty thousand functions of some length", engine::fixtures::enormous()),
        ("a complaint that is longer than any message", complaint()),
    ];
    let told: String = cases
        .iter()
        .map(|(name, bytes)| format!("{name}:\n    {}\n", attack_with(&engine, name, bytes, &json!({}), &[three()])))
        .collect();
    insta::assert_snapshot!(told);
}

/// Parameters that no other number has.
fn params(number: u32) -> String {
    (0..16).map(|bit| if number >> bit & 1 == 0 { "i32 " } else { "i64 " }).collect()
}

/// A component that the compiler rejects with a name of almost a hundred thousand letters.
fn complaint() -> Vec<u8> {
    let name = "x".repeat(99_000);
    let text = format!("(component (instance $i) (export \"{name}\" (instance $i)) (export \"{name}\" (instance $i)))");
    wat::parse_str(text).unwrap()
}

//! Attacks by what a component claims to be: its imports, its exports, their types, and its WebAssembly features.

use crate::arena::{attack, turn};
use crate::guest::{Guest, component, wrapped};

#[test]
fn imports_are_the_log_and_nothing_else() {
    let _turn = turn();
    let imports = |text: &str| component(text);
    let long = format!("(import \"grampus:log/{}@0.1.0\" (instance))", "x".repeat(60_000));
    let many: String =
        (0..5_000).map(|number| format!("(import \"grampus:log/log@0.1.{number}\" (instance))")).collect();
    let other_log = |version: &'static str| {
        let guest = Guest::default();
        let log = guest.log.replace("grampus:log@0.1.0", &format!("grampus:log@{version}"));
        let policy = guest.policy.replace("grampus:log/log@0.1.0", &format!("grampus:log/log@{version}"));
        Guest { log, policy, log_version: version, ..guest }.component()
    };
    let told = attack([
        ("the clock of WASI", imports(r#"(import "wasi:clocks/wall-clock@0.2.0" (instance))"#)),
        ("files of WASI 0.3", imports(r#"(import "wasi:filesystem/types@0.3.0" (instance))"#)),
        ("an interface that nobody knows", imports(r#"(import "evil:corp/backdoor@6.6.6" (instance))"#)),
        ("a function without an interface", imports(r#"(import "now" (func (result u64)))"#)),
        ("a component", imports(r#"(import "plug-in" (component))"#)),
        ("a type", imports(r#"(import "handle" (type (sub resource)))"#)),
        ("an interface with a very long name", imports(&long)),
        ("five thousand versions of the log", imports(&many)),
        ("a later log of the same meaning", other_log("0.1.7")),
        ("the next log", other_log("0.2.0")),
        (
            "a log with a function that there is not",
            imports(r#"(import "grampus:log/log@0.1.0" (instance (export "shout" (func))))"#),
        ),
        (
            "a log whose function takes something else",
            imports(r#"(import "grampus:log/log@0.1.0" (instance (export "write" (func (param "line" string)))))"#),
        ),
        ("a log that it wants to be a function", imports(r#"(import "grampus:log/log@0.1.0" (func))"#)),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn exports_have_the_types_of_the_contract() {
    let _turn = turn();
    let changed = |from: &str, to: &str| {
        let guest = Guest::default();
        assert!(guest.policy.contains(from), "{from}");
        Guest { policy: guest.policy.replacen(from, to, 1), ..guest }.component()
    };
    let version = |version: &'static str| {
        let guest = Guest::default();
        let policy = guest.policy.replace(
            "package grampus:primary-selection@0.1.0",
            &format!("package grampus:primary-selection@{version}"),
        );
        Guest { policy, version, ..guest }.component()
    };
    let long = "x".repeat(90_000);
    let many: String = (0..2_000).map(|number| format!("(export \"e{number}\" (instance $j))")).collect();
    let told = attack([
        ("a record with a field more", changed("acks: u32,", "acks: u32, mood: u32,")),
        ("a record with an optional field more", changed("acks: u32,", "acks: u32, mood: option<u32>,")),
        ("a record with a field less", changed("node-cordoned: bool,", "")),
        (
            "a record with fields in another order",
            changed("reason: string,\n        /// How the policy saw", "why: string,\n        /// How the policy saw"),
        ),
        ("an enum with a case more", changed("switchover,\n", "switchover, panic,\n")),
        ("a variant with a case more", changed("hold(hold),\n", "hold(hold), abdicate,\n")),
        ("a score that is no whole number", changed("score: s64", "score: f64")),
        (
            "a function that gives something else",
            changed("describe: func() -> description;", "describe: func() -> string;"),
        ),
        ("a function that is none", component_with(r#"(export "decide" (type 0))"#)),
        ("no function at all", component("")),
        ("a contract from the future", version("0.9.0")),
        ("a contract from the far future", version("9.0.0")),
        ("a contract that claims to be a little later", version("0.1.3")),
        (
            "exports with very long names",
            wat::parse_str(format!("(component (instance $j) (export \"{long}\" (instance $j)))")).unwrap(),
        ),
        ("two thousand exports", wat::parse_str(format!("(component (instance $j) {many})")).unwrap()),
        (
            "an export of the right name that is a function",
            wat::parse_str(
                r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (export "grampus:primary-selection/policy@0.1.0" (func $f)))"#,
            )
            .unwrap(),
        ),
    ]);
    insta::assert_snapshot!(told);
}

/// A component whose instance of the right name has something in it that is no function.
fn component_with(export: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component (type string) (instance $i {export}) (export "grampus:primary-selection/policy@0.1.0" (instance $i)))"#
    ))
    .unwrap()
}

#[test]
fn features_that_a_policy_does_not_need_are_off() {
    let _turn = turn();
    let core = |text: &str| wrapped(text);
    let told = attack([
        ("memory of 64 bits", core("(memory i64 1)")),
        ("shared memory", core("(memory 1 1 shared)")),
        (
            "atomic instructions",
            core("(memory 1) (func (result i32) (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))"),
        ),
        ("objects under garbage collection", core("(type (struct (field (mut i32))))")),
        ("exceptions", core("(tag $e) (func (throw $e))")),
        (
            "relaxed SIMD",
            core(
                "(func (param v128 v128 v128) (result v128)
                (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2)))",
            ),
        ),
        ("several memories", core("(memory 1) (memory 1)")),
        ("pages of one byte", core("(memory 1 (pagesize 1))")),
        (
            "arithmetic of 128 bits",
            core("(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))"),
        ),
        (
            "stacks that switch",
            core("(type $f (func)) (type $c (cont $f)) (func (param (ref $f)) (drop (cont.new $c (local.get 0))))"),
        ),
        ("a future", component("(type (future u32))")),
        ("a stream", component("(type (stream u8))")),
        ("values", wat::parse_str("(component (import \"v\" (value string)))").unwrap_or_default()),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn components_inside_of_components_change_nothing() {
    let _turn = turn();
    let good = Guest::default().component();
    let nested = |levels: usize| (0..levels).fold(good.clone(), |inner, _| around(&inner));
    let told = attack([
        ("a component that hands out another one's policy", nested(1)),
        ("ten components, one in another", nested(10)),
        ("two hundred components, one in another", hollow(200)),
        ("twenty thousand components, one in another", hollow(20_000)),
        ("twenty thousand components beside each other", component(&"(component)".repeat(20_000))),
        ("components that multiply by two at each of thirty levels", component(&multiplying(30))),
        ("instances that multiply by two at each of thirty levels", component(&multiplying_instances(30))),
        ("types that multiply by two at each of thirty levels", component(&multiplying_types(30))),
    ]);
    insta::assert_snapshot!(told);
}

/// A component that imports the log, gives it to the one inside, and exports what that exports.
fn around(inner: &[u8]) -> Vec<u8> {
    let text = r#"(component
        (type $log (instance
            (type $l (enum "debug" "info" "warn" "error"))
            (export "level" (type $level (eq $l)))
            (export "write" (func (param "level" $level) (param "message" string)))))
        (import "grampus:log/log@0.1.0" (instance $log (type $log)))
        (component $inner (import "grampus:log/log@0.1.0" (instance (type (instance))))
            (instance $p) (export "grampus:primary-selection/policy@0.1.0" (instance $p)))
        (instance $i (instantiate $inner (with "grampus:log/log@0.1.0" (instance $log))))
        (alias export $i "grampus:primary-selection/policy@0.1.0" (instance $p))
        (export "grampus:primary-selection/policy@0.1.0" (instance $p)))"#;
    let outer = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    // What stands inside is replaced by the real one: section 4 holds a component.
    let head = [&[4][..], &number(inner_size(&outer))].concat();
    let at =
        outer.windows(head.len() + 4).position(|part| part.starts_with(&head) && part.ends_with(b"\0asm")).unwrap();
    let end = at + head.len() + inner_size(&outer);
    [&outer[..at], &[4], &number(inner.len()), inner, &outer[end..]].concat()
}

/// The size of the only component inside of another.
fn inner_size(outer: &[u8]) -> usize {
    let at = outer.windows(4).rposition(|part| part == b"\0asm").unwrap();
    let size = [outer[at - 2], outer[at - 1]];
    if size[0] & 0x80 == 0 { usize::from(size[1]) } else { usize::from(size[0] & 0x7f) | usize::from(size[1]) << 7 }
}

/// A number as WebAssembly writes it.
fn number(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        out.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return out;
        }
    }
}

/// Components in each other with nothing inside, written as bytes: their text would be too deep to parse.
fn hollow(levels: usize) -> Vec<u8> {
    const HEAD: &[u8] = b"\0asm\x0d\x00\x01\x00";
    // The innermost comes last, so it is built from the end.
    let mut reversed: Vec<u8> = HEAD.iter().rev().copied().collect();
    for _ in 0..levels {
        reversed.extend(number(reversed.len()).iter().rev());
        reversed.push(4);
        reversed.extend(HEAD.iter().rev());
    }
    reversed.reverse();
    reversed
}

/// Each component instantiates the one before twice, which makes two to the power of the levels.
fn multiplying(levels: u32) -> String {
    let level = |number: u32| {
        let before = number - 1;
        format!(
            "(component $c{number}
                (alias outer 1 $c{before} (component $c))
                (instance (instantiate $c)) (instance (instantiate $c)))"
        )
    };
    let first = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    let all: String = std::iter::once(first).chain((1..=levels).map(level)).collect();
    format!("{all} (instance (instantiate $c{levels}))")
}

/// Each instance exports the one before twice.
fn multiplying_instances(levels: u32) -> String {
    let level = |number: u32| {
        let before = number - 1;
        format!("(instance $e{number} (export \"a\" (instance $e{before})) (export \"b\" (instance $e{before})))")
    };
    let all: String = (1..=levels).map(level).collect();
    format!("(instance $e0) {all} (export \"all\" (instance $e{levels}))")
}

/// Each type holds the one before twice.
fn multiplying_types(levels: u32) -> String {
    let level = |number: u32| format!("(type $t{number} (tuple $t{before} $t{before}))", before = number - 1);
    let all: String = (1..=levels).map(level).collect();
    format!("(type $t0 string) {all} (import \"f\" (func (param \"all\" $t{levels})))")
}

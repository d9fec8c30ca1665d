//! Bytes that nobody meant: noise, and good modules that were damaged in many ways, before and after packing.
//!
//! Whatever comes, loading ends with an error of the ladder or with a module that decides within its limits. Most are
//! compiled in this process, where a panic of the compiler is seen; some by a child, as in production.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use engine::{Engine, Options, built_in_questions};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::json;
use topology::decision::{Answer, Question};

use crate::arena::{attack_with, engine, three, turn};
use crate::chance;
use crate::guest::Guest;
use crate::packing::{gzip, zstd};

/// Of so many inputs, one is compiled by a child: starting one takes longer than everything else.
const ONE_CHILD_IN: u32 = 20;

/// An input may have to be compiled, which takes as long as so many histories of other tests.
const HISTORIES_EACH: u32 = 4;

/// Modules that are good for something.
fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let embedded = zstd::decode_all(&include_bytes!("../../embedded/most-advanced.wasm.zst")[..]).unwrap();
        let talkative =
            Guest::decides("(call $say (i32.const 1) (i32.const 0) (i32.const 8)) (call $good (local.get $question))")
                .and("(table 8 funcref) (elem (i32.const 0) $good $hold) (func $begin) (start $begin)");
        vec![Guest::default().component(), talkative.component(), embedded]
    });
    &SEEDS
}

/// A way to damage a module.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Vec<(usize, u8)>),
    Overwrite(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// Puts a part of another seed somewhere.
    Splice(usize, usize, usize),
    Truncate(usize),
    /// Adds to the length that a section claims.
    Length(usize, i64),
    /// Repeats a section.
    Twice(usize),
}

#[derive(Debug, Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone)]
enum Input {
    Noise(Vec<u8>, usize),
    Damaged { seed: usize, damages: Vec<Damage>, packing: Packing, afterwards: Option<Damage> },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..64_000usize;
    let bytes = || prop::collection::vec(any::<u8>(), 1..12);
    prop_oneof![
        12 => (at.clone(), 0..8u8).prop_map(|bit| Damage::Flip(vec![bit])),
        3 => prop::collection::vec((at.clone(), 0..8u8), 2..9).prop_map(Damage::Flip),
        2 => (at.clone(), bytes()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        1 => (at.clone(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at.clone(), 1..64usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        2 => (at.clone(), at.clone(), 1..400usize).prop_map(|(to, from, count)| Damage::Splice(to, from, count)),
        1 => at.clone().prop_map(Damage::Truncate),
        2 => (0..40usize, prop_oneof![-9..9i64, Just(i64::from(u32::MAX)), Just(1 << 20)])
            .prop_map(|(section, more)| Damage::Length(section, more)),
        1 => (0..40usize).prop_map(Damage::Twice),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let packing = || prop_oneof![4 => Just(Packing::Plain), 1 => Just(Packing::Gzip), 1 => Just(Packing::Zstd)];
    prop_oneof![
        1 => (prop::collection::vec(any::<u8>(), 0..600), 0..5usize).prop_map(|(bytes, head)| Input::Noise(bytes, head)),
        9 => (0..seeds().len(), prop_oneof![5 => prop::collection::vec(damage(), 1), 1 => prop::collection::vec(damage(), 2..4)], packing(), prop::option::weighted(0.1, damage()))
            .prop_map(|(seed, damages, packing, afterwards)| Input::Damaged { seed, damages, packing, afterwards }),
    ]
}

impl Input {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Noise(bytes, head) => {
                const HEADS: [&[u8]; 5] =
                    [b"", b"\0asm\x0d\x00\x01\x00", b"\0asm\x01\x00\x00\x00", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"];
                [HEADS[*head], bytes].concat()
            }
            Self::Damaged { seed, damages, packing, afterwards } => {
                let mut bytes = seeds()[*seed].clone();
                damages.iter().for_each(|damage| damage.to(&mut bytes));
                let mut packed = match packing {
                    Packing::Plain => bytes,
                    Packing::Gzip => gzip(&bytes),
                    Packing::Zstd => zstd(&bytes),
                };
                afterwards.iter().for_each(|damage| damage.to(&mut packed));
                packed
            }
        }
    }
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Flip(bits) => bits.iter().for_each(|(at, bit)| bytes[at % length] ^= 1 << bit),
            Self::Overwrite(at, new) => {
                bytes.iter_mut().skip(at % length).zip(new).for_each(|(byte, new)| *byte = *new);
            }
            Self::Insert(at, new) => drop(bytes.splice(at % length..at % length, new.iter().copied())),
            Self::Remove(at, count) => drop(bytes.drain(at % length..(at % length + count).min(length))),
            Self::Splice(to, from, count) => {
                let other = &seeds()[(to + from) % seeds().len()];
                let part: Vec<u8> = other.iter().skip(from % other.len()).take(*count).copied().collect();
                let (start, end) = (to % length, (to % length + part.len()).min(length));
                bytes.splice(start..end, part);
            }
            Self::Truncate(at) => bytes.truncate(at % length),
            Self::Length(section, more) => {
                let Some((start, body, size)) = pick(bytes, *section) else { return };
                let claimed = u32::try_from(size as i64 + more).unwrap_or(u32::MAX);
                bytes.splice(start + 1..body, leb(claimed));
            }
            Self::Twice(section) => {
                let Some((start, body, size)) = pick(bytes, *section) else { return };
                let again = bytes[start..body + size].to_vec();
                bytes.splice(start..start, again);
            }
        }
    }
}

/// Where a section of a component starts, where its body does, and the size of that.
fn pick(bytes: &[u8], which: usize) -> Option<(usize, usize, usize)> {
    let mut sections = Vec::new();
    let mut at = 8;
    while at < bytes.len() {
        let (mut size, mut body) = (0usize, at + 1);
        loop {
            let byte = *bytes.get(body)?;
            size |= usize::from(byte & 0x7f) << (7 * (body - at - 1)).min(35);
            body += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if size > bytes.len() - body {
            break;
        }
        sections.push((at, body, size));
        at = body + size;
    }
    (!sections.is_empty()).then(|| sections[which % sections.len()])
}

fn leb(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Loads, binds and asks; what comes out is a word for the statistics.
fn try_out(engine: &Engine, bytes: &[u8]) -> Result<&'static str, TestCaseError> {
    let binding = match engine.load(bytes).and_then(|module| engine.bind(module, &json!({}))) {
        Ok(binding) => binding,
        Err(error) => {
            let told = error.to_string();
            prop_assert!(told.len() < 2_500 && !told.chars().any(crate::arena::deceives), "{told:?}");
            return Ok(error.reason());
        }
    };
    let limits = engine.limits();
    for (name, question) in built_in_questions() {
        let question = Question { namespace: "default".into(), ..question };
        let evaluation = binding.decide(&question);
        prop_assert!(evaluation.fuel <= limits.fuel, "{name}");
        prop_assert!(evaluation.memory_bytes <= limits.memory_bytes, "{name}");
        prop_assert!(evaluation.took_micros < 5_000_000, "{name}: {} µs", evaluation.took_micros);
        if let Ok(Answer::Promote { candidate, .. }) = evaluation.result {
            prop_assert!(question.candidates.iter().any(|known| known.name == candidate && known.is_eligible()));
        }
    }
    Ok("decides")
}

#[test]
fn whatever_comes_is_refused_or_decides_within_its_limits() {
    let _turn = turn();
    let here = Engine::new(Options::compiling_in_process()).unwrap();
    let told: Mutex<BTreeMap<&str, u32>> = Mutex::default();
    let tried = Mutex::new(0);
    let config = Config {
        cases: chance::histories().div_ceil(HISTORIES_EACH),
        max_shrink_iters: 2_000,
        rng_seed: RngSeed::Fixed(chance::seed()),
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&input(), |input| {
        let bytes = input.bytes();
        let word = try_out(&here, &bytes)?;
        *told.lock().unwrap().entry(word).or_default() += 1;
        let number = {
            let mut tried = tried.lock().unwrap();
            *tried += 1;
            *tried
        };
        if number % ONE_CHILD_IN == 0 {
            attack_with(&engine(), "a damaged module", &bytes, &json!({}), &[three()]);
        }
        Ok(())
    });
    let told = told.into_inner().unwrap();
    println!("SEED={}: {told:?}", chance::seed());
    result.unwrap_or_else(|error| panic!("SEED={}\n{error}", chance::seed()));
    // A handful may miss some of these.
    if told.values().sum::<u32>() >= 400 {
        for rung in ["decides", "ModuleDoesNotCompile", "ModuleDoesNotUnpack", "ModuleNotWasm"] {
            assert!(told.contains_key(rung), "no history came to {rung}");
        }
    }
}

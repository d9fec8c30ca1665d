use serde_json::json;

use super::*;
use crate::Failure;

fn entry(number: u64, reason: &str) -> Entry {
    let (_, question) = crate::built_in_questions().swap_remove(4);
    let answer = Answer::Promote { candidate: "shop-2".to_owned(), reason: reason.to_owned(), ranking: Vec::new() };
    let by = DecidedBy {
        name: "zones".to_owned(),
        version: "1".to_owned(),
        digest: "sha256:01".to_owned(),
        source: Source::Configured,
    };
    let attempt = attempt(&by, Said::Answered(answer.clone()));
    let decision =
        Decision { answer, by, failures: Vec::new(), fuel: 7, took_micros: 9, attempts: vec![attempt], breaker: None };
    let question = Question { now_unix_ms: number, ..question };
    Entry::new(number.to_string(), question, &decision, &Limits::default())
}

fn attempt(by: &DecidedBy, said: Said) -> Attempt {
    Attempt {
        by: by.clone(),
        abi: "grampus:primary-selection@0.1.0".to_owned(),
        settings: "{}".to_owned(),
        said,
        passed_over: None,
        fuel: 7,
        took_micros: 9,
        logs: Vec::new(),
    }
}

fn decided(number: u64, reason: &str) -> Note {
    Note::Decided(Box::new(entry(number, reason)))
}

/// Text that does not shrink.
fn noise(bytes: usize) -> String {
    let mut state = bytes as u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + (state >> 40) as u8 % 90)
    };
    (0..bytes).map(|_| letter()).collect()
}

fn ids(ring: &Ring) -> Vec<String> {
    ring.entries().map(|entry| entry.id).collect()
}

fn packed(ring: Ring, entries: usize, bytes: usize) -> Ring {
    let packed = ring.pack(Bounds { entries, bytes }).unwrap();
    assert!(packed.bytes.len() <= bytes && packed.lost.is_empty(), "{} bytes", packed.bytes.len());
    Ring::unpack(&packed.bytes).unwrap()
}

#[test]
fn what_is_kept_is_read_again_and_the_oldest_goes_first() {
    let mut ring = Ring::default();
    ring.take((0..50).rev().map(|number| decided(number, "because")).collect());
    let ring = packed(ring, 10, 64 << 10);
    assert_eq!(ids(&ring), (40..50).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(ring.entries().last(), Some(entry(49, "because")));
}

#[test]
fn bytes_are_a_bound_as_decisions_are() {
    let mut ring = Ring::default();
    ring.take((0..40).map(|number| decided(number, &noise(1_000 + number as usize * 50))).collect());
    let ids = ids(&packed(ring, 40, 16 << 10));
    assert!((2..40).contains(&ids.len()) && ids.last().is_some_and(|id| id == "39"), "{ids:?}");
}

#[test]
fn what_came_later_is_added_and_a_decision_is_taken_in_once() {
    let mut ring = Ring::default();
    ring.take(vec![decided(1, "because"), decided(2, "because")]);
    let mut ring = packed(ring, 9, 64 << 10);
    let id = || "1".to_owned();
    let shadow =
        attempt(&entry(1, "").by, Said::Failed(Failure { kind: FailureKind::Trap, message: "it crashed".to_owned() }));
    ring.take(vec![
        decided(1, "again"),
        Note::Repeated { id: id(), times: 3, until_unix_ms: 900 },
        Note::Repeated { id: id(), times: 2, until_unix_ms: 800 },
        Note::Shadowed { id: id(), said: vec![shadow.clone()] },
        Note::Became { id: id(), outcome: "shop-2 leads".to_owned() },
        Note::Became { id: "gone".to_owned(), outcome: "nobody knows".to_owned() },
    ]);
    let wanted = Entry {
        repeated: 5,
        repeated_until_unix_ms: 900,
        shadows: vec![shadow],
        outcome: Some("shop-2 leads".to_owned()),
        ..entry(1, "because")
    };
    assert_eq!(ring.entries().collect::<Vec<_>>(), [wanted, entry(2, "because")]);
}

#[test]
fn lines_of_a_later_version_are_carried_along_as_they_are() {
    let later = json!({ "format": 9, "id": "x", "atUnixMs": 5, "what": { "nobody": "knows yet" } }).to_string();
    let bytes = zstd::bulk::compress(format!("{later}\nno line\n").as_bytes(), 1).unwrap();
    let mut ring = Ring::unpack(&bytes).unwrap();
    ring.take(vec![decided(9, "because"), Note::Became { id: "x".to_owned(), outcome: "unreadable".to_owned() }]);
    let ring = packed(ring, 9, 64 << 10);
    assert_eq!(ring.lines().next(), Some(later.as_str()));
    assert_eq!(ring.entries().count(), 1);
}

#[test]
fn an_entry_that_is_too_large_is_cut_and_one_that_is_larger_still_is_lost_and_told() {
    let mut large = entry(1, "because");
    large.attempts[0].logs.push(crate::LogLine { level: crate::Level::Info, message: noise(20_000) });
    let mut ring = Ring::default();
    ring.take(vec![Note::Decided(Box::new(large))]);
    let kept = packed(ring, 9, 8 << 10).entries().next().unwrap();
    assert!(kept.cut && kept.attempts[0].logs.is_empty());
    let mut ring = Ring::default();
    ring.take(vec![decided(1, &noise(20_000))]);
    let packed = ring.pack(Bounds { entries: 9, bytes: 8 << 10 }).unwrap();
    assert_eq!(packed.lost, ["1"]);
    assert_eq!(Ring::unpack(&packed.bytes).unwrap().lines().count(), 0);
    let later = json!({ "format": 9, "id": "x", "atUnixMs": 5, "what": noise(20_000) }).to_string();
    let ring = Ring::unpack(&zstd::bulk::compress(later.as_bytes(), 1).unwrap()).unwrap();
    assert_eq!(ring.pack(Bounds { entries: 9, bytes: 8 << 10 }).unwrap().lost, ["x"]);
}

#[test]
fn what_is_no_journal_is_told() {
    assert!(Ring::unpack(b"#!/bin/sh").is_err());
    let bomb = zstd::bulk::compress(&vec![b' '; 40 << 20], 1).unwrap();
    assert!(bomb.len() < 1 << 20);
    assert!(Ring::unpack(&bomb).is_err());
}

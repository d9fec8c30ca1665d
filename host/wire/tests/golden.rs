//! Every message of version 1 as it was first released, in `v1/*.jsonl`, held against today's types. Those files are never
//! changed: an operator or an agent that speaks like that may be anywhere.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of a test for something else")]

use rstest::rstest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use topology::facts::{DataState, JobKind, JobState, ServerState, Standing, ThreadState, VolumeTrouble};
use topology::record::Phase;
use wire::{
    ArchiveAnswer, ArchiveAsk, ArchiveCall, BackupAsk, BackupCall, CheckAnswer, CheckAsk, CheckCall, CheckState,
    Command, Greeting, Heartbeat, Outcome, Request, Response, WIRE_VERSION,
};

const HEARTBEATS: &str = include_str!("v1/heartbeats.jsonl");
const REQUESTS: &str = include_str!("v1/requests.jsonl");
/// Added within version 1.
const RECOVERIES: &str = include_str!("v1/recoveries.jsonl");
/// Added within version 1: what is said of backups, and of encrypted ones.
const BACKUP_CALLS: &str = include_str!("v1/backup-calls.jsonl");
const ENCRYPTED_ARCHIVES: &str = include_str!("v1/encrypted-archives.jsonl");
const ENCRYPTED_RECOVERIES: &str = include_str!("v1/encrypted-recoveries.jsonl");
/// Added within version 1.
const DRILLS: &str = include_str!("v1/drills.jsonl");
const CHECK_CALLS: &str = include_str!("v1/check-calls.jsonl");
const CHECK_ANSWERS: &str = include_str!("v1/check-answers.jsonl");
const RESPONSES: &str = include_str!("v1/responses.jsonl");
const ARCHIVE_CALLS: &str = include_str!("v1/archive-calls.jsonl");
const ARCHIVE_ANSWERS: &str = include_str!("v1/archive-answers.jsonl");

fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn read<T: DeserializeOwned>(document: &Value) -> T {
    serde_json::from_value(document.clone()).unwrap_or_else(|why| panic!("{why}: {document:#}"))
}

/// What of an old document a new one does not say in the same words: what a reader from then would miss.
fn missing(old: &Value, new: &Value, at: &str, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                missing(value, new.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter().zip(new).for_each(|(old, new)| missing(old, new, at, found));
        }
        _ if old == new => {}
        _ => found.push(format!("{at}: {old} is now {new}")),
    }
}

fn holds<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) {
    for document in documents(text) {
        let message: T = read(&document);
        let mut found = Vec::new();
        missing(&document, &serde_json::to_value(&message).unwrap(), "", &mut found);
        assert!(found.is_empty(), "whoever speaks version 1 does not understand this any more: {found:#?}");
        let mut later = document.clone();
        extend(&mut later);
        assert_eq!(read::<T>(&later), message, "fields that nobody here knows change nothing: {later:#}");
    }
}

/// Adds a field of a later release to everything that may have one.
fn extend(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(extend);
            // A word in the place of a field says what follows; only lower-case ones are fields.
            if !fields.keys().any(|key| key.starts_with(char::is_uppercase)) {
                fields.insert("ofALaterRelease".to_owned(), json!({ "a": [1, { "b": null }] }));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(extend),
        _ => {}
    }
}

#[test]
fn what_version_1_said_is_understood_and_said_in_the_same_words() {
    holds::<Heartbeat>(HEARTBEATS);
    holds::<Request>(REQUESTS);
    holds::<Request>(RECOVERIES);
    holds::<Request>(DRILLS);
    holds::<CheckCall>(CHECK_CALLS);
    holds::<CheckAnswer>(CHECK_ANSWERS);
    holds::<Response>(RESPONSES);
    holds::<ArchiveCall>(ARCHIVE_CALLS);
    holds::<ArchiveAnswer>(ARCHIVE_ANSWERS);
    holds::<BackupCall>(BACKUP_CALLS);
    holds::<ArchiveCall>(ENCRYPTED_ARCHIVES);
    holds::<Request>(ENCRYPTED_RECOVERIES);
}

#[test]
fn every_word_about_archives_is_in_the_documents_and_one_of_a_later_release_can_be_refused() {
    for word in ["look", "keep", "stop"] {
        assert!(ARCHIVE_CALLS.contains(&format!(r#""do":"{word}""#)), "{word}");
    }
    let later = json!({ "wire": 1, "ask": { "do": "pack", "from": 7 } });
    assert_eq!(read::<ArchiveCall>(&later).ask, ArchiveAsk::Unknown);
    let least: ArchiveAnswer = read(&json!({ "wire": 1 }));
    assert_eq!(least, ArchiveAnswer { wire: 1, lacks: None, state: None, refused: None });
}

#[test]
fn what_is_to_be_encrypted_is_said_in_words_that_whoever_cannot_does_not_know() {
    for word in ["look", "begin", "beginEncrypted", "abort"] {
        assert!(BACKUP_CALLS.contains(&format!(r#""do":"{word}""#)), "{word}");
    }
    let later = json!({ "wire": 1, "ask": { "do": "verify", "order": {} } });
    assert_eq!(read::<BackupCall>(&later).ask, BackupAsk::Unknown);
    let documents = [documents(BACKUP_CALLS), documents(ENCRYPTED_ARCHIVES)].concat();
    let encrypted = documents.iter().filter(|call| call["ask"].get("recipients").is_some());
    let words: Vec<_> = encrypted.map(|call| call["ask"]["do"].as_str().unwrap()).collect();
    assert_eq!(words, ["beginEncrypted", "keepEncrypted"], "no word that an earlier agent knows has a recipient");
    let recovery = read::<Request>(&json_of(ENCRYPTED_RECOVERIES));
    assert!(!format!("{recovery:?}").contains("AGE-SECRET-KEY"), "no secret ends up in a log");
}

fn json_of(text: &str) -> Value {
    documents(text).remove(0)
}

#[test]
fn every_word_about_checks_is_in_the_documents_and_one_of_a_later_release_is_a_value() {
    for word in ["look", "begin", "stop"] {
        assert!(CHECK_CALLS.contains(&format!(r#""do":"{word}""#)), "{word}");
    }
    for word in ["running", "done", "failed"] {
        assert!(CHECK_ANSWERS.contains(&format!(r#""state":"{word}""#)), "{word}");
    }
    assert!(DRILLS.contains(r#""to":"withinGtids""#));
    let later = json!({ "wire": 1, "ask": { "do": "repair", "table": "shop.orders" } });
    assert_eq!(read::<CheckCall>(&later).ask, CheckAsk::Unknown);
    let later = json!({ "wire": 1, "job": { "id": "1", "state": { "state": "resting", "since": 7 } } });
    assert_eq!(read::<CheckAnswer>(&later).job.unwrap().state, CheckState::Unknown);
    let least: CheckAnswer = read(&json!({ "wire": 1 }));
    assert_eq!(least, CheckAnswer { wire: 1, job: None, refused: None });
}

/// The test above shows nothing of a word that no document has.
#[test]
fn every_word_of_version_1_is_in_the_documents() {
    let all = [HEARTBEATS, REQUESTS, RESPONSES].concat();
    for word in [
        "store",
        "initialize",
        "start",
        "clone",
        "trim",
        "follow",
        "read",
        "freeze",
        "grantStanding",
        "promote",
        "setAcks",
        "lock",
        "fence",
        "drain",
        "undrain",
    ] {
        assert!(all.contains(&format!(r#""do":"{word}""#)), "{word}");
    }
    for word in ["recover", "end", "time", "beforeGtid"] {
        assert!(RECOVERIES.contains(&format!(r#":"{word}""#)), "{word}");
    }
    for word in ["done", "pending", "stale", "refused", "failed"] {
        assert!(all.contains(&format!(r#""outcome":"{word}""#)), "{word}");
    }
    for word in [
        "empty",
        "incomplete",
        "ready",
        "good",
        "unproved",
        "stopped",
        "starting",
        "running",
        "unresponsive",
        "done",
        "failed",
    ] {
        assert!(all.contains(&format!(r#""state":"{word}""#)), "{word}");
    }
    for word in ["Freezing", "Promoting", "Serving", "stalled", "on", "off", "connecting", "Claim", "Primary"] {
        assert!(all.contains(&format!(r#""{word}""#)), "{word}");
    }
}

#[rstest]
#[case::a_job("kind", "backup", |message: Response| {
    assert_eq!(message.report.job.unwrap().kind, JobKind::Unknown);
})]
#[case::the_end_of_a_job("state", "halfDone", |message: Response| {
    assert_eq!(message.report.job.unwrap().state, JobState::Unknown);
})]
#[case::a_trouble("trouble", "slow", |message: Response| {
    assert_eq!(message.report.volume, Some(VolumeTrouble::Unknown));
})]
#[case::an_outcome("outcome", "later", |message: Response| assert_eq!(message.outcome, Outcome::Unknown))]
fn a_word_of_a_later_release_is_a_value(#[case] field: &str, #[case] word: &str, #[case] check: fn(Response)) {
    let mut document = documents(RESPONSES).remove(1);
    document["report"]["job"] = json!({ "kind": "clone", "state": { "state": "done" } });
    document["report"]["volume"] = json!({ "trouble": "failed", "error": "x" });
    let place = match field {
        "kind" => &mut document["report"]["job"]["kind"],
        "state" => &mut document["report"]["job"]["state"]["state"],
        "trouble" => &mut document["report"]["volume"]["trouble"],
        _ => &mut document["outcome"]["outcome"],
    };
    *place = json!(word);
    check(read(&document));
}

#[test]
fn a_command_of_a_later_release_can_be_refused() {
    let mut document = documents(REQUESTS).remove(0);
    document["command"] = json!({ "do": "backUp", "to": { "bucket": "b" } });
    assert_eq!(read::<Request>(&document).command, Command::Unknown);
}

/// Decisions rest on these words. One that is added here would be unreadable to whoever speaks version 1: raise the version.
#[test]
fn words_that_decisions_rest_on_are_closed() {
    let phase = |word: &Phase| match word {
        Phase::Freezing | Phase::Promoting | Phase::Serving => {}
    };
    let thread = |word: &ThreadState| match word {
        ThreadState::On | ThreadState::Off | ThreadState::Connecting => {}
    };
    let data = |word: &DataState| match word {
        DataState::Empty | DataState::Incomplete | DataState::Ready { .. } => {}
    };
    let standing = |word: &Standing| match word {
        Standing::Good | Standing::Unproved { .. } => {}
    };
    let server = |word: &ServerState| match word {
        ServerState::Stopped { .. }
        | ServerState::Starting
        | ServerState::Running(_)
        | ServerState::Unresponsive { .. } => {}
    };
    phase(&Phase::Serving);
    thread(&ThreadState::On);
    data(&DataState::Empty);
    standing(&Standing::Good);
    server(&ServerState::Starting);
    assert!(serde_json::from_value::<ThreadState>(json!("paused")).is_err());
    assert!(serde_json::from_value::<Phase>(json!("Draining")).is_err());
    assert!(serde_json::from_value::<Standing>(json!({ "state": "fair" })).is_err());
}

/// Whatever else a version changes, its number is where it was.
#[test]
fn the_version_is_told_before_anything_else_is_understood() {
    assert_eq!(WIRE_VERSION, 1, "these documents are of version 1: add a directory for the next one, and keep them");
    for document in documents(HEARTBEATS) {
        assert_eq!(read::<Greeting>(&document).wire, 1);
    }
    let next = json!({ "wire": 2, "report": { "member": ["no", "text"] } });
    assert_eq!(read::<Greeting>(&next).wire, 2);
    assert!(serde_json::from_value::<Heartbeat>(next).is_err());
}

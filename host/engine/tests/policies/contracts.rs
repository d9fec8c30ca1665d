//! What was released stays as it was: contracts to the byte, and modules and journals of old ones go on working.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Binding, Comparison, Entry, PrimarySelection, Repetition, Source, built_in_questions, replay};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use topology::decision::Question;

use crate::common::{bound, chosen, engine, question};

/// Every released package with the digest of its text, from the day on which it was released. A line may be added here
/// and none may change.
const RELEASED: [(&str, &str); 6] = [
    ("backup-window@0.1.0", "36ff3bd19c59a844de09972b90c506529dffe70cca439ce0a57dbf1fb0bd8b80"),
    ("config-tuning@0.1.0", "988dec04413f087a3bcddbd6992c02c4490c0774d97a6eb3c8d675794d70caaf"),
    ("log@0.1.0", "01743227d925c3c318362fabdd6777b32417f66db5d104de1422bcbf9a55843f"),
    ("primary-selection@0.1.0", "0b781ed3fabc7c8f62fab11d9755a18f649a1f9bb49781aa141458adb1cdde4b"),
    ("primary-selection@0.2.0", "9a3eaf2a72ea668b7d9672aab39d026488136cd8b00b0c6268bbb9d21d116bf2"),
    ("scaling@0.1.0", "2a62420440687393bc1ce67870f1096d68f09fabb1751f2be15372d17b07d36d"),
];

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

#[test]
fn a_released_contract_never_changes() {
    let mut there: Vec<String> = std::fs::read_dir(wit().join("released"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, RELEASED.map(|(name, _)| format!("{name}.wit")), "list what is released here, with its digest");
    for (name, digest) in RELEASED {
        let text = std::fs::read(wit().join("released").join(format!("{name}.wit"))).unwrap();
        let found = hex::encode(Sha256::digest(&text));
        assert_eq!(found, digest, "{name} is released and has changed; give the new shape a new version");
    }
}

#[test]
fn what_authors_build_against_is_what_was_released() {
    for name in ["log", "primary-selection", "scaling", "config-tuning", "backup-window"] {
        let text = std::fs::read_to_string(wit().join(name).join(format!("{name}.wit"))).unwrap();
        let package = text.lines().find_map(|line| line.strip_prefix("package grampus:")?.strip_suffix(';')).unwrap();
        let released = std::fs::read_to_string(wit().join("released").join(format!("{package}.wit"))).unwrap();
        assert_eq!(text, released, "wit/{name} is not {package} as it was released");
    }
}

/// `most-advanced` as it was built on the last day of the SDK 0.1.0.
fn old() -> Arc<Binding> {
    let module = engine().load(include_bytes!("../released/most-advanced@0.1.0.wasm.zst")).unwrap();
    assert_eq!(module.abi().name(), "grampus:primary-selection@0.1.0");
    assert_eq!(module.imports(), ["grampus:log/log@0.1.0"]);
    bound(module, &json!({})).unwrap()
}

#[test]
fn modules_of_the_old_contract_and_of_the_new_decide_side_by_side() {
    let new = bound(engine().embedded().unwrap(), &json!({})).unwrap();
    assert_eq!(new.module().abi().name(), "grampus:primary-selection@0.2.0");
    let old = old();
    for (name, question) in built_in_questions() {
        let answers = [&old, &new].map(|binding| binding.decide(&question).result.unwrap());
        assert_eq!(answers[0], answers[1], "{name}");
    }
    let slot = PrimarySelection::new(engine());
    slot.swap(old);
    let decision = slot.decide(&question("five members, everything known of each"));
    assert_eq!((decision.by.source, decision.by.name.as_str()), (Source::Configured, "most-advanced"));
    assert_eq!(decision.attempts[0].abi, "grampus:primary-selection@0.1.0");
    assert!(chosen(&decision.answer).is_some());
}
#[test]
fn a_journal_of_the_old_contract_is_made_again_exactly() {
    let old = old();
    let lines = include_str!("../released/journal@0.1.0.jsonl");
    let entries: Vec<Entry> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.len() >= 12);
    for (line, entry) in lines.lines().zip(&entries) {
        assert_eq!(entry.attempts[0].by.digest, old.module().digest());
        let again = replay(&old, entry);
        assert_eq!(again.comparison, Comparison::Same, "{line}");
        // With another version of the engine, fuel means nothing.
        assert!(matches!(again.repetition, Repetition::Exact | Repetition::SameAnswer), "{:?}", again.repetition);
        assert_eq!(serde_json::to_string(entry).unwrap(), line, "an old line is not written as it was read");
    }
}

#[test]
fn a_question_of_old_is_one_of_which_less_is_known() {
    let lines = include_str!("../released/journal@0.1.0.jsonl");
    let entry: Entry = serde_json::from_str(lines.lines().next_back().unwrap()).unwrap();
    let Question { failover_window_s, failovers_in_window, facts, candidates, .. } = entry.question;
    assert_eq!((failover_window_s, failovers_in_window, facts.len()), (None, None, 0));
    assert!(candidates.iter().all(|candidate| candidate.catch_up == Default::default()));
}

//! Modules that go wrong while they run: in a rehearsal they are refused, for real they cost one fallback.

use std::sync::Arc;

use engine::{Binding, Engine, FailureKind, LoadError, Options, PrimarySelection, Source, built_in_questions};
use proptest::prelude::*;
use serde_json::json;
use topology::decision::Answer;

use crate::common::{bind, built, chosen, engine, hostile_after_rehearsal, three};

/// What each mischief is told as, and a part of its message.
const MISCHIEF: [(&str, FailureKind, &str); 8] = [
    ("trap", FailureKind::Trap, "told to panic"),
    ("loop", FailureKind::OutOfFuel, "does it loop?"),
    ("recurse", FailureKind::Trap, "recursion"),
    ("memory", FailureKind::Memory, "16777216 bytes of memory"),
    ("flood", FailureKind::TooMuchData, "1048576 bytes at once"),
    ("unknown", FailureKind::UnknownCandidate, "`shop-99`, which is none of: shop-0, shop-1, shop-2"),
    ("ineligible", FailureKind::IneligibleCandidate, "`shop-0`, which may not lead: its agent does not answer"),
    ("name", FailureKind::UnknownCandidate, "it chose ``"),
];

#[test]
fn a_module_that_fails_a_rehearsal_is_refused() {
    for (mischief, kind, part) in MISCHIEF {
        let error = bind(json!({"do": mischief})).unwrap_err();
        let LoadError::DryRun { failure, .. } = &error else { panic!("{mischief}: {error}") };
        assert_eq!(failure.kind, kind, "{mischief}: {failure}");
        if mischief != "unknown" && mischief != "ineligible" {
            assert!(failure.message.contains(part), "{mischief}: {failure}");
        }
    }
    let error = bind(json!({"do": "trap-in-settings"})).unwrap_err();
    assert!(
        matches!(&error, LoadError::SettingsCheck(failure) if failure.message.contains("panic over settings")),
        "{error}"
    );
}

#[test]
fn a_module_that_fails_for_real_costs_a_fallback_and_is_told() {
    for (mischief, kind, part) in MISCHIEF {
        let slot = PrimarySelection::new(engine());
        slot.swap(hostile_after_rehearsal(mischief));
        let decision = slot.decide(&three());
        assert_eq!(decision.by.source, Source::Default, "{mischief}");
        assert_eq!(chosen(&decision.answer), Some("shop-2"), "{mischief}");
        let [failed] = decision.failures.as_slice() else { panic!("{mischief}: {:?}", decision.failures) };
        assert_eq!((failed.by.source, failed.by.name.as_str()), (Source::Configured, "hostile"));
        assert_eq!(failed.failure.kind, kind, "{mischief}: {}", failed.failure);
        assert!(failed.failure.message.contains(part), "{mischief}: {}", failed.failure);
    }
}

#[test]
fn a_panic_says_where() {
    let slot = PrimarySelection::new(engine());
    slot.swap(hostile_after_rehearsal("trap"));
    let decision = slot.decide(&three());
    assert!(decision.failures[0].failure.message.contains("hostile/src/lib.rs:"), "{:?}", decision.failures);
}

#[test]
fn fuel_of_a_failure_is_the_same_on_every_run() {
    let binding = hostile_after_rehearsal("trap");
    let fuel = binding.decide(&three()).fuel;
    assert!((0..10).all(|_| binding.decide(&three()).fuel == fuel));
}

#[test]
fn should_fuel_not_stop_a_loop_the_clock_does() {
    let mut options = Options::compiling_in_process();
    options.limits.fuel = u64::MAX / 2;
    options.limits.call_cpu_ms = 50;
    let engine = Engine::new(options).unwrap();
    let module = engine.load(built("hostile")).unwrap();
    let binding: Arc<Binding> = engine.bind(module, &json!({"do": "loop", "afterRehearsal": true})).unwrap();
    let failure = binding.decide(&three()).result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
}

#[test]
fn a_hold_is_an_answer_until_it_lasts_too_long() {
    let slot = PrimarySelection::new(engine());
    slot.swap(bind(json!({"do": "hold"})).unwrap());
    let decision = slot.decide(&three());
    assert_eq!(decision.answer, Answer::Hold { reason: "let us wait a little longer".into() });
    assert_eq!(decision.by.source, Source::Configured);
    let decision = slot.overrule(decision, &three());
    assert_eq!((decision.by.source, chosen(&decision.answer)), (Source::Default, Some("shop-2")));
    let [failed] = decision.failures.as_slice() else { panic!("{:?}", decision.failures) };
    assert_eq!((failed.by.source, failed.failure.kind), (Source::Configured, FailureKind::HeldTooLong));
    assert!(failed.failure.message.contains("let us wait a little longer"), "{failed:?}");
    let named = slot.overrule(decision.clone(), &three());
    assert_eq!(named, decision, "who is named by the default is not asked for again");
}

#[test]
fn only_the_first_lines_of_a_chatterbox_are_kept() {
    let evaluation = bind(json!({"do": "chatter"})).unwrap().decide(&three());
    assert_eq!(chosen(&evaluation.result.unwrap()), Some("shop-2"));
    assert_eq!(evaluation.logs.len(), 33);
    assert_eq!(evaluation.logs[32].message, "9968 further lines were dropped");
}

#[test]
fn an_answers_texts_are_fit_to_be_shown() {
    let binding = bind(json!({"do": "name", "name": "shop-2", "afterRehearsal": true})).unwrap();
    let Answer::Promote { reason, ranking, .. } = binding.decide(&three()).result.unwrap() else { panic!("it held") };
    assert!(reason.len() <= 1_000 && !reason.contains(['\n', '\x1b']), "{reason}");
    assert_eq!(ranking.len(), 1, "the same candidate was ranked twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever name a module answers with, what leaves `decide` is an eligible member or a hold.
    #[test]
    fn no_ineligible_name_ever_leaves_a_decision(
        at in 0..built_in_questions().len(),
        name in prop_oneof!["shop-[0-8]", "\\PC{0,40}", Just(String::new())],
    ) {
        let (_, mut question) = built_in_questions().swap_remove(at);
        question.namespace = "default".into();
        let slot = PrimarySelection::new(engine());
        slot.swap(bind(json!({"do": "name", "name": name, "afterRehearsal": true})).unwrap());
        let decision = slot.decide(&question);
        let eligible = |name: &str| question.candidates.iter().any(|one| one.name == name && one.is_eligible());
        if let Answer::Promote { candidate, ranking, .. } = &decision.answer {
            prop_assert!(eligible(candidate), "{candidate} left the engine");
            prop_assert!(ranking.iter().all(|row| question.candidates.iter().any(|one| one.name == row.name)));
        }
        prop_assert_eq!(decision.by.source == Source::Configured, eligible(&name));
    }
}

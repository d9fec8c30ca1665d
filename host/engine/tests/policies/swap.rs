//! Swapping while decisions run, and what takes over when the module in force fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Binding, PrimarySelection, Source};
use serde_json::json;

use crate::common::{bind, built, chosen, engine, hostile_after_rehearsal, three};

fn zone(zone: &str) -> Arc<Binding> {
    let module = engine().load(built("prefer-zone")).unwrap();
    engine().bind(module, &json!({"zones": [zone]})).unwrap()
}

#[test]
fn the_last_known_good_takes_over_from_a_module_that_fails() {
    let slot = PrimarySelection::new(engine());
    slot.swap(zone("b"));
    assert_eq!(chosen(&slot.decide(&three()).answer), Some("shop-1"));
    slot.swap(hostile_after_rehearsal("trap"));
    let decision = slot.decide(&three());
    assert_eq!((decision.by.source, decision.by.name.as_str()), (Source::LastKnownGood, "prefer-zone"));
    assert_eq!(chosen(&decision.answer), Some("shop-1"), "the settings go with the module");
    assert_eq!(decision.failures.len(), 1);
    assert!(decision.fuel > 0);
}

#[test]
fn a_failing_module_never_becomes_the_last_known_good() {
    let slot = PrimarySelection::new(engine());
    slot.swap(zone("b"));
    slot.swap(hostile_after_rehearsal("trap"));
    slot.decide(&three());
    slot.swap(hostile_after_rehearsal("loop"));
    let decision = slot.decide(&three());
    assert_eq!((decision.by.source, decision.by.name.as_str()), (Source::LastKnownGood, "prefer-zone"));
}

#[test]
fn swapping_in_the_same_pair_again_keeps_what_was_good_before() {
    let slot = PrimarySelection::new(engine());
    slot.swap(zone("b"));
    slot.swap(hostile_after_rehearsal("trap"));
    slot.swap(hostile_after_rehearsal("trap"));
    assert_eq!(slot.decide(&three()).by.source, Source::LastKnownGood);
}

#[test]
fn clearing_goes_back_to_the_default() {
    let slot = PrimarySelection::new(engine());
    slot.swap(zone("b"));
    let in_force = slot.in_force();
    assert_eq!((in_force.source, in_force.settings_json.as_str()), (Source::Configured, r#"{"zones":["b"]}"#));
    slot.clear();
    assert_eq!(slot.in_force().source, Source::Default);
    assert_eq!(slot.decide(&three()).by.source, Source::Default);
}

#[test]
fn no_decision_fails_while_modules_are_swapped() {
    let slot = PrimarySelection::new(engine());
    let pairs = [zone("b"), zone("c"), bind(json!({"do": "nothing"})).unwrap()];
    slot.swap(pairs[0].clone());
    // However slow the machine, swaps go on until this many decisions ran beside them.
    const DECISIONS: usize = 2_000;
    let decided = AtomicUsize::new(0);
    let mut swaps = 0;
    std::thread::scope(|scope| {
        let deciders: Vec<_> = (0..24)
            .map(|_| {
                scope.spawn(|| {
                    while decided.fetch_add(1, Ordering::Relaxed) < DECISIONS {
                        let decision = slot.decide(&three());
                        assert_eq!(decision.by.source, Source::Configured, "{:?}", decision.failures);
                        assert!(matches!(chosen(&decision.answer), Some("shop-1" | "shop-2")));
                    }
                })
            })
            .collect();
        while deciders.iter().any(|decider| !decider.is_finished()) {
            slot.swap(pairs[swaps % pairs.len()].clone());
            swaps += 1;
        }
    });
    assert!(swaps > 0);
}

//! Swapping while decisions run, and what takes over when the module in force fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::{Binding, Change, PrimarySelection, Source, Terms};
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

/// A slot in which a module that traps for real is given up on for so long.
fn given_up_for(pause: Duration) -> PrimarySelection {
    let terms = Terms { failures: 3, pause, longest: pause };
    let slot = PrimarySelection::with_breaker(engine(), terms);
    slot.swap(zone("b"));
    slot.swap(hostile_after_rehearsal("trap"));
    let told: Vec<_> = (0..3).map(|_| slot.decide(&three()).breaker).collect();
    assert_eq!(told, [None, None, Some(Change::Opened)]);
    slot
}

#[test]
fn a_module_that_keeps_failing_is_passed_over_until_it_is_tried_again() {
    let slot = given_up_for(Duration::from_secs(3_600));
    let why = slot.in_force().breaker.unwrap();
    assert!(why.contains("told to panic") && why.contains("3 times"), "{why}");
    for _ in 0..10 {
        let decision = slot.decide(&three());
        assert_eq!((decision.by.source, decision.breaker), (Source::LastKnownGood, None));
        assert!(decision.failures.is_empty() && decision.attempts.len() == 1, "it was asked: {decision:?}");
        assert_eq!(slot.suppose(&three()).attempts.len(), 1);
    }
    // A reload, as every change of the spec makes one, forgets nothing; another module does.
    slot.swap(hostile_after_rehearsal("trap"));
    assert_eq!(slot.in_force().breaker, Some(why));
    slot.swap(zone("c"));
    assert_eq!((slot.in_force().breaker, slot.decide(&three()).by.source), (None, Source::Configured));
}

#[test]
fn a_trial_that_is_answered_closes_the_breaker_and_a_supposition_is_no_trial() {
    let slot = given_up_for(Duration::ZERO);
    assert_eq!(slot.suppose(&three()).attempts.len(), 2, "it would be tried");
    assert_eq!(slot.decide(&three()).breaker, None, "one more failure is no news");
    assert!(slot.in_force().breaker.is_some());
    let mut rehearsal = three();
    rehearsal.namespace = engine::REHEARSAL_NAMESPACE.to_owned();
    let decision = slot.decide(&rehearsal);
    assert_eq!((decision.by.source, decision.breaker), (Source::Configured, Some(Change::Closed)));
    assert_eq!(slot.in_force().breaker, None);
}

#[test]
fn holding_for_longer_than_it_may_counts_and_a_hold_by_itself_does_not() {
    let terms = Terms { failures: 2, pause: Duration::from_secs(3_600), longest: Duration::from_secs(3_600) };
    let slot = PrimarySelection::with_breaker(engine(), terms);
    slot.swap(bind(json!({"do": "hold"})).unwrap());
    let held = (0..5).map(|_| slot.decide(&three())).next_back().unwrap();
    let epochs = [7, 7, 7, 8];
    let asked = epochs.map(|epoch| topology::decision::Question { epoch, ..three() });
    let told = asked.map(|question| slot.overrule(held.clone(), &question).breaker);
    assert_eq!(told, [None, None, None, Some(Change::Opened)], "one failover is one failure");
    assert_eq!(slot.decide(&three()).by.source, Source::Default, "nobody waits for it any more");
}

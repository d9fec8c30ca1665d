//! Swapping while decisions run, and what takes over when the module in force fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::{Binding, Change, Decision, Engine, Limits, Options, PrimarySelection, Source, Terms};
use serde_json::json;
use topology::decision::Answer;

use crate::common::{bind, built, chosen, compiler, engine, hostile_after_rehearsal, three};

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

/// What a decision says of the pair that made it: the module, its settings, and the answer, in which each of the
/// modules below repeats what its settings wanted.
fn traits(decision: &Decision) -> (String, Vec<String>, Answer) {
    let settings = decision.attempts.iter().map(|asked| asked.settings.clone()).collect();
    (decision.by.digest.clone(), settings, decision.answer.clone())
}

#[test]
fn no_decision_fails_or_is_torn_while_modules_are_swapped() {
    let slot = PrimarySelection::new(engine());
    let named = bind(json!({"do": "name", "name": "shop-1", "afterRehearsal": true})).unwrap();
    let pairs = [zone("b"), zone("c"), named, bind(json!({"do": "nothing"})).unwrap()];
    let whole: Vec<_> = pairs
        .iter()
        .map(|pair| {
            slot.swap(pair.clone());
            traits(&slot.decide(&three()))
        })
        .collect();
    // However slow the machine, swaps go on until this many decisions ran beside them, and the other way round.
    const DECISIONS: usize = 2_000;
    const SWAPS: usize = 2_000;
    let (decided, swapped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let deciders: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    while decided.fetch_add(1, Ordering::Relaxed) < DECISIONS || swapped.load(Ordering::Relaxed) < SWAPS
                    {
                        let decision = slot.decide(&three());
                        assert_eq!(decision.by.source, Source::Configured, "{:?}", decision.failures);
                        let found = traits(&decision);
                        assert!(whole.contains(&found), "of one module and another's settings: {found:?}");
                    }
                })
            })
            .collect();
        while deciders.iter().any(|decider| !decider.is_finished()) {
            slot.swap(pairs[swapped.fetch_add(1, Ordering::Relaxed) % pairs.len()].clone());
        }
    });
}

#[test]
fn whoever_waits_for_a_place_gets_one() {
    let limits = Limits { concurrent_calls: 1, ..Limits::default() };
    let engine = Engine::new(Options { limits, compiler: Some(compiler()) }).unwrap();
    let slot = PrimarySelection::new(engine);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..100).for_each(|_| assert!(slot.decide(&three()).failures.is_empty())));
        }
    });
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
    let out = slot.in_force().breaker.unwrap();
    assert!(out.why.contains("told to panic") && out.why.contains("3 times"), "{out:?}");
    assert_eq!((out.instead.name.as_str(), out.instead.source), ("prefer-zone", Source::LastKnownGood));
    let wait = out.until_unix_s - out.since_unix_s;
    assert!((3_599..=3_601).contains(&wait), "whole seconds, each cut off by itself: {out:?}");
    for _ in 0..10 {
        let decision = slot.decide(&three());
        assert_eq!((decision.by.source, decision.breaker), (Source::LastKnownGood, None));
        assert!(decision.failures.is_empty() && decision.attempts.len() == 1, "it was asked: {decision:?}");
        assert_eq!(slot.suppose(&three()).attempts.len(), 1);
    }
    // A reload, as every change of the spec makes one, forgets nothing; another module does.
    slot.swap(hostile_after_rehearsal("trap"));
    assert_eq!(slot.in_force().breaker, Some(out), "nor does it say the same in other words");
    slot.swap(zone("c"));
    assert_eq!((slot.in_force().breaker, slot.decide(&three()).by.source), (None, Source::Configured));
}

#[test]
fn a_trial_that_is_answered_closes_the_breaker_and_a_supposition_is_no_trial() {
    let slot = given_up_for(Duration::ZERO);
    assert_eq!(slot.suppose(&three()).attempts.len(), 2, "it would be tried");
    let since = slot.in_force().breaker.unwrap().since_unix_s;
    assert_eq!(slot.decide(&three()).breaker, None, "one more failure is no news");
    assert_eq!(slot.in_force().breaker.unwrap().since_unix_s, since, "nor does it begin anew");
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
    assert_eq!(slot.in_force().breaker.unwrap().instead.source, Source::Default, "there was nobody before it");
    assert_eq!(slot.decide(&three()).by.source, Source::Default, "nobody waits for it any more");
}

#[test]
fn a_pair_that_came_into_force_meanwhile_is_not_blamed_for_the_hold_of_the_one_before() {
    let terms = Terms { failures: 1, pause: Duration::from_secs(3_600), longest: Duration::from_secs(3_600) };
    let slot = PrimarySelection::with_breaker(engine(), terms);
    slot.swap(bind(json!({"do": "hold"})).unwrap());
    let held = slot.decide(&three());
    slot.swap(bind(json!({"do": "hold", "name": "another"})).unwrap());
    assert_eq!(slot.overrule(held, &three()).breaker, None);
    let own = slot.decide(&three());
    assert_eq!(slot.overrule(own, &three()).breaker, Some(Change::Opened));
}

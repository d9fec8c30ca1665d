//! Decisions are kept as they were made, can be made again, and shadows beside them cost them nothing.

use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};

use engine::{
    Attempt, Binding, Bounds, Busy, Comparison, Engine, Entry, FailureKind, Note, Options, PrimarySelection,
    Repetition, Ring, Said, Shadows, Source, Verdict, chosen, disagrees, replay,
};
use serde_json::{Value, json};
use topology::decision::{Activity, Candidate, Capacity, CatchUp, Ineligible, NodePressure, Question, Trigger};

use crate::common::{bind, built, engine, hostile_after_rehearsal, question, three};

/// How many decisions are made and made again.
const DECISIONS: u64 = 10_000;

fn zones(zones: &[&str]) -> Arc<Binding> {
    let module = engine().load(built("prefer-zone")).unwrap();
    engine().bind(module, &json!({ "zones": zones })).unwrap()
}

fn slot(bindings: &[Arc<Binding>]) -> PrimarySelection {
    let slot = PrimarySelection::new(engine());
    bindings.iter().for_each(|binding| slot.swap(binding.clone()));
    slot
}

/// A decision as the operator keeps it, written and read again.
fn kept(slot: &PrimarySelection, question: &Question) -> Entry {
    let decision = slot.decide(question);
    let entry = Entry::new("1".to_owned(), question.clone(), &decision, engine().limits());
    serde_json::from_str(&serde_json::to_string(&entry).unwrap()).unwrap()
}

/// An engine that makes its instances without a pool: for so many calls at once no address space is to be had.
fn without_pool() -> Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| engine().apart(100_000_000).unwrap());
    ENGINE.clone()
}

/// The modules of a journal in another engine, by digest and settings.
#[derive(Default)]
struct Bindings(HashMap<(String, String), Arc<Binding>>);

impl Bindings {
    fn of(&mut self, engine: &Engine, attempt: &Attempt) -> Arc<Binding> {
        let key = (attempt.by.digest.clone(), attempt.settings.clone());
        let load = || -> Arc<Binding> {
            let bytes = [built("prefer-zone"), built("hostile")].into_iter();
            let modules = bytes.map(|bytes| engine.load(bytes).unwrap()).chain([engine.embedded().unwrap()]);
            let module = modules.into_iter().find(|module| module.digest() == attempt.by.digest).unwrap();
            engine.bind(module, &serde_json::from_str::<Value>(&attempt.settings).unwrap()).unwrap()
        };
        self.0.entry(key).or_insert_with(load).clone()
    }
}

/// Numbers that look random and are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn maybe(&mut self) -> Option<u64> {
        (self.below(2) == 0).then(|| self.below(1 << 20))
    }

    fn question(&mut self) -> Question {
        let candidates: Vec<_> = (0..self.below(8)).map(|ordinal| self.candidate(ordinal as u32)).collect();
        Question {
            namespace: "default".to_owned(),
            cluster: "shop".to_owned(),
            epoch: self.below(1_000),
            trigger: if self.below(3) == 0 { Trigger::Switchover } else { Trigger::Failover },
            now_unix_ms: 1_767_225_600_000 + self.below(1 << 30),
            seed: self.below(u64::MAX),
            without_primary_ms: self.below(20_000),
            former_primary: (self.below(4) > 0).then(|| "shop-0".to_owned()),
            acks: self.below(4) as u32,
            failover_window_s: self.maybe(),
            failovers_in_window: None,
            candidates,
            facts: Vec::new(),
        }
    }

    fn candidate(&mut self, ordinal: u32) -> Candidate {
        let magnitude = self.below(40);
        let text = ["", "a", "b", "c"][self.below(4) as usize];
        let reason = |code: &str| Ineligible { code: code.to_owned(), message: format!("it is {code}") };
        Candidate {
            name: format!("shop-{ordinal}"),
            ordinal,
            zone: text.to_owned(),
            node: format!("node-{}", self.below(5)),
            labels: (0..self.below(4)).map(|label| (format!("l{label}"), "v".repeat(label as usize))).collect(),
            ineligible: (self.below(3) == 0).then(|| reason("unreachable")).into_iter().collect(),
            missing_transactions: if self.below(5) == 0 { u64::MAX - self.below(9) } else { self.below(3) },
            unapplied_transactions: self.below(1 << magnitude),
            node_ready: self.below(5) > 0,
            node_cordoned: self.below(5) == 0,
            node_pressure: NodePressure { memory: Some(self.below(2) == 0), ..NodePressure::default() },
            version: "8.4.6".to_owned(),
            catch_up: CatchUp {
                applied_transactions_per_second: self.maybe(),
                predicted_drain_ms: self.maybe(),
                ..CatchUp::default()
            },
            capacity: Capacity { buffer_pool_warm_permille: self.maybe(), ..Capacity::default() },
            activity: Activity { since_led_s: self.maybe(), ..Activity::default() },
            facts: Vec::new(),
        }
    }
}

#[test]
fn ten_thousand_decisions_made_again_come_to_the_same_answers_with_the_same_fuel() {
    let hold = bind(json!({ "do": "hold" })).unwrap();
    let slots = [
        slot(&[]),
        slot(&[zones(&["b", "a"])]),
        slot(&[zones(&["c"]), hostile_after_rehearsal("trap")]),
        slot(&[hold]),
        slot(&[hostile_after_rehearsal("ineligible")]),
    ];
    let (mut numbers, mut bindings) = (Numbers(7), Bindings::default());
    let mut calls = 0;
    for number in 0..DECISIONS {
        let question = numbers.question();
        let entry = kept(&slots[number as usize % slots.len()], &question);
        assert_eq!(entry.question, question);
        for attempt in &entry.attempts {
            let again = replay(&bindings.of(&without_pool(), attempt), &entry);
            assert_eq!(again.repetition, Repetition::Exact, "{attempt:?} {question:?}");
            assert_eq!(again.comparison, Comparison::Same);
            calls += 1;
        }
    }
    assert!(calls > DECISIONS, "some decisions take more than one module: {calls}");
}

#[test]
fn two_hundred_ordinary_decisions_fit_with_room_to_spare() {
    let slot = slot(&[zones(&["b", "a"])]);
    let decided = (0..200).map(|number| {
        let question = Question { epoch: number, seed: number, now_unix_ms: number * 86_400_000, ..three() };
        let mut entry = kept(&slot, &question);
        entry.id = format!("{number:032x}");
        entry.shadows = vec![Attempt::ask(&zones(&["c"]), Source::Shadow, &question)];
        Note::Decided(Box::new(entry))
    });
    let mut ring = Ring::default();
    ring.take(decided.collect());
    let packed = ring.pack(Bounds::default()).unwrap();
    println!("200 decisions of three members with a shadow: {} bytes", packed.bytes.len());
    assert!(packed.bytes.len() < Bounds::default().bytes / 4, "{} bytes", packed.bytes.len());
    assert_eq!(Ring::unpack(&packed.bytes).unwrap().entries().count(), 200);
}

#[test]
fn another_module_is_shown_to_decide_otherwise_and_why() {
    let entry = kept(&slot(&[]), &three());
    assert_eq!(chosen(&entry.answer), Some("shop-2"));
    let other = replay(&zones(&["b"]), &entry);
    assert_eq!((other.comparison, other.repetition), (Comparison::Otherwise, Repetition::NotAsked));
    assert!(engine::in_words(&Said::Answered(other.now.result.unwrap())).starts_with("shop-1: is in zone b"));
    assert_eq!(replay(&zones(&["c"]), &entry).comparison, Comparison::Same);
    assert_eq!(replay(&hostile_after_rehearsal("trap"), &entry).comparison, Comparison::Fails);
}

#[test]
fn a_call_that_comes_to_something_else_is_told() {
    let mut entry = kept(&slot(&[]), &three());
    entry.attempts[0].fuel += 1;
    let embedded = engine().bind(engine().embedded().unwrap(), &Value::Null).unwrap();
    let Repetition::Differs(what) = replay(&embedded, &entry).repetition else { panic!("not told") };
    assert!(what.contains("units of fuel"), "{what}");
    entry.engine = "another".to_owned();
    assert_eq!(replay(&embedded, &entry).repetition, Repetition::SameAnswer, "fuel means nothing there");
    entry.limits.fuel -= 1;
    assert_eq!(replay(&embedded, &entry).repetition, Repetition::NotAsked, "nor do other limits");
}

#[test]
fn what_the_clock_cut_off_is_not_replayable() {
    let mut options = Options::compiling_in_process();
    (options.limits.fuel, options.limits.call_cpu_ms) = (u64::MAX / 2, 50);
    let engine = Engine::new(options).unwrap();
    let module = engine.load(built("hostile")).unwrap();
    let endless = engine.bind(module, &json!({ "do": "loop", "afterRehearsal": true })).unwrap();
    let slot = PrimarySelection::new(engine.clone());
    slot.swap(endless);
    let entry = Entry::new("1".to_owned(), three(), &slot.decide(&three()), engine.limits());
    assert!(entry.not_replayable().is_some_and(|why| why.contains("the clock")));
    let again = replay(&zones(&["b"]), &entry);
    assert!(matches!(again.comparison, Comparison::NotReplayable(_)), "{:?}", again.comparison);
}

#[test]
fn asking_for_its_own_sake_is_remembered_nowhere() {
    let slot = slot(&[zones(&["b"]), hostile_after_rehearsal("trap")]);
    assert_eq!(slot.suppose(&three()).by.source, Source::LastKnownGood);
    slot.swap(bind(json!({ "do": "loop", "afterRehearsal": true })).unwrap());
    let decision = slot.decide(&three());
    // Had the supposition counted, the module that traps would be no good to fall back to.
    let asked: Vec<_> = decision.attempts.iter().map(|one| (one.by.name.as_str(), one.by.source)).collect();
    assert_eq!(
        asked,
        [("hostile", Source::Configured), ("hostile", Source::LastKnownGood), ("most-advanced", Source::Default)]
    );
}

#[test]
fn shadows_that_misbehave_cost_the_decision_beside_them_nothing() {
    let apart = engine().apart(1).unwrap();
    let module = apart.load(built("hostile")).unwrap();
    let shadow =
        |mischief: &str| apart.bind(module.clone(), &json!({ "do": mischief, "afterRehearsal": true })).unwrap();
    let bindings: Vec<_> = ["loop", "trap", "memory", "nothing"].map(shadow).into();
    let (shadows, slot) = (Shadows::start().unwrap(), slot(&[zones(&["b"])]));
    let (said, answers) = channel();
    let mut taken = 0;
    // Far faster than they can answer: each of them burns all its fuel in one of four calls.
    let refused = loop {
        let said = said.clone();
        match shadows.ask(three(), bindings.clone(), move |attempts| drop(said.send(attempts))) {
            Ok(()) => taken += 1,
            Err(busy) => break busy,
        }
        let decision = slot.decide(&three());
        assert_eq!((decision.by.source, decision.attempts.len()), (Source::Configured, 1));
        assert!(taken < 10_000, "no number of questions is too many");
    };
    assert_eq!(refused, Busy);
    let real = slot.decide(&three()).answer;
    for _ in 0..taken {
        let attempts = answers.recv().unwrap();
        let kinds = attempts.iter().map(|one| match &one.said {
            Said::Failed(failure) => Some(failure.kind),
            Said::Answered(_) => None,
        });
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            [Some(FailureKind::OutOfFuel), Some(FailureKind::Trap), Some(FailureKind::Memory), None]
        );
        assert!(attempts.iter().all(|one| one.by.source == Source::Shadow));
        let otherwise: Vec<_> = attempts.iter().map(|one| disagrees(one, &real)).collect();
        assert_eq!(otherwise, [false, false, false, true], "shop-2 instead of shop-1");
    }
}

#[test]
fn the_same_decision_again_is_a_repetition_and_another_is_not() {
    let hold = slot(&[bind(json!({ "do": "hold" })).unwrap()]);
    let first = kept(&hold, &three());
    let later = Question { now_unix_ms: first.at_unix_ms + 200, without_primary_ms: 1_050, ..three() };
    assert!(kept(&hold, &later).repeats(&first));
    let mut later_pace = later.clone();
    later_pace.candidates[1].catch_up.replication_lag_s = Some(9);
    later_pace.candidates[1].capacity.volume_free_bytes = Some(9);
    assert!(kept(&hold, &later_pace).repeats(&first), "what changes by itself is not news");
    let mut other = later.clone();
    other.candidates[1].unapplied_transactions += 1;
    assert!(!kept(&hold, &other).repeats(&first), "another question");
    assert!(!kept(&slot(&[]), &later).repeats(&first), "another answer");
    let mut approved = kept(&hold, &later);
    approved.verdict = Some(Verdict::Approved("shop-2".to_owned()));
    assert!(!approved.repeats(&first), "another verdict");
    assert_eq!(kept(&hold, &question("five members in three zones")).question.candidates.len(), 5);
}

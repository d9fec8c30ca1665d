//! Scaling and tuning climb the same ladder, fall back in the same way, and are kept and made again like any decision.

use std::sync::Arc;
use std::sync::mpsc::channel;

use engine::{
    Answered as _, Attempt, BackupWindow, Bounds, Comparison, ConfigTuning, DecisionKind, Engine, Entry, FailureKind,
    Kind, LoadError, Note, Options, PrimarySelection, Repetition, Ring, Said, Scaling, Shadows, Source, replay,
};
use serde_json::json;
use topology::backup_window::Verdict;
use topology::{backup_window, decision, scaling, tuning};

use crate::common::{bound, built, engine, three};

fn asked<Q: DecisionKind>(name: &str) -> Q {
    Q::rehearsals().into_iter().find(|(known, _)| *known == name).unwrap().1
}

fn read_load() -> Arc<engine::Binding<scaling::Question>> {
    engine().bind(engine().load(built("read-load")).unwrap(), &json!({})).unwrap()
}

fn memory_budget() -> Arc<engine::Binding<tuning::Question>> {
    engine().bind(engine().load(built("memory-budget")).unwrap(), &json!({})).unwrap()
}

#[test]
fn every_decision_has_a_dozen_rehearsals_with_names_of_their_own() {
    fn names<Q: DecisionKind>() -> Vec<&'static str> {
        Q::rehearsals().into_iter().map(|(name, _)| name).collect()
    }
    let all = [
        names::<decision::Question>(),
        names::<scaling::Question>(),
        names::<tuning::Question>(),
        names::<backup_window::Question>(),
    ];
    for mut names in all {
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(count >= 12 && names.len() == count, "{names:?}");
    }
}

#[test]
fn a_module_for_another_decision_is_refused_and_both_are_named() {
    let module = engine().load(built("read-load")).unwrap();
    assert_eq!((module.kind(), module.abi().name()), (Kind::Scaling, "grampus:scaling@0.1.0"));
    let error = bound(module.clone(), &json!({})).unwrap_err();
    assert_eq!(error.reason(), "ModuleOtherDecision");
    let told = error.to_string();
    assert!(told.contains("decides scaling") && told.contains("decide primary-selection"), "{told}");
    let error = engine().bind::<tuning::Question>(module, &json!({})).unwrap_err();
    assert!(matches!(error, LoadError::OtherDecision { wanted: "config-tuning", found: "scaling", .. }), "{error}");
    let error = engine().bind::<scaling::Question>(engine().embedded().unwrap(), &json!({})).unwrap_err();
    assert!(error.to_string().contains("decides primary-selection"), "{error}");
}

#[test]
fn without_a_policy_everything_is_kept() {
    let slot = Scaling::new(engine());
    assert_eq!((slot.in_force().source, slot.in_force().description.name.as_str()), (Source::Default, "keep"));
    for (name, question) in scaling::Question::rehearsals() {
        let decision = slot.decide(&question);
        assert!(decision.answer.keeps() && decision.failures.is_empty(), "{name}");
        assert_eq!((decision.by.source, decision.by.digest.as_str()), (Source::Default, "native"));
    }
    let slot = ConfigTuning::new(engine());
    for (name, question) in tuning::Question::rehearsals() {
        assert!(slot.decide(&question).answer.changes.is_empty(), "{name}");
    }
}

#[test]
fn a_module_that_says_when_backups_are_made_has_them_wait_for_as_long_as_they_may() {
    let slot = BackupWindow::new(engine());
    let night: backup_window::Question = asked("a backup at night");
    let said = |slot: &BackupWindow, question: &backup_window::Question| {
        let decision = slot.decide(question);
        assert!(decision.failures.is_empty(), "{:?}", decision.failures);
        (backup_window::guard(question, &decision.answer), decision.answer.reason().to_owned())
    };
    assert_eq!(said(&slot, &night).0, Verdict::Begins, "nobody decides");
    let settings = json!({ "closed": [{ "weekdays": [4], "from": "01:30", "until": "05:00", "because": "the sale" }] });
    slot.swap(engine().bind(engine().load(built("quiet-hours")).unwrap(), &settings).unwrap());
    let (verdict, reason) = said(&slot, &night);
    assert!(verdict == Verdict::Waits && reason.contains("the sale"), "{verdict}: {reason}");
    let late = asked("it has waited for as long as it may");
    assert_eq!(said(&slot, &late).0, Verdict::BeginsAnyway);
    assert_eq!(said(&slot, &asked("on the last minute of a leap day")).0, Verdict::Begins);
}

#[test]
fn a_module_that_scales_decides_and_its_wishes_pass_the_guard() {
    let slot = Scaling::new(engine());
    slot.swap(read_load());
    let question: scaling::Question = asked("readers that are busy");
    let decision = slot.decide(&question);
    assert_eq!((decision.by.source, decision.by.name.as_str()), (Source::Configured, "read-load"));
    assert_eq!(decision.answer.read_replicas.as_ref().map(|wish| wish.value), Some(3));
    let verdict = scaling::guard(&question.present, &question.bounds, &decision.answer);
    assert_eq!((verdict.granted.read_replicas(), verdict.refused), (Some(3), Vec::new()));
}

#[test]
fn a_module_that_tunes_decides_and_its_first_wish_passes_the_guard() {
    let slot = ConfigTuning::new(engine());
    slot.swap(memory_budget());
    for (name, question) in tuning::Question::rehearsals() {
        let decision = slot.decide(&question);
        assert_eq!(decision.by.source, Source::Configured, "{name}");
        let verdict = tuning::guard(&question.present, &decision.answer);
        let first = decision.answer.changes.first().map(|change| change.name.as_str());
        if question.present.unsettled.is_none() {
            assert_eq!(verdict.granted.as_ref().map(|granted| granted.name()), first, "{name}: {:?}", verdict.refused);
        } else {
            assert_eq!(verdict.granted, None, "{name}");
        }
    }
}

/// A module with just enough fuel for its rehearsals, so that a larger question is too much for it.
#[test]
fn a_module_that_fails_for_real_keeps_everything_and_is_told() {
    let fuel = scaling::Question::rehearsals().iter().map(|(_, question)| read_load().decide(question).fuel).max();
    let mut options = Options::compiling_in_process();
    options.limits.fuel = fuel.unwrap() + 1_000;
    let scarce = Engine::new(options).unwrap();
    let slot = Scaling::new(scarce.clone());
    slot.swap(scarce.bind(scarce.load(built("read-load")).unwrap(), &json!({})).unwrap());
    let mut question: scaling::Question = asked("readers that are busy");
    assert!(!slot.decide(&question).answer.keeps());
    let reader = question.servers[4].clone();
    question.servers.extend(std::iter::repeat_n(reader, 1_000));
    let decision = slot.decide(&question);
    assert!(decision.answer.keeps());
    assert_eq!((decision.by.source, decision.by.name.as_str()), (Source::Default, "keep"));
    let [failed] = decision.failures.as_slice() else { panic!("{:?}", decision.failures) };
    assert_eq!((failed.by.source, failed.failure.kind), (Source::Configured, FailureKind::OutOfFuel));
}

#[test]
fn what_no_policy_may_wish_for_is_a_failure_of_the_module() {
    let change = |name: &str, value: &str| tuning::Answer {
        changes: vec![tuning::Change { name: name.into(), value: value.into(), reason: "x\ny".into() }],
        ..tuning::Answer::default()
    };
    let question: tuning::Question = asked("a server of 8 GiB");
    for (name, value, told) in [
        ("sync_binlog", "0", "it wants sync_binlog = 0, which no policy may set"),
        ("max_connections", "many", "it wants max_connections = many, which is no value of it"),
    ] {
        let failure = question.check(change(name, value), 100).unwrap_err();
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::ForbiddenWish, told));
    }
    assert_eq!(question.check(change("max_connections", "160"), 100).unwrap().changes[0].reason, "x y");
    let question: scaling::Question = asked("three members, no reader");
    let smaller = scaling::Wish { value: question.present.volume_bytes - 1, reason: String::new() };
    let answer = scaling::Answer { volume_bytes: Some(smaller), ..scaling::Answer::default() };
    assert_eq!(question.check(answer, 100).unwrap_err().kind, FailureKind::ForbiddenWish);
}

#[test]
fn decisions_of_every_kind_lie_in_one_journal_and_are_made_again_exactly() {
    fn entry<Q: DecisionKind>(id: &str, slot: &engine::Slot<Q>, question: Q) -> Entry<Q> {
        let decision = slot.decide(&question);
        Entry::new(id.to_owned(), question, &decision, engine().limits())
    }
    let (leads, scales, tunes) = (PrimarySelection::new(engine()), Scaling::new(engine()), ConfigTuning::new(engine()));
    scales.swap(read_load());
    tunes.swap(memory_budget());
    let mut ring = Ring::default();
    ring.take(vec![Note::Decided(Box::new(entry("1", &leads, three())))]);
    ring.take(vec![Note::Decided(Box::new(entry("2", &scales, asked("readers that are busy"))))]);
    ring.take(vec![
        Note::Decided(Box::new(entry("3", &tunes, asked("a server of 8 GiB")))),
        Note::Became { id: "3".to_owned(), outcome: "set".to_owned() },
    ]);
    let ring = Ring::unpack(&ring.pack(Bounds::default()).unwrap().bytes).unwrap();
    assert_eq!((ring.lines().count(), ring.entries().count()), (3, 1));
    let scaled: Vec<Entry<scaling::Question>> = ring.entries_of().collect();
    let tuned: Vec<Entry<tuning::Question>> = ring.entries_of().collect();
    assert_eq!((scaled[0].decision.as_str(), tuned[0].decision.as_str()), ("scaling", "config-tuning"));
    assert_eq!(tuned[0].outcome.as_deref(), Some("set"));
    let again = replay(&read_load(), &scaled[0]);
    assert_eq!((again.comparison, again.repetition), (Comparison::Same, Repetition::Exact));
    let again = replay(&memory_budget(), &tuned[0]);
    assert_eq!((again.comparison, again.repetition), (Comparison::Same, Repetition::Exact));
    let patient = engine().load(built("read-load")).unwrap();
    let patient = engine().bind(patient, &json!({"addAbovePermille": 1000})).unwrap();
    assert_eq!(replay(&patient, &scaled[0]).comparison, Comparison::Otherwise);
}

#[test]
fn the_same_wish_again_is_a_repetition_however_the_load_moved() {
    let slot = Scaling::new(engine());
    slot.swap(read_load());
    let question: scaling::Question = asked("readers that are busy");
    let entry = |question: &scaling::Question| {
        Entry::new("1".to_owned(), question.clone(), &slot.decide(question), engine().limits())
    };
    let first = entry(&question);
    let mut later = question.clone();
    later.now_unix_ms += 60_000;
    later.servers[3].load.queries_per_second = Some(901);
    assert!(entry(&later).repeats(&first));
    later.present.read_replicas = 3;
    assert!(!entry(&later).repeats(&first));
}

#[test]
fn shadows_may_scale_too() {
    let shadows = Shadows::start().unwrap();
    let (said, answers) = channel();
    let question: scaling::Question = asked("readers that are busy");
    shadows.ask(question, vec![read_load()], move |attempts| drop(said.send(attempts))).unwrap();
    let attempts: Vec<Attempt<scaling::Answer>> = answers.recv().unwrap();
    let Said::Answered(answer) = &attempts[0].said else { panic!("{attempts:?}") };
    assert!(answer.in_words().starts_with("3 read replicas (more than 700 ‰ are used)"), "{}", answer.in_words());
    assert_eq!(attempts[0].by.source, Source::Shadow);
}

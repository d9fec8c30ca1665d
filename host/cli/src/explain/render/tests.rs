use engine::{DecidedBy, Decision, Failure, FailureKind, Limits, Source};
use topology::decision::{Question, Ranked};

use super::*;

const PLAIN: Style = Style { colour: false, width: None };

/// A minute after the questions below.
const NOW_MS: i64 = 1_767_225_660_000;

fn by(name: &str, source: Source) -> DecidedBy {
    DecidedBy { name: name.to_owned(), version: "0.1.0".to_owned(), digest: "sha256:01".to_owned(), source }
}

fn promote(name: &str, reason: &str) -> Answer {
    let ranked =
        |name: &str, score| Ranked { name: name.to_owned(), score, reason: format!("{reason}, score {score}") };
    let ranking = vec![ranked(name, 2), ranked("shop-1", 1)];
    Answer::Promote { candidate: name.to_owned(), reason: reason.to_owned(), ranking }
}

fn attempt(by: DecidedBy, settings: &str, said: Said) -> Attempt {
    Attempt {
        by,
        abi: "grampus:primary-selection@0.1.0".to_owned(),
        settings: settings.to_owned(),
        said,
        passed_over: None,
        fuel: 7,
        took_micros: 9,
        logs: Vec::new(),
    }
}

fn entry() -> Entry {
    let (_, question) =
        engine::built_in_questions().into_iter().find(|(name, _)| *name == "three members, two equal").unwrap();
    let crashed = Failure { kind: FailureKind::Trap, message: "it crashed: told to panic".to_owned() };
    let answer = promote("shop-2", "is in zone c, preference 1 of 1");
    let decision = Decision {
        answer: answer.clone(),
        by: by("prefer-zone", Source::LastKnownGood),
        failures: Vec::new(),
        fuel: 7,
        took_micros: 9,
        attempts: vec![
            attempt(by("hostile", Source::Configured), "{}", Said::Failed(crashed.clone())),
            attempt(by("prefer-zone", Source::LastKnownGood), "{}", Said::Answered(answer.clone())),
        ],
        breaker: None,
    };
    let mut entry = Entry::new("1".to_owned(), question, &decision, &Limits::default());
    let shadow = |settings: &str, said| attempt(by("most-advanced", Source::Shadow), settings, said);
    entry.shadows = vec![
        shadow("{}", Said::Answered(answer)),
        shadow("{\"a\":1}", Said::Answered(promote("shop-1", "has every transaction"))),
        shadow("{\"a\":2}", Said::Failed(crashed)),
    ];
    entry
}

fn in_trouble() -> PolicyStatus {
    PolicyStatus { breaker: Some("hostile 0.1.0: it failed 3 times in a row".to_owned()), ..PolicyStatus::default() }
}

fn rendered(primary: &str, outlook: Option<&Outlook>, decisions: &[Entry]) -> String {
    let now = Timestamp::from_millisecond(NOW_MS).unwrap();
    let (scaling, tuning) = (Consulted::default(), Consulted::default());
    let name = "store/shop".to_owned();
    let policy = in_trouble();
    let policy = outlook.is_some_and(|outlook| matches!(outlook.supposed, Supposed::Decided(_))).then_some(&policy);
    let backup_window = Consulted::default();
    let view = View { name, primary: Some(primary), policy, outlook, scaling, tuning, backup_window, decisions, now };
    render(&view, PLAIN)
}

#[test]
fn who_would_lead_is_told_with_the_shadows_and_what_was_decided() {
    let outlook = Outlook::new(entry().at_unix_ms, Supposed::Decided(Box::new(entry())));
    let approved = Entry {
        verdict: Some(Verdict::Approved("shop-2".to_owned())),
        breaker: Some(Change::Opened),
        outcome: Some("shop-2 leads since epoch 7; 340 ms after shop-0 was given up".to_owned()),
        ..entry()
    };
    let question = Question { trigger: Trigger::Switchover, ..entry().question };
    let held = Entry {
        question,
        answer: Answer::Hold { reason: "let us wait".to_owned() },
        attempts: Vec::new(),
        shadows: Vec::new(),
        verdict: Some(Verdict::Refused("the policy holds: let us wait".to_owned())),
        repeated: 20,
        repeated_until_unix_ms: entry().at_unix_ms + 30_000,
        ..entry()
    };
    insta::assert_snapshot!(rendered("shop-0", Some(&outlook), &[approved, held]));
}

#[test]
fn what_is_not_known_or_out_of_date_is_told() {
    assert!(rendered("shop-0", None, &[]).contains("has not looked yet"));
    let nobody = Outlook::new(entry().at_unix_ms, Supposed::Nobody("2 of 3 are there".to_owned()));
    assert!(rendered("shop-0", Some(&nobody), &[]).contains("nobody could lead: 2 of 3 are there (60 s ago)"));
    let outlook = Outlook::new(entry().at_unix_ms, Supposed::Decided(Box::new(entry())));
    assert!(rendered("shop-2", Some(&outlook), &[]).contains("this is from when shop-0 led"));
}

use engine::{DecidedBy, Decision, Limits, Source};
use topology::{scaling, tuning};

use super::*;

const PLAIN: Style = Style { colour: false, width: None };

fn policy() -> PolicyStatus {
    PolicyStatus { name: "read-load".to_owned(), version: "0.1.0".to_owned(), ..PolicyStatus::default() }
}

fn entry<Q: DecisionKind>(name: &str, answer: Q::Answer) -> Entry<Q> {
    let (_, question) = Q::rehearsals().swap_remove(0);
    let by = DecidedBy {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        digest: "sha256:01".to_owned(),
        source: Source::Configured,
    };
    let decision =
        Decision { answer, by, failures: Vec::new(), fuel: 7, took_micros: 9, attempts: Vec::new(), breaker: None };
    Entry::new("1".to_owned(), question, &decision, &Limits::default())
}

fn told<Q: DecisionKind>(policy: Option<&PolicyStatus>, last: Option<&Entry<Q>>) -> String {
    consulted(&Consulted { policy, last }, Timestamp::UNIX_EPOCH, |_| "60 s ago".to_owned(), PLAIN)
}

#[test]
fn what_would_be_done_and_what_the_guard_refuses_is_told_each_with_the_reason() {
    let answer = scaling::Answer {
        reason: "3 servers use 812 ‰".to_owned(),
        read_replicas: Some(scaling::Wish { value: 2, reason: "more than 700 ‰ are used".to_owned() }),
        volume_bytes: Some(scaling::Wish { value: 42_949_672_960, reason: "full in a day".to_owned() }),
        ..scaling::Answer::default()
    };
    let mut entry = entry::<scaling::Question>("read-load", answer);
    entry.verdict = Some(Verdict::Approved("2 read replicas".to_owned()));
    entry.refused = vec!["volumes of 42949672960 bytes: the spec gives no bounds for it".to_owned()];
    insta::assert_snapshot!(told(Some(&policy()), Some(&entry)), @r"
    scaling, which nobody follows yet
    read-load 0.1.0, 60 s ago: 2 read replicas (more than 700 ‰ are used), volumes of 42949672960 bytes (full in a day): 3 servers use 812 ‰
    the guard would let pass: 2 read replicas
    the guard would refuse: volumes of 42949672960 bytes: the spec gives no bounds for it
    ");
}

#[test]
fn a_policy_that_keeps_everything_or_has_a_problem_says_so() {
    let kept = entry::<tuning::Question>("memory-budget", tuning::Answer::keep("everything fits"));
    let ill = PolicyStatus { problem: Some("there is no ConfigMap budget".to_owned()), ..policy() };
    insta::assert_snapshot!(told(Some(&ill), Some(&kept)), @r"
    config-tuning, which nobody follows yet
    not as the spec names it: there is no ConfigMap budget
    memory-budget 0.1.0, 60 s ago: keep: everything fits
    nothing would change
    ");
    assert!(told::<tuning::Question>(Some(&policy()), None).contains("has not answered yet"));
    assert_eq!(told(None, Some(&kept)), "", "what was taken out of the spec is of no interest");
}

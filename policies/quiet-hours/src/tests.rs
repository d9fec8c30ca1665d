//! When backups wait. `scenarios.yaml` has more, asked of the module itself.

use grampus_policy::backup_window::scenario::nightly;
use grampus_policy::backup_window::{Answer, Policy as _, Question};
use grampus_policy::settings::read;

use super::QuietHours;

fn policy(json: &str) -> QuietHours {
    let policy: QuietHours = read(json).unwrap();
    policy.check().unwrap();
    policy
}

fn waits(policy: &QuietHours, question: &Question) -> bool {
    matches!(policy.decide(question), Answer::Postpone(_))
}

#[test]
fn hours_begin_with_their_first_minute_and_end_before_their_last() {
    let policy = policy(
        r#"{"closed": [{"weekdays": [5], "from": "18:00", "until": "24:00"}, {"weekdays": [6], "from": "00:00", "until": "02:30"}]}"#,
    );
    let at = |weekday: u32, minute: u32| waits(&policy, &nightly().at(weekday, minute));
    assert!(!at(5, 1_079) && at(5, 1_080) && at(5, 1_439));
    assert!(at(6, 0) && at(6, 149) && !at(6, 150));
    assert!(!at(4, 1_100) && !at(7, 100), "on other days");
}

#[test]
fn days_that_are_not_named_are_all_days() {
    let policy = policy(r#"{"closed": [{"from": "02:00", "until": "02:01"}]}"#);
    assert!((1..=7).all(|weekday| waits(&policy, &nightly().at(weekday, 120))));
}

#[test]
fn a_busy_server_is_waited_for_and_one_that_was_not_measured_is_not_busy() {
    let policy = policy(r#"{"busyAboveQueriesPerSecond": 100}"#);
    assert!(!waits(&policy, &nightly()));
    let busy = |queries: u64| nightly().measured(|server| server.load.queries_per_second = Some(queries));
    assert!(!waits(&policy, &busy(100)) && waits(&policy, &busy(101)));
    assert!(!waits(&QuietHours::default(), &busy(u64::MAX)));
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_field() {
    for (json, path) in [
        (r#"{"closed": [{"from": "18:00", "until": "02:00"}]}"#, "closed[0].until"),
        (r#"{"closed": [{"from": "6pm", "until": "20:00"}]}"#, "closed[0].from"),
        (r#"{"closed": [{"from": "18:00", "until": "20:00", "weekdays": [0]}]}"#, "closed[0].weekdays"),
    ] {
        let policy: QuietHours = read(json).unwrap();
        assert_eq!(policy.check().unwrap_err().path, path);
    }
}

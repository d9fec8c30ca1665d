use topology::record::{Claim, Member};
use wire::Endpoint;

use super::*;
use crate::state::Following;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Cut off from everything: a heartbeat has waited for long enough, and the API server was asked since.
const CUT_OFF: Situation = Situation {
    acks: 1,
    operator_silent: s(30),
    stuck: s(4),
    acknowledged: None,
    api: Api::OutOfReach { asked: s(1) },
    heartbeat: Heartbeat::Sent { waiting: s(2) },
};

/// Nothing is wrong.
const WELL: Situation = Situation {
    acks: 1,
    operator_silent: s(0),
    stuck: s(0),
    acknowledged: None,
    api: Api::Unknown,
    heartbeat: Heartbeat::None,
};

#[test]
fn it_fences_only_when_everything_says_so() {
    assert_eq!(next(&CUT_OFF), Step::Fence);
    assert_eq!(
        next(&Situation { operator_silent: s(0), ..CUT_OFF }),
        Step::Fence,
        "an operator on this side of the cut"
    );
    for (because, situation) in [
        ("nobody acknowledges in a cluster of one", Situation { acks: 0, ..CUT_OFF }),
        ("nothing is suspicious", Situation { operator_silent: s(0), stuck: s(0), ..CUT_OFF }),
        ("the API server answers", Situation { api: Api::InReach { asked: s(1) }, ..CUT_OFF }),
        ("the API server is being asked", Situation { api: Api::Asking, ..CUT_OFF }),
        ("the API server was never asked", Situation { api: Api::Unknown, ..CUT_OFF }),
        ("it was asked before the heartbeat", Situation { api: Api::OutOfReach { asked: s(3) }, ..CUT_OFF }),
        ("it was asked too long ago", Situation { api: Api::OutOfReach { asked: s(6) }, ..CUT_OFF }),
        ("no heartbeat was sent", Situation { heartbeat: Heartbeat::None, ..CUT_OFF }),
        ("the heartbeat came to nothing", Situation { heartbeat: Heartbeat::Failed, ..CUT_OFF }),
        (
            "the heartbeat may still be acknowledged",
            Situation { heartbeat: Heartbeat::Sent { waiting: s(1) }, ..CUT_OFF },
        ),
        ("commits are acknowledged", Situation { stuck: s(0), acknowledged: Some(s(1)), ..CUT_OFF }),
    ] {
        assert_ne!(next(&situation), Step::Fence, "{because}");
    }
}

#[test]
fn a_primary_with_an_operator_does_nothing_at_all() {
    assert_eq!(next(&WELL), Step::Watch);
    assert_eq!(next(&Situation { stuck: s(2), operator_silent: s(2), ..WELL }), Step::Watch);
}

#[test]
fn suspicion_leads_to_the_api_server_first_and_to_a_heartbeat_only_without_it() {
    let silent = Situation { operator_silent: s(3), ..WELL };
    let stuck = Situation { stuck: s(3), ..WELL };
    for suspicious in [silent, stuck] {
        assert_eq!(next(&suspicious), Step::AskApi);
        assert_eq!(next(&Situation { api: Api::Asking, ..suspicious }), Step::Watch);
        assert_eq!(next(&Situation { api: Api::InReach { asked: s(1) }, ..suspicious }), Step::Watch);
        assert_eq!(next(&Situation { api: Api::InReach { asked: s(5) }, ..suspicious }), Step::AskApi);
        let out = Situation { api: Api::OutOfReach { asked: s(1) }, ..suspicious };
        assert_eq!(next(&out), Step::Beat);
        assert_eq!(next(&Situation { heartbeat: Heartbeat::Sent { waiting: s(0) }, ..out }), Step::Watch);
        let waiting = Duration::from_millis(500);
        assert_eq!(next(&Situation { heartbeat: Heartbeat::Sent { waiting }, ..out }), Step::AskApi, "asked again");
    }
}

#[test]
fn what_replicas_acknowledge_by_themselves_saves_the_heartbeat() {
    let alone = Situation { operator_silent: s(900), api: Api::OutOfReach { asked: s(1) }, ..WELL };
    assert_eq!(next(&Situation { acknowledged: Some(s(4)), ..alone }), Step::Watch);
    assert_eq!(next(&Situation { acknowledged: Some(s(5)), ..alone }), Step::Beat);
    assert_eq!(next(&Situation { acknowledged: Some(s(4)), stuck: s(3), ..alone }), Step::Beat);
}

fn incarnation() -> Uuid {
    Uuid::from_u128(7)
}

fn led() -> Remembered {
    let record = Record {
        epoch: 5,
        phase: Phase::Serving,
        generation: 2,
        primary_since_epoch: 4,
        primary_server_uuid: Some(Uuid::from_u128(1)),
        members: vec![Member { name: "shop-0".to_owned(), incarnation: incarnation() }],
        acks: 1,
        base: "00000000-0000-0000-0000-000000000001:1-9".parse().unwrap(),
        ..Record::first("shop-0".to_owned())
    };
    let mut remembered = Remembered { record: Some(record), wait_count: Some(1), ..Remembered::default() };
    remembered.open(4, incarnation(), Uuid::from_u128(1));
    remembered
}

fn with(edit: impl FnOnce(&mut Record)) -> Remembered {
    let mut remembered = led();
    edit(remembered.record.as_mut().unwrap());
    remembered
}

#[test]
fn only_the_last_primary_with_its_own_data_and_its_own_promise_reopens() {
    let whole: GtidSet = "00000000-0000-0000-0000-000000000001:1-12".parse().unwrap();
    let short: GtidSet = "00000000-0000-0000-0000-000000000001:1-8".parse().unwrap();
    let may = |remembered: &Remembered| objection(remembered, "shop-0", Some(incarnation()), Some(&whole)).is_none();
    assert!(may(&led()));
    assert!(objection(&led(), "shop-0", Some(incarnation()), None).is_none(), "the server will say");
    assert!(objection(&led(), "shop-0", Some(incarnation()), Some(&short)).is_some(), "the base is not there");
    assert!(objection(&led(), "shop-0", Some(Uuid::from_u128(8)), Some(&whole)).is_some(), "other data");
    assert!(objection(&led(), "shop-0", None, Some(&whole)).is_some(), "no data");
    assert!(objection(&led(), "shop-1", Some(incarnation()), Some(&whole)).is_some(), "another member");

    assert!(!may(&Remembered { record: None, ..led() }));
    assert!(!may(&with(|record| record.primary = "shop-1".to_owned())));
    assert!(!may(&with(|record| record.phase = Phase::Freezing)));
    assert!(!may(&with(|record| record.phase = Phase::Promoting)));
    assert!(!may(&with(|record| record.primary_since_epoch = 5)), "chosen anew, and never opened since");
    assert!(!may(&with(|record| record.leaving = Some("shop-0".to_owned()))));
    assert!(!may(&with(|record| record.acks = 2)));
    assert!(!may(&with(|record| record.raising_acks = Some(2))), "a raise is not in force on disk yet");
    assert!(!may(&Remembered { wait_count: None, ..led() }));
    assert!(!may(&Remembered { opened: None, ..led() }));
    let source = Endpoint { member: "shop-1".to_owned(), host: String::new(), server_uuid: Uuid::nil() };
    let claim = Claim { epoch: 5, phase: Phase::Serving, generation: 2 };
    let following = Some(Following { source, claim, incarnation: incarnation(), delay_s: 0 });
    assert!(!may(&Remembered { following, ..led() }), "it has followed somebody since");
}

#[test]
fn it_waits_for_an_operator_and_then_for_receivers_that_ask() {
    let long = PATIENCE;
    let short = s(9);
    assert!(may_begin(long, long, PATIENCE, 1, 1));
    assert!(!may_begin(short, long, PATIENCE, 1, 1), "it has only just ended");
    assert!(!may_begin(long, short, PATIENCE, 1, 1), "an operator was there a moment ago");
    assert!(!may_begin(long, long, PATIENCE, 1, 2), "too few could acknowledge");
    assert!(may_begin(long, long, PATIENCE, 0, 0), "a cluster of one asks nobody");
}

//! What an agent's silence proves: nothing, as long as it may be the operator that nobody hears.

use topology::assess::{Assessment, Waiting, assess};
use topology::facts::{ServerState, ThreadState};
use topology::plan::Step;
use topology::record::Phase;
use topology::snapshot::{Probe, Snapshot};

use crate::world::World;

/// The primary's agent does not answer, and the last attempt to reach it began so long ago.
fn silent_primary(replicas: u32, tried_ms: u64) -> Snapshot {
    let mut world = World::serving(replicas);
    assert!(world.write());
    world.power_off("shop-0");
    let mut snapshot = world.snapshot();
    let primary = snapshot.members.iter_mut().find(|member| member.name == "shop-0").unwrap();
    primary.probe = Probe::Unreachable { for_ms: 4_000, tried_ms, error: "no answer".to_owned() };
    for member in &mut snapshot.members {
        if let Probe::Known { age_ms, .. } = &mut member.probe {
            *age_ms = 100;
        }
    }
    snapshot
}

fn reached_again(snapshot: &mut Snapshot, name: &str, ago_ms: u64) {
    let member = snapshot.members.iter_mut().find(|member| member.name == name).unwrap();
    let Probe::Known { connected_ms, .. } = &mut member.probe else { panic!("{name} is reached") };
    *connected_ms = ago_ms;
}

fn claims(assessment: &Assessment) -> bool {
    let claim = |step: &Step| matches!(step, Step::Advance { to, .. } if to.phase == Phase::Freezing);
    assessment.steps.iter().any(claim)
}

#[test]
fn a_primary_is_asked_once_more_after_the_others_are_reached_again() {
    let mut snapshot = silent_primary(3, 900);
    assert!(claims(&assess(&snapshot)), "the others answered all the while");
    reached_again(&mut snapshot, "shop-2", 300);
    let assessment = assess(&snapshot);
    assert!(!claims(&assessment));
    let [Waiting::Suspicion { why }] = assessment.waiting.as_slice() else { panic!("{:?}", assessment.waiting) };
    assert!(why.contains("whether shop-2 would have been heard"), "{why}");
    // The next attempt begins, and fails as well.
    let mut snapshot = silent_primary(3, 200);
    reached_again(&mut snapshot, "shop-2", 1_400);
    assert!(claims(&assess(&snapshot)));
}

#[test]
fn a_connection_on_which_nothing_was_said_since_is_tried_first() {
    let mut snapshot = silent_primary(3, 900);
    let member = snapshot.members.iter_mut().find(|member| member.name == "shop-2").unwrap();
    let Probe::Known { age_ms, .. } = &mut member.probe else { panic!() };
    *age_ms = 1_000;
    let assessment = assess(&snapshot);
    assert_eq!(assessment.steps, [Step::Probe { member: "shop-2".to_owned() }]);
    let member = snapshot.members.iter_mut().find(|member| member.name == "shop-2").unwrap();
    let Probe::Known { age_ms, .. } = &mut member.probe else { panic!() };
    *age_ms = 2;
    assert!(claims(&assess(&snapshot)));
}

#[test]
fn who_is_not_needed_for_a_freeze_is_not_waited_for() {
    let mut snapshot = silent_primary(5, 900);
    reached_again(&mut snapshot, "shop-4", 300);
    assert!(claims(&assess(&snapshot)), "three others answered all the while");
    reached_again(&mut snapshot, "shop-3", 300);
    assert!(!claims(&assess(&snapshot)));
}

#[test]
fn too_few_are_still_named_whenever_they_were_reached() {
    let mut snapshot = silent_primary(3, 900);
    reached_again(&mut snapshot, "shop-2", 300);
    let other = snapshot.members.iter_mut().find(|member| member.name == "shop-1").unwrap();
    other.probe = Probe::NotProbed;
    let assessment = assess(&snapshot);
    assert!(!claims(&assessment));
    assert!(assessment.waiting.iter().any(|waiting| matches!(waiting, Waiting::Quorum(_))), "{:?}", assessment.waiting);
}

/// The primary's agent answers, and its mysqld has not for a minute.
fn hung_primary(replicas: u32) -> Snapshot {
    let mut world = World::serving(replicas);
    assert!(world.write());
    let mut snapshot = world.snapshot();
    for member in &mut snapshot.members {
        let Probe::Known { report, .. } = &mut member.probe else { panic!("{} is reached", member.name) };
        if member.name == "shop-0" {
            report.server = ServerState::Unresponsive { for_ms: 60_000 };
        } else if let ServerState::Running(facts) = &mut report.server {
            facts.replication.as_mut().unwrap().receiver = ThreadState::Connecting;
        }
    }
    snapshot
}

#[test]
fn a_server_that_is_alone_is_waited_for_however_long_it_does_not_answer() {
    assert!(claims(&assess(&hung_primary(3))), "somebody else can lead");
    let assessment = assess(&hung_primary(1));
    assert_eq!(assessment.steps, []);
    let [Waiting::Suspicion { why }] = assessment.waiting.as_slice() else { panic!("{:?}", assessment.waiting) };
    assert!(why.contains("60 s") && why.contains("nobody to take its place"), "{why}");
}

#[test]
fn a_primary_that_a_replica_lost_is_in_doubt_until_it_has_said_something_since() {
    let mut world = World::serving(3);
    assert!(world.write());
    let last_heard = |ago_ms, lost: bool| {
        let mut snapshot = world.snapshot();
        for member in &mut snapshot.members {
            let Probe::Known { report, age_ms, .. } = &mut member.probe else { panic!("{} is reached", member.name) };
            let ServerState::Running(facts) = &mut report.server else { panic!("{} runs", member.name) };
            match member.name.as_str() {
                "shop-0" => *age_ms = ago_ms,
                "shop-1" if lost => facts.replication.as_mut().unwrap().receiver = ThreadState::Connecting,
                _ => {}
            }
        }
        assess(&snapshot).doubts("shop-0")
    };
    assert!(last_heard(900, true));
    assert!(!last_heard(10, true), "the replica may have lost it by itself");
    assert!(!last_heard(900, false), "nobody has lost it");
}

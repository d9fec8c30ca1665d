//! Replicas that cannot go on with their data: who is copied anew, when, and what stands in the way.

use rstest::rstest;
use topology::assess::{Assessment, Waiting, assess};
use topology::facts::{
    Copies, Ends, Job, JobKind, JobState, MemberReport, Replication, ServerFacts, ServerState, ThreadState,
    VolumeTrouble,
};
use topology::gtid::GtidSet;
use topology::plan::{Order, Step};
use topology::record::{GivenUp, Phase};
use topology::snapshot::{MemberView, OtherVersion, Probe, Rebuild, Snapshot};
use topology::trouble::{Trouble, trouble};
use uuid::Uuid;

use crate::world::{World, choose_first};

/// What mysqld 9.7 says to a replica whose transactions are purged.
const PURGED: &str = "13114: Got fatal error 1236 from source when reading data from binary log: 'Cannot replicate because \
    the source purged required binary logs. Replicate the missing transactions from elsewhere, or provision a new replica \
    from backup.'";

/// Long enough, and not one of the moments in which what failed is tried again.
const LASTS_MS: u64 = 15_000;

fn healthy(replicas: u32) -> Snapshot {
    let mut world = World::serving(replicas);
    assert!(world.write());
    world.replicate();
    assert!(!world.pass(choose_first), "{:#?}", world.log);
    world.snapshot()
}

fn view<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut MemberView {
    snapshot.members.iter_mut().find(|member| member.name == name).unwrap()
}

fn report<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut MemberReport {
    match &mut view(snapshot, name).probe {
        Probe::Known { report, .. } => report,
        other => panic!("{other:?}"),
    }
}

fn server<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut ServerFacts {
    match &mut report(snapshot, name).server {
        ServerState::Running(facts) => facts,
        other => panic!("{other:?}"),
    }
}

fn channel<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut Replication {
    server(snapshot, name).replication.as_mut().unwrap()
}

/// What can be wrong with a replica.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Applier,
    Purged,
    Ends,
}

fn broken(mut snapshot: Snapshot, name: &str, wrong: Wrong) -> Snapshot {
    match wrong {
        Wrong::Applier => {
            let channel = channel(&mut snapshot, name);
            channel.applier = ThreadState::Off;
            channel.applier_error = "1062: Duplicate entry '7' for key 't.PRIMARY'".to_owned();
        }
        Wrong::Purged => {
            let channel = channel(&mut snapshot, name);
            (channel.receiver, channel.acknowledges) = (ThreadState::Off, false);
            channel.receiver_error = PURGED.to_owned();
        }
        Wrong::Ends => {
            let held = server(&mut snapshot, name).known();
            let report = report(&mut snapshot, name);
            report.server = ServerState::Stopped { exit: Some("exit code 1".to_owned()), gtids: Some(held) };
            report.ends = Some(Ends { in_a_row: 3, how: "exit code 1".to_owned() });
        }
    }
    view(&mut snapshot, name).trouble_ms = LASTS_MS;
    snapshot
}

/// Whom it has copied, from whom.
fn copies(assessment: &Assessment) -> Vec<(&str, &str)> {
    let copy = |step| match step {
        &Step::Command { ref member, order: Order::Clone { ref donor } } => Some((member.as_str(), donor.as_str())),
        _ => None,
    };
    assessment.steps.iter().filter_map(copy).collect()
}

fn held_back(assessment: &Assessment) -> String {
    let unfit = assessment.waiting.iter().find_map(|waiting| match waiting {
        Waiting::Unfit { held_back, .. } => held_back.clone(),
        _ => None,
    });
    unfit.unwrap_or_default()
}

#[rstest]
#[case::its_applier_stops(Wrong::Applier)]
#[case::the_logs_it_needs_are_gone(Wrong::Purged)]
#[case::its_mysqld_does_not_stay_up(Wrong::Ends)]
fn a_replica_whose_trouble_stays_is_copied_anew_from_another_replica(#[case] wrong: Wrong) {
    let mut snapshot = broken(healthy(3), "shop-1", wrong);
    let assessment = assess(&snapshot);
    assert_eq!(copies(&assessment), [("shop-1", "shop-2")], "{assessment:#?}");
    assert!(assessment.waiting.iter().any(|waiting| matches!(waiting, Waiting::Unfit { held_back: None, .. })));
    view(&mut snapshot, "shop-1").trouble_ms = 9_000;
    let early = assess(&snapshot);
    assert!(copies(&early).is_empty() && !early.steps.is_empty(), "it is tried again first: {early:#?}");
    view(&mut snapshot, "shop-1").trouble_ms = LASTS_MS;
    view(&mut snapshot, "shop-1").available = false;
    assert!(copies(&assess(&snapshot)).is_empty(), "something else is being done to it");
}

/// What stands in the way of a copy.
type Obstacle = fn(&mut Snapshot);

#[rstest]
#[case::another_cannot_execute(|it: &mut Snapshot| { *it = broken(it.clone(), "shop-2", Wrong::Applier); }, "good standing")]
#[case::another_does_not_answer(|it: &mut Snapshot| {
    view(it, "shop-2").probe = Probe::Unreachable { for_ms: 1_000, tried_ms: 0, error: "no answer".to_owned() };
}, "good standing")]
#[case::another_is_full(|it: &mut Snapshot| report(it, "shop-2").volume = full(), "good standing")]
#[case::another_goes(|it: &mut Snapshot| view(it, "shop-2").pod.as_mut().unwrap().terminating = true, "good standing")]
#[case::another_acknowledges_nothing(|it: &mut Snapshot| channel(it, "shop-2").acknowledges = false, "writes would stop; 0 do")]
#[case::another_has_less(|it: &mut Snapshot| {
    (server(it, "shop-2").executed, server(it, "shop-2").received) = (GtidSet::new(), GtidSet::new());
}, "1 other replicas hold everything that it holds; 0 do")]
#[case::another_was_just_replaced(|it: &mut Snapshot| {
    report(it, "shop-2").data = topology::facts::DataState::Ready { incarnation: Uuid::from_u128(77) };
}, "shop-2, whose data was replaced, votes again")]
#[case::a_member_goes(|it: &mut Snapshot| it.record.as_mut().unwrap().leaving = Some("shop-2".to_owned()), "change of members")]
#[case::more_acknowledgements_come(|it: &mut Snapshot| it.record.as_mut().unwrap().raising_acks = Some(2), "change of members")]
#[case::the_primary_is_behind(|it: &mut Snapshot| it.record.as_mut().unwrap().generation += 1, "shop-0 knows")]
#[case::its_volume_is_full(|it: &mut Snapshot| report(it, "shop-1").volume = full(), "there is room")]
#[case::others_are_disrupted(|it: &mut Snapshot| it.pace.limited = true, "limit of planned disruptions")]
#[case::the_last_copy_did_not_help(|it: &mut Snapshot| {
    it.now_unix_ms = 1_000_000;
    report(it, "shop-1").copies = Some(Copies { begun: 2, last_unix_ms: 900_000 });
}, "120 s have passed")]
fn data_that_is_needed_stays(#[case] obstacle: Obstacle, #[case] says: &str) {
    let mut snapshot = broken(healthy(3), "shop-1", Wrong::Applier);
    obstacle(&mut snapshot);
    let assessment = assess(&snapshot);
    let begun = copies(&assessment);
    assert!(!begun.iter().any(|(member, _)| *member == "shop-1"), "{assessment:#?}");
    let told = held_back(&assessment);
    assert!(told.contains(says), "{told}");
}

fn full() -> Option<VolumeTrouble> {
    Some(VolumeTrouble::Failed { error: "it is full: 0 bytes are left".to_owned() })
}

/// Nothing acknowledges or freezes with a server that does not run, so writes that wait already are no reason to wait.
#[test]
fn a_server_that_does_not_stay_up_is_replaced_also_where_writes_wait_for_it() {
    let alone = broken(healthy(2), "shop-1", Wrong::Ends);
    assert_eq!(copies(&assess(&alone)), [("shop-1", "shop-0")]);
    for wrong in [Wrong::Purged, Wrong::Applier] {
        let mut needed = broken(healthy(2), "shop-1", wrong);
        assert!(copies(&assess(&needed)).is_empty(), "it is the only other copy");
        // What that costs is for a person to say.
        let incarnation = view(&mut needed, "shop-1").incarnation().unwrap();
        needed.rebuild = Some(Rebuild { member: "shop-1".to_owned(), incarnation });
        assert_eq!(copies(&assess(&needed)), [("shop-1", "shop-0")]);
    }
    let mut unread = broken(healthy(3), "shop-1", Wrong::Ends);
    report(&mut unread, "shop-1").server = ServerState::Stopped { exit: None, gtids: None };
    let assessment = assess(&unread);
    assert!(copies(&assessment).is_empty(), "nobody knows what it holds");
    assert!(held_back(&assessment).contains("grampus rebuild shop shop-1"), "{assessment:#?}");
}

#[test]
fn what_belongs_to_a_person_is_left_to_one() {
    for wrong in [Wrong::Applier, Wrong::Ends] {
        let stray: GtidSet = format!("{}:1", Uuid::from_u128(0xbad)).parse().unwrap();
        let mut errant = healthy(3);
        let held = server(&mut errant, "shop-1").executed.union(&stray);
        server(&mut errant, "shop-1").executed = held;
        let errant = broken(errant, "shop-1", wrong);
        assert!(copies(&assess(&errant)).is_empty(), "{wrong:?}");
        let mut given_up = errant.clone();
        let given = GivenUp { epoch: 1, servers: vec![Uuid::from_u128(0xbad)], members: Vec::new() };
        given_up.record.as_mut().unwrap().given_up.push(given);
        let assessment = assess(&given_up);
        assert!(copies(&assessment).is_empty(), "{wrong:?}");
        assert!(assessment.waiting.iter().any(|waiting| matches!(waiting, Waiting::GivenUp { .. })), "{assessment:#?}");
    }
}

#[test]
fn one_at_a_time_is_copied() {
    let snapshot = broken(broken(healthy(5), "shop-1", Wrong::Ends), "shop-2", Wrong::Ends);
    let assessment = assess(&snapshot);
    assert_eq!(copies(&assessment), [("shop-1", "shop-3")], "{assessment:#?}");
    let waits = assessment.waiting.iter().any(|waiting| match waiting {
        Waiting::Unfit { member, held_back: Some(why), .. } => member == "shop-2" && why.contains("another copy"),
        _ => false,
    });
    assert!(waits, "{assessment:#?}");
}

#[test]
fn a_copy_that_does_not_help_is_repeated_less_and_less_often() {
    let mut snapshot = broken(healthy(3), "shop-1", Wrong::Applier);
    let mut after = |begun, seconds: u64| {
        snapshot.now_unix_ms = 100_000_000;
        let last_unix_ms = snapshot.now_unix_ms - seconds * 1_000;
        report(&mut snapshot, "shop-1").copies = Some(Copies { begun, last_unix_ms });
        !copies(&assess(&snapshot)).is_empty()
    };
    for (begun, pause) in [(1, 60), (2, 120), (3, 240), (7, 3_600), (40, 3_600)] {
        assert!(!after(begun, pause - 1) && after(begun, pause), "{begun}");
    }
    // A clock that is hours ahead says nothing, one that is ahead a little holds back no longer than twice the pause.
    report(&mut snapshot, "shop-1").copies = Some(Copies { begun: 1, last_unix_ms: 200_000_000 });
    assert!(!copies(&assess(&snapshot)).is_empty());
}

#[test]
fn a_first_copy_that_failed_is_not_repeated_at_once() {
    let mut world = World::serving(3);
    world.scale(4);
    world.desired.acks = 1;
    let mut snapshot = world.snapshot();
    assert_eq!(copies(&assess(&snapshot)), [("shop-3", "shop-1")]);
    let fourth = report(&mut snapshot, "shop-3");
    fourth.job = Some(Job { kind: JobKind::Clone, state: JobState::Failed { error: "no space".to_owned() } });
    fourth.copies = Some(Copies { begun: 2, last_unix_ms: 1_000_000 });
    snapshot.now_unix_ms = 1_009_000;
    assert!(copies(&assess(&snapshot)).is_empty());
    snapshot.now_unix_ms = 1_010_000;
    assert_eq!(copies(&assess(&snapshot)), [("shop-3", "shop-1")]);
}

#[test]
fn while_a_copy_waits_what_failed_is_tried_now_and_then() {
    let mut snapshot = broken(healthy(3), "shop-1", Wrong::Applier);
    snapshot.pace.limited = true;
    let mut told = |trouble_ms| {
        view(&mut snapshot, "shop-1").trouble_ms = trouble_ms;
        !assess(&snapshot).steps.is_empty()
    };
    assert!(told(30_100) && told(60_900), "somebody may have mended it");
    assert!(!told(31_100) && !told(59_900), "and several times a second would help nobody");
}

#[rstest]
#[case::another_cause(
    "13114: Got fatal error 1236 from source when reading data from binary log: 'event read from binlog did \
    not pass checksum algorithm check'"
)]
#[case::more_than_the_source(
    "13114: Got fatal error 1236 from source when reading data from binary log: 'The replica has more \
    GTIDs than the source has, using the source's SERVER_UUID.'"
)]
#[case::no_connection("2003: error connecting to source")]
fn other_errors_of_a_receiver_call_for_no_copy(#[case] error: &str) {
    let mut snapshot = broken(healthy(3), "shop-1", Wrong::Purged);
    channel(&mut snapshot, "shop-1").receiver_error = error.to_owned();
    assert!(copies(&assess(&snapshot)).is_empty());
}

#[test]
fn logs_that_a_former_source_lacks_the_present_one_may_have() {
    let mut snapshot = broken(healthy(3), "shop-1", Wrong::Purged);
    channel(&mut snapshot, "shop-1").source_host = "10.0.0.99".to_owned();
    let shown = snapshot.member("shop-1").and_then(|member| trouble(&snapshot, member));
    assert_eq!(shown, None);
    assert!(copies(&assess(&snapshot)).is_empty());
}

#[test]
fn a_server_that_answers_or_ended_twice_is_in_no_trouble() {
    let mut snapshot = broken(healthy(3), "shop-1", Wrong::Ends);
    let shown = |snapshot: &Snapshot| snapshot.member("shop-1").and_then(|member| trouble(snapshot, member));
    assert!(matches!(shown(&snapshot), Some(Trouble::Ends { in_a_row: 3, .. })));
    report(&mut snapshot, "shop-1").ends.as_mut().unwrap().in_a_row = 2;
    assert_eq!(shown(&snapshot), None);
    let mut snapshot = healthy(3);
    report(&mut snapshot, "shop-1").ends = Some(Ends { in_a_row: 9, how: "signal 6".to_owned() });
    assert_eq!(shown(&snapshot), None);
}

/// What a replica has received and cannot execute nobody gets from it. Where a former primary has it too, that one is
/// started, at the price of what it holds besides.
#[test]
fn what_only_a_broken_applier_has_received_is_fetched_from_the_former_primary() {
    let mut snapshot = healthy(3);
    let former = server(&mut snapshot, "shop-0").server_uuid;
    let numbered = |number: u32| -> GtidSet { format!("{former}:{number}").parse().unwrap() };
    let (before, acknowledged) = (server(&mut snapshot, "shop-0").executed.clone(), numbered(98));
    let chosen = server(&mut snapshot, "shop-2").server_uuid;
    let record = snapshot.record.as_mut().unwrap();
    record.primary_server_uuid = Some(chosen);
    (record.phase, record.epoch, record.primary_since_epoch) = (Phase::Promoting, 2, 2);
    (record.primary, record.base) = ("shop-2".to_owned(), before.union(&acknowledged));
    let record = record.clone();
    for name in ["shop-0", "shop-1", "shop-2"] {
        report(&mut snapshot, name).record = Some(record.clone());
    }
    // Its tail may not be committed by a start without need.
    let held = before.union(&acknowledged).union(&numbered(99));
    report(&mut snapshot, "shop-0").server = ServerState::Stopped { exit: None, gtids: Some(held) };
    server(&mut snapshot, "shop-1").received = acknowledged;
    let starts = Step::Command { member: "shop-0".to_owned(), order: Order::Start };
    assert!(!assess(&snapshot).steps.contains(&starts), "shop-1 hands it on");
    let stuck = broken(snapshot, "shop-1", Wrong::Applier);
    let assessment = assess(&stuck);
    assert!(assessment.steps.contains(&starts), "{assessment:#?}");
}

/// A chosen primary whose applier ends on what it has to execute can never open, so another is chosen.
#[test]
fn who_was_chosen_and_cannot_execute_what_it_has_is_given_up() {
    let mut snapshot = healthy(3);
    let record = snapshot.record.as_mut().unwrap();
    (record.phase, record.epoch, record.primary_since_epoch) = (Phase::Promoting, 2, 2);
    record.primary = "shop-1".to_owned();
    let record = record.clone();
    for name in ["shop-1", "shop-2"] {
        report(&mut snapshot, name).record = Some(record.clone());
    }
    let claims = |snapshot: &Snapshot| {
        let steps = assess(snapshot).steps;
        steps
            .iter()
            .any(|step| matches!(step, Step::Advance { to, .. } if to.epoch == 3 && to.phase == Phase::Freezing))
    };
    let stuck = broken(snapshot, "shop-1", Wrong::Applier);
    assert!(claims(&stuck), "{:#?}", assess(&stuck));
    let mut early = stuck;
    view(&mut early, "shop-1").trouble_ms = 9_000;
    assert!(!claims(&early));
}

/// An agent of another version is neither silent nor lost, and nothing is done that it would have a part in.
#[rstest]
#[case::older(OtherVersion { agent: 1, operator: 2 }, "Delete the pods with the older agents, replicas first")]
#[case::newer(OtherVersion { agent: 2, operator: 1 }, "Bring the operator to the version of its agents")]
fn with_agents_of_another_version_nothing_is_done_and_that_is_said(
    #[case] versions: OtherVersion,
    #[case] advice: &str,
) {
    for (name, lost) in [("shop-0", true), ("shop-1", true), ("shop-1", false)] {
        let mut snapshot = healthy(3);
        if lost {
            report(&mut snapshot, "shop-2").server = ServerState::Stopped { exit: None, gtids: None };
        }
        let member = view(&mut snapshot, name);
        member.probe = Probe::Unreachable { for_ms: 60_000, tried_ms: 0, error: "another version".to_owned() };
        member.other_version = Some(versions);
        let assessment = assess(&snapshot);
        assert!(assessment.steps.is_empty() && assessment.question.is_none(), "{assessment:#?}");
        let [waiting] = &assessment.waiting[..] else { panic!("{assessment:#?}") };
        let told = waiting.to_string();
        let both = [format!("version {} ", versions.agent), format!("version {},", versions.operator)];
        assert!(both.iter().all(|version| told.contains(version.as_str())), "{told}");
        assert!(told.starts_with(&format!("the agent of {name}")) && told.contains(advice), "{told}");
    }
}

//! Read replicas: fed by voting replicas, never counted, never chosen, and never in the way of a write.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rstest::rstest;
use topology::assess::{Waiting, assess};
use topology::decision::{Answer, Question};
use topology::facts::{Job, JobKind, JobState, ServerFacts, ServerState, ThreadState};
use topology::plan::{Order, Step};
use topology::readers::{ReaderView, Readers};
use topology::reading::readable;
use topology::record::Phase;
use topology::snapshot::{MemberView, Probe, Snapshot};

use crate::chance;
use crate::world::{World, choose_first};

/// A cluster that serves and has so many readers, all caught up.
fn with_readers(replicas: u32, count: usize) -> World {
    let mut world = World::serving(replicas);
    assert!(world.write());
    world.scale_readers(count);
    world.settle(40, choose_first);
    caught_up(&world);
    world
}

/// Every reader has exactly what the primary has.
fn caught_up(world: &World) {
    let truth = &world.nodes[&world.primary().unwrap()].server.as_ref().unwrap().executed;
    for (name, node) in &world.readers {
        let server = node.server.as_ref().unwrap_or_else(|| panic!("{name} has no data: {:#?}", world.log));
        assert_eq!(&server.executed, truth, "{name}: {:#?}", world.log);
    }
}

fn source(world: &World, ordinal: usize) -> Option<&str> {
    world.reader(ordinal).server.as_ref()?.source.as_deref()
}

#[test]
fn new_readers_are_copied_one_at_a_time_and_spread_over_the_replicas() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.scale_readers(4);
    world.pass(choose_first);
    let copied = world.readers.values().filter(|node| node.server.is_some()).count();
    assert_eq!(copied, 1, "one copy at a time: {:#?}", world.log);
    world.settle(40, choose_first);
    let sources: BTreeSet<_> = (0..4).map(|ordinal| source(&world, ordinal).unwrap()).collect();
    assert_eq!(sources, BTreeSet::from(["shop-1", "shop-2"]), "{:#?}", world.log);
    let primary = |line: &String| line.starts_with("shop-read") && line.contains("clone shop-0");
    assert!(!world.log.iter().any(primary), "a primary has better things to do: {:#?}", world.log);
    assert_eq!(world.record.as_ref().unwrap().members.len(), 3);
    assert!(world.write());
    world.settle(10, choose_first);
    caught_up(&world);
}

#[test]
fn nothing_is_said_to_a_reader_that_is_as_it_should_be() {
    let mut world = with_readers(3, 2);
    assert!(!world.pass(choose_first), "{:#?}", world.log);
    assert!(assess(&world.snapshot()).waiting.is_empty());
}

#[test]
fn a_single_member_feeds_its_readers_itself() {
    let mut world = with_readers(1, 1);
    assert_eq!(source(&world, 0), Some("shop-0"));
    world.kill("shop-0");
    world.settle(20, choose_first);
    assert!(world.write());
    world.settle(20, choose_first);
    caught_up(&world);
}

#[test]
fn a_reader_whose_source_leads_now_is_moved_to_a_replica_and_keeps_its_data() {
    let mut world = with_readers(3, 2);
    let before: Vec<_> = world.readers.values().map(|node| node.incarnation).collect();
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
    assert!(world.write());
    world.settle(20, choose_first);
    for ordinal in 0..2 {
        assert_ne!(source(&world, ordinal), Some("shop-1"), "{:#?}", world.log);
    }
    caught_up(&world);
    assert_eq!(before, world.readers.values().map(|node| node.incarnation).collect::<Vec<_>>(), "nothing was copied");
}

#[test]
fn a_reader_stays_with_a_source_that_will_do() {
    let mut world = with_readers(3, 2);
    let before: Vec<_> = (0..2).map(|ordinal| source(&world, ordinal).map(str::to_owned)).collect();
    for _ in 0..5 {
        assert!(world.write());
        world.settle(10, choose_first);
    }
    world.scale_readers(1);
    world.settle(10, choose_first);
    world.scale_readers(2);
    world.settle(10, choose_first);
    assert_eq!(source(&world, 0).map(str::to_owned), before[0]);
    assert_eq!(source(&world, 1).map(str::to_owned), before[1], "the other one was free again");
}

#[test]
fn without_a_replica_to_feed_them_readers_wait_rather_than_take_what_nobody_acknowledged() {
    let mut world = with_readers(3, 2);
    world.power_off("shop-2");
    world.kill("shop-1");
    let first = world.nodes.get_mut("shop-1").unwrap();
    first.reachable = false;
    assert!(!world.write(), "nobody is there to acknowledge");
    world.replicate();
    world.settle(20, choose_first);
    for ordinal in 0..2 {
        assert_ne!(source(&world, ordinal), Some("shop-0"), "{:#?}", world.log);
    }
    assert!(world.log.iter().any(|line| line.contains("shop-read-0: waits for a replica")), "{:#?}", world.log);
}

#[test]
fn a_reader_is_taken_off_a_primary_that_it_is_found_on() {
    let mut world = with_readers(3, 1);
    world.reader_mut(0).server.as_mut().unwrap().source = Some("shop-0".to_owned());
    world.settle(10, choose_first);
    assert!(matches!(source(&world, 0), Some("shop-1" | "shop-2")), "{:#?}", world.log);

    world.reader_mut(0).server.as_mut().unwrap().source = Some("shop-0".to_owned());
    world.power_off("shop-1");
    world.power_off("shop-2");
    world.settle(10, choose_first);
    assert_eq!(source(&world, 0), None, "cut off: {:#?}", world.log);
}

#[test]
fn what_a_reader_holds_beyond_the_cluster_is_replaced_without_asking() {
    let mut world = with_readers(3, 1);
    let before = world.reader(0).incarnation;
    let server = world.reader_mut(0).server.as_mut().unwrap();
    server.executed = server.executed.union(&format!("{}:1", server.uuid).parse().unwrap());
    let waiting = assess(&world.snapshot()).waiting;
    assert!(matches!(&waiting[..], [Waiting::Replaced { reader, .. }] if reader == "shop-read-0"), "{waiting:?}");
    world.settle(20, choose_first);
    assert_ne!(world.reader(0).incarnation, before);
    caught_up(&world);
}

#[test]
fn a_tail_that_reached_a_reader_is_replaced_once_somebody_leads() {
    let mut world = with_readers(3, 1);
    world.reader_mut(0).server.as_mut().unwrap().source = Some("shop-0".to_owned());
    for replica in ["shop-1", "shop-2"] {
        world.nodes.get_mut(replica).unwrap().server.as_mut().unwrap().source = None;
    }
    assert!(!world.write());
    world.feed_readers();
    world.kill("shop-0");
    world.settle(60, choose_first);
    assert!(world.write());
    world.settle(20, choose_first);
    caught_up(&world);
    assert!(world.log.iter().any(|line| line.starts_with("waiting: shop-read-0 is copied anew")), "{:#?}", world.log);
}

#[test]
fn data_of_another_cluster_is_left_to_a_person() {
    let mut world = with_readers(3, 1);
    let foreign = "00000000-0000-4000-8000-00000000abcd:1-99";
    world.reader_mut(0).server.as_mut().unwrap().executed = foreign.parse().unwrap();
    world.reader_mut(0).server.as_mut().unwrap().received = Default::default();
    world.reader_mut(0).server.as_mut().unwrap().source = None;
    let before = world.reader(0).incarnation;
    world.settle(20, choose_first);
    assert_eq!(world.reader(0).incarnation, before);
    assert!(world.log.last().unwrap().contains("perhaps the last copy"), "{:#?}", world.log);
}

#[test]
fn no_first_data_is_made_beside_a_reader_that_has_some() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.scale_readers(1);
    world.settle(20, choose_first);
    let kept = std::mem::take(&mut world.readers);
    let mut anew = World::new(3);
    anew.readers = kept;
    anew.settle(10, choose_first);
    assert!(anew.record.is_none(), "{:#?}", anew.log);
    assert!(anew.log.last().unwrap().contains("shop-read-0 has data"), "{:#?}", anew.log);
}

/// Changes what the first reader reports, and gives what is done about it.
fn steps_after(change: impl FnOnce(&mut ServerFacts)) -> (Vec<Order>, Vec<Waiting>) {
    let world = with_readers(3, 1);
    let mut snapshot = world.snapshot();
    change_reader(&mut snapshot, change, |_| {}, true);
    outcome(&snapshot)
}

fn outcome(snapshot: &Snapshot) -> (Vec<Order>, Vec<Waiting>) {
    let assessment = assess(snapshot);
    let orders = assessment.steps.into_iter().map(|step| match step {
        Step::Command { member, order } => {
            assert_eq!(member, "shop-read-0");
            order
        }
        other => panic!("{other:?}"),
    });
    (orders.collect(), assessment.waiting)
}

fn change_reader(
    snapshot: &mut Snapshot,
    server: impl FnOnce(&mut ServerFacts),
    view: impl FnOnce(&mut MemberView),
    may_copy: bool,
) {
    let reader = &snapshot.readers.views[0];
    let mut changed = MemberView {
        name: reader.name().to_owned(),
        ordinal: 0,
        pod: reader.pod().cloned(),
        probe: reader.probe().clone(),
        signals: None,
        available: true,
        trouble_ms: 0,
        other_version: None,
    };
    if let Probe::Known { report, .. } = &mut changed.probe
        && let ServerState::Running(facts) = &mut report.server
    {
        server(facts);
    }
    view(&mut changed);
    snapshot.readers.views[0] = ReaderView::new(changed, may_copy);
}

fn receiver(facts: &mut ServerFacts, state: ThreadState, error: &str) {
    let channel = facts.replication.as_mut().unwrap();
    (channel.receiver, channel.receiver_error) = (state, error.to_owned());
}

#[test]
fn logs_that_are_gone_call_for_a_copy_and_any_other_error_for_another_try() {
    let gone = "13114: Got fatal error 1236 from source when reading data from binary log: 'Cannot replicate because \
        the source purged required binary logs'";
    let (orders, _) = steps_after(|facts| receiver(facts, ThreadState::Off, gone));
    assert!(matches!(&orders[..], [Order::Clone { .. }]), "{orders:?}");
    let (orders, _) = steps_after(|facts| receiver(facts, ThreadState::Off, "1045: Access denied"));
    assert!(matches!(&orders[..], [Order::Read { .. }]), "{orders:?}");
    let (orders, waiting) = steps_after(|facts| receiver(facts, ThreadState::Connecting, "2003: refused"));
    assert!(orders.is_empty() && waiting.len() == 1, "it goes on by itself: {orders:?}");
}

#[test]
fn a_reader_that_is_late_by_another_time_than_it_should_is_told() {
    let (orders, _) = steps_after(|facts| facts.replication.as_mut().unwrap().delay_s = 3_600);
    assert!(matches!(&orders[..], [Order::Read { delay_s: 0, .. }]), "{orders:?}");
}

#[test]
fn a_reader_that_somebody_opened_is_closed() {
    let (orders, _) = steps_after(|facts| (facts.open, facts.offline, facts.read_only) = (true, false, false));
    assert!(matches!(&orders[..], [Order::Fence]), "{orders:?}");
}

#[test]
fn a_copy_that_failed_is_told_and_waits_for_its_turn() {
    let world = with_readers(3, 1);
    let mut snapshot = world.snapshot();
    let fail = |view: &mut MemberView| {
        let Probe::Known { report, .. } = &mut view.probe else { panic!() };
        report.data = topology::facts::DataState::Empty;
        report.job = Some(Job { kind: JobKind::Clone, state: JobState::Failed { error: "no space".to_owned() } });
    };
    change_reader(&mut snapshot, |_| {}, fail, false);
    let (orders, waiting) = outcome(&snapshot);
    assert!(orders.is_empty(), "{orders:?}");
    assert!(waiting[0].to_string().contains("the last copy failed: no space"), "{waiting:?}");
}

#[test]
fn a_member_that_needs_a_copy_comes_first() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.scale_readers(1);
    *world.nodes.get_mut("shop-2").unwrap() = {
        let mut empty = World::new(1);
        empty.nodes.remove("shop-0").unwrap()
    };
    let orders = assess(&world.snapshot()).steps.into_iter().filter_map(|step| match step {
        Step::Command { member, order: Order::Clone { .. } } => Some(member),
        _ => None,
    });
    assert_eq!(orders.collect::<Vec<_>>(), ["shop-2"]);
}

/// Sets what the first replica and the first reader lag, and gives who may be read from.
fn read_from(of_replica: Option<u64>, of_reader: Option<u64>, before: &[&str]) -> Vec<String> {
    let world = with_readers(3, 1);
    let feeder = source(&world, 0).unwrap().to_owned();
    assert_eq!(feeder, "shop-1");
    let mut snapshot = world.snapshot();
    let lag = |facts: &mut ServerFacts, lag| {
        facts.offline = false;
        facts.replication.as_mut().unwrap().lag_s = lag;
    };
    for member in &mut snapshot.members {
        let Probe::Known { report, .. } = &mut member.probe else { panic!() };
        let ServerState::Running(facts) = &mut report.server else { panic!() };
        match member.name.as_str() {
            "shop-1" => lag(facts, of_replica),
            "shop-2" => lag(facts, Some(0)),
            _ => {}
        }
    }
    change_reader(&mut snapshot, |facts| lag(facts, of_reader), |_| {}, true);
    readable_names(&snapshot, before)
}

fn readable_names(snapshot: &Snapshot, before: &[&str]) -> Vec<String> {
    let record = snapshot.record.as_ref().unwrap();
    let leader = snapshot.member(&record.primary).unwrap();
    let before = before.iter().map(|name| (*name).to_owned()).collect();
    readable(snapshot, record, leader, &before).iter().map(|one| one.name.to_owned()).collect()
}

#[rstest]
#[case::nobody_lags(Some(0), Some(0), &[], &["shop-1", "shop-2", "shop-read-0"])]
#[case::unknown_is_no_reason(None, None, &[], &["shop-1", "shop-2", "shop-read-0"])]
#[case::who_is_in_may_lag_to_the_limit(Some(0), Some(30), &["shop-read-0"], &["shop-1", "shop-2", "shop-read-0"])]
#[case::and_no_further(Some(0), Some(31), &["shop-read-0"], &["shop-1", "shop-2"])]
#[case::who_is_out_comes_back_at_half(Some(0), Some(16), &[], &["shop-1", "shop-2"])]
#[case::at_half(Some(0), Some(15), &[], &["shop-1", "shop-2", "shop-read-0"])]
#[case::what_its_source_lacks_a_reader_lacks(Some(40), Some(0), &["shop-1", "shop-read-0"], &["shop-2"])]
fn who_lags_is_not_read_from(
    #[case] of_replica: Option<u64>,
    #[case] of_reader: Option<u64>,
    #[case] before: &[&str],
    #[case] expected: &[&str],
) {
    assert_eq!(read_from(of_replica, of_reader, before), expected);
}

#[test]
fn a_reader_that_is_late_on_purpose_is_never_read_from() {
    let world = with_readers(3, 1);
    let mut snapshot = world.snapshot();
    assert_eq!(readable_names(&snapshot, &[]), ["shop-read-0"]);
    snapshot.readers = Readers { delay_s: 60, ..snapshot.readers };
    assert!(readable_names(&snapshot, &[]).is_empty(), "as soon as it is asked for");
    snapshot.readers = Readers { delay_s: 0, ..snapshot.readers };
    let late = |facts: &mut ServerFacts| {
        facts.offline = false;
        facts.replication.as_mut().unwrap().delay_s = 60;
    };
    change_reader(&mut snapshot, late, |_| {}, true);
    assert!(readable_names(&snapshot, &[]).is_empty(), "and until it has caught up");
}

#[derive(Debug, Clone)]
enum Event {
    Write,
    Replicate,
    Pass(u8),
    Kill(usize),
    KillReader(usize),
    PowerOff(usize),
    PowerOn(usize),
    Scale(usize),
    OperatorRestarts,
    Detach(usize),
    Stray(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Write),
        3 => Just(Event::Replicate),
        8 => any::<u8>().prop_map(Event::Pass),
        1 => (0..5_usize).prop_map(Event::Kill),
        1 => (0..3_usize).prop_map(Event::KillReader),
        1 => (0..5_usize).prop_map(Event::PowerOff),
        2 => (0..5_usize).prop_map(Event::PowerOn),
        1 => (0..4_usize).prop_map(Event::Scale),
        1 => Just(Event::OperatorRestarts),
        1 => (0..5_usize).prop_map(Event::Detach),
        1 => (0..3_usize).prop_map(Event::Stray),
    ]
}

/// A policy that wants a reader to lead whenever there is one, and else takes whoever comes first.
fn partial(choice: u8) -> impl Fn(&Question) -> Answer {
    move |question| {
        let readers = question.candidates.iter().filter(|candidate| candidate.name.contains("-read-"));
        assert_eq!(readers.count(), 0, "a reader stood for election");
        if choice.is_multiple_of(4) {
            let (candidate, reason) = ("shop-read-0".to_owned(), "it has everything".to_owned());
            return Answer::Promote { candidate, reason, ranking: Vec::new() };
        }
        choose_first(question)
    }
}

fn never_counted(world: &World) {
    let Some(record) = &world.record else { return };
    assert!(record.members.iter().all(|member| !member.name.contains("-read-")), "{record:?}");
    assert!(!record.primary.contains("-read-"), "{record:?}");
    assert!(world.readers.values().all(|node| node.server.as_ref().is_none_or(|server| !server.open)));
    assert!(world.readers.values().all(|node| node.opened_in_epoch.is_none()));
    for name in world.open() {
        let node = &world.nodes[&name];
        let latest = world.nodes.values().filter_map(|node| node.opened_in_epoch).max();
        let lost = world.acknowledged.subtract(&node.server.as_ref().unwrap().executed);
        assert!(node.opened_in_epoch != latest || lost.is_empty(), "{name} is open without {lost}: {:#?}", world.log);
    }
}

proptest! {
    #![proptest_config(chance::config(20_000))]

    /// Whatever happens, a reader is no member, no candidate and no primary, is told nothing that only members are
    /// told (the world panics), and has what the primary has once everything is well.
    #[test]
    fn readers_are_never_counted_and_catch_up_in_the_end(
        replicas in prop_oneof![Just(1_u32), Just(2), Just(3), Just(5)],
        history in proptest::collection::vec(event(), 1..100),
    ) {
        let mut world = World::serving(replicas);
        let name = |index: usize| format!("shop-{}", index % replicas as usize);
        for event in history {
            match event {
                Event::Write => { world.write(); }
                Event::Replicate => world.replicate(),
                Event::Pass(choice) => { world.pass(partial(choice)); }
                Event::Kill(index) => world.kill(&name(index)),
                Event::KillReader(index) => {
                    if let Some(node) = world.readers.values_mut().nth(index) {
                        node.running = false;
                    }
                }
                Event::PowerOff(index) => world.power_off(&name(index)),
                Event::PowerOn(index) => world.power_on(&name(index)),
                Event::Scale(count) => world.scale_readers(count),
                Event::OperatorRestarts => world.ours = false,
                Event::Detach(index) => {
                    if let Some(server) = world.nodes.get_mut(&name(index)).unwrap().server.as_mut().filter(|server| !server.open) {
                        server.source = None;
                    }
                }
                Event::Stray(index) => {
                    if let Some(server) = world.readers.values_mut().nth(index).and_then(|node| node.server.as_mut()).filter(|server| !server.executed.is_empty()) {
                        server.executed = server.executed.union(&format!("{}:1", server.uuid).parse().unwrap());
                    }
                }
            }
            never_counted(&world);
        }
        for index in 0..replicas as usize {
            world.power_on(&name(index));
        }
        world.settle(200, choose_first);
        prop_assert!(world.primary().is_some(), "healed and not writable: {:#?}", world.log);
        prop_assert_eq!(world.record.as_ref().unwrap().phase, Phase::Serving);
        prop_assert!(world.write(), "healed and nobody acknowledges: {:#?}", world.log);
        world.settle(200, choose_first);
        never_counted(&world);
        caught_up(&world);
        if replicas > 1 {
            let leader = world.primary();
            for ordinal in 0..world.readers.len() {
                prop_assert_ne!(source(&world, ordinal), leader.as_deref(), "{:#?}", world.log);
            }
        }
    }
}

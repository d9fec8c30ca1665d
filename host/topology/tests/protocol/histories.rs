//! Whole histories: a cluster is made, loses members and operators, and must keep every acknowledged write.

use proptest::prelude::*;
use topology::decision::{Answer, Question};
use topology::facts::VolumeTrouble;
use topology::record::Phase;
use topology::snapshot::{Rebuild, Switchover};
use uuid::Uuid;

use crate::chance;
use crate::world::{World, choose_first};

#[test]
fn a_new_cluster_opens_with_enough_replicas_and_takes_the_rest_in() {
    for replicas in [1, 2, 3, 5, 7] {
        let world = World::serving(replicas);
        let record = world.record.as_ref().unwrap();
        assert_eq!(record.members.len(), replicas as usize, "{:#?}", world.log);
        assert_eq!(record.acks, world.desired.acks);
        assert!(world.nodes.values().all(|node| node.good));
    }
}

#[test]
fn a_killed_primary_is_replaced_and_comes_back_as_a_replica() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
    assert!(world.write());
    world.settle(40, choose_first);
    assert_eq!(world.record.as_ref().unwrap().epoch, 2);
    let old = world.nodes["shop-0"].server.as_ref().unwrap();
    assert_eq!(old.source.as_deref(), Some("shop-1"), "{:#?}", world.log);
    assert!(world.acknowledged.is_subset_of(&old.executed));
}

#[test]
fn a_tail_nobody_acknowledged_is_cut_off_and_the_data_kept() {
    let mut world = killed_with_a_tail();
    let (data, server) = identity(&world, "shop-0");
    settle_and_compare(&mut world);
    let (data_now, server_now) = identity(&world, "shop-0");
    assert_eq!(data_now, data, "nothing was copied: {:#?}", world.log);
    assert_ne!(server_now, server, "a number may be issued twice, but never under one name");
}

#[test]
fn a_tail_that_a_start_has_committed_is_rebuilt_away() {
    let mut world = killed_with_a_tail();
    let (data, _) = identity(&world, "shop-0");
    world.nodes.get_mut("shop-0").unwrap().led_last = false;
    settle_and_compare(&mut world);
    assert_ne!(identity(&world, "shop-0").0, data, "{:#?}", world.log);
}

/// The primary is dead, and its log holds a transaction that nobody else has.
fn killed_with_a_tail() -> World {
    let mut world = World::serving(3);
    assert!(world.write());
    for replica in ["shop-1", "shop-2"] {
        world.nodes.get_mut(replica).unwrap().server.as_mut().unwrap().source = None;
    }
    assert!(!world.write(), "nobody is attached");
    world.kill("shop-0");
    world
}

fn identity(world: &World, name: &str) -> (Uuid, Uuid) {
    let node = &world.nodes[name];
    (node.incarnation.unwrap(), node.server.as_ref().unwrap().uuid)
}

fn settle_and_compare(world: &mut World) {
    world.settle(60, choose_first);
    assert!(world.write());
    world.settle(60, choose_first);
    let leader = world.primary().unwrap();
    let truth = world.nodes[&leader].server.as_ref().unwrap().executed.clone();
    assert_eq!(world.nodes["shop-0"].server.as_ref().unwrap().executed, truth, "{:#?}", world.log);
}

#[test]
fn two_losses_of_three_wait_and_name_who_is_missing() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.power_off("shop-2");
    world.kill("shop-0");
    world.settle(20, choose_first);
    // The primary's own log is there, and it alone is known to hold everything: it is reopened in place.
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);

    let mut world = World::serving(3);
    world.power_off("shop-2");
    world.power_off("shop-0");
    world.settle(20, choose_first);
    assert_eq!(world.primary(), None);
    assert!(world.log.iter().any(|line| line.contains("waiting") && line.contains("shop-2")), "{:#?}", world.log);
    world.power_on("shop-2");
    world.settle(40, choose_first);
    assert!(world.primary().is_some(), "{:#?}", world.log);
}

#[test]
fn a_single_member_is_reopened_in_place() {
    let mut world = World::serving(1);
    assert!(world.write());
    world.kill("shop-0");
    world.settle(20, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
}

#[test]
fn a_switchover_moves_the_role_and_kills_nothing() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.switchover = Some(Switchover { to: Some("shop-2".to_owned()), from: "shop-0".to_owned(), left_ms: 30_000 });
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-2"), "{:#?}", world.log);
    assert!(world.nodes.values().all(|node| node.running));
    assert!(!world.log.iter().any(|line| line.contains("fence") || line.contains("clone") && line.contains("shop-0:")));
}

#[test]
fn a_wish_that_cannot_be_fulfilled_does_not_hold_up_a_failover() {
    let mut world = World::serving(5);
    world.power_off("shop-4");
    world.switchover = Some(Switchover { to: Some("shop-4".to_owned()), from: "shop-0".to_owned(), left_ms: 30_000 });
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
}

#[test]
fn a_deleted_primary_gives_way_before_it_ends() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.delete_pod("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
    assert!(world.nodes["shop-0"].running, "the role moved while its mysqld still ran");
    assert!(!world.log.iter().any(|line| line.contains("fence")), "{:#?}", world.log);
    world.replace_pod("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
    assert!(world.log.iter().any(|line| line.contains("shop-0 gives way to shop-1: its pod is being deleted")));
}

#[test]
fn a_deleted_primary_that_has_closed_by_itself_is_not_reopened() {
    let mut world = World::serving(3);
    world.delete_pod("shop-0");
    world.close("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
    assert!(!world.log.iter().any(|line| line.contains("take writes again")), "{:#?}", world.log);
}

#[test]
fn a_deleted_primary_without_a_successor_serves_until_it_ends() {
    let mut world = World::serving(3);
    for name in ["shop-0", "shop-1", "shop-2"] {
        world.delete_pod(name);
    }
    world.settle(10, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
    for name in ["shop-0", "shop-1", "shop-2"] {
        world.replace_pod(name);
    }
    world.settle(40, choose_first);
    assert!(world.primary().is_some(), "{:#?}", world.log);
}

#[test]
fn a_drain_that_runs_out_of_time_is_undone() {
    let mut world = World::serving(3);
    world.switchover = Some(Switchover { to: None, from: "shop-0".to_owned(), left_ms: 30_000 });
    assert!(world.pass(choose_first));
    assert!(world.open().is_empty(), "drained");
    world.switchover = None;
    world.settle(20, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
    assert_eq!(world.record.as_ref().unwrap().epoch, 1);
}

#[test]
fn errant_transactions_are_left_to_a_person() {
    let mut world = World::serving(3);
    let server = world.nodes.get_mut("shop-2").unwrap().server.as_mut().unwrap();
    server.executed = server.executed.union(&format!("{}:1", server.uuid).parse().unwrap());
    world.settle(10, choose_first);
    assert!(world.log.last().unwrap().contains("shop-2 holds transactions that no primary committed"));
    world.kill("shop-0");
    world.settle(40, |question| {
        let errant = question.candidates.iter().find(|candidate| candidate.name == "shop-2").unwrap();
        assert!(!errant.is_eligible());
        choose_first(question)
    });
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
}

#[test]
fn a_member_is_rebuilt_when_somebody_asks_and_not_at_the_price_of_writes() {
    let mut world = World::serving(3);
    let server = world.nodes.get_mut("shop-2").unwrap().server.as_mut().unwrap();
    server.executed = server.executed.union(&format!("{}:1", server.uuid).parse().unwrap());
    let (data, _) = identity(&world, "shop-2");
    world.rebuild = Some(Rebuild { member: "shop-2".to_owned(), incarnation: data });
    world.kill("shop-1");
    world.pass(choose_first);
    assert_eq!(identity(&world, "shop-2").0, data, "the only one that may acknowledge now: {:#?}", world.log);
    world.settle(40, choose_first);
    assert_ne!(identity(&world, "shop-2").0, data, "{:#?}", world.log);
    let record = world.record.as_ref().unwrap();
    assert_eq!(record.incarnation_of("shop-2"), world.nodes["shop-2"].incarnation, "and it votes: {:#?}", world.log);
    assert_eq!(record.epoch, 1, "nobody's role moved");
    assert!(world.write());
}

#[test]
fn a_primary_is_never_rebuilt_over() {
    let mut world = World::serving(3);
    let (data, _) = identity(&world, "shop-0");
    world.rebuild = Some(Rebuild { member: "shop-0".to_owned(), incarnation: data });
    world.settle(20, choose_first);
    assert_eq!(identity(&world, "shop-0").0, data);
    assert!(world.write());
}

#[test]
fn a_primary_whose_volume_alone_takes_no_writes_is_replaced_by_one_whose_does() {
    let mut world = World::serving(5);
    assert!(world.write());
    let stalled = |for_ms| Some(VolumeTrouble::Stalled { for_ms });
    world.nodes.get_mut("shop-0").unwrap().volume = stalled(4_000);
    world.settle(20, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "a stall that short is waited out: {:#?}", world.log);
    world.nodes.get_mut("shop-0").unwrap().volume = stalled(5_000);
    let full = VolumeTrouble::Failed { error: "no space".to_owned() };
    world.nodes.get_mut("shop-1").unwrap().volume = Some(full);
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-2"), "shop-1 would be no better: {:#?}", world.log);
    assert!(world.write());
}

#[test]
fn where_every_volume_stands_still_nobody_is_replaced() {
    let mut world = World::serving(3);
    for node in world.nodes.values_mut() {
        node.volume = Some(VolumeTrouble::Stalled { for_ms: 60_000 });
    }
    world.settle(20, choose_first);
    assert_eq!((world.primary().as_deref(), world.record.as_ref().unwrap().epoch), (Some("shop-0"), 1));
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "somebody leads all the same: {:#?}", world.log);
}

#[derive(Debug, Clone)]
enum Event {
    Write,
    Replicate,
    Pass,
    Kill(usize),
    PowerOff(usize),
    DeletePod(usize),
    Close(usize),
    ReplacePod(usize),
    PowerOn(usize),
    OperatorRestarts,
    Switchover(Option<usize>),
    Detach(usize),
    Restart(Option<usize>),
    Cordon(usize, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Write),
        3 => Just(Event::Replicate),
        8 => Just(Event::Pass),
        1 => (0..5_usize).prop_map(Event::Kill),
        1 => (0..5_usize).prop_map(Event::PowerOff),
        1 => (0..5_usize).prop_map(Event::DeletePod),
        1 => (0..5_usize).prop_map(Event::Close),
        1 => (0..5_usize).prop_map(Event::ReplacePod),
        2 => (0..5_usize).prop_map(Event::PowerOn),
        1 => Just(Event::OperatorRestarts),
        1 => proptest::option::of(0..5_usize).prop_map(Event::Switchover),
        1 => (0..5_usize).prop_map(Event::Detach),
        1 => proptest::option::of(0..5_usize).prop_map(Event::Restart),
        1 => (0..5_usize, any::<bool>()).prop_map(|(index, closed)| Event::Cordon(index, closed)),
    ]
}

/// A policy that says anything at all.
fn hostile(choice: u8) -> impl Fn(&Question) -> Answer {
    move |question| {
        let names: Vec<_> = question.candidates.iter().map(|candidate| candidate.name.clone()).collect();
        let candidate = match choice % 10 {
            8 => "nobody-9".to_owned(),
            9 => return Answer::Hold { reason: "no".to_owned() },
            index => names.get(index as usize % names.len().max(1)).cloned().unwrap_or_default(),
        };
        Answer::Promote { candidate, reason: "hostile".to_owned(), ranking: Vec::new() }
    }
}

/// Whoever is open must hold everything that was ever acknowledged, and nobody else may be open.
fn check(world: &World) {
    let open = world.open();
    let leaders: Vec<_> = open
        .iter()
        .filter(|name| {
            let node = &world.nodes[*name];
            node.opened_in_epoch == world.nodes.values().filter_map(|node| node.opened_in_epoch).max()
        })
        .collect();
    assert!(leaders.len() <= 1, "two primaries of one epoch: {open:?}\n{:#?}", world.log);
    for name in leaders {
        let executed = &world.nodes[name].server.as_ref().unwrap().executed;
        let lost = world.acknowledged.subtract(executed);
        assert!(lost.is_empty(), "{name} is open without {lost}\n{:#?}", world.log);
    }
}

proptest! {
    #![proptest_config(chance::config(20_000))]

    #[test]
    fn nothing_acknowledged_is_lost_whatever_the_policy_says(
        replicas in prop_oneof![Just(1_u32), Just(2), Just(3), Just(5)],
        history in proptest::collection::vec((event(), any::<u8>()), 1..120),
    ) {
        let mut world = World::serving(replicas);
        let name = |index: usize| format!("shop-{}", index % replicas as usize);
        for (event, choice) in history {
            match event {
                Event::Write => { world.write(); }
                Event::Replicate => world.replicate(),
                Event::Pass => { world.pass(hostile(choice)); }
                Event::Kill(index) => world.kill(&name(index)),
                Event::DeletePod(index) => world.delete_pod(&name(index)),
                Event::Close(index) => world.close(&name(index)),
                Event::ReplacePod(index) => world.replace_pod(&name(index)),
                Event::PowerOff(index) => world.power_off(&name(index)),
                Event::PowerOn(index) => world.power_on(&name(index)),
                Event::OperatorRestarts => world.ours = false,
                Event::Switchover(to) => {
                    let from = world.record.as_ref().unwrap().primary.clone();
                    world.switchover = Some(Switchover { to: to.map(name), from, left_ms: 30_000 });
                }
                Event::Restart(index) => world.ask_for_restart(index.map(name).as_deref()),
                Event::Cordon(index, closed) => world.nodes.get_mut(&name(index)).unwrap().cordoned = closed,
                Event::Detach(index) => {
                    if let Some(server) = world.nodes.get_mut(&name(index)).unwrap().server.as_mut().filter(|server| !server.open) {
                        server.source = None;
                    }
                }
            }
            check(&world);
        }
        (world.switchover, world.restart) = (None, None);
        for index in 0..replicas as usize {
            world.power_on(&name(index));
            world.replace_pod(&name(index));
        }
        world.settle(200, choose_first);
        check(&world);
        prop_assert!(world.primary().is_some(), "healed and not writable: {:#?}", world.log);
        prop_assert_eq!(world.record.as_ref().unwrap().phase, Phase::Serving);
        prop_assert!(world.write(), "healed and nobody acknowledges: {:#?}", world.log);
    }
}

//! The ways out when too little is known: a record that is gone or went back, a cluster whose members were all down, and
//! somebody who accepts a loss.

mod random;

use topology::gtid::GtidSet;
use topology::record::{Member, Phase, Record};
use topology::snapshot::{AcceptLoss, Rebuild};
use uuid::Uuid;

use crate::world::{Node, World, choose_first};

fn executed(world: &World, name: &str) -> GtidSet {
    world.nodes[name].server.as_ref().unwrap().executed.clone()
}

/// That somebody leads with everything that was acknowledged, and takes another write.
fn serves_with_everything(world: &mut World) {
    let leader = world.primary().unwrap_or_else(|| panic!("nobody leads: {:#?}", world.log));
    let lost = world.acknowledged.subtract(&executed(world, &leader));
    assert!(lost.is_empty(), "{leader} leads without {lost}: {:#?}", world.log);
    assert!(world.write(), "nobody acknowledges: {:#?}", world.log);
}

fn waits_for(world: &World, who: &str) {
    let waiting = world.log.iter().rev().find(|line| line.starts_with("waiting"));
    assert!(waiting.is_some_and(|line| line.contains(who)), "it should say that it waits for {who}: {:#?}", world.log);
}

#[test]
fn a_lost_record_is_adopted_once_enough_voters_and_the_last_primary_answer() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.record = None;
    world.power_off("shop-0");
    world.settle(10, choose_first);
    assert!(world.record.is_none(), "whoever led last may know of a change that nobody else does");
    waits_for(&world, "shop-0");
    world.power_on("shop-0");
    world.power_off("shop-1");
    world.settle(40, choose_first);
    assert_eq!(world.record.as_ref().unwrap().epoch, 2, "{:#?}", world.log);
    serves_with_everything(&mut world);
}

#[test]
fn two_members_that_only_one_of_could_have_been_chosen_by_are_both_asked() {
    // N = 2 and k = 1: one member alone is a freeze quorum, so that each could be chosen without the other knowing.
    let mut world = World::serving(2);
    assert!(world.write());
    world.power_off("shop-0");
    world.settle(20, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
    world.power_off("shop-1");
    world.power_on("shop-0");
    world.record = None;
    world.settle(20, choose_first);
    assert!(world.record.is_none(), "shop-0 alone would claim the epoch in which shop-1 leads: {:#?}", world.log);
    waits_for(&world, "shop-1");
    world.power_on("shop-1");
    world.settle(40, choose_first);
    assert_eq!(world.record.as_ref().unwrap().epoch, 3);
    serves_with_everything(&mut world);
}

/// A cluster with a past: two primaries, a member with another copy of the data, a higher k.
fn with_a_past() -> World {
    let mut world = World::serving(3);
    world.desired.replicas = 5;
    for ordinal in [3, 4] {
        world.nodes.insert(format!("shop-{ordinal}"), Node::empty());
    }
    world.settle(60, choose_first);
    world.desired.acks = 2;
    world.settle(60, choose_first);
    assert!(world.write());
    world.kill("shop-0");
    world.settle(60, choose_first);
    assert!(world.write());
    let incarnation = world.nodes["shop-4"].incarnation.unwrap();
    world.rebuild = Some(Rebuild { member: "shop-4".to_owned(), incarnation });
    world.settle(60, choose_first);
    assert!(world.write());
    world.replicate();
    assert!(!world.pass(choose_first), "all is done");
    let record = world.record.as_ref().unwrap();
    assert_eq!((record.members.len(), record.acks, record.primary.as_str()), (5, 2, "shop-1"));
    world
}

#[test]
fn a_record_that_went_back_to_any_earlier_one_or_vanished_is_adopted_as_the_members_remember_it() {
    let changes = with_a_past().past.len();
    for changes_ago in 1..=changes {
        let mut world = with_a_past();
        let before = world.record.clone().unwrap();
        world.restore_record(changes_ago);
        world.settle(60, choose_first);
        let after = world.record.clone().unwrap();
        assert!(after.epoch > before.epoch, "restored by {changes_ago}: {:#?}", world.log);
        assert_eq!((&after.members, after.acks), (&before.members, before.acks), "restored by {changes_ago}");
        serves_with_everything(&mut world);
    }
}

#[test]
fn a_record_that_is_lost_while_the_first_data_is_made_is_made_again() {
    for passes in 1..40 {
        let mut world = World::new(3);
        for _ in 0..passes {
            world.replicate();
            world.pass(choose_first);
        }
        let incarnation = world.nodes["shop-0"].incarnation;
        world.record = None;
        world.settle(60, choose_first);
        serves_with_everything(&mut world);
        if incarnation.is_some() {
            assert_eq!(world.nodes["shop-0"].incarnation, incarnation, "after {passes} passes: data was made twice");
        }
    }
}

#[test]
fn a_record_from_the_first_day_makes_no_data_beside_data() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.replicate();
    *world.nodes.get_mut("shop-0").unwrap() = Node::empty();
    world.power_off("shop-1");
    world.power_off("shop-2");
    world.restore_record(world.past.len() - 1);
    assert_eq!(world.record.as_ref().unwrap().phase, Phase::Freezing, "the very first");
    world.settle(20, choose_first);
    assert!(world.nodes["shop-0"].incarnation.is_none(), "nobody knows what the others have: {:#?}", world.log);
    world.power_on("shop-1");
    world.power_on("shop-2");
    world.settle(20, choose_first);
    assert!(world.nodes["shop-0"].incarnation.is_none(), "{:#?}", world.log);
    // The last primary's memory went with its volume, so this is for a person.
    waits_for(&world, "shop-0 (its data is not what that record knows)");
}

#[test]
fn a_change_that_only_the_last_primary_and_a_new_member_know_is_not_forgotten() {
    let mut world = World::serving(3);
    world.desired.replicas = 5;
    world.nodes.insert("shop-3".to_owned(), Node::empty());
    while world.nodes["shop-3"].server.as_ref().is_none_or(|server| !server.acknowledges) {
        world.replicate();
        assert!(world.pass(choose_first), "{:#?}", world.log);
    }
    // A write that the new member alone acknowledged, under a record that the other two need not have seen.
    for replica in ["shop-1", "shop-2"] {
        world.nodes.get_mut(replica).unwrap().server.as_mut().unwrap().source = None;
    }
    assert!(world.write());
    world.power_off("shop-3");
    world.record = None;
    world.settle(40, choose_first);
    world.power_on("shop-3");
    world.settle(60, choose_first);
    serves_with_everything(&mut world);
}

#[test]
fn a_volume_of_another_cluster_stops_nothing() {
    let mut world = World::serving(3);
    world.desired.replicas = 5;
    let foreign = Record {
        epoch: 20,
        primary_since_epoch: 20,
        members: vec![Member { name: "shop-3".to_owned(), incarnation: Uuid::from_u128(999) }],
        primary: "shop-3".to_owned(),
        acks: 0,
        ..world.record.clone().unwrap()
    };
    let data = Node::empty().with_data(Uuid::from_u128(998), Uuid::from_u128(997), GtidSet::new(), false);
    world.nodes.insert("shop-3".to_owned(), Node { record: Some(foreign), ..data });
    assert!(world.write());
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.record.as_ref().unwrap().epoch, 2, "{:#?}", world.log);
    serves_with_everything(&mut world);
}

#[test]
fn whoever_promised_a_freeze_that_was_lost_takes_part_again() {
    let mut world = World::serving(3);
    assert!(world.write());
    let claimed = Record { epoch: 2, phase: Phase::Freezing, generation: 0, ..world.record.clone().unwrap() };
    let node = world.nodes.get_mut("shop-2").unwrap();
    node.record = Some(claimed);
    node.server.as_mut().unwrap().source = None;
    world.settle(40, choose_first);
    serves_with_everything(&mut world);
    let source = world.nodes["shop-2"].server.as_ref().unwrap().source.clone();
    assert_eq!(source, world.primary(), "{:#?}", world.log);
}

/// Every order of some things.
fn orders(names: &[String]) -> Vec<Vec<String>> {
    let Some((first, rest)) = names.split_first() else { return vec![Vec::new()] };
    let with_first = |order: Vec<String>| {
        (0..=order.len()).map(move |place| {
            let mut order = order.clone();
            order.insert(place, first.clone());
            order
        })
    };
    orders(rest).into_iter().flat_map(with_first).collect()
}

#[test]
fn after_all_machines_restarted_it_waits_for_the_last_primary_in_whatever_order_they_come_back() {
    let names: Vec<_> = (0..3).map(|ordinal| format!("shop-{ordinal}")).collect();
    for order in orders(&names) {
        let mut world = World::serving(3);
        world.kill("shop-0");
        world.settle(60, choose_first);
        assert_eq!(world.primary().as_deref(), Some("shop-1"));
        assert!(world.write());
        for name in &names {
            world.reboot(name);
            world.power_off(name);
        }
        for name in &order {
            assert_eq!(world.primary(), None, "{order:?}: {:#?}", world.log);
            world.settle(20, choose_first);
            if !world.nodes["shop-1"].reachable {
                waits_for(&world, "shop-1, which led last");
            }
            world.power_on(name);
        }
        world.settle(60, choose_first);
        // What others received may never have reached their disks; what it committed reached its own.
        assert_eq!(world.primary().as_deref(), Some("shop-1"), "{order:?}: {:#?}", world.log);
        serves_with_everything(&mut world);
    }
}

#[test]
fn after_all_processes_ended_enough_members_are_waited_for_in_whatever_order_they_come_back() {
    let names: Vec<_> = (0..3).map(|ordinal| format!("shop-{ordinal}")).collect();
    for order in orders(&names) {
        let mut world = World::serving(3);
        assert!(world.write());
        for name in &names {
            world.power_off(name);
        }
        world.settle(10, choose_first);
        assert_eq!(world.primary(), None);
        world.power_on(&order[0]);
        world.settle(20, choose_first);
        assert_eq!(world.primary(), None, "{order:?}: one member cannot know: {:#?}", world.log);
        waits_for(&world, if order[0] == "shop-0" { "shop-1" } else { "shop-0, which led last" });
        world.power_on(&order[1]);
        world.settle(40, choose_first);
        if order[..2].contains(&"shop-0".to_owned()) {
            assert_eq!(world.primary().as_deref(), Some("shop-0"), "{order:?}: {:#?}", world.log);
        }
        assert!(world.primary().is_some(), "{order:?}: {:#?}", world.log);
        world.power_on(&order[2]);
        world.settle(40, choose_first);
        serves_with_everything(&mut world);
    }
}

/// shop-0 led; what it acknowledged last is on itself and shop-1 only. Both are gone.
fn only_an_ignorant_member_is_left() -> World {
    let mut world = World::serving(3);
    assert!(world.write());
    world.replicate();
    world.nodes.get_mut("shop-2").unwrap().server.as_mut().unwrap().source = None;
    assert!(world.write());
    world.power_off("shop-0");
    world.power_off("shop-1");
    world.settle(20, choose_first);
    assert_eq!(world.primary(), None);
    waits_for(&world, "shop-1");
    world
}

#[test]
fn an_accepted_loss_lets_those_lead_who_are_left_and_touches_nothing_that_comes_back() {
    let mut world = only_an_ignorant_member_is_left();
    let epoch = world.record.as_ref().unwrap().epoch;
    let held: Vec<_> = ["shop-0", "shop-1"].map(|name| (name, world.held(name))).into();
    world.accept_loss();
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-2"), "{:#?}", world.log);
    let record = world.record.clone().unwrap();
    assert_eq!((record.epoch, record.acks), (epoch + 1, 1), "k is what it was");
    let given_up = &record.given_up[0];
    assert_eq!((given_up.epoch, &given_up.members), (epoch + 1, &vec!["shop-0".to_owned(), "shop-1".to_owned()]));
    assert!(!world.write(), "nobody is there to acknowledge");
    waits_for(&world, "commits wait");

    for name in ["shop-1", "shop-0"] {
        world.power_on(name);
        world.settle(40, choose_first);
        assert!(world.log.iter().any(|line| line.contains(&format!("{name} holds transactions that may have been"))));
    }
    for (name, held) in held {
        assert!(held.is_subset_of(&world.held(name)), "{name} lost something: {:#?}", world.log);
        assert!(!world.nodes[name].server.as_ref().unwrap().acknowledges);
    }
    // They may not lead either, whatever a policy says: whoever led is reopened in place.
    world.kill("shop-2");
    world.settle(20, |question| {
        assert!(question.candidates.iter().all(|candidate| candidate.name == "shop-2" || !candidate.is_eligible()));
        choose_first(question)
    });
    world.settle(20, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-2"), "{:#?}", world.log);

    for name in ["shop-1", "shop-0"] {
        let incarnation = world.nodes[name].incarnation.unwrap();
        world.rebuild = Some(Rebuild { member: name.to_owned(), incarnation });
        world.settle(40, choose_first);
        assert_ne!(world.nodes[name].incarnation, Some(incarnation), "{:#?}", world.log);
    }
    serves_with_everything(&mut world);
    assert_eq!(world.record.as_ref().unwrap().given_up, record.given_up, "it is remembered for good");
}

#[test]
fn an_acceptance_means_nothing_in_another_epoch_or_where_nothing_is_lost() {
    let mut world = only_an_ignorant_member_is_left();
    let epoch = world.record.as_ref().unwrap().epoch;
    for wrong in [epoch - 1, epoch + 1] {
        world.accept_loss = Some(AcceptLoss { epoch: wrong, operation: "accept".to_owned() });
        world.settle(20, choose_first);
        assert_eq!(world.primary(), None, "{:#?}", world.log);
    }
    let mut world = World::serving(3);
    world.accept_loss();
    world.settle(20, choose_first);
    assert_eq!(world.record.as_ref().unwrap().epoch, 1, "{:#?}", world.log);
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert!(world.record.as_ref().unwrap().given_up.is_empty(), "{:#?}", world.log);
    serves_with_everything(&mut world);
}

#[test]
fn an_acceptance_gives_up_nobody_who_was_there() {
    let mut world = World::serving(5);
    assert!(world.write());
    for name in ["shop-0", "shop-1", "shop-2"] {
        world.power_off(name);
    }
    world.settle(20, choose_first);
    assert_eq!(world.primary(), None);
    world.accept_loss();
    world.pass(choose_first);
    assert!(world.record.as_ref().unwrap().accepted_loss.is_some(), "claimed");
    world.power_off("shop-4");
    world.settle(20, choose_first);
    assert_eq!(world.primary(), None, "shop-4 was not part of what was accepted: {:#?}", world.log);
    world.power_on("shop-4");
    world.settle(40, choose_first);
    assert!(world.primary().is_some(), "{:#?}", world.log);
}

#[test]
fn where_the_last_primary_is_what_is_left_nothing_is_given_up() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.kill("shop-0");
    world.power_off("shop-1");
    world.power_off("shop-2");
    world.settle(20, choose_first);
    assert_eq!(world.primary(), None);
    world.accept_loss();
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
    assert!(world.record.as_ref().unwrap().given_up[0].servers.is_empty(), "its log has every write");
    world.power_on("shop-1");
    world.settle(40, choose_first);
    serves_with_everything(&mut world);
}

#[test]
fn members_that_may_have_forgotten_something_lead_only_by_acceptance() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.replicate();
    for name in ["shop-0", "shop-1", "shop-2"] {
        world.reboot(name);
    }
    world.power_off("shop-0");
    world.settle(20, choose_first);
    assert_eq!(world.primary(), None);
    waits_for(&world, "it may have forgotten what it acknowledged");
    world.accept_loss();
    world.settle(60, choose_first);
    serves_with_everything(&mut world);
}

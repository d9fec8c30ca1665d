//! Histories in which the record is lost or put back and losses are accepted while anything fails.

use proptest::prelude::*;
use topology::decision::{Answer, Question};
use topology::record::Record;
use topology::snapshot::{Rebuild, Switchover};

use super::executed;
use crate::chance;
use crate::world::{World, choose_first};

#[derive(Debug, Clone)]
enum Event {
    Write,
    Replicate,
    Pass,
    Kill(usize),
    PowerOff(usize),
    PowerOn(usize),
    Detach(usize),
    OperatorRestarts,
    Switchover(usize),
    RecordLost,
    RecordRestored(usize),
    AcceptLoss,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Write),
        3 => Just(Event::Replicate),
        10 => Just(Event::Pass),
        1 => (0..5_usize).prop_map(Event::Kill),
        2 => (0..5_usize).prop_map(Event::PowerOff),
        2 => (0..5_usize).prop_map(Event::PowerOn),
        1 => (0..5_usize).prop_map(Event::Detach),
        1 => Just(Event::OperatorRestarts),
        1 => (0..5_usize).prop_map(Event::Switchover),
        1 => Just(Event::RecordLost),
        1 => (1..4_usize).prop_map(Event::RecordRestored),
        2 => Just(Event::AcceptLoss),
    ]
}

/// A policy that says anything at all.
fn hostile(choice: u8) -> impl Fn(&Question) -> Answer {
    move |question| {
        let names: Vec<_> = question.candidates.iter().map(|candidate| candidate.name.clone()).collect();
        let candidate = names.get(choice as usize % names.len().max(1)).cloned().unwrap_or_default();
        Answer::Promote { candidate, reason: "hostile".to_owned(), ranking: Vec::new() }
    }
}

/// Whoever was opened last holds all that was acknowledged and not given up; what was given up is where it was.
fn check(world: &World) {
    let latest = world.nodes.values().filter_map(|node| node.opened_in_epoch).max();
    let open = world.open();
    let leaders: Vec<_> = open.iter().filter(|name| world.nodes[*name].opened_in_epoch == latest).collect();
    assert!(leaders.len() <= 1, "two primaries of one epoch: {open:?}\n{:#?}", world.log);
    for name in leaders {
        let lost = world.acknowledged.subtract(&executed(world, name));
        assert!(lost.is_empty(), "{name} is open without {lost}\n{:#?}", world.log);
    }
    for (name, held) in &world.forsaken {
        assert!(held.is_subset_of(&world.held(name)), "{name} lost {held}, which it held\n{:#?}", world.log);
    }
}

proptest! {
    #![proptest_config(chance::config(20_000))]

    #[test]
    fn whatever_happens_to_the_record_only_what_was_accepted_is_given_up(
        replicas in prop_oneof![Just(1_u32), Just(2), Just(3), Just(5)],
        more_acks in any::<bool>(),
        history in proptest::collection::vec((event(), any::<u8>()), 1..100),
    ) {
        let mut world = World::serving(replicas);
        if more_acks && replicas > 2 {
            world.desired.acks += 1;
            world.settle(40, choose_first);
        }
        let name = |index: usize| format!("shop-{}", index % replicas as usize);
        for (event, choice) in history {
            match event {
                Event::Write => { world.write(); }
                Event::Replicate => world.replicate(),
                Event::Pass => { world.pass(hostile(choice)); }
                Event::Kill(index) => world.kill(&name(index)),
                Event::PowerOff(index) => world.power_off(&name(index)),
                Event::PowerOn(index) => world.power_on(&name(index)),
                Event::OperatorRestarts => world.ours = false,
                Event::Switchover(to) => if let Some(record) = &world.record {
                    world.switchover = Some(Switchover { to: Some(name(to)), from: record.primary.clone(), left_ms: 30_000 });
                },
                Event::Detach(index) => {
                    if let Some(server) = world.nodes.get_mut(&name(index)).unwrap().server.as_mut().filter(|server| !server.open) {
                        server.source = None;
                    }
                }
                Event::RecordLost => world.restore_record(usize::MAX - 1),
                Event::RecordRestored(changes_ago) => if seen_by_all(&world) { world.restore_record(changes_ago) },
                Event::AcceptLoss => if world.record.is_some() { world.accept_loss() },
            }
            check(&world);
        }
        (world.switchover, world.accept_loss) = (None, None);
        for index in 0..replicas as usize {
            world.power_on(&name(index));
        }
        world.settle(200, choose_first);
        check(&world);
        prop_assert!(world.primary().is_some(), "healed and not writable: {:#?}", world.log);
        for index in 0..replicas as usize {
            let name = name(index);
            let given_up = world.forsaken.iter().any(|(holder, _)| *holder == name);
            let incarnation = world.nodes[&name].incarnation.unwrap();
            if given_up || !world.held(&name).is_subset_of(&executed(&world, &world.primary().unwrap())) {
                world.forsaken.retain(|(holder, _)| *holder != name);
                world.rebuild = Some(Rebuild { member: name, incarnation });
                world.settle(100, choose_first);
            }
        }
        prop_assert!(world.write(), "healed and nobody acknowledges: {:#?}", world.log);
    }
}

/// Whether every member that is there has stored the record: one that went back further than all who answer remember is
/// as good as new to whoever looks.
fn seen_by_all(world: &World) -> bool {
    let record = world.record.as_ref();
    world.nodes.values().all(|node| node.record.as_ref().map(Record::claim) == record.map(Record::claim))
}

//! Histories in which members and k change while anything fails.

use proptest::prelude::*;
use topology::decision::{Answer, Question};
use topology::plan::Step;
use topology::record::Phase;
use topology::snapshot::{Snapshot, Switchover};

use super::{check, is_settled};
use crate::chance;
use crate::world::{World, choose_first};

#[derive(Debug, Clone)]
enum Event {
    Write,
    Replicate,
    Pass,
    Scale(u32),
    Acks(u32),
    Kill(usize),
    PowerOff(usize),
    PowerOn(usize),
    Reboot(usize),
    Resume(usize),
    Silence(usize),
    Hear(usize),
    DeletePod(usize),
    ReplacePod(usize),
    Detach(usize),
    Lag(usize),
    CatchUp(usize),
    Switchover(Option<usize>),
    OperatorRestarts,
    Sleep,
    Wake,
}

fn event() -> impl Strategy<Value = Event> {
    let member = || 0..5_usize;
    prop_oneof![
        5 => Just(Event::Write),
        3 => Just(Event::Replicate),
        12 => Just(Event::Pass),
        2 => prop_oneof![Just(1_u32), Just(2), Just(3), Just(5)].prop_map(Event::Scale),
        1 => (0..5_u32).prop_map(Event::Acks),
        1 => member().prop_map(Event::Kill),
        1 => member().prop_map(Event::PowerOff),
        2 => member().prop_map(Event::PowerOn),
        1 => member().prop_map(Event::Reboot),
        1 => member().prop_map(Event::Resume),
        1 => member().prop_map(Event::Silence),
        1 => member().prop_map(Event::Hear),
        1 => member().prop_map(Event::DeletePod),
        1 => member().prop_map(Event::ReplacePod),
        1 => member().prop_map(Event::Detach),
        2 => member().prop_map(Event::Lag),
        2 => member().prop_map(Event::CatchUp),
        1 => proptest::option::of(member()).prop_map(Event::Switchover),
        1 => Just(Event::OperatorRestarts),
        1 => Just(Event::Sleep),
        2 => Just(Event::Wake),
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

/// What an operator that fell asleep would do when it wakes.
type Dream = Option<(Snapshot, Vec<Step>)>;

fn happen(world: &mut World, event: &Event, choice: u8, dream: &mut Dream) {
    let name = |index: &usize| {
        let names: Vec<_> = world.nodes.keys().cloned().collect();
        names[index % names.len()].clone()
    };
    match event {
        Event::Write => {
            world.write();
        }
        Event::Replicate => world.replicate(),
        Event::Pass => {
            world.pass(hostile(choice));
        }
        Event::Scale(replicas) => world.scale(*replicas),
        Event::Acks(acks) => {
            let most = world.desired.replicas - 1;
            world.desired.acks = (*acks).clamp(most.min(1), most);
        }
        Event::Kill(index) => world.kill(&name(index)),
        Event::PowerOff(index) => world.power_off(&name(index)),
        Event::PowerOn(index) => world.power_on(&name(index)),
        Event::Reboot(index) => {
            let name = name(index);
            // What a primary has committed is fsynced; a replica's relay log is not.
            if world.record.as_ref().is_some_and(|record| record.primary != name) {
                world.reboot(&name);
            }
        }
        Event::Resume(index) => world.resume(&name(index)),
        Event::Silence(index) => world.nodes.get_mut(&name(index)).unwrap().silent = true,
        Event::Hear(index) => world.nodes.get_mut(&name(index)).unwrap().silent = false,
        Event::DeletePod(index) => world.delete_pod(&name(index)),
        Event::ReplacePod(index) => world.replace_pod(&name(index)),
        Event::Detach(index) => {
            let node = world.nodes.get_mut(&name(index)).unwrap();
            if let Some(server) = node.server.as_mut().filter(|server| !server.open) {
                server.source = None;
            }
        }
        Event::Lag(index) => world.nodes.get_mut(&name(index)).unwrap().lags = true,
        Event::CatchUp(index) => world.nodes.get_mut(&name(index)).unwrap().lags = false,
        Event::Switchover(to) => {
            let from = world.record.as_ref().unwrap().primary.clone();
            world.switchover = Some(Switchover { to: to.as_ref().map(name), from, left_ms: 30_000 });
        }
        Event::OperatorRestarts => world.ours = false,
        Event::Sleep => {
            let snapshot = world.snapshot();
            let steps = world.think(&snapshot, hostile(choice));
            *dream = Some((snapshot, steps));
        }
        Event::Wake => {
            if let Some((snapshot, steps)) = dream.take() {
                world.carry_out(&snapshot, steps);
            }
        }
    }
}

/// Whether more machines restarted than a freeze can do without while nobody was open: then a person has to decide.
fn has_forgotten_too_much(world: &World) -> bool {
    let record = world.record.as_ref().unwrap();
    let remembers = |name: &String| world.nodes.get(name).is_some_and(|node| node.good);
    let remembering = record.members.iter().filter(|member| remembers(&member.name)).count();
    world.primary().is_none() && remembering < record.freeze_quorum()
}

/// Every fault ends, everybody is heard of, and the operator has time.
fn heal(world: &mut World) {
    world.switchover = None;
    let names: Vec<_> = world.nodes.keys().cloned().collect();
    for name in &names {
        world.power_on(name);
        world.replace_pod(name);
        let node = world.nodes.get_mut(name).unwrap();
        (node.silent, node.lags) = (false, false);
    }
    for _ in 0..300 {
        world.replicate();
        world.pass(choose_first);
    }
}

/// A former member holds what a primary wrote of which nothing was acknowledged, and that primary is copied anew first.
#[test]
fn a_tail_is_known_for_what_it_is_when_whoever_wrote_it_has_forgotten() {
    let mut world = World::serving(5);
    let passes = |number: usize| vec![Event::Pass; number];
    let history = [
        vec![Event::Lag(1), Event::Scale(1)],
        passes(2),
        vec![Event::Write],
        passes(2),
        vec![Event::Scale(5), Event::Switchover(Some(3)), Event::Pass, Event::Lag(0)],
        passes(7),
        vec![Event::Write, Event::Write, Event::PowerOff(2), Event::ReplacePod(3), Event::Acks(0)],
        passes(5),
    ];
    for event in history.into_iter().flatten() {
        happen(&mut world, &event, 0, &mut None);
        check(&world);
    }
    heal(&mut world);
    check(&world);
    assert!(is_settled(&world), "{:#?}\n{:#?}", world.record, world.log);
}

proptest! {
    #![proptest_config(chance::config(20_000))]

    #[test]
    fn members_come_and_go_and_nothing_acknowledged_is_lost(
        replicas in prop_oneof![Just(1_u32), Just(3), Just(5)],
        history in proptest::collection::vec((event(), any::<u8>()), 1..150),
    ) {
        let mut world = World::serving(replicas);
        let mut dream = None;
        for (event, choice) in history {
            happen(&mut world, &event, choice, &mut dream);
            check(&world);
        }
        heal(&mut world);
        check(&world);
        if has_forgotten_too_much(&world) {
            let says_so = world.log.last().is_some_and(|line| line.contains("together hold every acknowledged write"));
            prop_assert!(says_so, "it waits for a person and does not say so: {:#?}", world.log);
            return Ok(());
        }
        prop_assert!(world.primary().is_some(), "healed and not writable: {:#?}", world.log);
        prop_assert_eq!(world.record.as_ref().unwrap().phase, Phase::Serving);
        prop_assert!(world.write(), "healed and nobody acknowledges: {:#?}", world.log);
        prop_assert!(is_settled(&world), "{:#?}\n{:#?}", world.record, world.log);
    }
}

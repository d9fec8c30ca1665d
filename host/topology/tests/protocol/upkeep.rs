//! Planned disruptions: who is next, why not, and that a whole restart never costs more than one move of the role.

use rstest::rstest;
use topology::assess::assess;
use topology::quorum::code;
use topology::snapshot::{Outdated, Rebuild, Switchover};
use topology::upkeep::{Cause, Next, upkeep};

use crate::world::{World, choose_first};

/// What is next, in a line.
fn next(world: &World) -> String {
    match upkeep(&world.snapshot()).next {
        None => "nothing".to_owned(),
        Some(Next::Replace { member, because, .. }) => format!("replace {member}: {because}"),
        Some(Next::HandOver { because }) => format!("hand over: {because}"),
        Some(Next::Wait { why }) => why,
    }
}

/// Passes until nothing is left to do; Kubernetes makes a new pod for each that goes.
fn work(world: &mut World) {
    for _ in 0..60 {
        world.settle(20, choose_first);
        let leaving = world.leaving();
        assert!(leaving.len() <= 1, "one at a time: {leaving:?}\n{:#?}", world.log);
        if leaving.is_empty() && !world.pass(choose_first) {
            return;
        }
        leaving.iter().for_each(|name| world.replace_pod(name));
    }
    panic!("it does not end: {:#?}", world.log);
}

fn replaced(world: &World) -> Vec<String> {
    let lines = world.log.iter().filter(|line| line.contains("its pod is replaced"));
    lines.map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

#[rstest]
#[case(1)]
#[case(2)]
#[case(3)]
#[case(5)]
#[case(7)]
fn a_restart_replaces_every_pod_once_and_the_primary_last(#[case] replicas: u32) {
    let mut world = World::serving(replicas);
    assert!(world.write());
    world.ask_for_restart(None);
    work(&mut world);
    let order: Vec<_> = (1..replicas).chain([0]).map(|ordinal| format!("shop-{ordinal}")).collect();
    assert_eq!(replaced(&world), order, "{:#?}", world.log);
    // A single member can only be restarted in place; of several, the role moves once and nobody is fenced.
    let gave_way = world.log.iter().filter(|line| line.contains("gives way")).count();
    assert_eq!(gave_way, usize::from(replicas > 1), "{:#?}", world.log);
    assert!(!world.log.iter().any(|line| line.ends_with(": fence")), "{:#?}", world.log);
    assert!(upkeep(&world.snapshot()).due.is_empty());
    assert!(world.write(), "{:#?}", world.log);
}

#[test]
fn only_the_named_member_is_restarted_and_one_that_leads_gives_way_first() {
    let mut world = World::serving(3);
    world.ask_for_restart(Some("shop-0"));
    assert_eq!(next(&world), "hand over: a restart was asked for");
    work(&mut world);
    assert_eq!(replaced(&world), ["shop-0"]);
    assert_eq!(world.primary().as_deref(), Some("shop-1"));
}

#[test]
fn a_pod_made_after_the_request_is_not_replaced_again() {
    let mut world = World::serving(3);
    world.ask_for_restart(None);
    world.delete_pod("shop-2");
    world.replace_pod("shop-2");
    work(&mut world);
    assert_eq!(replaced(&world), ["shop-1", "shop-0"], "{:#?}", world.log);
}

#[test]
fn a_changed_spec_rolls_out_and_an_upgrade_of_grampus_only_shows() {
    let mut world = World::serving(3);
    for node in world.nodes.values_mut() {
        node.outdated = Some(Outdated::Installation);
    }
    let found = upkeep(&world.snapshot());
    assert_eq!((found.due.len(), found.outdated.len(), found.next), (0, 3, None));
    assert!(!world.pass(choose_first), "an upgrade does nothing: {:#?}", world.log);

    world.nodes.get_mut("shop-1").unwrap().outdated = Some(Outdated::Spec);
    let found = upkeep(&world.snapshot());
    assert_eq!(
        found.due.iter().map(|due| (due.member.as_str(), due.cause)).collect::<Vec<_>>(),
        [("shop-1", Cause::Spec)]
    );
    assert_eq!(found.outdated, ["shop-0", "shop-2"]);
    work(&mut world);
    assert_eq!(replaced(&world), ["shop-1"]);

    world.ask_for_restart(None);
    work(&mut world);
    assert!(upkeep(&world.snapshot()).outdated.is_empty(), "a restart takes the upgrade along");
}

/// What is done to a cluster, and what is then waited for.
type Hurt = (&'static str, fn(&mut World));

#[test]
fn nobody_is_restarted_while_another_is_not_as_it_should_be() {
    let hurt: [Hurt; 8] = [
        ("shop-2: its agent does not answer", |world| world.power_off("shop-2")),
        ("shop-2: its mysqld does not answer", |world| world.kill("shop-2")),
        ("shop-2: its pod is being replaced", |world| world.delete_pod("shop-2")),
        ("shop-2: it does not receive from the primary", |world| {
            world.nodes.get_mut("shop-2").unwrap().server.as_mut().unwrap().source = None;
        }),
        ("shop-2: it does not acknowledge", |world| {
            world.nodes.get_mut("shop-2").unwrap().server.as_mut().unwrap().acknowledges = false;
        }),
        ("shop-2: it has not proved", |world| world.nodes.get_mut("shop-2").unwrap().good = false),
        ("shop-0 to take writes", |world| world.nodes.get_mut("shop-0").unwrap().server.as_mut().unwrap().open = false),
        ("acknowledgements to end", |world| world.record.as_mut().unwrap().raising_acks = Some(2)),
    ];
    for (says, hurt) in hurt {
        let mut world = World::serving(3);
        world.ask_for_restart(Some("shop-1"));
        assert_eq!(next(&world), "replace shop-1: a restart was asked for");
        hurt(&mut world);
        let found = next(&world);
        assert!(found.starts_with("waiting for") && found.contains(says), "{found}");
    }
}

#[test]
fn the_member_that_keeps_the_cluster_from_being_whole_comes_first() {
    let mut world = World::serving(3);
    for node in world.nodes.values_mut() {
        node.outdated = Some(Outdated::Spec);
    }
    world.kill("shop-2");
    assert_eq!(next(&world), "replace shop-2: its spec has changed");
    // With two of them nobody knows which may be taken.
    world.kill("shop-1");
    assert!(next(&world).starts_with("waiting for shop-1: its mysqld does not answer; shop-2"), "{}", next(&world));
}

#[test]
fn a_pod_that_never_started_is_replaced_at_once_whatever_else_is_wrong() {
    let mut world = World::serving(3);
    for name in ["shop-1", "shop-2"] {
        world.power_off(name);
        let node = world.nodes.get_mut(name).unwrap();
        (node.pending, node.outdated) = (true, Some(Outdated::Spec));
    }
    world.pace.limited = true;
    assert!(next(&world).starts_with("replace shop-1: it has not started"), "{}", next(&world));
    world.nodes.get_mut("shop-1").unwrap().outdated = None;
    assert!(next(&world).starts_with("replace shop-2: it has not started"), "{}", next(&world));
    // Nor does it take a record: the first pods of a cluster may be the ones that cannot start.
    world.record = None;
    assert!(next(&world).starts_with("replace shop-2"), "{}", next(&world));
}

#[test]
fn a_member_on_a_closed_node_waits_and_so_does_the_primary_behind_it() {
    let mut world = World::serving(3);
    world.ask_for_restart(None);
    world.nodes.get_mut("shop-1").unwrap().cordoned = true;
    work(&mut world);
    assert_eq!(replaced(&world), ["shop-2"]);
    assert!(next(&world).contains("node-1 to be open to pods again"), "{}", next(&world));
    world.nodes.get_mut("shop-1").unwrap().cordoned = false;
    work(&mut world);
    assert_eq!(replaced(&world), ["shop-2", "shop-1", "shop-0"]);
}

#[test]
fn what_somebody_else_asked_for_goes_first() {
    let mut world = World::serving(3);
    for node in world.nodes.values_mut() {
        node.outdated = Some(Outdated::Spec);
    }
    world.switchover = Some(Switchover { to: None, from: "shop-0".to_owned(), left_ms: 30_000 });
    assert_eq!(next(&world), "waiting for another operation to end");
    world.switchover = None;
    let incarnation = world.nodes["shop-2"].incarnation.unwrap();
    world.rebuild = Some(Rebuild { member: "shop-2".to_owned(), incarnation });
    assert_eq!(next(&world), "waiting for another operation to end");
}

#[test]
fn the_limit_over_all_clusters_and_a_vain_attempt_are_waited_for_in_words() {
    let mut world = World::serving(3);
    world.ask_for_restart(None);
    world.pace.limited = true;
    assert!(next(&world).starts_with("shop-1 is next, once the limit of planned disruptions"), "{}", next(&world));
    assert!(!world.pass(choose_first), "{:#?}", world.log);
    world.ask_for_restart(Some("shop-0"));
    assert!(next(&world).contains("once another leads, once the limit"), "{}", next(&world));
    (world.pace.limited, world.drain_failed_ms) = (false, Some(0));
    assert!(next(&world).contains("did not end in time a short while ago"), "{}", next(&world));
    // A primary that has closed for it goes on, or writes would have stopped for nothing.
    world.drain_failed_ms = None;
    assert!(world.pass(choose_first));
    assert!(world.open().is_empty(), "it drains");
    (world.pace.limited, world.drain_failed_ms) = (true, Some(0));
    assert_eq!(next(&world), "hand over: a restart was asked for");
}

#[test]
fn neither_holds_back_what_a_loss_calls_for() {
    let mut world = World::serving(3);
    (world.pace.limited, world.drain_failed_ms) = (true, Some(0));
    world.ask_for_restart(None);
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
}

#[test]
fn a_primary_on_a_closed_node_gives_way_and_nothing_bounces() {
    let mut world = World::serving(3);
    assert!(world.write());
    for name in ["shop-0", "shop-1"] {
        world.nodes.get_mut(name).unwrap().cordoned = true;
    }
    world.settle(40, choose_first);
    // shop-1 would have been the first to be chosen, and would have had to give way again.
    assert_eq!(world.primary().as_deref(), Some("shop-2"), "{:#?}", world.log);
    assert_eq!(world.record.as_ref().unwrap().epoch, 2);
    assert!(world.log.iter().any(|line| line.contains("shop-0 gives way to shop-2: its node is closed to new pods")));
    assert!(world.nodes.values().all(|node| node.running), "nobody was restarted");
    world.settle(40, choose_first);
    world.nodes.get_mut("shop-2").unwrap().cordoned = true;
    world.settle(40, choose_first);
    assert_eq!(world.record.as_ref().unwrap().epoch, 2, "there is nowhere to go: {:#?}", world.log);
    assert!(world.write());
}

#[test]
fn a_closed_node_does_not_keep_anybody_from_leading_after_a_loss() {
    let mut world = World::serving(3);
    for node in world.nodes.values_mut() {
        node.cordoned = true;
    }
    world.kill("shop-0");
    world.settle(40, choose_first);
    assert_eq!(world.primary().as_deref(), Some("shop-1"), "{:#?}", world.log);
}

#[rstest]
#[case(["9.7.4", "9.7.5", "9.7.4"], Some("shop-1"))]
#[case(["9.7.4", "9.7.5", "9.7.5"], None)]
#[case(["8.4.9", "8.4.10", "8.4.9-commercial"], Some("shop-1"))]
#[case(["8.0.40", "9.7.4", "8.4.3"], None)]
#[case(["9.7.4", "unheard of", "9.7.5"], Some("shop-2"))]
fn one_that_is_newer_than_another_may_not_lead_while_somebody_else_can(
    #[case] versions: [&str; 3],
    #[case] refused: Option<&str>,
) {
    let mut world = World::serving(3);
    for (ordinal, version) in versions.into_iter().enumerate() {
        world.nodes.get_mut(&format!("shop-{ordinal}")).unwrap().version = version.to_owned();
    }
    world.switchover = Some(Switchover { to: None, from: "shop-0".to_owned(), left_ms: 30_000 });
    let question = assess(&world.snapshot()).question.unwrap().question;
    let newer = question
        .candidates
        .iter()
        .filter(|candidate| candidate.ineligible.iter().any(|reason| reason.code == code::NEWER_VERSION));
    assert_eq!(newer.map(|candidate| candidate.name.as_str()).next(), refused, "{:#?}", question.candidates);
    assert!(question.candidates.iter().any(|candidate| candidate.is_eligible()), "somebody can always lead");
}

#[test]
fn a_copy_that_nobody_asked_for_waits_for_the_limit() {
    let mut world = World::serving(3);
    assert!(world.write());
    for replica in ["shop-1", "shop-2"] {
        world.nodes.get_mut(replica).unwrap().server.as_mut().unwrap().source = None;
    }
    world.write();
    world.kill("shop-0");
    // A start has committed the tail, so that only a copy helps.
    world.nodes.get_mut("shop-0").unwrap().led_last = false;
    world.pace.limited = true;
    world.settle(60, choose_first);
    let data = world.nodes["shop-0"].incarnation;
    assert!(world.log.last().unwrap().contains("shop-0: is copied anew once the limit"), "{:#?}", world.log);
    world.pace.limited = false;
    world.settle(60, choose_first);
    assert_ne!(world.nodes["shop-0"].incarnation, data, "{:#?}", world.log);
}

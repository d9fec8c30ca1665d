//! Members come and go, and k with them, while members, machines and operators fail: nothing acknowledged is lost, and
//! nothing waits for ever.
//!
//! Each history that once lost a write has a test of its own here, in which every point of a change is tried.

mod random;

use topology::plan::{Order, Step};
use topology::snapshot::{Snapshot, Switchover};

use crate::world::{World, choose_first};

/// How many passes any change may take.
const PASSES: usize = 120;

fn voting(world: &World) -> Vec<&str> {
    world.record.as_ref().unwrap().members.iter().map(|member| member.name.as_str()).collect()
}

/// Whether members, k and everything about them are as somebody asked.
fn is_settled(world: &World) -> bool {
    let record = world.record.as_ref().unwrap();
    let names: Vec<_> = (0..world.desired.replicas).map(|ordinal| format!("shop-{ordinal}")).collect();
    let waits_for = world.nodes[&record.primary].server.as_ref().unwrap().wait_count;
    voting(world) == names
        && (record.leaving.as_ref(), record.raising_acks) == (None, None)
        && (record.acks, waits_for) == (world.desired.acks, world.desired.acks)
}

fn scale(world: &mut World, replicas: u32) {
    world.scale(replicas);
    for _ in 0..PASSES {
        world.write();
        world.replicate();
        world.pass(choose_first);
        check(world);
    }
    assert!(is_settled(world), "{:#?}\n{:#?}", world.record, world.log);
    assert!(world.write(), "{:#?}", world.log);
}

/// Whoever was opened last holds everything that was ever acknowledged, and k never needs more than there are.
fn check(world: &World) {
    let record = world.record.as_ref().unwrap();
    assert!(
        record.members.is_empty() || record.effective_acks() < record.members.len() as u32,
        "{record:#?}\n{:#?}",
        world.log
    );
    let latest = world.nodes.values().filter_map(|node| node.opened_in_epoch).max();
    let open = world.open().into_iter().filter(|name| world.nodes[name].opened_in_epoch == latest);
    let leaders: Vec<_> = open.collect();
    assert!(leaders.len() <= 1, "two primaries of one epoch: {leaders:?}\n{:#?}", world.log);
    for name in leaders {
        let lost = world.acknowledged.subtract(&world.nodes[&name].server.as_ref().unwrap().executed);
        assert!(lost.is_empty(), "{name} is open without {lost}\n{:#?}", world.log);
    }
}

/// Tries something at every point of a change: before it, and after each pass of it.
fn at_every_point(mut world: World, replicas: u32, hurt: impl Fn(World)) {
    hurt(world.clone());
    world.scale(replicas);
    for _ in 0..PASSES {
        if is_settled(&world) {
            return;
        }
        hurt(world.clone());
        world.replicate();
        world.pass(choose_first);
        check(&world);
    }
    panic!("no end to it: {:#?}\n{:#?}", world.record, world.log);
}

/// Some members lose power, and stay away while the others do what they can.
fn lose(mut world: World, lost: &[String]) {
    for name in lost {
        world.power_off(name);
    }
    for _ in 0..25 {
        world.replicate();
        world.pass(choose_first);
        check(&world);
    }
}

/// Writes, and loses some members then, or after the change has gone on a little.
fn go_on_and_lose(mut world: World) {
    for _ in 0..6 {
        world.write();
        for lost in losses(&world) {
            lose(world.clone(), &lost);
        }
        world.pass(choose_first);
        check(&world);
    }
}

/// Every choice of members that there are: up to k of them may be lost, and for more the rest has to wait.
fn losses(world: &World) -> Vec<Vec<String>> {
    let names: Vec<_> = world.nodes.keys().cloned().collect();
    let choice = |bits: u32| {
        let lost = names.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        lost.map(|(_, name)| name.clone()).collect()
    };
    (0..1 << names.len()).map(choice).collect()
}

#[test]
fn a_cluster_grows_and_shrinks_as_asked() {
    let mut world = World::serving(1);
    for replicas in [3, 5, 3, 1, 7, 2, 5, 1] {
        scale(&mut world, replicas);
    }
    assert_eq!(world.record.as_ref().unwrap().epoch, 1, "no role had to move: {:#?}", world.log);
}

#[test]
fn members_go_one_at_a_time_and_the_highest_first() {
    let mut world = World::serving(5);
    let mut seen = vec![voting(&world).join(" ")];
    world.scale(1);
    for _ in 0..PASSES {
        world.replicate();
        world.pass(choose_first);
        let now = voting(&world).join(" ");
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    assert_eq!(
        seen,
        [
            "shop-0 shop-1 shop-2 shop-3 shop-4",
            "shop-0 shop-1 shop-2 shop-3",
            "shop-0 shop-1 shop-2",
            "shop-0 shop-1",
            "shop-0"
        ]
    );
}

#[test]
fn a_primary_that_has_to_go_gives_way_first_and_nobody_is_killed() {
    let mut world = World::serving(3);
    world.switchover = Some(Switchover { to: Some("shop-2".to_owned()), from: "shop-0".to_owned(), left_ms: 30_000 });
    world.settle(40, choose_first);
    world.switchover = None;
    assert_eq!(world.primary().as_deref(), Some("shop-2"));
    scale(&mut world, 1);
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
    assert!(world.log.iter().any(|line| line.contains("shop-2 gives way to shop-0: it is being removed")));
    assert!(!world.log.iter().any(|line| line.ends_with(": fence")), "{:#?}", world.log);
}

#[test]
fn whoever_is_to_go_leads_only_where_nobody_else_can() {
    let mut world = World::serving(3);
    world.scale(1);
    world.power_off("shop-0");
    world.settle(40, choose_first);
    assert!(matches!(world.primary().as_deref(), Some("shop-1" | "shop-2")), "better than none: {:#?}", world.log);
    world.power_on("shop-0");
    scale(&mut world, 1);
    assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
}

#[test]
fn acks_are_lowered_and_raised_without_a_change_of_members() {
    let mut world = World::serving(5);
    for acks in [1, 3, 2] {
        world.desired.acks = acks;
        for _ in 0..20 {
            // The wait count is never below what the record promises.
            let record = world.record.as_ref().unwrap();
            assert!(world.nodes["shop-0"].server.as_ref().unwrap().wait_count >= record.acks, "{:#?}", world.log);
            world.pass(choose_first);
        }
        assert!(is_settled(&world), "{:#?}\n{:#?}", world.record, world.log);
    }
}

#[test]
fn a_change_is_taken_back_when_it_is_no_longer_wanted() {
    at_every_point(World::serving(5), 3, |mut world| scale(&mut world, 5));
    at_every_point(World::serving(1), 3, |mut world| scale(&mut world, 1));
    let mut world = World::serving(5);
    world.desired.acks = 3;
    while world.record.as_ref().unwrap().raising_acks.is_none() {
        world.pass(choose_first);
    }
    world.desired.acks = 2;
    world.settle(20, choose_first);
    assert!(is_settled(&world), "{:#?}\n{:#?}", world.record, world.log);
}

#[test]
fn writes_do_not_stop_for_a_removal() {
    let mut world = World::serving(3);
    world.kill("shop-1");
    world.scale(2);
    // shop-2 alone acknowledges: it cannot go before shop-1 is back.
    let snapshot = world.snapshot();
    let steps = world.think(&snapshot, choose_first);
    assert!(!steps.iter().any(|step| matches!(step, Step::Advance { .. })), "{steps:#?}");
    // One that is on its way out is kept when it turns out to be the last that acknowledges.
    let mut world = World::serving(3);
    world.scale(2);
    while world.record.as_ref().unwrap().leaving.is_none() {
        world.pass(choose_first);
    }
    world.pass(choose_first);
    world.power_off("shop-1");
    assert!(!world.write(), "shop-2 is locked out, and shop-1 gone");
    for _ in 0..10 {
        world.replicate();
        world.pass(choose_first);
    }
    assert_eq!(world.acknowledged.count(), 1, "what waited need not wait for another write: {:#?}", world.log);
    assert!(world.write(), "{:#?}\n{:#?}", world.record, world.log);
}

/// Members that are lost are a reason to ask for fewer.
#[test]
fn a_cluster_shrinks_to_what_is_left_of_it() {
    let mut world = World::serving(3);
    world.power_off("shop-2");
    scale(&mut world, 1);
    let mut world = World::serving(5);
    world.power_off("shop-4");
    world.power_off("shop-1");
    scale(&mut world, 3);
}

/// Whoever adopts a lost record has to meet one that knows of the change, so a primary alone begins none.
#[test]
fn a_change_waits_until_enough_members_know_of_the_one_before() {
    let mut world = World::serving(3);
    world.power_off("shop-1");
    world.power_off("shop-2");
    world.scale(1);
    world.settle(PASSES, choose_first);
    assert_eq!(world.record.as_ref().unwrap().members.len(), 3, "{:#?}", world.log);
    let told = world.log.iter().any(|line| line.contains("waits until 2 members know of the last one; 1 do"));
    assert!(told, "{:#?}", world.log);
    world.power_on("shop-1");
    scale(&mut world, 1);
}

/// Where those who would have to know do not come back, a person can have the primary go on as what is left.
#[test]
fn a_primary_that_is_left_alone_becomes_a_cluster_of_one_if_somebody_accepts_that() {
    for (replicas, gone) in [(3, &["shop-1", "shop-2"][..]), (5, &["shop-1", "shop-2", "shop-3", "shop-4"])] {
        let mut world = World::serving(replicas);
        assert!(world.write());
        gone.iter().for_each(|name| world.power_off(name));
        assert!(!world.write(), "nobody acknowledges it");
        world.scale(1);
        world.settle(PASSES, choose_first);
        assert_eq!(world.record.as_ref().unwrap().members.len(), replicas as usize, "{:#?}", world.log);

        world.accept_loss();
        world.settle(PASSES, choose_first);
        let record = world.record.clone().unwrap();
        assert_eq!((record.primary.as_str(), record.members.len(), record.acks), ("shop-0", 1, 0), "{:#?}", world.log);
        assert!(record.given_up[0].servers.is_empty(), "it holds everything: {record:#?}");
        assert!(world.write(), "{:#?}", world.log);
        gone.iter().for_each(|name| world.power_on(name));
        world.settle(PASSES, choose_first);
        assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
        assert!(world.write(), "{:#?}", world.log);
    }
}

/// An acceptance changes nothing while enough members answer, and one that is back is told like any other.
#[test]
fn who_is_back_after_an_acceptance_has_to_know_of_changes_again() {
    let mut world = World::serving(5);
    for name in ["shop-2", "shop-3", "shop-4"] {
        world.power_off(name);
    }
    world.scale(3);
    world.accept_loss();
    world.settle(PASSES, choose_first);
    assert_eq!(world.record.as_ref().unwrap().members.len(), 3, "{:#?}", world.log);
    assert!(world.write(), "{:#?}", world.log);
    let mut whole = World::serving(3);
    whole.power_off("shop-2");
    whole.accept_loss();
    whole.settle(PASSES, choose_first);
    assert_eq!(whole.record.as_ref().unwrap().epoch, 1, "enough are there: {:#?}", whole.log);
}

/// *1→3: T is committed under k = 0 while the record says 1.*
#[test]
fn a_write_from_before_a_raise_survives_it() {
    let mut world = World::serving(1);
    world.write();
    at_every_point(world, 3, |world| {
        for lost in losses(&world) {
            let mut world = world.clone();
            // Written, and told or not, at this point of the change.
            world.write();
            lose(world, &lost);
        }
    });
}

/// *5→3: the shrunk count or the shrunk record each make a quorum that misses T.* T is acknowledged by those who go.
#[test]
fn a_write_that_only_leavers_acknowledged_survives_their_removal() {
    for (from, to) in [(5, 3), (3, 2), (3, 1)] {
        let mut world = World::serving(from);
        let stay: Vec<_> = (1..to).map(|ordinal| format!("shop-{ordinal}")).collect();
        at_every_point(world.clone(), to, |mut world| {
            for name in &stay {
                world.nodes.get_mut(name).unwrap().lags = true;
            }
            go_on_and_lose(world);
        });
        scale(&mut world, to);
    }
}

/// *An unreachable member goes on acking.* No operator reaches those who go; the primary does, and they it.
#[test]
fn a_leaver_that_hears_of_nothing_acknowledges_nothing_that_counts() {
    for (from, to) in [(3, 2), (5, 3)] {
        let mut world = World::serving(from);
        let leavers: Vec<_> = (to..from).map(|ordinal| format!("shop-{ordinal}")).collect();
        for name in &leavers {
            world.nodes.get_mut(name).unwrap().silent = true;
        }
        at_every_point(world.clone(), to, |mut world| {
            for ordinal in 1..to {
                world.nodes.get_mut(&format!("shop-{ordinal}")).unwrap().lags = true;
            }
            go_on_and_lose(world);
        });
        scale(&mut world, to);
        for name in &leavers {
            assert!(world.nodes[name].server.as_ref().unwrap().source.is_some(), "{name} knows nothing yet");
            world.nodes.get_mut(name).unwrap().silent = false;
        }
        scale(&mut world, from);
    }
}

/// *T waits for two acknowledgements, has that of a member that is being removed, and gets the second one from another
/// member after the first was locked out.*
#[test]
fn an_acknowledgement_from_before_the_lock_does_not_make_a_later_one_enough() {
    let mut world = World::serving(5);
    world.scale(3);
    for name in ["shop-1", "shop-2", "shop-3"] {
        world.nodes.get_mut(name).unwrap().server.as_mut().unwrap().source = None;
    }
    assert!(!world.write(), "shop-4 alone has acknowledged it");
    // Nobody looks at who is attached in this history: the record is as it was when all were.
    let record = world.record.as_mut().unwrap();
    (record.leaving, record.generation) = (Some("shop-4".to_owned()), record.generation + 1);
    let record = record.clone();
    world.obey(&record, "shop-0", &Order::Lock);
    let barrier = world.snapshot().change_barrier.unwrap();
    world.obey(&record, "shop-1", &Order::Follow { source: "shop-0".to_owned() });
    world.replicate();
    assert_eq!(world.acknowledged.count(), 1, "{:#?}", world.log);
    assert!(world.acknowledged.is_subset_of(&barrier), "so that it has to be on two that stay");
}

/// *The other operator, with an older view, undoes a lock or a wait count.* It acts on what it saw at any earlier point.
#[test]
fn an_operator_with_an_older_view_undoes_nothing() {
    for (from, to) in [(5, 3), (3, 1), (1, 3)] {
        let mut world = World::serving(from);
        let mut older: Vec<(Snapshot, Vec<Step>)> = Vec::new();
        world.scale(to);
        for _ in 0..PASSES {
            world.write();
            world.replicate();
            let snapshot = world.snapshot();
            let steps = world.think(&snapshot, choose_first);
            older.push((snapshot, steps));
            world.pass(choose_first);
            for (snapshot, steps) in &older {
                world.carry_out(snapshot, steps.clone());
            }
            let record = world.record.clone().unwrap();
            let primary = world.nodes[&record.primary].server.as_ref().unwrap();
            let stored = world.nodes[&record.primary].record.as_ref().unwrap();
            assert!(primary.wait_count >= stored.acks, "{:#?}", world.log);
            let unlocked = |name: &&str| !primary.locked.contains(*name);
            let out: Vec<_> = (0..from).map(|ordinal| format!("shop-{ordinal}")).collect();
            let out = out.iter().map(String::as_str).filter(|name| record.incarnation_of(name).is_none());
            let open: Vec<_> = out.filter(unlocked).collect();
            assert!(open.is_empty() || from < to, "{open:?} could acknowledge\n{:#?}", world.log);
            check(&world);
        }
        assert!(is_settled(&world), "{:#?}\n{:#?}", world.record, world.log);
    }
}

/// A member that was removed without hearing of it, and comes back on its old volume, has to prove itself again.
#[test]
fn a_former_member_proves_itself_before_it_is_taken_in_again() {
    let mut world = World::serving(3);
    world.power_off("shop-2");
    scale(&mut world, 2);
    let former = &world.nodes["shop-2"];
    assert!(former.good && former.record.as_ref().unwrap().incarnation_of("shop-2").is_some(), "as far as it knows");
    let before = world.log.len();
    world.power_on("shop-2");
    scale(&mut world, 3);
    let log = &world.log[before..];
    let proved = log.iter().position(|line| line == "shop-2: prove its standing").unwrap();
    let taken = log.iter().position(|line| line.contains("shop-2 has received everything")).unwrap();
    assert!(proved < taken, "{log:#?}");
}

/// A removed member that comes back by itself, under the record that it knows, gets nowhere.
#[test]
fn a_former_member_that_resumes_by_itself_is_locked_out_by_every_later_primary() {
    let mut world = World::serving(3);
    world.nodes.get_mut("shop-2").unwrap().silent = true;
    world.kill("shop-2");
    scale(&mut world, 2);
    for _ in 0..2 {
        world.resume("shop-2");
        let (record, former) = (world.record.clone().unwrap(), &world.nodes["shop-2"]);
        let primary = world.nodes[&record.primary].server.as_ref().unwrap();
        assert!(former.server.as_ref().unwrap().acknowledges, "it believes that it votes");
        assert!(primary.locked.contains("shop-2"), "{:#?}", world.log);
        world.switchover = Some(Switchover { to: None, from: record.primary, left_ms: 30_000 });
        world.settle(40, choose_first);
        world.switchover = None;
    }
}

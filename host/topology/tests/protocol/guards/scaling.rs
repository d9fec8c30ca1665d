//! Read replicas, resources and volumes.

use proptest::prelude::*;
use rstest::rstest;
use topology::measured::Resources;
use topology::scaling::{self, Bounds, Range, Wish};

use super::{GIB, maybe, number, some_resources};

/// Three members of 4 GiB and two processors with one reader, everything bounded, nothing changed lately.
fn present() -> scaling::Present {
    scaling::Present {
        members: 3,
        acks: 1,
        read_replicas: 1,
        resources: Resources { cpu_millicores: Some(2_000), memory_bytes: Some(4 * GIB) },
        volume_bytes: 10 * GIB,
        ..scaling::Present::default()
    }
}

fn bounds() -> Bounds {
    Bounds {
        read_replicas: Some(Range { least: 0, most: 4 }),
        read_replicas_step: 1,
        cpu_millicores: Some(Range { least: 500, most: 8_000 }),
        memory_bytes: Some(Range { least: GIB, most: 16 * GIB }),
        volume_most_bytes: Some(100 * GIB),
        cooldown_s: 600,
    }
}

fn wish<T>(value: T) -> Option<Wish<T>> {
    Some(Wish { value, reason: "because".to_owned() })
}

fn readers(count: u32) -> scaling::Answer {
    scaling::Answer { read_replicas: wish(count), ..scaling::Answer::default() }
}

fn memory(bytes: u64) -> scaling::Answer {
    let resources = Resources { memory_bytes: Some(bytes), cpu_millicores: None };
    scaling::Answer { resources: wish(resources), ..scaling::Answer::default() }
}

fn volume(bytes: u64) -> scaling::Answer {
    scaling::Answer { volume_bytes: wish(bytes), ..scaling::Answer::default() }
}

/// What was refused, in words.
fn refused(present: &scaling::Present, bounds: &Bounds, answer: &scaling::Answer) -> String {
    let verdict = scaling::guard(present, bounds, answer);
    assert!(verdict.granted.is_nothing(), "{verdict:?}");
    verdict.refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn wishes_within_every_bound_are_granted_together() {
    let resources = Resources { cpu_millicores: Some(4_000), memory_bytes: Some(8 * GIB) };
    let answer = scaling::Answer {
        reason: String::new(),
        read_replicas: wish(2),
        resources: wish(resources),
        volume_bytes: wish(20 * GIB),
    };
    let verdict = scaling::guard(&present(), &bounds(), &answer);
    assert_eq!(verdict.refused, []);
    let granted = verdict.granted;
    assert_eq!(
        (granted.read_replicas(), granted.resources(), granted.volume_bytes()),
        (Some(2), Some(resources), Some(20 * GIB))
    );
}

#[test]
fn what_is_so_already_is_neither_granted_nor_refused() {
    let answer = scaling::Answer {
        reason: String::new(),
        read_replicas: wish(1),
        resources: wish(present().resources),
        volume_bytes: wish(10 * GIB),
    };
    assert_eq!(scaling::guard(&present(), &Bounds::default(), &answer), scaling::Verdict::default());
}

#[rstest]
#[case(readers(5), "5 read replicas: the spec allows 0 to 4")]
#[case(readers(3), "that is too far for one step, which ends between 0 and 2")]
#[case(memory(9 * GIB), "which ends between 2147483648 and 8589934592")]
#[case(memory(GIB / 2), "the spec allows 1073741824 to 17179869184")]
#[case(volume(9 * GIB), "a volume never shrinks, and it has 10737418240 bytes")]
#[case(volume(101 * GIB), "the spec allows 10737418240 to 107374182400")]
#[case(volume(21 * GIB), "that is too far for one step")]
fn a_wish_that_is_not_fulfilled_is_named_with_the_reason(#[case] answer: scaling::Answer, #[case] why: &str) {
    let told = refused(&present(), &bounds(), &answer);
    assert!(told.contains(why), "{told}");
}

#[test]
fn what_has_no_bounds_is_not_a_policys_to_change() {
    for answer in [readers(2), memory(8 * GIB), volume(20 * GIB)] {
        let told = refused(&present(), &Bounds::default(), &answer);
        assert!(told.contains("the spec gives no bounds for it"), "{told}");
    }
}

#[test]
fn the_same_is_not_changed_again_too_soon_and_something_else_may_be() {
    let present = scaling::Present { read_replicas_changed_s: Some(599), ..present() };
    assert!(refused(&present, &bounds(), &readers(2)).contains("may come in 1 s"));
    assert_eq!(scaling::guard(&present, &bounds(), &volume(20 * GIB)).granted.volume_bytes(), Some(20 * GIB));
    let present = scaling::Present { read_replicas_changed_s: Some(600), ..present };
    assert_eq!(scaling::guard(&present, &bounds(), &readers(2)).granted.read_replicas(), Some(2));
}

#[test]
fn in_trouble_nothing_is_copied_and_nobody_restarts_but_volumes_grow() {
    let present = scaling::Present { unsettled: Some("shop-2 is away".to_owned()), ..present() };
    for answer in [readers(2), memory(8 * GIB)] {
        assert!(refused(&present, &bounds(), &answer).contains("shop-2 is away"));
    }
    assert_eq!(scaling::guard(&present, &bounds(), &readers(0)).granted.read_replicas(), Some(0));
    assert_eq!(scaling::guard(&present, &bounds(), &volume(20 * GIB)).granted.volume_bytes(), Some(20 * GIB));
}

#[rstest]
#[case(1, 0, "the only member would restart for it")]
#[case(2, 1, "0 replicas are left to acknowledge where 1 have to")]
#[case(3, 2, "1 replicas are left to acknowledge where 2 have to")]
fn nobody_restarts_for_a_size_where_that_would_stop_writes(#[case] members: u32, #[case] acks: u32, #[case] why: &str) {
    let present = scaling::Present { members, acks, ..present() };
    let told = refused(&present, &bounds(), &memory(8 * GIB));
    assert!(told.contains(why), "{told}");
}

#[test]
fn who_is_beyond_the_bounds_comes_back_at_once() {
    let present = scaling::Present { read_replicas: 9, ..present() };
    assert_eq!(scaling::guard(&present, &bounds(), &readers(4)).granted.read_replicas(), Some(4));
    assert!(refused(&present, &bounds(), &readers(3)).contains("too far"));
}

fn range() -> impl Strategy<Value = Range> {
    (number(), number()).prop_map(|(least, most)| Range { least, most })
}

prop_compose! {
    fn any_present()(
        (members, acks, read_replicas) in (0..8_u32, 0..7_u32, 0..12_u32),
        resources in some_resources(),
        volume_bytes in number(),
        (read_replicas_changed_s, resources_changed_s, volume_changed_s) in (maybe(number()), maybe(number()), maybe(number())),
        unsettled in maybe(Just("it is not".to_owned())),
    ) -> scaling::Present {
        scaling::Present { members, acks, read_replicas, resources, volume_bytes, read_replicas_changed_s,
            resources_changed_s, volume_changed_s, unsettled }
    }
}

prop_compose! {
    fn any_bounds()(
        (read_replicas, cpu_millicores, memory_bytes) in (maybe(range()), maybe(range()), maybe(range())),
        read_replicas_step in 0..4_u32,
        volume_most_bytes in maybe(number()),
        cooldown_s in number(),
    ) -> Bounds {
        Bounds { read_replicas, read_replicas_step, cpu_millicores, memory_bytes, volume_most_bytes, cooldown_s }
    }
}

prop_compose! {
    fn any_answer()(
        read_replicas in maybe(0..12_u32),
        resources in maybe(some_resources()),
        volume_bytes in maybe(number()),
    ) -> scaling::Answer {
        scaling::Answer {
            reason: String::new(),
            read_replicas: read_replicas.and_then(wish),
            resources: resources.and_then(wish),
            volume_bytes: volume_bytes.and_then(wish),
        }
    }
}

fn rested(changed_s: Option<u64>, bounds: &Bounds) -> bool {
    changed_s.is_none_or(|ago| ago >= bounds.cooldown_s)
}

proptest! {
    #[test]
    fn what_scales_is_within_every_bound(present in any_present(), bounds in any_bounds(), answer in any_answer()) {
        let verdict = scaling::guard(&present, &bounds, &answer);
        let wishes = [answer.read_replicas.is_some(), answer.resources.is_some(), answer.volume_bytes.is_some()];
        prop_assert!(verdict.refused.len() <= wishes.into_iter().filter(|wished| *wished).count());
        if let Some(count) = verdict.granted.read_replicas() {
            prop_assert!(bounds.read_replicas.unwrap().holds(count.into()));
            prop_assert!(rested(present.read_replicas_changed_s, &bounds));
            prop_assert!(present.unsettled.is_none() || count < present.read_replicas);
            prop_assert_eq!(Some(count), answer.read_replicas.as_ref().map(|wish| wish.value));
        }
        if let Some(wanted) = verdict.granted.resources() {
            prop_assert!(present.unsettled.is_none() && rested(present.resources_changed_s, &bounds));
            prop_assert!(present.members >= present.acks + 2, "a restart stops writes");
            for (wanted, range, now) in [
                (wanted.cpu_millicores, bounds.cpu_millicores, present.resources.cpu_millicores),
                (wanted.memory_bytes, bounds.memory_bytes, present.resources.memory_bytes),
            ] {
                let Some(wanted) = wanted else { continue };
                prop_assert!(range.unwrap().holds(wanted) && now.is_some_and(|now| now != wanted));
            }
        }
        if let Some(bytes) = verdict.granted.volume_bytes() {
            prop_assert!(bytes > present.volume_bytes && bytes <= bounds.volume_most_bytes.unwrap());
            prop_assert!(rested(present.volume_changed_s, &bounds));
        }
    }

    #[test]
    fn what_was_granted_is_so_already_when_it_is_asked_for_again(
        present in any_present(), bounds in any_bounds(), answer in any_answer(),
    ) {
        let granted = scaling::guard(&present, &bounds, &answer).granted;
        let mut after = present.clone();
        after.read_replicas = granted.read_replicas().unwrap_or(after.read_replicas);
        after.volume_bytes = granted.volume_bytes().unwrap_or(after.volume_bytes);
        if let Some(resources) = granted.resources() {
            after.resources.cpu_millicores = resources.cpu_millicores.or(after.resources.cpu_millicores);
            after.resources.memory_bytes = resources.memory_bytes.or(after.resources.memory_bytes);
        }
        let again = scaling::guard(&after, &bounds, &answer).granted;
        prop_assert!(granted.read_replicas().is_none() || again.read_replicas().is_none());
        prop_assert!(granted.resources().is_none() || again.resources().is_none());
        prop_assert!(granted.volume_bytes().is_none() || again.volume_bytes().is_none());
    }
}

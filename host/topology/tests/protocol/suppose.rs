//! What is told of a loss before there is one: who could lead, as a real loss then shows.

use std::cell::RefCell;

use topology::assess::without_primary;
use topology::decision::{Question, Trigger};

use crate::world::{World, choose_first};

/// The members that could be named.
fn eligible(question: &Question) -> Vec<&str> {
    let eligible = question.candidates.iter().filter(|candidate| candidate.is_eligible());
    eligible.map(|candidate| candidate.name.as_str()).collect()
}

#[test]
fn who_could_lead_after_a_loss_is_known_before_it() {
    let mut world = World::serving(5);
    assert!(world.write());
    world.power_off("shop-3");
    let question = without_primary(&world.snapshot()).unwrap().unwrap();
    assert_eq!(eligible(&question), ["shop-1", "shop-2", "shop-4"]);
    assert_eq!(
        (question.trigger, question.epoch, question.former_primary.as_deref()),
        (Trigger::Failover, 2, Some("shop-0"))
    );
    let primary = &question.candidates[0];
    assert_eq!(primary.ineligible[0].message, "it is supposed to be lost");
    world.power_off("shop-0");
    let asked = RefCell::new(Vec::new());
    world.settle(20, |question| {
        *asked.borrow_mut() = eligible(question).into_iter().map(ToOwned::to_owned).collect();
        choose_first(question)
    });
    assert_eq!(asked.into_inner(), eligible(&question), "the loss itself raises the same question");
}

#[test]
fn where_too_few_would_be_left_they_are_named() {
    let mut world = World::serving(3);
    world.power_off("shop-2");
    let few = without_primary(&world.snapshot()).unwrap().unwrap_err();
    assert_eq!((few.needed, few.counted.as_slice()), (2, ["shop-1".to_owned()].as_slice()));
    assert!(few.to_string().contains("shop-2"), "{few}");
}

#[test]
fn without_a_primary_there_is_none_to_lose() {
    assert!(without_primary(&World::new(3).snapshot()).is_none());
}

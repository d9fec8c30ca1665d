//! Situations and whom the default picks in them.

use grampus_policy::primary_selection::scenario::{failover, member, switchover};

use super::decide;

#[test]
fn equals_are_told_apart_by_ordinal() {
    let answer = decide(&failover([member("shop-0").unreachable(), member("shop-2"), member("shop-1")]));
    assert_eq!(answer.chosen(), Some("shop-1"));
    assert_eq!(answer.reason(), "has every transaction; 0 left to apply; lowest ordinal among equals");
}

#[test]
fn ordinals_are_numbers_not_text() {
    let answer = decide(&failover([member("shop-0").unreachable(), member("shop-10"), member("shop-9")]));
    assert_eq!(answer.chosen(), Some("shop-9"));
}

#[test]
fn the_least_work_left_wins() {
    let answer = decide(&failover([
        member("shop-0").unreachable(),
        member("shop-1").has_to_apply(40),
        member("shop-2").has_to_apply(7),
    ]));
    assert_eq!(answer.chosen(), Some("shop-2"));
    assert_eq!(answer.reason(), "has every transaction; 7 left to apply");
}

#[test]
fn a_missing_transaction_weighs_more_than_an_unapplied_one() {
    let answer = decide(&failover([
        member("shop-0").unreachable(),
        member("shop-1").lacks(10),
        member("shop-2").has_to_apply(19),
    ]));
    assert_eq!(answer.chosen(), Some("shop-2"));
}

#[test]
fn a_healthy_node_is_worth_some_catching_up() {
    let answer = decide(&failover([
        member("shop-0").unreachable(),
        member("shop-1").on_unready_node(),
        member("shop-2").on_cordoned_node(),
        member("shop-3").has_to_apply(900),
    ]));
    assert_eq!(answer.chosen(), Some("shop-3"));
}

#[test]
fn a_cordoned_node_leads_rather_than_waiting_for_minutes() {
    let answer = decide(&failover([
        member("shop-0").unreachable(),
        member("shop-1").on_cordoned_node(),
        member("shop-2").has_to_apply(50_000),
    ]));
    assert_eq!(answer.chosen(), Some("shop-1"));
    assert_eq!(answer.reason(), "has every transaction; 0 left to apply; its node is cordoned");
}

#[test]
fn an_ineligible_member_is_never_chosen_however_good_it_looks() {
    let answer = decide(&failover([member("shop-0"), member("shop-1").unreachable(), member("shop-2").lacks(9)]));
    assert_eq!(answer.chosen(), Some("shop-0"));
    let answer = decide(&failover([member("shop-0").unreachable(), member("shop-1").lacks(u64::MAX)]));
    assert_eq!(answer.chosen(), Some("shop-1"));
}

#[test]
fn a_switchover_moves_away_from_the_present_primary() {
    let answer = decide(&switchover([member("shop-0"), member("shop-1").has_to_apply(3)]));
    assert_eq!(answer.chosen(), Some("shop-1"));
    let answer = decide(&switchover([member("shop-0"), member("shop-1").unreachable()]));
    assert_eq!(answer.chosen(), None);
    assert_eq!(
        answer.reason(),
        "no member is eligible (shop-0: is the primary to be replaced; shop-1: its agent does not answer)"
    );
}

#[test]
fn it_holds_when_nobody_is_eligible() {
    let answer = decide(&failover([member("shop-0").unreachable()]));
    assert_eq!(answer.reason(), "no member is eligible (shop-0: its agent does not answer)");
    assert_eq!(decide(&failover([])).reason(), "there are no members to choose from");
}

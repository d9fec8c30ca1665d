//! Situations and whom a preference for zones picks in them.

use grampus_policy::primary_selection::Answer;
use grampus_policy::primary_selection::scenario::{failover, member, switchover};

use super::{Settings, check, decide};

fn zones(zones: &[&str]) -> Settings {
    Settings { zones: zones.iter().map(|zone| zone.to_string()).collect() }
}

#[test]
fn the_first_zone_with_an_eligible_member_wins() {
    let question = failover([
        member("shop-0").zone("a").unreachable(),
        member("shop-1").zone("c"),
        member("shop-2").zone("b").has_to_apply(500),
    ]);
    let answer = decide(&question, &zones(&["a", "b"]));
    assert_eq!(answer.chosen(), Some("shop-2"));
    assert_eq!(answer.reason(), "is in zone b, preference 2 of 2; has every transaction; 500 left to apply");
    let Answer::Promote(promotion) = answer else { panic!("it held") };
    assert_eq!(
        promotion.ranking[1].reason,
        "is in zone c, which is not preferred (preferred: a, b); has every transaction; 0 left to apply"
    );
}

#[test]
fn within_a_zone_the_least_work_wins() {
    let question =
        failover([member("shop-0").unreachable(), member("shop-1").zone("a").lacks(2), member("shop-2").zone("a")]);
    assert_eq!(decide(&question, &zones(&["a"])).chosen(), Some("shop-2"));
}

#[test]
fn a_primary_elsewhere_is_better_than_none() {
    let question = failover([member("shop-0").zone("a").unreachable(), member("shop-1").zone("")]);
    let answer = decide(&question, &zones(&["a"]));
    assert_eq!(answer.chosen(), Some("shop-1"));
    assert!(answer.reason().starts_with("is in no known zone (preferred: a)"), "{}", answer.reason());
}

#[test]
fn a_switchover_leaves_the_preferred_zone_if_it_must() {
    let question = switchover([member("shop-0").zone("a"), member("shop-1").zone("b")]);
    assert_eq!(decide(&question, &zones(&["a", "b"])).chosen(), Some("shop-1"));
}

#[test]
fn it_holds_when_nobody_is_eligible() {
    assert_eq!(decide(&failover([member("shop-0").unreachable()]), &zones(&["a"])).chosen(), None);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_path() {
    for (settings, path) in [(zones(&[]), "zones"), (zones(&["a", ""]), "zones[1]"), (zones(&["a", "a"]), "zones[1]")] {
        assert_eq!(check(&settings).unwrap_err().path, path);
    }
    assert!(check(&zones(&["a", "b"])).is_ok());
}

#[test]
fn the_schema_is_json_and_names_every_field() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["zones"]));
}

//! What is predicted for a member. `scenarios.yaml` has more, asked of the module itself.

use grampus_policy::primary_selection::scenario::{failover, member, switchover};
use grampus_policy::primary_selection::{Answer, Candidate, Policy as _};
use grampus_policy::settings::read;

use super::CostAware;

#[test]
fn the_shortest_predicted_interruption_wins() {
    let answer = CostAware::default().decide(&failover([
        member("shop-0").unreachable(),
        member("shop-1").has_to_apply(2_001),
        member("shop-2").lacks(1_000),
    ]));
    assert_eq!(answer.chosen(), Some("shop-2"));
    assert_eq!(
        answer.reason(),
        "costs about 2000 ms: 1000 ms to fetch 1000 transactions, 1000 ms to execute 1000 transactions"
    );
}

#[test]
fn rates_change_the_prediction() {
    let question =
        failover([member("shop-0").unreachable(), member("shop-1").has_to_apply(2_001), member("shop-2").lacks(1_000)]);
    let slow: CostAware = read(r#"{"fetchPerSecond": 100}"#).unwrap();
    assert_eq!(slow.decide(&question).chosen(), Some("shop-1"));
}

#[test]
fn a_members_own_pace_comes_before_the_rates_that_are_set() {
    let answer = CostAware::default().decide(&failover([
        member("shop-0").unreachable(),
        member("shop-1").has_to_apply(2_000).known(|it| it.catch_up.applied_transactions_per_second = Some(20_000)),
        member("shop-2").has_to_apply(300),
        member("shop-3").has_to_apply(5_000).known(|it| it.catch_up.predicted_drain_ms = Some(90)),
        member("shop-4").lacks(300).known(|it| it.catch_up.received_transactions_per_second = Some(0)),
    ]));
    assert_eq!(answer.chosen(), Some("shop-3"));
    assert_eq!(answer.reason(), "costs about 90 ms: 90 ms to execute 5000 transactions");
    let Answer::Promote(promotion) = answer else { panic!("it held") };
    let order: Vec<(&str, i64)> = promotion.ranking.iter().map(|row| (row.candidate.as_str(), row.score)).collect();
    assert_eq!(order, [("shop-3", -90), ("shop-1", -100), ("shop-2", -300), ("shop-4", -600)]);
}

/// Something that is known of a member.
type Known = fn(&mut Candidate);

#[test]
fn what_is_known_of_a_member_has_its_price() {
    let known: [(Known, &str); 7] = [
        (|it| it.node_pressure.memory = Some(true), "10000 ms for a node under pressure"),
        (|it| it.node_pressure.disk = Some(true), "10000 ms for a node under pressure"),
        (|it| it.activity.copying = Some(true), "500 ms for a copy that is under way"),
        (|it| it.activity.backing_up = Some(true), "500 ms for a backup that is under way"),
        (|it| it.activity.ackers_afterwards = Some(0), "60000 ms for too few replicas to acknowledge"),
        (|it| it.activity.failovers_in_window = Some(2), "2000 ms for a lead that was lost 2 times lately"),
        (|it| it.capacity.buffer_pool_warm_permille = Some(200), "400 ms for a buffer pool that is 200 ‰ warm"),
    ];
    for (change, told) in known {
        let question = failover([member("shop-0").unreachable(), member("shop-1").known(change), member("shop-2")]);
        let answer = CostAware::default().decide(&question);
        assert_eq!(answer.chosen(), Some("shop-2"), "{told}");
        let Answer::Promote(promotion) = answer else { panic!("it held") };
        assert!(promotion.ranking[1].reason.ends_with(told), "{}", promotion.ranking[1].reason);
    }
    let fine = member("shop-1").known(|it| {
        it.capacity.buffer_pool_warm_permille = Some(1_000);
        it.activity.ackers_afterwards = Some(1);
        it.node_pressure.pid = Some(false);
    });
    let answer = CostAware::default().decide(&failover([member("shop-0").unreachable(), fine]));
    assert_eq!(answer.reason(), "costs nothing beyond the move itself");
}

#[test]
fn home_is_the_zone_of_the_former_primary_unless_it_is_set() {
    let question = failover([
        member("shop-0").zone("a").unreachable(),
        member("shop-1").zone("b"),
        member("shop-2").zone("a").has_to_apply(50),
    ]);
    let answer = CostAware::default().decide(&question);
    assert_eq!(answer.chosen(), Some("shop-2"));
    assert_eq!(answer.reason(), "costs about 50 ms: 50 ms to execute 50 transactions");
    let elsewhere: CostAware = read(r#"{"homeZone": "b"}"#).unwrap();
    let answer = elsewhere.decide(&question);
    assert_eq!((answer.chosen(), answer.reason()), (Some("shop-1"), "costs nothing beyond the move itself"));
}

#[test]
fn a_node_in_doubt_costs_another_move() {
    let policy = CostAware::default();
    let cordoned =
        switchover([member("shop-0"), member("shop-1").on_cordoned_node(), member("shop-2").has_to_apply(999)]);
    assert_eq!(policy.decide(&cordoned).chosen(), Some("shop-2"));
    let answer =
        policy.decide(&failover([member("shop-0").unreachable(), member("shop-1").on_unready_node().zone("")]));
    assert_eq!(answer.chosen(), Some("shop-1"), "a dear primary is better than none");
    assert_eq!(
        answer.reason(),
        "costs about 60100 ms: 60000 ms for a node that is not Ready, 100 ms for being in no known zone instead of a"
    );
}

#[test]
fn counters_at_their_end_are_only_dear() {
    let answer = CostAware::default()
        .decide(&failover([member("shop-0").unreachable(), member("shop-1").lacks(u64::MAX).has_to_apply(u64::MAX)]));
    assert_eq!(answer.chosen(), Some("shop-1"));
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_path() {
    for (json, path) in [
        (r#"{"executePerSecond": 0}"#, "executePerSecond"),
        (r#"{"fetchPerSecond": 0}"#, "fetchPerSecond"),
        (r#"{"homeZone": ""}"#, "homeZone"),
    ] {
        assert_eq!(read::<CostAware>(json).unwrap().check().unwrap_err().path, path);
    }
    assert!(CostAware::default().check().is_ok());
}

#[test]
fn the_schema_tells_the_defaults_that_are_used() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let defaults = schema["properties"].as_object().unwrap().iter();
    let defaults = defaults.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone())));
    let written = serde_json::Value::Object(defaults.collect()).to_string();
    assert_eq!(read::<CostAware>(&written).unwrap(), CostAware::default());
}

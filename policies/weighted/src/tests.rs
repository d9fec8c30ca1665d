//! What weights and bans lead to. `scenarios.yaml` has more, asked of the module itself.

use grampus_policy::primary_selection::scenario::{failover, member};
use grampus_policy::primary_selection::{Answer, Policy as _, VETOED};
use grampus_policy::settings::read;

use super::Weighted;

fn settings(json: &str) -> Weighted {
    read(json).unwrap()
}

#[test]
fn every_rule_that_fits_counts() {
    let policy = settings(
        r#"{"weights": [{"label": "disk", "value": "fast", "weight": 10}, {"label": "disk", "weight": 1},
            {"zone": "b", "weight": 4}, {"node": "node-2", "weight": -20}]}"#,
    );
    let answer = policy.decide(&failover([
        member("shop-0").unreachable(),
        member("shop-1").labelled("disk", "fast").zone("b"),
        member("shop-2").labelled("disk", "fast").zone("b"),
    ]));
    assert_eq!(answer.chosen(), Some("shop-1"));
    assert_eq!(
        answer.reason(),
        "15 points (+10 is labelled disk=fast, +1 is labelled disk=fast, +4 is in zone b); has every transaction; \
         0 left to apply"
    );
}

#[test]
fn work_takes_points_off_where_that_is_set() {
    let question = failover([
        member("shop-0").unreachable(),
        member("shop-1").zone("b").lacks(10_000),
        member("shop-2").zone("a"),
    ]);
    let rule = r#""weights": [{"zone": "b", "weight": 15}]"#;
    assert_eq!(settings(&format!("{{{rule}}}")).decide(&question).chosen(), Some("shop-1"));
    let patient = format!(r#"{{{rule}, "transactionsPerPoint": 2000}}"#);
    assert_eq!(settings(&patient).decide(&question).chosen(), Some("shop-1"));
    let hasty = format!(r#"{{{rule}, "transactionsPerPoint": 1000}}"#);
    assert_eq!(settings(&hasty).decide(&question).chosen(), Some("shop-2"));
}

#[test]
fn who_must_not_lead_does_not_whatever_its_points() {
    let policy =
        settings(r#"{"weights": [{"zone": "a", "weight": 100}], "mustNot": [{"label": "role", "value": "spare"}]}"#);
    let spare = member("shop-1").labelled("role", "spare");
    let answer = policy.decide(&failover([member("shop-0").unreachable(), spare.clone(), member("shop-2").zone("c")]));
    assert_eq!(answer.chosen(), Some("shop-2"));
    let Answer::Promote(promotion) = answer else { panic!("it held") };
    let last = promotion.ranking.last().unwrap();
    assert_eq!((last.candidate.as_str(), last.score), ("shop-1", VETOED));
    assert_eq!(last.reason, "vetoed: is labelled role=spare, which must not lead");
    let held = policy.decide(&failover([member("shop-0").unreachable(), spare]));
    assert_eq!(held.chosen(), None);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_path() {
    for (json, path) in [
        ("{}", ""),
        (r#"{"mustNot": [{"zone": "a"}, {}]}"#, "mustNot[1]"),
        (r#"{"weights": [{"weight": 1}]}"#, "weights[0]"),
        (r#"{"weights": [{"value": "x", "weight": 1}]}"#, "weights[0]"),
        (r#"{"weights": [{"zone": "a", "node": "n", "weight": 1}]}"#, "weights[0]"),
        (r#"{"weights": [{"zone": "", "weight": 1}]}"#, "weights[0]"),
        (r#"{"weights": [{"zone": "a", "weight": 1}, {"zone": "b"}]}"#, "weights[1]"),
        (r#"{"mustNot": [{"zone": "a", "weight": 1}]}"#, "mustNot[0]"),
        (r#"{"weights": [{"zone": "a", "weight": 1}], "transactionsPerPoint": 0}"#, "transactionsPerPoint"),
    ] {
        assert_eq!(settings(json).check().unwrap_err().path, path, "{json}");
    }
    let typed = read::<Weighted>(r#"{"weights": [{"zone": "a", "weight": "heavy"}]}"#).unwrap_err();
    assert_eq!(typed.path, "weights[0].weight");
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    assert!(schema["properties"]["mustNot"].is_object());
}

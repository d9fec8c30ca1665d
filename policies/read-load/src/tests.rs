//! When readers come and go. `scenarios.yaml` has more, asked of the module itself.

use grampus_policy::scaling::scenario::cluster;
use grampus_policy::scaling::{Policy as _, Question, Range, Role};
use grampus_policy::settings::read;

use super::ReadLoad;

/// Two processors each, of which readers and replicas use so many thousandths.
fn busy(readers: u32, millicores: u64) -> Question {
    cluster(readers).measured(|server| {
        server.load.cpu_used_millicores = Some(if server.role == Role::Primary { 2_000 } else { millicores });
    })
}

fn wanted(question: &Question) -> Option<u32> {
    ReadLoad::default().decide(question).read_replicas.map(|wish| wish.count)
}

#[test]
fn readers_come_where_servers_are_busy_and_go_where_they_are_idle() {
    assert_eq!(wanted(&busy(1, 1_500)), Some(2));
    assert_eq!(wanted(&busy(1, 1_400)), None, "exactly 700 ‰ is enough");
    assert_eq!(wanted(&busy(0, 1_500)), Some(1), "replicas are read from, too");
    assert_eq!(wanted(&busy(2, 100)), Some(1));
    assert_eq!(wanted(&busy(1, 600)), None, "300 ‰ of three would be 450 ‰ of two");
    assert_eq!(wanted(&busy(0, 100)), None);
}

#[test]
fn the_primary_is_not_read_from() {
    let question = busy(1, 100).measured(|server| {
        if server.role == Role::Primary {
            server.load.cpu_used_millicores = Some(u64::MAX);
        }
    });
    assert_eq!(wanted(&question), Some(0));
}

#[test]
fn who_is_throttled_is_busy() {
    assert_eq!(wanted(&busy(1, 1_000).measured(|server| server.load.cpu_throttled_permille = Some(300))), Some(2));
}

#[test]
fn what_was_not_measured_is_not_idle() {
    let mut question = busy(2, 10);
    question.servers[4].load.cpu_used_millicores = None;
    assert_eq!(wanted(&question), None);
    assert_eq!(wanted(&busy(2, 10).measured(|server| server.load.window_s = 59)), None);
    assert_eq!(wanted(&cluster(2)), None);
}

#[test]
fn none_goes_while_another_does_not_serve() {
    let mut question = busy(3, 10);
    question.servers[5].serving = false;
    let answer = ReadLoad::default().decide(&question);
    assert_eq!(answer.read_replicas, None);
    assert!(answer.reason.contains("none goes while 1 readers do not serve"), "{}", answer.reason);
}

#[test]
fn bounds_and_cooldown_are_kept() {
    let mut question = busy(4, 1_900);
    question.bounds.read_replicas = Some(Range { least: 0, most: 4 });
    assert_eq!(wanted(&question), None);
    let mut question = busy(1, 1_900);
    question.present.read_replicas_changed_s = Some(10);
    assert_eq!(wanted(&question), None);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_path() {
    for (json, path) in
        [(r#"{"addAbovePermille": 0}"#, "addAbovePermille"), (r#"{"addAbovePermille": 300}"#, "removeBelowPermille")]
    {
        assert_eq!(read::<ReadLoad>(json).unwrap().check().unwrap_err().path, path);
    }
}

#[test]
fn the_schema_tells_the_defaults_that_are_used() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let defaults = schema["properties"].as_object().unwrap().iter();
    let defaults = defaults.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone())));
    let written = serde_json::Value::Object(defaults.collect()).to_string();
    assert_eq!(read::<ReadLoad>(&written).unwrap(), ReadLoad::default());
}

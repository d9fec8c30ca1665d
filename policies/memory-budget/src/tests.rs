//! What is set how. `scenarios.yaml` has more, asked of the module itself.

use grampus_policy::config_tuning::scenario::server;
use grampus_policy::config_tuning::{Policy as _, Question};
use grampus_policy::settings::read;

use super::{MIB, MemoryBudget};

const GIB: u64 = 1 << 30;

fn value(question: &Question, name: &str) -> Option<u64> {
    MemoryBudget::default().decide(question).value(name).map(|value| value.parse().unwrap())
}

#[test]
fn the_pool_goes_in_steps_to_what_is_left_of_the_memory() {
    // 151 connections take 604 MiB and the agent 64: of 8 GiB, 70 % are less than what they leave.
    let most = 8 * GIB / 1_000 * 700 / MIB * MIB;
    let pool = |now: u64| value(&server(8 * GIB).set("innodb_buffer_pool_size", now), "innodb_buffer_pool_size");
    assert_eq!(pool(4 * GIB), Some(5 * GIB));
    assert_eq!(pool(5 * GIB), Some(most));
    assert_eq!(pool(most), None);
    assert_eq!(pool(most - most / 50), None, "near enough");
    let small = server(GIB).set("innodb_buffer_pool_size", 500 * MIB);
    assert_eq!(value(&small, "innodb_buffer_pool_size"), Some(375 * MIB), "of 1 GiB, 356 MiB are left");
    assert_eq!(value(&small.set("innodb_buffer_pool_size", 375 * MIB), "innodb_buffer_pool_size"), Some(356 * MIB));
    let tiny = server(256 * MIB).set("innodb_buffer_pool_size", 72 * MIB);
    assert_eq!(value(&tiny, "innodb_buffer_pool_size"), Some(64 * MIB), "a quarter, where nothing is left");
}

#[test]
fn a_pool_that_is_too_large_comes_first_and_one_that_is_too_small_last() {
    let question = |pool: u64| {
        let mut question = server(8 * GIB).set("replica_parallel_workers", 4).set("innodb_buffer_pool_size", pool);
        question.load.connections_peak = Some(140);
        question
    };
    let names = |question: &Question| {
        let changes = MemoryBudget::default().decide(question).changes;
        changes.into_iter().map(|change| change.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&question(7 * GIB)), ["innodb_buffer_pool_size", "replica_parallel_workers"]);
    assert_eq!(names(&question(4 * GIB)), ["replica_parallel_workers", "max_connections", "innodb_buffer_pool_size"]);
}

#[test]
fn the_redo_log_grows_to_an_hour_of_writes_and_never_shrinks() {
    let writes = |bytes: u64| {
        let mut question = server(8 * GIB).set("innodb_redo_log_capacity", GIB);
        question.activity.redo_written_bytes_per_hour = Some(bytes);
        value(&question, "innodb_redo_log_capacity")
    };
    assert_eq!(writes(40 * GIB), Some(GIB + GIB / 4));
    assert_eq!(writes(GIB + 50 * MIB), None, "nine tenths of an hour are enough");
    assert_eq!(writes(1), None);
    let mut unsure = server(8 * GIB).set("innodb_redo_log_capacity", GIB);
    unsure.activity.redo_written_bytes_per_hour = Some(40 * GIB);
    unsure.load.window_s = 600;
    assert_eq!(value(&unsure, "innodb_redo_log_capacity"), None, "ten minutes are no hour");
}

#[test]
fn connections_get_more_room_where_they_are_refused_and_there_is_memory() {
    let refused = |memory: u64, pool: u64| {
        let mut question = server(memory).set("innodb_buffer_pool_size", pool);
        question.activity.refused_connections_per_hour = Some(3);
        value(&question, "max_connections")
    };
    assert_eq!(refused(8 * GIB, 4 * GIB), Some(188));
    assert_eq!(refused(2 * GIB, 1_500 * MIB), None);
}

#[test]
fn appliers_follow_processors_and_threads_and_are_never_fewer() {
    let mut question = server(8 * GIB).set("replica_parallel_workers", 16);
    assert_eq!(value(&question, "replica_parallel_workers"), None);
    question.load.running_threads_peak = Some(64);
    assert_eq!(value(&question, "replica_parallel_workers"), Some(20));
    assert_eq!(value(&question.by_person("replica_parallel_workers", 16), "replica_parallel_workers"), None);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_path() {
    for (json, path) in [(r#"{"poolPermille": 900}"#, "poolPermille"), (r#"{"connectionBytes": 0}"#, "connectionBytes")]
    {
        assert_eq!(read::<MemoryBudget>(json).unwrap().check().unwrap_err().path, path);
    }
}

#[test]
fn the_schema_tells_the_defaults_that_are_used() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let defaults = schema["properties"].as_object().unwrap().iter();
    let defaults = defaults.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone())));
    let written = serde_json::Value::Object(defaults.collect()).to_string();
    assert_eq!(read::<MemoryBudget>(&written).unwrap(), MemoryBudget::default());
}

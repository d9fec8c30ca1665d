//! Settings of mysqld.

use proptest::prelude::*;
use rstest::rstest;
use topology::measured::Resources;
use topology::tuning::{self, Change, Kind, Setting, TUNABLE, parse, session_bytes, tunable};

use super::{GIB, maybe, number};

/// A primary of 8 GiB as Grampus sets it by default.
fn tuned() -> tuning::Present {
    let settings = [
        ("binlog_expire_logs_seconds", "259200"),
        ("innodb_adaptive_hash_index", "ON"),
        ("innodb_buffer_pool_size", "4294967296"),
        ("innodb_redo_log_capacity", "2147483648"),
        ("max_connections", "151"),
        ("sort_buffer_size", "262144"),
        ("thread_cache_size", "2"),
    ];
    let settings = settings.map(|(name, value)| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        by_person: name == "innodb_redo_log_capacity",
    });
    tuning::Present {
        resources: Resources { memory_bytes: Some(8 * GIB), cpu_millicores: Some(4_000) },
        volume_bytes: Some(100 * GIB),
        agent_bytes: 64 << 20,
        settings: settings.into(),
        cooldown_s: 3_600,
        ..tuning::Present::default()
    }
}

fn change(name: &str, value: &str) -> Change {
    Change { name: name.to_owned(), value: value.to_owned(), reason: "because".to_owned() }
}

fn judged(present: &tuning::Present, changes: &[(&str, &str)]) -> (Option<String>, Vec<String>) {
    let changes = changes.iter().map(|(name, value)| change(name, value)).collect();
    let verdict = tuning::guard(present, &tuning::Answer { reason: String::new(), changes });
    let granted = verdict.granted.map(|granted| format!("{} = {}", granted.name(), granted.value()));
    (granted, verdict.refused.iter().map(ToString::to_string).collect())
}

#[rstest]
#[case(("innodb_buffer_pool_size", "5G"), "innodb_buffer_pool_size = 5368709120")]
#[case(("max_connections", "114"), "max_connections = 114")]
#[case(("innodb_adaptive_hash_index", "off"), "innodb_adaptive_hash_index = OFF")]
#[case(("thread_cache_size", "3"), "thread_cache_size = 3")]
fn a_step_that_fits_is_granted(#[case] wish: (&str, &str), #[case] granted: &str) {
    assert_eq!(judged(&tuned(), &[wish]), (Some(granted.to_owned()), Vec::new()));
}

#[rstest]
#[case(("innodb_buffer_pool_size", "6G"), "too far for one step, which ends between 3221225472 and 5368709120")]
#[case(("innodb_buffer_pool_size", "much"), "expected a whole number")]
#[case(("innodb_buffer_pool_size", "4294967296.5"), "expected a whole number")]
#[case(("innodb_adaptive_hash_index", "2"), "expected ON or OFF")]
#[case(("innodb_redo_log_capacity", "2G1"), "expected a whole number")]
#[case(("innodb_redo_log_capacity", "2200M"), "a person set it in spec.config")]
#[case(("thread_cache_size", "4"), "too far for one step, which ends between 1 and 3")]
#[case(("table_open_cache", "5000"), "its value at the primary is not known")]
#[case(("max_connections", "9"), "expected 10 to 100000")]
fn a_setting_that_is_not_changed_is_named_with_the_reason(#[case] wish: (&str, &str), #[case] why: &str) {
    let (granted, refused) = judged(&tuned(), &[wish]);
    assert_eq!(granted, None);
    assert!(refused[0].contains(why), "{refused:?}");
}

#[test]
fn one_change_at_a_time_and_the_first_that_is_safe() {
    let (granted, refused) = judged(
        &tuned(),
        &[("sync_binlog", "0"), ("max_connections", "160"), ("max_connections", "151"), ("sort_buffer_size", "256001")],
    );
    assert_eq!(granted.as_deref(), Some("max_connections = 160"));
    assert_eq!(
        refused,
        [
            "sync_binlog = 0: no policy may set it",
            "sort_buffer_size = 256001: one change at a time, and max_connections comes first"
        ]
    );
}

#[test]
fn nothing_is_set_too_soon_or_in_trouble() {
    let soon = tuning::Present { changed_s: Some(3_599), ..tuned() };
    assert!(judged(&soon, &[("max_connections", "160")]).1[0].contains("may come in 1 s"));
    let trouble = tuning::Present { unsettled: Some("shop-2 is away".to_owned()), ..tuned() };
    assert!(judged(&trouble, &[("max_connections", "160")]).1[0].contains("shop-2 is away"));
}

#[test]
fn a_pool_has_four_fifths_of_the_memory_at_most_and_connections_have_their_share() {
    let mut present = tuned();
    present.resources.memory_bytes = Some(5 * GIB);
    assert!(judged(&present, &[("innodb_buffer_pool_size", "5G")]).1[0].contains("may have 80 % of the memory"));
    present.settings[4].value = "1000".to_owned();
    assert!(judged(&present, &[("max_connections", "1200")]).1[0].contains("could want"));
    assert_eq!(
        judged(&present, &[("max_connections", "800")]).0.as_deref(),
        Some("max_connections = 800"),
        "less is better"
    );
    present.resources.memory_bytes = None;
    assert!(judged(&present, &[("innodb_buffer_pool_size", "5G")]).1[0].contains("no memory limit"));
}

#[test]
fn a_number_beyond_the_bounds_comes_back_step_by_step() {
    let mut present = tuned();
    present.settings[4].value = "200000".to_owned();
    assert_eq!(judged(&present, &[("max_connections", "150000")]).0.as_deref(), Some("max_connections = 150000"));
    assert!(judged(&present, &[("max_connections", "210000")]).1[0].contains("expected 10 to 100000"));
    present.settings[4].value = "4".to_owned();
    present.resources.memory_bytes = Some(64 * GIB);
    assert_eq!(judged(&present, &[("max_connections", "5")]).0.as_deref(), Some("max_connections = 5"));
}

#[test]
fn binary_logs_outlive_backups() {
    let present = tuning::Present { backup_every_s: Some(2 * 86_400), ..tuned() };
    assert!(judged(&present, &[("binlog_expire_logs_seconds", "200000")]).1[0].contains("which takes 345600 s"));
    assert!(judged(&tuned(), &[("binlog_expire_logs_seconds", "200000")]).0.is_some());
}

#[rstest]
fn what_a_promise_rests_on_is_no_policys_to_set(
    #[values(
        "sync_binlog",
        "innodb_flush_log_at_trx_commit",
        "innodb_doublewrite",
        "innodb_force_recovery",
        "gtid_mode",
        "enforce_gtid_consistency",
        "log_bin",
        "log_replica_updates",
        "binlog_format",
        "binlog_row_image",
        "binlog_order_commits",
        "rpl_semi_sync_source_timeout",
        "rpl_semi_sync_source_wait_for_replica_count",
        "read_only",
        "super_read_only",
        "offline_mode",
        "relay_log_recovery",
        "sync_relay_log",
        "replica_preserve_commit_order",
        "server_id",
        "server_uuid",
        "replicate_do_db",
        "skip_replica_start",
        "replication_sender_observe_commit_only",
        "tc_heuristic_recover",
        "datadir",
        "socket",
        "port",
        "lower_case_table_names",
        "secure_file_priv",
        "plugin_load",
        "init_file",
        "authentication_policy",
        "persisted_globals_load",
        "INNODB_BUFFER_POOL_SIZE",
        "loose_innodb_buffer_pool_size",
        ""
    )]
    name: &str,
) {
    let mut present = tuned();
    present.settings.push(Setting { name: name.to_owned(), value: "1".to_owned(), by_person: false });
    assert_eq!(judged(&present, &[(name, "2")]).0, None);
}

#[test]
fn the_list_is_sorted_and_its_bounds_are_some() {
    assert!(TUNABLE.is_sorted_by(|a, b| a.name < b.name));
    for entry in TUNABLE {
        assert_eq!(tunable(entry.name), Some(entry));
        assert!(matches!(entry.kind, Kind::Flag | Kind::Number { .. }));
        if let Kind::Number { least, most } = entry.kind {
            assert!(least < most, "{}", entry.name);
        }
    }
}

fn a_name() -> impl Strategy<Value = String> {
    let known: Vec<String> = TUNABLE.iter().map(|entry| entry.name.to_owned()).collect();
    prop_oneof![9 => proptest::sample::select(known), 1 => "[a-z_]{0,20}"]
}

fn a_value() -> impl Strategy<Value = String> {
    prop_oneof![
        number().prop_map(|number| number.to_string()),
        (0..9_000_u64).prop_map(|number| format!("{number}M")),
        "(ON|OFF|on|[0-9]{1,4}[kKmMgGtTx]?|\\PC{0,6})",
    ]
}

prop_compose! {
    fn a_setting()(name in a_name(), value in a_value(), by_person in proptest::bool::weighted(0.1)) -> Setting {
        Setting { name, value, by_person }
    }
}

prop_compose! {
    fn any_tuned()(
        (memory_bytes, backup_every_s, changed_s) in (maybe(number()), maybe(number()), maybe(number())),
        settings in proptest::collection::vec(a_setting(), 0..30),
        cooldown_s in 0..9_u64,
        unsettled in proptest::option::weighted(0.1, Just("it is not".to_owned())),
    ) -> tuning::Present {
        tuning::Present { resources: Resources { memory_bytes, cpu_millicores: None }, settings, changed_s, cooldown_s,
            backup_every_s, unsettled, ..tuning::Present::default() }
    }
}

/// A present and changes of which many are near it.
fn any_changes() -> impl Strategy<Value = (tuning::Present, Vec<Change>)> {
    let near = |settings: Vec<Setting>| {
        let one = (proptest::sample::select(settings), 70..130_u64).prop_map(|(setting, percent)| {
            let number = setting.value.parse::<u64>().unwrap_or(1);
            change(&setting.name, &(number / 100).saturating_mul(percent).to_string())
        });
        proptest::collection::vec(one, 0..6)
    };
    any_tuned().prop_flat_map(move |present| {
        let any = (a_name(), a_value()).prop_map(|(name, value)| change(&name, &value));
        let any = proptest::collection::vec(any, 0..6).boxed();
        let changes =
            if present.settings.is_empty() { any } else { prop_oneof![near(present.settings.clone()), any].boxed() };
        (Just(present), changes)
    })
}

proptest! {
    #[test]
    fn what_is_set_is_within_every_bound((present, changes) in any_changes()) {
        let verdict = tuning::guard(&present, &tuning::Answer { reason: String::new(), changes: changes.clone() });
        prop_assert!(verdict.refused.len() + usize::from(verdict.granted.is_some()) <= changes.len());
        let Some(granted) = verdict.granted else { return Ok(()) };
        let entry = tunable(granted.name()).unwrap();
        let setting = present.setting(granted.name()).unwrap();
        let (now, value) = (parse(entry.kind, &setting.value).unwrap(), parse(entry.kind, granted.value()).unwrap());
        prop_assert!(!setting.by_person && now != value);
        prop_assert!(present.unsettled.is_none() && present.changed_s.is_none_or(|ago| ago >= present.cooldown_s));
        if let Kind::Number { least, most } = entry.kind {
            let beyond = |number: u64| least.saturating_sub(number).max(number.saturating_sub(most));
            prop_assert!(beyond(value) == 0 || beyond(value) < beyond(now));
            prop_assert!(u128::from(value.abs_diff(now)) * 100 <= u128::from(now) * 25 || value.abs_diff(now) == 1);
        }
        if granted.name() == "innodb_buffer_pool_size" && value > now {
            prop_assert!(u128::from(value) * 100 <= u128::from(present.resources.memory_bytes.unwrap()) * 80);
        }
        if granted.name() == "max_connections" && value > now {
            let session = session_bytes(|_, _| 0);
            prop_assert!(value.saturating_mul(session) <= present.resources.memory_bytes.unwrap());
        }
        if granted.name() == "binlog_expire_logs_seconds" {
            prop_assert!(present.backup_every_s.is_none_or(|every| value >= every));
        }
    }
}

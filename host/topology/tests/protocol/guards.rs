//! Whatever a policy wishes, what the guards of scaling and tuning let through is within every bound.

use proptest::prelude::*;
use rstest::rstest;
use topology::measured::Resources;
use topology::scaling::{self, Bounds, Range, Wish};
use topology::tuning::{self, Change, Kind, Setting, TUNABLE, parse, session_bytes, tunable};

const GIB: u64 = 1 << 30;

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

/// Numbers of which many are near the ones that matter.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..12_u64, 400..9_000_u64, (0..24_u64).prop_map(|gib| gib * GIB), any::<u64>()]
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(of: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>> {
    proptest::option::of(of).boxed()
}

fn range() -> impl Strategy<Value = Range> {
    (number(), number()).prop_map(|(least, most)| Range { least, most })
}

fn some_resources() -> impl Strategy<Value = Resources> {
    (maybe(number()), maybe(number()))
        .prop_map(|(cpu_millicores, memory_bytes)| Resources { cpu_millicores, memory_bytes })
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

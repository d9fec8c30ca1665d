use rstest::rstest;

use super::*;

fn sized() -> Sizing {
    sizing(Some("2Gi"), Some("2"), "10Gi")
}

fn config(name: &str, value: &str) -> BTreeMap<String, OptionValue> {
    BTreeMap::from([(name.to_owned(), OptionValue::Text(value.to_owned()))])
}

fn refusal(name: &str, value: &str) -> Problem {
    check(&config(name, value), &sized()).expect_err(&format!("{name} = {value} was let pass")).remove(0)
}

/// The guardrail: each of these would break durability, replication, the single primary, or the start of mysqld.
#[rstest]
#[case("sync_binlog", "0")]
#[case("sync-binlog", "100")]
#[case("SYNC_BINLOG", "0")]
#[case("innodb_flush_log_at_trx_commit", "2")]
#[case("innodb_doublewrite", "OFF")]
#[case("skip_innodb_doublewrite", "")]
#[case("disable-innodb-doublewrite", "1")]
#[case("loose_innodb_doublewrite", "OFF")]
#[case("loose-skip-innodb-doublewrite", "1")]
#[case("loose_sync_binlog", "0")]
#[case("loose_sync_binlo", "0")]
#[case("innodb_force_recovery", "1")]
#[case("gtid_mode", "OFF")]
#[case("gtid_next", "AUTOMATIC")]
#[case("enforce_gtid_consistency", "WARN")]
#[case("log_bin", "other")]
#[case("skip-log-bin", "")]
#[case("disable_log_bin", "1")]
#[case("log_replica_updates", "OFF")]
#[case("binlog_format", "STATEMENT")]
#[case("binlog_row_image", "MINIMAL")]
#[case("binlog_order_commits", "OFF")]
#[case("rpl_semi_sync_source_enabled", "OFF")]
#[case("loose_rpl_semi_sync_source_timeout", "1000")]
#[case("read_only", "ON")]
#[case("super_read_only", "OFF")]
#[case("offline_mode", "OFF")]
#[case("relay_log_recovery", "ON")]
#[case("sync_relay_log", "0")]
#[case("sync_relay_log_info", "0")]
#[case("replica_preserve_commit_order", "OFF")]
#[case("server_id", "7")]
#[case("server_uuid", "x")]
#[case("replicate_do_db", "app")]
#[case("binlog_ignore_db", "app")]
#[case("skip_replica_start", "OFF")]
#[case("replication_sender_observe_commit_only", "ON")]
#[case("tc_heuristic_recover", "COMMIT")]
#[case("datadir", "/tmp")]
#[case("socket", "/tmp/s")]
#[case("port", "3307")]
#[case("admin_port", "1")]
#[case("lower_case_table_names", "1")]
#[case("secure_file_priv", "/")]
#[case("plugin_load_add", "x=x.so")]
#[case("init_file", "/tmp/x")]
#[case("authentication_policy", "mysql_native_password")]
#[case("persisted_globals_load", "ON")]
#[case("skip_grant_tables", "ON")]
#[case("skip_networking", "ON")]
fn what_promises_rest_on_is_refused(#[case] name: &str, #[case] value: &str) {
    let problem = refusal(name, value);
    assert_eq!(problem.field, format!("spec.config.{name}"));
    assert!(!problem.remedy.is_empty());
}

#[rstest]
#[case("expire_logs_days")]
#[case("default-authentication-plugin")]
#[case("binlog_transaction_dependency_tracking")]
#[case("transaction_write_set_extraction")]
#[case("master_info_repository")]
#[case("relay_log_info_repository")]
#[case("skip_host_cache")]
#[case("slave_rows_search_algorithms")]
#[case("log_bin_use_v1_row_events")]
#[case("innodb_log_file_size")]
#[case("innodb_log_files_in_group")]
#[case("innodb_undo_tablespaces")]
#[case("replica_parallel_type")]
#[case("temptable_use_mmap")]
#[case("mysql_native_password")]
fn what_a_supported_series_does_not_start_with_is_refused(#[case] name: &str) {
    assert!(refusal(name, "1").message.contains("does not start"), "{}", refusal(name, "1"));
}

#[rstest]
#[case("max_connections", "abc")]
#[case("max_connections", "5x")]
#[case("max_connections", "3")]
#[case("innodb_buffer_pool_size", "1.5G")]
#[case("innodb_buffer_pool_size", "1900M")]
#[case("general_log", "perhaps")]
#[case("sql_mode", "")]
#[case("sql_mode", "ANSI\nskip_grant_tables")]
#[case("init_connect", "SET @a='\"'")]
#[case("binlog_group_commit_sync_delay", "5000")]
#[case("binlog_expire_logs_seconds", "60")]
#[case("[client]\nx", "1")]
#[case("", "1")]
fn values_that_mysqld_would_choke_on_are_refused(#[case] name: &str, #[case] value: &str) {
    refusal(name, value);
}

#[rstest]
#[case("max_connections", "500", Some("max_connections"))]
#[case("max-connections", "500", Some("max_connections"))]
#[case("long_query_time", "0.5", Some("long_query_time"))]
#[case("innodb_buffer_pool_size", "1G", Some("innodb_buffer_pool_size"))]
#[case("innodb_io_capacity", "2k", Some("innodb_io_capacity"))]
#[case("log_bin_trust_function_creators", "ON", Some("log_bin_trust_function_creators"))]
#[case("skip_name_resolve", "OFF", Some("skip_name_resolve"))]
#[case("loose_thread_pool_size", "16", Some("loose_thread_pool_size"))]
#[case("sync_binlog", "1", None)]
#[case("binlog_format", "row", None)]
#[case("gtid_mode", "ON", None)]
fn what_is_harmless_passes(#[case] name: &str, #[case] value: &str, #[case] written: Option<&str>) {
    let accepted = check(&config(name, value), &sized()).unwrap();
    assert_eq!(accepted.keys().next().map(String::as_str), written);
}

#[test]
fn a_typing_error_is_answered_with_the_right_name() {
    assert!(refusal("max_conections", "500").remedy.contains("max_connections"));
    assert!(refusal("skip_general_log", "1").remedy.contains("general_log"));
}

#[test]
fn one_option_cannot_be_set_twice() {
    let mut twice = config("max_connections", "100");
    twice.extend(config("max-connections", "200"));
    check(&twice, &sized()).unwrap_err();
}

#[test]
fn every_problem_is_told_at_once() {
    let mut bad = config("sync_binlog", "0");
    bad.extend(config("datadir", "/x"));
    assert_eq!(check(&bad, &sized()).unwrap_err().len(), 2);
}

#[test]
fn what_a_person_sets_wins_over_what_follows_from_the_size() {
    let accepted = check(&config("innodb_redo_log_capacity", "1G"), &sized()).unwrap();
    let file = render(&accepted, &sized());
    assert!(file.contains("\ninnodb_redo_log_capacity = 1G\n"), "{file}");
    assert!(!file.contains("loose_innodb_redo_log_capacity"), "{file}");
}

#[test]
fn values_are_quoted_where_my_cnf_would_misread_them() {
    assert_eq!(quoted("a#b"), "\"a#b\"");
    assert_eq!(quoted("SET @a = \"x\""), "'SET @a = \"x\"'");
    assert_eq!(quoted("a\\b"), "a\\\\b");
    assert_eq!(quoted("64M"), "64M");
}

#[rstest]
#[case("512Mi")]
#[case("1Gi")]
#[case("2Gi")]
#[case("8Gi")]
#[case("256Gi")]
fn the_buffer_pool_leaves_room_for_the_rest(#[case] memory: &str) {
    let bytes = quantity::units(memory).unwrap();
    let options = defaults(&sizing(Some(memory), None, "10Gi"), &BTreeMap::new());
    let pool: u64 = options["innodb_buffer_pool_size"].parse().unwrap();
    assert!(pool >= 5 << 20 && pool <= bytes / 10 * 7, "{pool} of {bytes}");
    if bytes > 1 << 30 {
        // Once it is full, with what is known of its pages, and with temporary tables as large as they get.
        let taken = pool + pool / 12 + options["temptable_max_ram"].parse::<u64>().unwrap();
        assert!(bytes - taken >= 640 << 20, "{pool} of {bytes}");
    }
}

#[test]
fn there_are_always_enough_appliers_to_catch_up_quickly() {
    let workers = |cpu| defaults(&sizing(None, cpu, "1Gi"), &BTreeMap::new())["replica_parallel_workers"].clone();
    assert_eq!(workers(None), "16");
    assert_eq!(workers(Some("100m")), "16");
    assert_eq!(workers(Some("8")), "32");
}

#[test]
fn the_logs_leave_room_for_data_on_a_small_volume() {
    let options = defaults(&sizing(Some("64Gi"), None, "1Gi"), &BTreeMap::new());
    let size = |name: &str| options[name].parse::<u64>().unwrap();
    assert!(size("loose_innodb_redo_log_capacity") + 2 * size("max_binlog_size") < 1 << 28);
}

proptest::proptest! {
    #[test]
    fn no_name_or_value_panics_or_adds_a_line(name in ".{0,30}", value in ".{0,30}") {
        if let Ok(accepted) = check(&config(&name, &value), &sized()) {
            let lines = |options: &BTreeMap<String, String>| render(options, &sized()).lines().count();
            proptest::prop_assert!(lines(&accepted) <= lines(&BTreeMap::new()) + 1);
        }
    }
}

#[test]
fn no_policy_may_tune_what_a_person_may_not_set() {
    for entry in topology::tuning::TUNABLE {
        assert_eq!(rule_for(entry.name), None, "{}", entry.name);
        assert!(kind_of(entry.name).is_some(), "mysqld knows no {}", entry.name);
    }
}

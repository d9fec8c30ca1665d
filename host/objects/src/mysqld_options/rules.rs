//! Which options of mysqld are not for people to set, and why.
//!
//! An option is here because a promise rests on it: that an acknowledged write survives, that there is one
//! writable primary, or that mysqld starts. It must never be here because of taste.

/// What is done about an option that somebody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Refused, with the reason and what to do instead.
    Refuse(&'static str, &'static str),
    /// Only these values, which Grampus sets anyway, are let pass.
    Only(&'static [&'static str], &'static str),
}

use Rule::{Only, Refuse};

const LEAVE: &str = "leave it out";
const ON: &[&str] = &["ON", "1", "TRUE"];

const DURABILITY: &str = "acknowledged writes rest on it";
const REPLICATION: &str = "Grampus replicates with it";
const ROLES: &str = "Grampus uses it to keep one writable primary";
const FILES: &str = "Grampus lays out the data volume";
const NETWORK: &str = "the Services, the probes and the agent rest on it";
const PLUGINS: &str = "Grampus loads the plugins it needs, and code that it does not know could stop mysqld";
const REMOVED: &str = "mysqld of series 8.4 or 9.7 does not start with it";

/// Options by their full name.
pub(super) const BY_NAME: &[(&str, Rule)] = &[
    ("sync_binlog", Only(&["1"], DURABILITY)),
    ("innodb_flush_log_at_trx_commit", Only(&["1"], DURABILITY)),
    ("innodb_doublewrite", Only(&["ON", "1", "TRUE", "DETECT_AND_RECOVER"], DURABILITY)),
    ("binlog_format", Only(&["ROW"], REPLICATION)),
    ("binlog_row_image", Only(&["FULL"], REPLICATION)),
    ("binlog_order_commits", Only(ON, REPLICATION)),
    ("binlog_gtid_simple_recovery", Only(ON, REPLICATION)),
    ("gtid_mode", Only(&["ON"], REPLICATION)),
    ("enforce_gtid_consistency", Only(ON, REPLICATION)),
    ("log_replica_updates", Only(ON, REPLICATION)),
    ("log_slave_updates", Only(ON, REPLICATION)),
    ("replica_preserve_commit_order", Only(ON, REPLICATION)),
    ("slave_preserve_commit_order", Only(ON, REPLICATION)),
    ("performance_schema", Only(ON, "Grampus reads the state of replication there")),
    ("innodb_force_recovery", Refuse(DURABILITY, "leave it out; a damaged member is cloned again")),
    ("innodb_read_only", Refuse(ROLES, LEAVE)),
    ("innodb_fast_shutdown", Refuse(DURABILITY, LEAVE)),
    ("innodb_checksum_algorithm", Only(&["crc32", "strict_crc32"], "a torn page must be noticed")),
    ("innodb_page_size", Refuse(FILES, LEAVE)),
    ("tc_heuristic_recover", Refuse(DURABILITY, LEAVE)),
    ("replication_sender_observe_commit_only", Refuse(DURABILITY, LEAVE)),
    ("replication_optimize_for_static_plugin_config", Refuse(DURABILITY, LEAVE)),
    ("log_bin", Refuse(REPLICATION, LEAVE)),
    ("log_bin_index", Refuse(REPLICATION, LEAVE)),
    ("log_bin_basename", Refuse(REPLICATION, LEAVE)),
    ("binlog_do_db", Refuse(REPLICATION, "leave it out; every member holds every database")),
    ("binlog_ignore_db", Refuse(REPLICATION, "leave it out; every member holds every database")),
    ("binlog_checksum", Refuse(REPLICATION, LEAVE)),
    ("binlog_encryption", Refuse("mysqld does not start with it unless it has a keyring", LEAVE)),
    ("relay_log", Refuse(REPLICATION, LEAVE)),
    ("relay_log_index", Refuse(REPLICATION, LEAVE)),
    ("relay_log_purge", Refuse(REPLICATION, LEAVE)),
    ("relay_log_recovery", Refuse("acknowledged writes that are only in the relay log would be thrown away", LEAVE)),
    ("relay_log_space_limit", Refuse("a full relay log stops acknowledgements", LEAVE)),
    ("replica_skip_errors", Refuse("replicas would differ from the primary", LEAVE)),
    ("slave_skip_errors", Refuse("replicas would differ from the primary", LEAVE)),
    ("replica_exec_mode", Refuse("replicas would differ from the primary", LEAVE)),
    ("slave_exec_mode", Refuse("replicas would differ from the primary", LEAVE)),
    ("replica_net_timeout", Refuse(REPLICATION, LEAVE)),
    ("slave_net_timeout", Refuse(REPLICATION, LEAVE)),
    ("init_replica", Refuse(REPLICATION, LEAVE)),
    ("init_slave", Refuse(REPLICATION, LEAVE)),
    ("skip_replica_start", Refuse(ROLES, LEAVE)),
    ("skip_slave_start", Refuse(ROLES, LEAVE)),
    ("server_id", Refuse("each member has its own", LEAVE)),
    ("server_id_bits", Refuse("each member has its own server_id", LEAVE)),
    ("server_uuid", Refuse("each member has its own", LEAVE)),
    ("report_host", Refuse(REPLICATION, LEAVE)),
    ("report_port", Refuse(REPLICATION, LEAVE)),
    ("report_user", Refuse(REPLICATION, LEAVE)),
    ("report_password", Refuse(REPLICATION, LEAVE)),
    ("read_only", Refuse(ROLES, LEAVE)),
    ("super_read_only", Refuse(ROLES, LEAVE)),
    ("transaction_read_only", Refuse(ROLES, LEAVE)),
    ("offline_mode", Refuse(ROLES, LEAVE)),
    ("autocommit", Refuse("the agent's own sessions rest on it", LEAVE)),
    ("persisted_globals_load", Refuse("SET PERSIST would override what Grampus sets", LEAVE)),
    ("persist_only_admin_x509_subject", Refuse("SET PERSIST would override what Grampus sets", LEAVE)),
    ("persist_sensitive_variables_in_plaintext", Refuse("SET PERSIST would override what Grampus sets", LEAVE)),
    (
        "lower_case_table_names",
        Refuse(
            "it is fixed when the data directory is made",
            "set spec.bootstrap.new.lowerCaseTableNames when you create a cluster",
        ),
    ),
    ("datadir", Refuse(FILES, LEAVE)),
    ("basedir", Refuse("it belongs to the image", LEAVE)),
    ("tmpdir", Refuse(FILES, LEAVE)),
    ("replica_load_tmpdir", Refuse(FILES, LEAVE)),
    ("slave_load_tmpdir", Refuse(FILES, LEAVE)),
    ("secure_file_priv", Refuse("the container's file system is read-only", LEAVE)),
    ("pid_file", Refuse(FILES, LEAVE)),
    ("socket", Refuse(NETWORK, LEAVE)),
    ("port", Refuse(NETWORK, LEAVE)),
    ("port_open_timeout", Refuse(NETWORK, LEAVE)),
    ("bind_address", Refuse(NETWORK, LEAVE)),
    ("skip_networking", Refuse(NETWORK, LEAVE)),
    ("create_admin_listener_thread", Refuse(NETWORK, LEAVE)),
    ("named_pipe", Refuse(NETWORK, LEAVE)),
    ("require_secure_transport", Refuse("an option for TLS will come with its own field", LEAVE)),
    ("skip_ssl", Refuse(NETWORK, LEAVE)),
    ("auto_generate_certs", Refuse("the certificates come from the cluster's own authority", LEAVE)),
    ("caching_sha2_password_auto_generate_rsa_keys", Refuse(FILES, LEAVE)),
    ("sha256_password_auto_generate_rsa_keys", Refuse(FILES, LEAVE)),
    ("log_error", Refuse("the agent passes the error log on to the container's output", LEAVE)),
    ("log_error_services", Refuse("the agent reads the error log", LEAVE)),
    ("general_log_file", Refuse(FILES, "leave it out; general_log writes into the data volume")),
    ("slow_query_log_file", Refuse(FILES, "leave it out; slow_query_log writes into the data volume")),
    ("plugin_load", Refuse(PLUGINS, LEAVE)),
    ("plugin_load_add", Refuse(PLUGINS, LEAVE)),
    ("early_plugin_load", Refuse(PLUGINS, LEAVE)),
    ("plugin_dir", Refuse(PLUGINS, LEAVE)),
    ("default_authentication_plugin", Refuse(REMOVED, "use authentication_policy")),
    ("authentication_policy", Refuse("the accounts of Grampus rest on caching_sha2_password", LEAVE)),
    ("mysql_native_password", Refuse(REMOVED, "leave it out and let clients use caching_sha2_password")),
    ("init_file", Refuse("the agent sets the server up", "leave it out; run SQL through the Service")),
    ("skip_grant_tables", Refuse("everybody would be let in", LEAVE)),
    ("skip_stack_trace", Refuse("mysqld's last words are needed", LEAVE)),
    ("initialize", Refuse("the agent initialises the first member", LEAVE)),
    ("initialize_insecure", Refuse("the agent initialises the first member", LEAVE)),
    ("daemonize", Refuse("mysqld must stay the agent's child", LEAVE)),
    ("user", Refuse("the pod has a fixed user", LEAVE)),
    ("chroot", Refuse("the pod has a fixed user", LEAVE)),
    ("super_large_pages", Refuse("the container has no huge pages", LEAVE)),
    ("large_pages", Refuse("the container has no huge pages", LEAVE)),
    ("memlock", Refuse("the container may not lock memory", LEAVE)),
    ("gdb", Refuse("signals are the agent's", LEAVE)),
    ("debug_sync_timeout", Refuse("it is for debugging mysqld", LEAVE)),
    ("core_file", Refuse("core files would fill the data volume", LEAVE)),
    ("help", Refuse("mysqld would only print it and end", LEAVE)),
    ("verbose", Refuse("mysqld would only print it and end", LEAVE)),
    ("version", Refuse("mysqld would only print it and end", LEAVE)),
    ("validate_config", Refuse("mysqld would only check and end", LEAVE)),
    ("upgrade", Refuse("Grampus changes versions", "set spec.image")),
    ("container_aware", Refuse("Grampus sizes mysqld from spec.resources", LEAVE)),
    ("server_memory", Refuse("Grampus sizes mysqld from spec.resources", "set spec.resources.limits.memory")),
    ("innodb_dedicated_server", Refuse("Grampus sizes mysqld from spec.resources", LEAVE)),
    ("expire_logs_days", Refuse(REMOVED, "use binlog_expire_logs_seconds")),
    ("binlog_transaction_dependency_tracking", Refuse(REMOVED, LEAVE)),
    ("transaction_write_set_extraction", Refuse(REMOVED, LEAVE)),
    ("master_info_repository", Refuse(REMOVED, LEAVE)),
    ("relay_log_info_repository", Refuse(REMOVED, LEAVE)),
    ("skip_host_cache", Refuse(REMOVED, "use host_cache_size: 0")),
    ("slave_rows_search_algorithms", Refuse(REMOVED, LEAVE)),
    ("log_bin_use_v1_row_events", Refuse(REMOVED, LEAVE)),
    ("innodb_log_file_size", Refuse(REMOVED, "use innodb_redo_log_capacity")),
    ("innodb_log_files_in_group", Refuse(REMOVED, "use innodb_redo_log_capacity")),
    ("innodb_undo_tablespaces", Refuse(REMOVED, LEAVE)),
    ("replica_parallel_type", Refuse(REMOVED, LEAVE)),
    ("slave_parallel_type", Refuse(REMOVED, LEAVE)),
    ("temptable_use_mmap", Refuse(REMOVED, "use temptable_max_mmap: 0")),
];

/// Options by how their name begins.
pub(super) const BY_PREFIX: &[(&str, Rule)] = &[
    ("rpl_semi_sync_", Refuse("acknowledged writes rest on semi-sync replication", "set spec.durability.acks")),
    ("gtid_", Refuse(REPLICATION, LEAVE)),
    ("replicate_", Refuse("every member holds every table", LEAVE)),
    ("group_replication_", Refuse("Grampus does not use group replication", LEAVE)),
    ("clone_", Refuse("Grampus clones members with it", LEAVE)),
    ("sync_relay_log", Refuse(DURABILITY, LEAVE)),
    ("sync_source_info", Refuse(DURABILITY, LEAVE)),
    ("sync_master_info", Refuse(DURABILITY, LEAVE)),
    ("source_", Refuse(REPLICATION, LEAVE)),
    ("master_", Refuse(REPLICATION, LEAVE)),
    ("innodb_force_", Refuse(DURABILITY, LEAVE)),
    ("innodb_data_", Refuse(FILES, LEAVE)),
    ("innodb_directories", Refuse(FILES, LEAVE)),
    ("innodb_doublewrite_", Refuse(DURABILITY, LEAVE)),
    ("innodb_log_group_home_dir", Refuse(FILES, LEAVE)),
    ("innodb_redo_log_archive_dirs", Refuse(FILES, LEAVE)),
    ("innodb_redo_log_encrypt", Refuse("mysqld does not start with it unless it has a keyring", LEAVE)),
    ("innodb_undo_directory", Refuse(FILES, LEAVE)),
    ("innodb_undo_log_encrypt", Refuse("mysqld does not start with it unless it has a keyring", LEAVE)),
    ("innodb_temp_", Refuse(FILES, LEAVE)),
    ("innodb_tmpdir", Refuse(FILES, LEAVE)),
    ("ssl_", Refuse("the certificates come from the cluster's own authority", LEAVE)),
    ("tls_", Refuse("an option for TLS will come with its own field", LEAVE)),
    ("admin_", Refuse(NETWORK, LEAVE)),
    ("mysqlx", Refuse("the Services carry the classic protocol only", LEAVE)),
    ("ndb", Refuse("Grampus does not run NDB", LEAVE)),
    ("debug", Refuse("it is for debugging mysqld", LEAVE)),
];

/// The rule for an option, given its plain name with underscores.
pub(super) fn rule_for(name: &str) -> Option<Rule> {
    let exact = BY_NAME.iter().find(|(blocked, _)| *blocked == name);
    exact.or_else(|| BY_PREFIX.iter().find(|(prefix, _)| name.starts_with(prefix))).map(|(_, rule)| *rule)
}

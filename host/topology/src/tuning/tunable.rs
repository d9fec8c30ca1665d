//! The settings that a policy may change at all. Whatever is not listed is refused: what durability, replication and
//! roles rest on is not in the list, and neither is what nobody has thought about yet.
//!
//! Bounds are where mysqld still works sensibly, not where it works best: that is a policy's to say. A setting must
//! never be listed that `spec.config` refuses.

/// What the value of a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, of whatever unit mysqld gives it.
    Number {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// `ON` or `OFF`.
    Flag,
}

/// A setting that a policy may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunable {
    /// Its name, with underscores.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether mysqld takes a new value while it runs. Others want a restart.
    pub while_running: bool,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn number(name: &'static str, least: u64, most: u64) -> Tunable {
    Tunable { name, kind: Kind::Number { least, most }, while_running: true }
}

const fn at_start(name: &'static str, least: u64, most: u64) -> Tunable {
    Tunable { name, kind: Kind::Number { least, most }, while_running: false }
}

const fn flag(name: &'static str) -> Tunable {
    Tunable { name, kind: Kind::Flag, while_running: true }
}

/// All of them, sorted by name.
pub const TUNABLE: &[Tunable] = &[
    at_start("back_log", 50, 65_535),
    number("binlog_cache_size", 4 * KIB, 64 * MIB),
    // Below an hour, a member that was away could only be copied anew; backups ask for more.
    number("binlog_expire_logs_seconds", 3_600, 90 * 86_400),
    // Microseconds that every commit waits.
    number("binlog_group_commit_sync_delay", 0, 1_000),
    number("binlog_group_commit_sync_no_delay_count", 0, 10_000),
    flag("innodb_adaptive_hash_index"),
    at_start("innodb_buffer_pool_instances", 1, 64),
    number("innodb_buffer_pool_size", 32 * MIB, 64 * 1024 * GIB),
    number("innodb_flush_neighbors", 0, 2),
    number("innodb_io_capacity", 100, 1_000_000),
    number("innodb_io_capacity_max", 100, 2_000_000),
    number("innodb_log_buffer_size", MIB, GIB),
    number("innodb_lru_scan_depth", 100, 16_384),
    number("innodb_old_blocks_time", 0, 60_000),
    at_start("innodb_page_cleaners", 1, 64),
    at_start("innodb_purge_threads", 1, 32),
    number("innodb_read_ahead_threshold", 0, 64),
    at_start("innodb_read_io_threads", 1, 64),
    number("innodb_redo_log_capacity", 8 * MIB, 512 * GIB),
    number("innodb_thread_concurrency", 0, 1_000),
    at_start("innodb_write_io_threads", 1, 64),
    number("interactive_timeout", 60, 31_536_000),
    number("join_buffer_size", 128, 64 * MIB),
    number("max_connections", 10, 100_000),
    number("max_heap_table_size", 16 * KIB, 4 * GIB),
    number("read_buffer_size", 8 * KIB, 64 * MIB),
    number("read_rnd_buffer_size", 1, 64 * MIB),
    // Takes effect when the applier is started again.
    number("replica_parallel_workers", 4, 256),
    number("sort_buffer_size", 32 * KIB, 64 * MIB),
    number("table_definition_cache", 400, 524_288),
    number("table_open_cache", 400, 524_288),
    at_start("table_open_cache_instances", 1, 64),
    number("temptable_max_ram", 2 * MIB, 64 * GIB),
    number("thread_cache_size", 0, 16_384),
    number("tmp_table_size", KIB, 4 * GIB),
    number("wait_timeout", 60, 31_536_000),
];

/// The entry of a name.
pub fn tunable(name: &str) -> Option<&'static Tunable> {
    TUNABLE.binary_search_by(|entry| entry.name.cmp(name)).ok().and_then(|at| TUNABLE.get(at))
}

/// The number that a value stands for: a whole one, perhaps with one of mysqld's suffixes, which are powers of 1024;
/// 1 for ON and 0 for OFF.
pub fn parse(kind: Kind, value: &str) -> Option<u64> {
    match kind {
        Kind::Flag => match value.to_ascii_uppercase().as_str() {
            "ON" | "1" | "TRUE" => Some(1),
            "OFF" | "0" | "FALSE" => Some(0),
            _ => None,
        },
        Kind::Number { .. } => {
            let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
            let shift = match value[digits.len()..].to_ascii_uppercase().as_str() {
                "" => 0,
                "K" => 10,
                "M" => 20,
                "G" => 30,
                "T" => 40,
                _ => return None,
            };
            let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| whole)?.checked_mul(1 << shift)
        }
    }
}

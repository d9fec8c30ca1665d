//! What was measured of a server over a window of time, for policies that scale and tune.
//!
//! Rates and shares, never raw counters: a counter means nothing without the time it was counted in. What was not
//! measured is None and must never be read as nothing.

use serde::{Deserialize, Serialize};

/// Processor time and memory that a server may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Thousandths of a processor. None where there is no limit.
    pub cpu_millicores: Option<u64>,
    /// Bytes of memory. None where there is no limit.
    pub memory_bytes: Option<u64>,
}

/// The load of one server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Load {
    /// The seconds that all of this was measured over. 0 where nothing was.
    pub window_s: u64,
    /// Thousandths of a thread that ran a statement on average (`Threads_running`).
    pub running_threads_milli: Option<u64>,
    /// The most threads that ran a statement at once.
    pub running_threads_peak: Option<u64>,
    /// Thousandths of a processor used on average (`cpu.stat` of the cgroup).
    pub cpu_used_millicores: Option<u64>,
    /// Thousandths of the scheduler's periods in which the container was throttled.
    pub cpu_throttled_permille: Option<u64>,
    /// Statements a second.
    pub queries_per_second: Option<u64>,
    /// Of these, statements that read (`Com_select`).
    pub reads_per_second: Option<u64>,
    /// Of these, statements that change rows.
    pub writes_per_second: Option<u64>,
    /// The time, in microseconds, that 95 of 100 statements stayed below.
    pub statement_p95_micros: Option<u64>,
    /// The most connections at once.
    pub connections_peak: Option<u64>,
    /// The most connections that are allowed (`max_connections`).
    pub connections_limit: Option<u64>,
    /// Pages a second that had to be read from the volume (`Innodb_buffer_pool_reads`).
    pub buffer_pool_misses_per_second: Option<u64>,
    /// Thousandths of requests for a page that found it in the buffer pool.
    pub buffer_pool_hit_permille: Option<u64>,
    /// How long a read of a data file took on average, in microseconds.
    pub data_read_micros: Option<u64>,
    /// How long a write to a data file took on average, in microseconds.
    pub data_write_micros: Option<u64>,
    /// Waits for a lock of a row, in a minute.
    pub row_lock_waits_per_minute: Option<u64>,
    /// Versions of rows that purge has yet to remove, at the end of the window (`trx_rseg_history_len`).
    pub history_list_length: Option<u64>,
    /// How far it is behind its source, in seconds, at the end of the window. None for a primary, too.
    pub replication_lag_s: Option<u64>,
    /// Bytes of memory that cannot be taken from the container, at the end of the window.
    pub memory_working_set_bytes: Option<u64>,
    /// How often the container ran out of memory.
    pub oom_kills: Option<u64>,
    /// Bytes that are free on the volume, at the end of the window.
    pub volume_free_bytes: Option<u64>,
    /// Bytes by which what is used of the volume grows in an hour; negative where it shrinks.
    pub volume_growth_bytes_per_hour: Option<i64>,
    /// How long a commit waited for its acknowledgement on average, in microseconds. None for a replica, too.
    pub semi_sync_wait_micros: Option<u64>,
}

//! What an agent has measured of its server and its container: what was counted over the last minute and the last hour,
//! and how things stand.
//!
//! These are observations for policies that scale, tune and weigh, told now and then. Nothing that keeps a promise may
//! rest on them: they are up to a minute old, and an older agent tells none. What was not measured is None, and must
//! never be read as nothing.

use serde::{Deserialize, Serialize};

/// Everything an agent has measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Signals {
    /// The last minute. None until something was counted in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minute: Option<Window>,
    /// The last hour, or as much of it as the agent has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<Window>,
    /// How things stand.
    pub now: Gauges,
    /// Settings in force, each with its value: those of [`crate::tuning::TUNABLE`] that the server has, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, String)>,
    /// Why nothing is told of the server though it answers its agent, if that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What was counted over a stretch of time that ended a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Window {
    /// For how many milliseconds of it the server was counted: less than the whole where it was stopped, was started
    /// anew or did not answer.
    pub served_ms: u64,
    /// For how many milliseconds the container was.
    pub elapsed_ms: u64,
    /// By how much the server's counters grew.
    pub server: ServerCounters,
    /// By how much the container's did.
    pub container: ContainerCounters,
    /// Thousandths of a thread that ran a statement, on average over the samples, less the one that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_threads_milli: Option<u64>,
    /// The most threads that ran a statement in any sample, less the one that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_threads_peak: Option<u64>,
    /// The most connections in any sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_peak: Option<u64>,
    /// By how many bytes what is used of the volume grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_growth_bytes: Option<i64>,
}

/// A struct of numbers that may each be missing, and what all of them can be put through.
macro_rules! numbers {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(#[$of])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<u64>,)*
        }

        impl $name {
            /// Each number put together with the other's of the same name.
            #[must_use]
            pub fn with(&self, other: &Self, put: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) -> Self {
                Self { $($field: put(self.$field, other.$field),)* }
            }
        }
    };
}

numbers! {
    /// What mysqld counts.
    ServerCounters {
        /// Statements (`Questions`), those of the agent among them.
        questions,
        /// Of these, `SELECT`s (`Com_select`).
        reads,
        /// Statements of the agent itself, which asks several times a second
        /// (`events_statements_summary_by_user_by_event_name`).
        agent_questions,
        /// Of these, `SELECT`s.
        agent_reads,
        /// Of these, statements that change rows (`Com_insert`, `Com_update`, `Com_delete`, `Com_replace` and what
        /// they have for several tables, `Com_load`).
        writes,
        /// Transactions executed: by how many `gtid_executed` grew, whether by clients or by the applier.
        transactions,
        /// Transactions executed in stretches that the applier began and ended with something before it.
        behind_transactions,
        /// How long those stretches were, in milliseconds.
        behind_ms,
        /// Transactions that it came to know: by how many what was executed or received grew.
        received_transactions,
        /// Attempts to connect (`Connections`).
        connections,
        /// Threads made for connections (`Threads_created`).
        threads_created,
        /// Connections that ended without being closed (`Aborted_clients`).
        aborted_clients,
        /// Attempts to connect that failed (`Aborted_connects`).
        aborted_connects,
        /// Attempts that failed because there were too many (`Connection_errors_max_connections`).
        refused_connections,
        /// Requests for a page (`Innodb_buffer_pool_read_requests`).
        page_requests,
        /// Of these, requests that had to read from the volume (`Innodb_buffer_pool_reads`).
        page_misses,
        /// Waits for a free page (`Innodb_buffer_pool_wait_free`).
        free_page_waits,
        /// Waits for a lock of a row (`Innodb_row_lock_waits`).
        row_lock_waits,
        /// Bytes written to the redo log (`Innodb_os_log_written`).
        redo_written_bytes,
        /// Waits for room in the log buffer (`Innodb_log_waits`).
        log_waits,
        /// Internal temporary tables (`Created_tmp_tables`).
        tmp_tables,
        /// Of these, tables on the volume (`Created_tmp_disk_tables`).
        tmp_disk_tables,
        /// Tables that the cache did not have (`Table_open_cache_misses`).
        table_cache_misses,
        /// Tables that were put out of a full cache (`Table_open_cache_overflows`).
        table_cache_overflows,
        /// Merges of sorts that did not fit their buffer (`Sort_merge_passes`).
        sort_merge_passes,
        /// Joins without an index (`Select_full_join`).
        full_joins,
        /// Transactions that did not fit the binary log's cache (`Binlog_cache_disk_use`).
        binlog_cache_disk_uses,
        /// Commits that waited for an acknowledgement (`Rpl_semi_sync_source_tx_waits`).
        semi_sync_waits,
        /// How long they did, in microseconds (`Rpl_semi_sync_source_tx_wait_time`).
        semi_sync_wait_us,
        /// Reads of data files (`performance_schema.file_summary_by_event_name`).
        data_reads,
        /// How long they took, in microseconds.
        data_read_us,
        /// Writes to data files.
        data_writes,
        /// How long they took, in microseconds.
        data_write_us,
    }
}

numbers! {
    /// What the kernel counts of the container.
    ContainerCounters {
        /// Processor time used, in microseconds.
        cpu_us,
        /// Periods of the scheduler in which the container wanted to run. None where nothing limits it.
        cpu_periods,
        /// Of these, periods in which it was held back.
        cpu_throttled_periods,
        /// How often it ran out of memory.
        oom_kills,
    }
}

numbers! {
    /// How things stand.
    Gauges {
        /// The most connections that are allowed (`max_connections`).
        max_connections,
        /// The most at once since mysqld was started (`Max_used_connections`).
        max_used_connections,
        /// Versions of rows that purge has yet to remove (`trx_rseg_history_len`).
        history_list_length,
        /// Bytes of the buffer pool.
        buffer_pool_bytes,
        /// Of these, bytes that hold data.
        buffer_pool_data_bytes,
        /// Of these, bytes that are not written back.
        buffer_pool_dirty_bytes,
        /// Bytes of redo log that a recovery would have to read.
        checkpoint_age_bytes,
        /// Bytes of transactions that were received and not yet executed. None where the server does not tell: 9.7
        /// with `component_replication_applier_metrics` does.
        pending_bytes,
        /// Bytes of memory that cannot be taken from the container.
        memory_working_set_bytes,
        /// Bytes of memory that it may have. None where there is no limit.
        memory_limit_bytes,
        /// Thousandths of a processor that it may have. None where there is no limit.
        cpu_limit_millicores,
        /// Bytes that are free on the volume.
        volume_free_bytes,
        /// Bytes that the volume has.
        volume_bytes,
    }
}

impl Window {
    /// How often a second something of the server's was counted.
    pub fn per_second(&self, counted: Option<u64>) -> Option<u64> {
        rate(counted?, 1_000, self.served_ms)
    }

    /// How often a minute.
    pub fn per_minute(&self, counted: Option<u64>) -> Option<u64> {
        rate(counted?, 60_000, self.served_ms)
    }

    /// How often an hour.
    pub fn per_hour(&self, counted: Option<u64>) -> Option<u64> {
        rate(counted?, 3_600_000, self.served_ms)
    }

    /// Transactions that the applier executed in a second while it had any to execute. None where it never had.
    pub fn applied_per_second(&self) -> Option<u64> {
        rate(self.server.behind_transactions?, 1_000, self.server.behind_ms?)
    }

    /// Thousandths of a processor that the container used on average.
    pub fn cpu_used_millicores(&self) -> Option<u64> {
        rate(self.container.cpu_us?, 1, self.elapsed_ms)
    }

    /// Thousandths of the scheduler's periods in which the container was held back.
    pub fn cpu_throttled_permille(&self) -> Option<u64> {
        rate(self.container.cpu_throttled_periods?, 1_000, self.container.cpu_periods?)
    }

    /// How long, on average, each of so many took that took so long together. None where there was none.
    pub fn each(together: Option<u64>, count: Option<u64>) -> Option<u64> {
        rate(together?, 1, count?)
    }

    /// Thousandths that a part is of a whole. None where the whole is nothing.
    pub fn permille(part: Option<u64>, whole: Option<u64>) -> Option<u64> {
        rate(part?, 1_000, whole?)
    }
}

/// Rounded to the nearest: rounded down, what happens every other hour would happen never.
fn rate(counted: u64, times: u64, over: u64) -> Option<u64> {
    if over == 0 {
        return None;
    }
    let (counted, times, over) = (u128::from(counted), u128::from(times), u128::from(over));
    Some(u64::try_from((counted * times + over / 2) / over).unwrap_or(u64::MAX))
}

impl Gauges {
    /// Thousandths of the buffer pool that hold data: how warm the server is.
    pub fn buffer_pool_used_permille(&self) -> Option<u64> {
        Window::permille(self.buffer_pool_data_bytes, self.buffer_pool_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_over_the_time_that_was_counted_and_none_over_no_time() {
        let window = Window {
            served_ms: 30_000,
            elapsed_ms: 60_000,
            container: ContainerCounters { cpu_us: Some(30_000_000), ..ContainerCounters::default() },
            ..Window::default()
        };
        assert_eq!(window.per_second(Some(45)), Some(2), "one and a half is nearer to two");
        assert_eq!((window.per_minute(Some(45)), window.per_hour(Some(1))), (Some(90), Some(120)));
        assert_eq!(window.per_second(None), None);
        assert_eq!(window.cpu_used_millicores(), Some(500));
        assert_eq!(window.cpu_throttled_permille(), None, "nothing limits it");
        assert_eq!(Window::default().per_second(Some(7)), None);
        assert_eq!(window.per_hour(Some(u64::MAX)), Some(u64::MAX));
        assert_eq!(Window::each(Some(900), Some(3)), Some(300));
        assert_eq!(Window::each(Some(0), Some(0)), None);
    }

    #[test]
    fn what_a_later_agent_says_besides_is_passed_over_and_what_an_earlier_one_does_not_is_missing() {
        let said = r#"{"now": {"volumeFreeBytes": 7, "somethingNew": 1}, "decade": {}, "minute": {"servedMs": 5, "server": {"reads": 2}}}"#;
        let signals: Signals = serde_json::from_str(said).unwrap();
        assert_eq!((signals.now.volume_free_bytes, signals.now.pending_bytes), (Some(7), None));
        let minute = signals.minute.unwrap();
        assert_eq!((minute.served_ms, minute.server.reads, minute.server.writes), (5, Some(2), None));
        assert_eq!(serde_json::to_string(&Signals::default()).unwrap(), r#"{"now":{}}"#);
    }
}

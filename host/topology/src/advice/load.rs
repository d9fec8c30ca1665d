//! What was counted in a window, in the words of policies. What was not counted is None there too.

use crate::measured::Load;
use crate::signals::{Signals, Window};
use crate::tuning::Activity;

/// A growth over a shorter time than this, in milliseconds, says nothing about an hour: a single large table would.
const WORTH_AN_HOUR_MS: u64 = 600_000;

/// The load of a server.
pub(super) fn load(signals: &Signals, window: Option<&Window>, lag_s: Option<u64>) -> Load {
    let now = &signals.now;
    let gauges = Load {
        connections_limit: now.max_connections,
        history_list_length: now.history_list_length,
        replication_lag_s: lag_s,
        memory_working_set_bytes: now.memory_working_set_bytes,
        volume_free_bytes: now.volume_free_bytes,
        volume_growth_bytes_per_hour: signals.hour.as_ref().and_then(growth),
        ..Load::default()
    };
    let Some(window) = window else { return gauges };
    let counted = &window.server;
    let misses = Window::permille(counted.page_misses, counted.page_requests);
    Load {
        window_s: window.served_ms / 1_000,
        running_threads_milli: window.running_threads_milli,
        running_threads_peak: window.running_threads_peak,
        cpu_used_millicores: window.cpu_used_millicores(),
        cpu_throttled_permille: window.cpu_throttled_permille(),
        queries_per_second: window.per_second(less(counted.questions, counted.agent_questions)),
        reads_per_second: window.per_second(less(counted.reads, counted.agent_reads)),
        writes_per_second: window.per_second(counted.writes),
        statement_p95_micros: None,
        connections_peak: window.connections_peak,
        buffer_pool_misses_per_second: window.per_second(counted.page_misses),
        buffer_pool_hit_permille: misses.map(|misses| 1_000_u64.saturating_sub(misses)),
        data_read_micros: Window::each(counted.data_read_us, counted.data_reads),
        data_write_micros: Window::each(counted.data_write_us, counted.data_writes),
        row_lock_waits_per_minute: window.per_minute(counted.row_lock_waits),
        oom_kills: window.container.oom_kills,
        semi_sync_wait_micros: Window::each(counted.semi_sync_wait_us, counted.semi_sync_waits),
        ..gauges
    }
}

/// What a server did besides, at the pace of an hour.
pub(super) fn activity(signals: &Signals, window: Option<&Window>) -> Activity {
    let now = &signals.now;
    let gauges = Activity {
        checkpoint_age_bytes: now.checkpoint_age_bytes,
        dirty_pages_permille: Window::permille(now.buffer_pool_dirty_bytes, now.buffer_pool_bytes),
        buffer_pool_used_permille: now.buffer_pool_used_permille(),
        connections_peak_since_start: now.max_used_connections,
        ..Activity::default()
    };
    let Some(window) = window else { return gauges };
    let counted = &window.server;
    Activity {
        redo_written_bytes_per_hour: window.per_hour(counted.redo_written_bytes),
        log_waits_per_hour: window.per_hour(counted.log_waits),
        free_page_waits_per_hour: window.per_hour(counted.free_page_waits),
        tmp_tables_per_hour: window.per_hour(counted.tmp_tables),
        tmp_tables_on_disk_permille: Window::permille(counted.tmp_disk_tables, counted.tmp_tables),
        table_cache_misses_per_hour: window.per_hour(counted.table_cache_misses),
        table_cache_overflows_per_hour: window.per_hour(counted.table_cache_overflows),
        threads_created_per_hour: window.per_hour(counted.threads_created),
        sort_merge_passes_per_hour: window.per_hour(counted.sort_merge_passes),
        full_joins_per_hour: window.per_hour(counted.full_joins),
        binlog_cache_disk_uses_per_hour: window.per_hour(counted.binlog_cache_disk_uses),
        aborted_clients_per_hour: window.per_hour(counted.aborted_clients),
        aborted_connects_per_hour: window.per_hour(counted.aborted_connects),
        refused_connections_per_hour: window.per_hour(counted.refused_connections),
        data_bytes: None,
        ..gauges
    }
}

/// What others did, where it is known what the agent did itself.
fn less(all: Option<u64>, own: Option<u64>) -> Option<u64> {
    Some(all?.saturating_sub(own.unwrap_or(0)))
}

fn growth(hour: &Window) -> Option<i64> {
    let grown = i128::from(hour.volume_growth_bytes?);
    let over = i128::from(hour.elapsed_ms);
    if hour.elapsed_ms < WORTH_AN_HOUR_MS {
        return None;
    }
    i64::try_from(grown * 3_600_000 / over).ok()
}

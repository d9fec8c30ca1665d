//! Reads what mysqld counts, and what it is set to. It must never read a row that anybody stored, and never ask what takes
//! the server more than a few milliseconds: no table is walked, whatever there is of them.

use std::collections::HashMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use topology::signals::{Gauges, ServerCounters};
use topology::tuning::TUNABLE;

use super::SqlError;
use crate::config::{ADMIN_ACCOUNT, SIGNALS_ACCOUNT};

/// Statements that change rows.
const WRITES: [&str; 9] = [
    "Com_insert",
    "Com_insert_select",
    "Com_update",
    "Com_update_multi",
    "Com_delete",
    "Com_delete_multi",
    "Com_replace",
    "Com_replace_select",
    "Com_load",
];

/// Whatever else is read of the server's status.
const STATUS: [&str; 31] = [
    "Aborted_clients",
    "Aborted_connects",
    "Binlog_cache_disk_use",
    "Com_select",
    "Connection_errors_max_connections",
    "Connections",
    "Created_tmp_disk_tables",
    "Created_tmp_tables",
    "Innodb_buffer_pool_bytes_data",
    "Innodb_buffer_pool_bytes_dirty",
    "Innodb_buffer_pool_pages_total",
    "Innodb_buffer_pool_read_requests",
    "Innodb_buffer_pool_reads",
    "Innodb_buffer_pool_wait_free",
    "Innodb_log_waits",
    "Innodb_os_log_written",
    "Innodb_page_size",
    "Innodb_redo_log_checkpoint_lsn",
    "Innodb_redo_log_current_lsn",
    "Innodb_row_lock_waits",
    "Max_used_connections",
    "Questions",
    "Rpl_semi_sync_source_tx_wait_time",
    "Rpl_semi_sync_source_tx_waits",
    "Select_full_join",
    "Sort_merge_passes",
    "Table_open_cache_misses",
    "Table_open_cache_overflows",
    "Threads_connected",
    "Threads_created",
    "Threads_running",
];

const HISTORY: &str = "SELECT `COUNT` FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rseg_history_len'";

/// Of all data files together; times are in picoseconds.
const FILES: &str = "SELECT COUNT_READ, SUM_TIMER_READ DIV 1000000, COUNT_WRITE, SUM_TIMER_WRITE DIV 1000000 \
    FROM performance_schema.file_summary_by_event_name WHERE EVENT_NAME = 'wait/io/file/innodb/innodb_data_file'";

/// Only there from 9.7 on, where a component is installed.
const APPLIER_METRICS: &str = "SELECT COUNT(*) FROM information_schema.TABLES \
    WHERE TABLE_SCHEMA = 'performance_schema' AND TABLE_NAME = 'replication_applier_metrics'";

const PENDING: &str = "SELECT TRANSACTIONS_PENDING_SIZE_BYTES_SUM FROM performance_schema.replication_applier_metrics \
    WHERE CHANNEL_NAME = ''";

/// What the server says of itself.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What it has counted since it was started, without the transactions.
    pub counters: ServerCounters,
    /// Threads that run a statement, less the one that asks.
    pub running: u64,
    /// Connections.
    pub connected: u64,
    /// How things stand: what of it the server knows.
    pub now: Gauges,
    /// Settings in force, sorted by name.
    pub settings: Vec<(String, String)>,
}

/// Whether this server tells how much its applier has before it. It is not asked every time, because that can only change
/// when somebody installs a component.
///
/// # Errors
/// [`SqlError`]
pub async fn tells_pending(conn: &mut Conn) -> Result<bool, SqlError> {
    Ok(conn.query_first::<u64, _>(APPLIER_METRICS).await?.unwrap_or(0) > 0)
}

/// What the server says now.
///
/// # Errors
/// [`SqlError`]
pub async fn read(conn: &mut Conn, tells_pending: bool) -> Result<Reading, SqlError> {
    let status: HashMap<String, String> =
        conn.query::<(String, String), _>(status_query()).await?.into_iter().collect();
    let mut settings: Vec<(String, String)> = conn.query(settings_query()).await?;
    settings.sort();
    let own: Option<(Option<u64>, Option<u64>)> = conn.query_first(own_query()).await?;
    let history: Option<i64> = conn.query_first(HISTORY).await?;
    let files: Option<(u64, u64, u64, u64)> = conn.query_first(FILES).await?;
    let pending = if tells_pending { conn.query_first::<Option<i64>, _>(PENDING).await?.flatten() } else { None };
    let number = |name: &str| status.get(name).and_then(|value| value.parse::<u64>().ok());
    let now = Gauges {
        max_connections: setting(&settings, "max_connections"),
        history_list_length: history.and_then(|length| u64::try_from(length).ok()),
        pending_bytes: pending.and_then(|bytes| u64::try_from(bytes).ok()),
        ..gauges(number)
    };
    Ok(Reading {
        counters: with_own(with_files(counters(number), files), own),
        running: number("Threads_running").unwrap_or(0).saturating_sub(1),
        connected: number("Threads_connected").unwrap_or(0),
        now,
        settings,
    })
}

fn counters(number: impl Fn(&str) -> Option<u64>) -> ServerCounters {
    ServerCounters {
        questions: number("Questions"),
        reads: number("Com_select"),
        writes: WRITES.iter().filter_map(|name| number(name)).reduce(u64::saturating_add),
        connections: number("Connections"),
        threads_created: number("Threads_created"),
        aborted_clients: number("Aborted_clients"),
        aborted_connects: number("Aborted_connects"),
        refused_connections: number("Connection_errors_max_connections"),
        page_requests: number("Innodb_buffer_pool_read_requests"),
        page_misses: number("Innodb_buffer_pool_reads"),
        free_page_waits: number("Innodb_buffer_pool_wait_free"),
        row_lock_waits: number("Innodb_row_lock_waits"),
        redo_written_bytes: number("Innodb_os_log_written"),
        log_waits: number("Innodb_log_waits"),
        tmp_tables: number("Created_tmp_tables"),
        tmp_disk_tables: number("Created_tmp_disk_tables"),
        table_cache_misses: number("Table_open_cache_misses"),
        table_cache_overflows: number("Table_open_cache_overflows"),
        sort_merge_passes: number("Sort_merge_passes"),
        full_joins: number("Select_full_join"),
        binlog_cache_disk_uses: number("Binlog_cache_disk_use"),
        semi_sync_waits: number("Rpl_semi_sync_source_tx_waits"),
        semi_sync_wait_us: number("Rpl_semi_sync_source_tx_wait_time"),
        ..ServerCounters::default()
    }
}

fn with_files(counters: ServerCounters, files: Option<(u64, u64, u64, u64)>) -> ServerCounters {
    let Some((data_reads, data_read_us, data_writes, data_write_us)) = files else { return counters };
    ServerCounters {
        data_reads: Some(data_reads),
        data_read_us: Some(data_read_us),
        data_writes: Some(data_writes),
        data_write_us: Some(data_write_us),
        ..counters
    }
}

fn with_own(counters: ServerCounters, own: Option<(Option<u64>, Option<u64>)>) -> ServerCounters {
    let (agent_questions, agent_reads) = own.unwrap_or_default();
    ServerCounters { agent_questions, agent_reads, ..counters }
}

fn gauges(number: impl Fn(&str) -> Option<u64>) -> Gauges {
    let pages = number("Innodb_buffer_pool_pages_total").zip(number("Innodb_page_size"));
    let redo = number("Innodb_redo_log_current_lsn").zip(number("Innodb_redo_log_checkpoint_lsn"));
    Gauges {
        max_used_connections: number("Max_used_connections"),
        buffer_pool_bytes: pages.map(|(pages, each)| pages.saturating_mul(each)),
        buffer_pool_data_bytes: number("Innodb_buffer_pool_bytes_data"),
        buffer_pool_dirty_bytes: number("Innodb_buffer_pool_bytes_dirty"),
        checkpoint_age_bytes: redo.map(|(current, checkpoint)| current.saturating_sub(checkpoint)),
        ..Gauges::default()
    }
}

fn setting(settings: &[(String, String)], wanted: &str) -> Option<u64> {
    settings.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.parse().ok())
}

/// `performance_schema.global_status` has the same but for `Com_…`.
fn status_query() -> String {
    let names = WRITES.iter().chain(&STATUS).copied();
    format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({})", list(names))
}

/// What the agent asked itself, all in all and of that `SELECT`s.
fn own_query() -> String {
    format!(
        "SELECT CAST(SUM(COUNT_STAR) AS UNSIGNED), \
         CAST(SUM(IF(EVENT_NAME = 'statement/sql/select', COUNT_STAR, 0)) AS UNSIGNED) \
         FROM performance_schema.events_statements_summary_by_user_by_event_name \
         WHERE USER IN ({}) AND EVENT_NAME LIKE 'statement/sql/%'",
        list([ADMIN_ACCOUNT, SIGNALS_ACCOUNT].into_iter())
    )
}

fn settings_query() -> String {
    let names = TUNABLE.iter().map(|tunable| tunable.name);
    format!(
        "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME IN ({})",
        list(names)
    )
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

//! Reads everything a report says about a running mysqld. It must never change anything, and never cost so much
//! that asking several times a second is felt.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use topology::facts::{Replication, SemiSync, ServerFacts, ThreadState};
use topology::gtid::GtidSet;
use uuid::Uuid;

use super::SqlError;
use crate::supervise::Running;

const SERVER: &str = "SELECT @@server_uuid, @@version, @@GLOBAL.gtid_executed, @@GLOBAL.offline_mode, \
    @@GLOBAL.super_read_only, @@GLOBAL.read_only, @@GLOBAL.rpl_semi_sync_source_enabled, \
    @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count";

const OWNED: &str = "SELECT @@GLOBAL.gtid_owned";

const STATUS: &str = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME IN \
    ('Rpl_semi_sync_source_clients', 'Rpl_semi_sync_source_wait_sessions', 'Rpl_semi_sync_replica_status')";

const CHANNEL: &str = "SELECT c.HOST, s.SOURCE_UUID, s.SERVICE_STATE, s.LAST_ERROR_NUMBER, s.LAST_ERROR_MESSAGE, \
    s.RECEIVED_TRANSACTION_SET, a.SERVICE_STATE, \
    (SELECT CONCAT(LAST_ERROR_NUMBER, ': ', LAST_ERROR_MESSAGE) FROM performance_schema.replication_applier_status_by_worker \
     WHERE CHANNEL_NAME = '' AND LAST_ERROR_NUMBER <> 0 LIMIT 1), \
    (SELECT CONCAT(LAST_ERROR_NUMBER, ': ', LAST_ERROR_MESSAGE) FROM performance_schema.replication_applier_status_by_coordinator \
     WHERE CHANNEL_NAME = '' AND LAST_ERROR_NUMBER <> 0 LIMIT 1), \
    d.DESIRED_DELAY, \
    (SELECT TIMESTAMPDIFF(SECOND, MIN(APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP), NOW(6)) \
     FROM performance_schema.replication_applier_status_by_worker WHERE CHANNEL_NAME = '' AND APPLYING_TRANSACTION <> ''), \
    (SELECT TIMESTAMPDIFF(SECOND, MIN(PROCESSING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP), NOW(6)) \
     FROM performance_schema.replication_applier_status_by_coordinator WHERE CHANNEL_NAME = '' AND PROCESSING_TRANSACTION <> '') \
    FROM performance_schema.replication_connection_configuration c \
    JOIN performance_schema.replication_connection_status s ON s.CHANNEL_NAME = c.CHANNEL_NAME \
    JOIN performance_schema.replication_applier_configuration d ON d.CHANNEL_NAME = c.CHANNEL_NAME \
    JOIN performance_schema.replication_applier_status a ON a.CHANNEL_NAME = c.CHANNEL_NAME \
    WHERE c.CHANNEL_NAME = ''";

/// What the server says now.
///
/// # Errors
/// [`SqlError`]
pub async fn read(conn: &mut Conn, process: Running) -> Result<ServerFacts, SqlError> {
    // Received first: a transaction that is executed between the two queries is then seen twice. The other way
    // round, one whose relay log is removed meanwhile would not be seen at all.
    let channel: Option<Row> = conn.query_first(CHANNEL).await?;
    // Before what is executed, for the same reason: a commit leaves the one set for the other.
    let owned: Option<String> = conn.query_first(OWNED).await?;
    let server: Row = conn.query_first(SERVER).await?.ok_or_else(|| unexpected("no row of variables"))?;
    let status: Vec<(String, String)> = conn.query(STATUS).await?;
    let status = |name: &str| status.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let number = |name: &str| status(name).and_then(|value| value.parse().ok()).unwrap_or_default();
    let acknowledges = status("Rpl_semi_sync_replica_status") == Some("ON");
    let (received, replication) = match channel {
        Some(row) => channel_facts(&row, acknowledges)?,
        None => (GtidSet::new(), None),
    };
    let offline = cell::<u8>(&server, 3)? == 1;
    let read_only = cell::<u8>(&server, 4)? == 1;
    Ok(ServerFacts {
        pid: process.pid,
        started_unix_ms: process.started_unix_ms,
        server_uuid: uuid(&cell::<String>(&server, 0)?)?,
        version: cell(&server, 1)?,
        executed: gtids(&cell::<String>(&server, 2)?)?,
        owned: owned_gtids(&owned.unwrap_or_default())?,
        received,
        open: !offline && !read_only && cell::<u8>(&server, 5)? == 0,
        offline,
        read_only,
        replication,
        semi_sync: SemiSync {
            enabled: cell::<u8>(&server, 6)? == 1,
            wait_count: cell(&server, 7)?,
            clients: number("Rpl_semi_sync_source_clients"),
            waiting_commits: number("Rpl_semi_sync_source_wait_sessions"),
        },
    })
}

fn channel_facts(row: &Row, acknowledges: bool) -> Result<(GtidSet, Option<Replication>), SqlError> {
    let source_host: String = cell(row, 0)?;
    let received = gtids(&cell::<String>(row, 5)?)?;
    if source_host.is_empty() {
        // RESET REPLICA ALL leaves no row behind; RESET REPLICA leaves one without a source.
        return Ok((received, None));
    }
    let source_uuid: String = cell(row, 1)?;
    let number: u32 = cell(row, 3)?;
    let message: String = cell(row, 4)?;
    let worker: Option<String> = cell(row, 7)?;
    let coordinator: Option<String> = cell(row, 8)?;
    let delay_s: u64 = cell(row, 9)?;
    let under_way: [Option<i64>; 2] = [cell(row, 10)?, cell(row, 11)?];
    // A clock that is behind the primary's makes it negative.
    let late = under_way.into_iter().flatten().max().and_then(|late| u64::try_from(late).ok()).unwrap_or(0);
    let replication = Replication {
        source_host,
        source_uuid: Uuid::try_parse(&source_uuid).ok(),
        receiver: thread(&cell::<String>(row, 2)?)?,
        receiver_error: if number == 0 { String::new() } else { format!("{number}: {message}") },
        applier: thread(&cell::<String>(row, 6)?)?,
        applier_error: worker.or(coordinator).unwrap_or_default(),
        acknowledges,
        lag_s: Some(coarse(late.saturating_sub(delay_s))),
        delay_s,
    };
    Ok((received, Some(replication)))
}

/// Seconds, in steps that grow with them: a lag grows by a second every second, and a report need not.
fn coarse(seconds: u64) -> u64 {
    match seconds {
        0..10 => seconds,
        10..60 => seconds / 5 * 5,
        _ => seconds / 30 * 30,
    }
}

fn thread(state: &str) -> Result<ThreadState, SqlError> {
    match state {
        "ON" => Ok(ThreadState::On),
        "OFF" => Ok(ThreadState::Off),
        "CONNECTING" => Ok(ThreadState::Connecting),
        other => Err(unexpected(&format!("the thread state `{other}`"))),
    }
}

/// A GTID set as the server writes it.
///
/// # Errors
/// [`SqlError::Unexpected`]
pub fn gtids(text: &str) -> Result<GtidSet, SqlError> {
    text.parse().map_err(|why| unexpected(&format!("a GTID set that is none: {why}")))
}

/// A GTID set in which each number is followed by the connections that own it: `uuid:4#16:5#17`.
fn owned_gtids(text: &str) -> Result<GtidSet, SqlError> {
    let mut parts = text.split('#');
    let mut numbers = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| numbers.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit())));
    gtids(&numbers)
}

fn uuid(text: &str) -> Result<Uuid, SqlError> {
    Uuid::try_parse(text).map_err(|_| unexpected(&format!("a server_uuid that is none: `{text}`")))
}

fn cell<T: mysql_async::prelude::FromValue>(row: &Row, index: usize) -> Result<T, SqlError> {
    match row.get_opt(index) {
        Some(Ok(value)) => Ok(value),
        _ => {
            Err(unexpected(&format!("column {index} of {:?}", row.columns_ref().first().map(|first| first.name_str()))))
        }
    }
}

fn unexpected(what: &str) -> SqlError {
    SqlError::Unexpected(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_told_in_steps_and_never_as_more_than_it_is() {
        assert_eq!([0, 9, 14, 59, 61, 3_599].map(coarse), [0, 9, 10, 55, 60, 3_570]);
        assert!((0..10_000).all(|seconds| coarse(seconds) <= seconds));
    }

    #[test]
    fn who_owns_a_transaction_is_left_out() {
        let server = "26e197c3-ea33-11f1-bf42-02fc00000001";
        let owned = format!("{server}:4#16:5#17#18,\n{server}:tag:7#3");
        let expected = gtids(&format!("{server}:4-5:tag:7")).unwrap();
        assert_eq!(owned_gtids(&owned).unwrap(), expected);
        assert_eq!(owned_gtids("").unwrap(), GtidSet::new());
        assert!(owned_gtids("4#16").is_err());
    }
}

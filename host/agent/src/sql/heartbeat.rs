//! A commit of the agent's own: the proof that replicas acknowledge, at the price of one row.
//!
//! It must stay a plain change of a row, so that one that nobody acknowledged can be cut off like any other, and it
//! must never lock anything that somebody else could wait for.

use std::time::Duration;

use super::{PROMPT, Session, SqlError};

/// The database and the table, for whoever makes the first data. The row makes itself.
pub const TABLE: [&str; 2] = [
    "CREATE DATABASE IF NOT EXISTS grampus",
    "CREATE TABLE IF NOT EXISTS grampus.heartbeat (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, \
     beats BIGINT UNSIGNED NOT NULL) ENGINE = InnoDB",
];

/// Commits a heartbeat. Returns when as many replicas have acknowledged it as a commit waits for, and with it
/// everything before it; there is no other limit.
///
/// # Errors
/// [`SqlError`]: the server ended, is read-only, or has no such table.
pub async fn commit(session: &mut Session) -> Result<(), SqlError> {
    // Said in full: the user's part of my.cnf may have changed what a statement alone would do.
    for statement in [
        "START TRANSACTION READ WRITE",
        "INSERT INTO grampus.heartbeat (id, beats) VALUES (1, 1) ON DUPLICATE KEY UPDATE beats = beats + 1",
        "COMMIT",
    ] {
        session.run(statement, Duration::MAX).await?;
    }
    Ok(())
}

/// Whether the table is there. Data that an earlier version made lacks it.
///
/// # Errors
/// [`SqlError`]
pub async fn has_table(session: &mut Session) -> Result<bool, SqlError> {
    let query = "SELECT COUNT(*) FROM information_schema.TABLES \
        WHERE TABLE_SCHEMA = 'grampus' AND TABLE_NAME = 'heartbeat'";
    Ok(session.value::<u64>(query, PROMPT).await? > 0)
}

/// Makes the table, unless it is there. A definition that nobody acknowledged cannot be cut off again, so this is
/// for a server whose replicas acknowledge, or one whose start has committed everything in any case.
///
/// # Errors
/// [`SqlError`]
pub async fn make_table(session: &mut Session) -> Result<(), SqlError> {
    if has_table(session).await? {
        return Ok(());
    }
    for statement in TABLE {
        session.run(statement, Duration::MAX).await?;
    }
    Ok(())
}

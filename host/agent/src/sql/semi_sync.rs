//! The two sides of semi-synchronous replication.
//!
//! The source's side must never be switched off, and its timeout never shortened, while a commit waits: mysqld
//! would answer OK to it, and nobody else has it.

use super::{PROMPT, Session, SqlError};
use crate::my_cnf::SEMI_SYNC_TIMEOUT_MS;

/// Lets every commit from now on wait for `acks` replicas. Called before the server is open.
///
/// # Errors
/// [`SqlError`]
pub async fn wait_for(session: &mut Session, acks: u32) -> Result<(), SqlError> {
    if acks == 0 {
        return session.run("SET GLOBAL rpl_semi_sync_source_enabled = OFF", PROMPT).await;
    }
    session
        .run_all(&[
            &format!("SET GLOBAL rpl_semi_sync_source_timeout = {SEMI_SYNC_TIMEOUT_MS}"),
            "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON",
            &format!("SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = {acks}"),
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ])
        .await
}

/// Ends the source's side on a server that has become a replica. The caller has made sure that no commit waits.
///
/// # Errors
/// [`SqlError`]
pub async fn end_source_side(session: &mut Session) -> Result<(), SqlError> {
    session.run("SET GLOBAL rpl_semi_sync_source_enabled = OFF", PROMPT).await
}

/// Whether the replica's side is switched on. It is in force only from the next start of the receiver.
///
/// # Errors
/// [`SqlError`]
pub async fn replica_side(session: &mut Session) -> Result<bool, SqlError> {
    let value: u8 = session.value("SELECT @@GLOBAL.rpl_semi_sync_replica_enabled", PROMPT).await?;
    Ok(value == 1)
}

/// Switches the replica's side. In force from the next start of the receiver.
///
/// # Errors
/// [`SqlError`]
pub async fn set_replica_side(session: &mut Session, on: bool) -> Result<(), SqlError> {
    session.run(&format!("SET GLOBAL rpl_semi_sync_replica_enabled = {}", u8::from(on)), PROMPT).await
}

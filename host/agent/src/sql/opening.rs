//! Opening a server for applications, and closing it again.
//!
//! `super_read_only` must never be used to fence: it waits behind every commit that waits. `offline_mode` returns
//! at once and is what ends application connections.

use std::time::Duration;

use super::{PROMPT, Session, SqlError};

/// Opens: writable, then reachable.
///
/// # Errors
/// [`SqlError`]
pub async fn open(session: &mut Session) -> Result<(), SqlError> {
    session
        .run_all(&["SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF", "SET GLOBAL offline_mode = OFF"])
        .await
}

/// Lets nobody write but those who may write to a `read_only` server, the agent among them.
///
/// # Errors
/// [`SqlError`]
pub async fn admit_agent(session: &mut Session) -> Result<(), SqlError> {
    session.run("SET GLOBAL super_read_only = OFF", PROMPT).await
}

/// Ends every application connection. Returns at once even where commits wait.
///
/// # Errors
/// [`SqlError`]
pub async fn go_offline(session: &mut Session, patience: Duration) -> Result<(), SqlError> {
    session.run("SET GLOBAL offline_mode = ON", patience).await
}

/// Lets applications read from a replica. `super_read_only` stays, so nothing can be written.
///
/// # Errors
/// [`SqlError`]
pub async fn admit_readers(session: &mut Session) -> Result<(), SqlError> {
    session.run("SET GLOBAL offline_mode = OFF", PROMPT).await
}

/// Takes no more writes. Waits for the commits under way, which wait for acknowledgements.
///
/// # Errors
/// [`SqlError::Late`] after `patience`; the statement may then still be waiting in the server.
pub async fn stop_writes(session: &mut Session, patience: Duration) -> Result<(), SqlError> {
    session.run("SET GLOBAL super_read_only = ON", patience).await
}

/// Ends what another session is waiting for.
///
/// # Errors
/// [`SqlError`]
pub async fn cancel(session: &mut Session, other: u32) -> Result<(), SqlError> {
    session.run(&format!("KILL {other}"), PROMPT).await
}

//! The replication channel: whom it receives from, and when it runs.
//!
//! It must never change the source while both threads are stopped, unless everything received is executed: mysqld
//! deletes the relay logs then, and acknowledged transactions may be nowhere else.

use std::time::Duration;

use topology::facts::{Replication, ServerFacts, ThreadState};
use wire::Endpoint;

use super::{PROMPT, Session, SqlError, quote};
use crate::config::Config;

/// How often, in seconds, a source says that it is there. A third of replica_net_timeout, so that two may be lost.
const HEARTBEAT_S: &str = "0.3";

/// How long starting the applier or stopping either thread may take. A stopping applier finishes the
/// transactions it has begun.
const THREADS: Duration = Duration::from_secs(10);

/// Stops the receiver. What was received stays, and the applier goes on.
///
/// # Errors
/// [`SqlError`]
pub async fn stop_receiver(session: &mut Session, patience: Duration) -> Result<(), SqlError> {
    session.run("STOP REPLICA IO_THREAD", patience).await
}

/// Starts the receiver.
///
/// # Errors
/// [`SqlError`]
pub async fn start_receiver(session: &mut Session) -> Result<(), SqlError> {
    session.run("START REPLICA IO_THREAD", PROMPT).await
}

/// Starts the applier of a channel, if there is one and it does not run.
///
/// # Errors
/// [`SqlError`]
pub async fn start_applier(session: &mut Session, channel: Option<&Replication>) -> Result<(), SqlError> {
    if channel.is_some_and(|channel| channel.applier == ThreadState::Off) {
        session.run("START REPLICA SQL_THREAD", THREADS).await?;
    }
    Ok(())
}

/// Whether the receiver already runs against this source.
pub fn receives_from(channel: &Replication, source: &Endpoint) -> bool {
    channel.receiver != ThreadState::Off && channel.source_host == source.host
}

/// Points a stopped receiver at a source.
///
/// # Errors
/// [`SqlError`]
pub async fn point(
    session: &mut Session,
    config: &Config,
    facts: &ServerFacts,
    source: &Endpoint,
) -> Result<(), SqlError> {
    let secret = |name| super::secret(config, name).map_err(|why| SqlError::Secret(why.to_string()));
    let place = format!("SOURCE_HOST = {}, SOURCE_PORT = {}", quote(&source.host), config.mysql_port);
    let account = config.replication_account().map_err(|why| SqlError::Secret(why.to_string()))?;
    let (account, password) = (quote(&account), quote(&secret("replication-password")?));
    if facts.replication.is_some() && !facts.received.is_subset_of(&facts.executed) {
        // With the applier running the relay logs stay, and auto-positioning must not be named again (3081).
        start_applier(session, facts.replication.as_ref()).await?;
        let change = format!("CHANGE REPLICATION SOURCE TO {place}, SOURCE_USER = {account}, SOURCE_PASSWORD = {password}");
        return session.run(&change, PROMPT).await;
    }
    let ca = quote(&config.tls.join("ca.crt").display().to_string());
    let applies = facts.replication.as_ref().is_some_and(|channel| channel.applier != ThreadState::Off);
    // An idle applier may stay: what it could lose it has executed.
    let position = if applies { "" } else { ", SOURCE_AUTO_POSITION = 1" };
    let change = format!(
        "CHANGE REPLICATION SOURCE TO {place}, SOURCE_USER = {account}, SOURCE_PASSWORD = {password}, SOURCE_SSL = 1, \
         SOURCE_SSL_CA = {ca}, SOURCE_SSL_VERIFY_SERVER_CERT = 0, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 0, \
         SOURCE_HEARTBEAT_PERIOD = {HEARTBEAT_S}{position}"
    );
    session.run(&change, PROMPT).await
}

/// Removes the channel. The caller has made sure that everything received is executed.
///
/// # Errors
/// [`SqlError`]
pub async fn remove(session: &mut Session) -> Result<(), SqlError> {
    session.run("STOP REPLICA", THREADS).await?;
    session.run("RESET REPLICA ALL", THREADS).await
}

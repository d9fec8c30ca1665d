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

/// How long starting a thread, stopping the applier or changing the source may take: a stopping applier finishes
/// what it has begun, and every change is put on the disk.
const THREADS: Duration = Duration::from_secs(10);

/// How long stopping a receiver may take: 14–171 ms were measured under load, and up to `replica_net_timeout`, one
/// second, while it tries to reach a machine that is gone. Killing mysqld instead costs a restart.
pub const STOP_RECEIVER: Duration = Duration::from_secs(3);

/// Stops the receiver. What was received stays, and the applier goes on.
///
/// # Errors
/// [`SqlError`]; [`SqlError::Late`] after [`STOP_RECEIVER`].
pub async fn stop_receiver(session: &mut Session) -> Result<(), SqlError> {
    session.run("STOP REPLICA IO_THREAD", STOP_RECEIVER).await
}

/// The thread of a receiver that is not connected, as the kernel numbers it. None where there is no such receiver.
///
/// # Errors
/// [`SqlError`]
pub async fn connecting_thread(session: &mut Session) -> Result<Option<i32>, SqlError> {
    // One channel, so one receiver; servers before 8.0.26 call it by its old name.
    let query = "SELECT MAX(t.THREAD_OS_ID) FROM performance_schema.threads t \
        JOIN performance_schema.replication_connection_status s ON s.CHANNEL_NAME = '' \
        WHERE s.SERVICE_STATE = 'CONNECTING' AND t.NAME IN ('thread/sql/replica_io', 'thread/sql/slave_io')";
    session.value(query, PROMPT).await
}

/// Starts the receiver.
///
/// # Errors
/// [`SqlError`]
pub async fn start_receiver(session: &mut Session) -> Result<(), SqlError> {
    session.run("START REPLICA IO_THREAD", THREADS).await
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
    channel.receiver != ThreadState::Off && channel.source_host == source.host && !meets_a_stranger(channel, source)
}

/// Whether another server answers the receiver than the one that was meant: addresses are reused.
pub fn meets_a_stranger(channel: &Replication, source: &Endpoint) -> bool {
    channel.receiver == ThreadState::On && channel.source_uuid.is_some_and(|uuid| uuid != source.server_uuid)
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
    acknowledges: bool,
) -> Result<(), SqlError> {
    let place = format!("SOURCE_HOST = {}, SOURCE_PORT = {}", quote(&source.host), config.mysql_port);
    let login = login(config, acknowledges)?;
    if has_more_than_executed(facts) {
        // With the applier running the relay logs stay, and auto-positioning must not be named again (3081).
        start_applier(session, facts.replication.as_ref()).await?;
        stays_running(session).await?;
        return session.run(&format!("CHANGE REPLICATION SOURCE TO {place}, {login}"), THREADS).await;
    }
    let ca = quote(&config.tls.join("ca.crt").display().to_string());
    let applies = facts.replication.as_ref().is_some_and(|channel| channel.applier != ThreadState::Off);
    // An idle applier may stay: what it could lose it has executed.
    let position = if applies { "" } else { ", SOURCE_AUTO_POSITION = 1" };
    let change = format!(
        "CHANGE REPLICATION SOURCE TO {place}, {login}, SOURCE_SSL = 1, \
         SOURCE_SSL_CA = {ca}, SOURCE_SSL_VERIFY_SERVER_CERT = 0, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 0, \
         SOURCE_HEARTBEAT_PERIOD = {HEARTBEAT_S}{position}"
    );
    session.run(&change, THREADS).await
}

/// Sets by how much later, in seconds, a transaction is applied. The receiver runs meanwhile, so that no relay log is
/// deleted; the applier is left stopped.
///
/// # Errors
/// [`SqlError`]
pub async fn set_delay(session: &mut Session, seconds: u64) -> Result<(), SqlError> {
    session.run("STOP REPLICA SQL_THREAD", THREADS).await?;
    session.run(&format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}"), THREADS).await
}

/// Lets a stopped receiver log in at its source as one who acknowledges, or as one who does not.
///
/// # Errors
/// [`SqlError`]
pub async fn log_in_as(
    session: &mut Session,
    config: &Config,
    facts: &ServerFacts,
    acknowledges: bool,
) -> Result<(), SqlError> {
    if has_more_than_executed(facts) {
        start_applier(session, facts.replication.as_ref()).await?;
        stays_running(session).await?;
    }
    session.run(&format!("CHANGE REPLICATION SOURCE TO {}", login(config, acknowledges)?), THREADS).await
}

/// Whether the receiver logs in as one who acknowledges, or does not, if there is one.
///
/// # Errors
/// [`SqlError`]
pub async fn logs_in_as(session: &mut Session, config: &Config, acknowledges: bool) -> Result<bool, SqlError> {
    let query = "SELECT MAX(USER) FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME = ''";
    let account: Option<String> = session.value(query, PROMPT).await?;
    Ok(account.is_none_or(|account| config.replication_account(acknowledges).is_ok_and(|wanted| wanted == account)))
}

fn login(config: &Config, acknowledges: bool) -> Result<String, SqlError> {
    let secret = |why: anyhow::Error| SqlError::Secret(why.to_string());
    let account = config.replication_account(acknowledges).map_err(secret)?;
    let password = super::secret(config, "replication-password").map_err(secret)?;
    Ok(format!("SOURCE_USER = {}, SOURCE_PASSWORD = {}", quote(&account), quote(&password)))
}

fn has_more_than_executed(facts: &ServerFacts) -> bool {
    facts.replication.is_some() && !facts.received.is_subset_of(&facts.executed)
}

/// Makes sure that the applier, just started perhaps, has not ended on an error again.
async fn stays_running(session: &mut Session) -> Result<(), SqlError> {
    let query = "SELECT a.SERVICE_STATE = 'ON' AND NOT EXISTS (SELECT 1 FROM \
        performance_schema.replication_applier_status_by_worker w WHERE w.CHANNEL_NAME = '' AND w.LAST_ERROR_NUMBER <> 0) \
        FROM performance_schema.replication_applier_status a WHERE a.CHANNEL_NAME = ''";
    if session.value::<u8>(query, PROMPT).await? == 1 {
        return Ok(());
    }
    Err(SqlError::Unexpected(
        "the applier has stopped with transactions to go, and a new source would delete them; its error has to be resolved first"
            .to_owned(),
    ))
}

/// Removes the channel. The caller has made sure that everything received is executed.
///
/// # Errors
/// [`SqlError`]
pub async fn remove(session: &mut Session) -> Result<(), SqlError> {
    session.run("STOP REPLICA", THREADS).await?;
    session.run("RESET REPLICA ALL", THREADS).await
}

/// Removes a channel whose relay logs are not there and never were: that of a copy's donor.
///
/// # Errors
/// [`SqlError`]
pub async fn forget(session: &mut Session) -> Result<(), SqlError> {
    session.run("RESET REPLICA ALL", THREADS).await
}

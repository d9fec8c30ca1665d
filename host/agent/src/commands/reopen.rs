//! Opening the last primary again when nobody is there to tell it to (rule 8 of the protocol).
//!
//! It starts closed and takes nobody's writes but its own heartbeat; when as many replicas as a commit needs have
//! acknowledged that, and with it everything before it, it opens. After a completed failover that cannot happen: N − k
//! replicas have stored a later claim and receive from it no more, and k − 1 others are left. It must never go on once
//! an operator is there or a later claim is stored, and what it gives up it leaves stopped, as it was.

use std::sync::Arc;

use anyhow::{Context, bail};
use topology::facts::{MemberReport, ServerState};
use topology::record::Record;
use wire::Outcome;

use super::lock;
use super::promote::mark;
use crate::alone::decide::objection_to_server;
use crate::member::Member;
use crate::sql::{PROMPT, Session, heartbeat, opening, semi_sync};
use crate::supervise::Running;

/// Opens under the stored record. Waits for replicas as long as it takes.
///
/// # Errors
/// In words: why it is not open. mysqld is then stopped, unless it had been opened before; then it is closed.
pub async fn reopen(member: &Arc<Member>, record: &Record) -> anyhow::Result<()> {
    let Ok(_turn) = Arc::clone(&member.turn).try_lock_owned() else { bail!("a command is being obeyed") };
    // One that was drained keeps its process: an operator that is back can take the drain back.
    let keep = member.supervisor.now().running().is_some_and(|running| member.was_opened(running));
    let result = tokio::select! {
        result = carry_out(member, record) => result,
        () = member.superseded(record.claim()) => Err(anyhow::anyhow!("another record is stored")),
        () = member.operators.appear() => Err(anyhow::anyhow!("an operator is there again")),
    };
    if result.is_err() && !keep {
        member.kill().await;
    }
    result
}

async fn carry_out(member: &Arc<Member>, record: &Record) -> anyhow::Result<()> {
    let running = member.ensure_started().await?;
    let (mut session, _) = member.session().await?;
    let facts = member.facts(&mut session, running).await?;
    if let Some(why) = objection_to_server(record, &facts) {
        bail!(why);
    }
    let acks = record.effective_acks();
    semi_sync::set_replica_side(&mut session, false).await?;
    semi_sync::wait_for(&mut session, acks).await?;
    tracing::info!(acks, "closed, and waiting for replicas that acknowledge");
    acknowledging(member, running, acks).await?;
    admit_the_agent(member, record, running, &mut session, facts.server_uuid).await?;
    if acks > 0 {
        heartbeat::make_table(&mut session).await.context("the table of the heartbeat")?;
        heartbeat::commit(&mut session).await.context("the heartbeat")?;
    }
    admit_everybody(member, record, &mut session).await
}

/// Waits until enough replicas are connected that acknowledge.
async fn acknowledging(member: &Member, running: Running, acks: u32) -> anyhow::Result<()> {
    let mut process = member.supervisor.watch();
    let mut latest = member.latest.subscribe();
    let enough = |report: &MemberReport| match &report.server {
        ServerState::Running(facts) => facts.pid == running.pid && facts.semi_sync.clients >= acks,
        ServerState::Stopped { .. } | ServerState::Starting | ServerState::Unresponsive { .. } => false,
    };
    tokio::select! {
        _ = latest.wait_for(enough) => Ok(()),
        _ = process.wait_for(|process| process.running() != Some(running)) => bail!("mysqld ended"),
    }
}

/// Takes writes of the agent, and of nobody who needs to log in anew. From here on a freeze kills the process.
async fn admit_the_agent(
    member: &Member,
    record: &Record,
    running: Running,
    session: &mut Session,
    server_uuid: uuid::Uuid,
) -> anyhow::Result<()> {
    let _gate = tokio::time::timeout(PROMPT, member.gate.lock()).await?;
    match mark(member, record, running, server_uuid).await {
        // Whoever may not acknowledge must not acknowledge the heartbeat either.
        None => Ok(lock::before_opening(member, running, session, true).await?),
        Some(Outcome::Failed { error } | Outcome::Refused { reason: error }) => bail!(error),
        Some(other) => bail!("{other:?}"),
    }
}

async fn admit_everybody(member: &Member, record: &Record, session: &mut Session) -> anyhow::Result<()> {
    let _gate = tokio::time::timeout(PROMPT, member.gate.lock()).await?;
    if member.state.claim() != Some(record.claim()) || member.ending.is_cancelled() {
        bail!("another record is stored, or the agent is ending");
    }
    Ok(opening::open(session).await?)
}

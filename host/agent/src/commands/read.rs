//! Receiving as a read replica does: late if it shall be, and never with an acknowledgement.
//!
//! A reader's relay logs are nobody's only copy, so nothing here has to be careful with them; what it must never do is
//! apply anything earlier than it was told to, or start the receiver under a claim that is no longer stored.

use std::sync::Arc;

use topology::facts::Replication;
use topology::record::{Phase, Record};
use wire::{Endpoint, Outcome};

use super::{failed, follow, refused, superseded};
use crate::member::Member;
use crate::sql::{PROMPT, Session, SqlError, opening, replication};
use crate::supervise::Running;

/// Reads from a source, starting mysqld closed first where it is stopped.
pub async fn read(member: &Arc<Member>, record: &Record, source: &Endpoint, delay_s: u64) -> Outcome {
    if !member.config.reads_along() {
        return refused("this member votes, so it is told to Follow");
    }
    if record.phase != Phase::Serving {
        return refused("a read replica receives what a primary that serves has committed; expected Serving");
    }
    if source.member == record.primary && record.members.len() > 1 {
        return refused("a primary sends what nobody has acknowledged yet: a read replica receives from a replica");
    }
    let running = match member.ensure_started().await {
        Ok(running) => running,
        Err(why) => return failed(format!("{why:#}")),
    };
    match receive(member, record, source, delay_s, running).await {
        Ok(Outcome::Done) => follow::connected(member, record, source).await,
        Ok(other) => other,
        Err(why) => failed(why.to_string()),
    }
}

async fn receive(
    member: &Arc<Member>,
    record: &Record,
    source: &Endpoint,
    delay_s: u64,
    running: Running,
) -> Result<Outcome, SqlError> {
    if let Some(outcome) = follow::remember(member, record, source, delay_s).await {
        return Ok(outcome);
    }
    let (mut session, _) = member.session().await?;
    let gate = tokio::time::timeout(PROMPT, member.gate.lock()).await;
    let Ok(_gate) = gate else { return Err(SqlError::Late(PROMPT)) };
    if member.state.claim() != Some(record.claim()) {
        return Ok(superseded(member, record.claim()));
    }
    let facts = member.facts(&mut session, running).await?;
    if facts.replication.as_ref().is_some_and(|channel| is_set_up(channel, source, delay_s)) {
        replication::start_applier(&mut session, facts.replication.as_ref()).await?;
    } else {
        point_at(member, &mut session, running, source, delay_s).await?;
    }
    if facts.offline && facts.read_only {
        opening::admit_readers(&mut session).await?;
    }
    Ok(Outcome::Done)
}

fn is_set_up(channel: &Replication, source: &Endpoint, delay_s: u64) -> bool {
    replication::receives_from(channel, source) && channel.delay_s == delay_s
}

async fn point_at(
    member: &Member,
    session: &mut Session,
    running: Running,
    source: &Endpoint,
    delay_s: u64,
) -> Result<(), SqlError> {
    let before = follow::point_receiver(member, session, running, source, false).await?;
    if before.replication.map_or(0, |channel| channel.delay_s) != delay_s {
        // Before the applier runs for the first time: a new reader is never early.
        replication::set_delay(session, delay_s).await?;
    }
    let facts = member.facts(session, running).await?;
    replication::start_applier(session, facts.replication.as_ref()).await
}

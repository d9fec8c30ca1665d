//! Receiving as a read replica does: late if it shall be, and never with an acknowledgement.
//!
//! A reader's relay logs are nobody's only copy, so nothing here has to be careful with them; what it must never do is
//! apply anything earlier than it was told to, or start the receiver under a claim that is no longer stored.

use std::sync::Arc;

use topology::facts::{Replication, ThreadState};
use topology::record::{Phase, Record};
use wire::{Endpoint, Outcome};

use super::{failed, follow, not_changed, receiver, refused, superseded};
use crate::member::Member;
use crate::sql::{PROMPT, Session, SqlError, opening, replication, semi_sync};
use crate::state::Following;
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
    let Some(incarnation) = member.incarnation() else { return Ok(refused("there is no data")) };
    let claim = record.claim();
    let following = Following { source: source.clone(), claim, incarnation, delay_s };
    let remembered = member.state.change_under(claim, |remembered| remembered.following = Some(following)).await;
    if let Err(why) = remembered {
        return Ok(not_changed(why));
    }
    let (mut session, _) = member.session().await?;
    let gate = tokio::time::timeout(PROMPT, member.gate.lock()).await;
    let Ok(_gate) = gate else { return Err(SqlError::Late(PROMPT)) };
    if member.state.claim() != Some(claim) {
        return Ok(superseded(member, claim));
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
    let stranger =
        channel.receiver == ThreadState::On && channel.source_uuid.is_some_and(|uuid| uuid != source.server_uuid);
    replication::receives_from(channel, source) && !stranger && channel.delay_s == delay_s
}

async fn point_at(
    member: &Member,
    session: &mut Session,
    running: Running,
    source: &Endpoint,
    delay_s: u64,
) -> Result<(), SqlError> {
    receiver::stop(member, session).await?;
    semi_sync::set_replica_side(session, false).await?;
    let facts = member.facts(session, running).await?;
    let there = facts.replication.as_ref().is_some_and(|channel| channel.source_host == source.host);
    if !there {
        replication::point(session, &member.config, &facts, source, false).await?;
    }
    replication::start_receiver(session).await?;
    let present = facts.replication.as_ref().map_or(0, |channel| channel.delay_s);
    if present != delay_s {
        // Before the applier runs for the first time: a new reader is never early.
        replication::set_delay(session, delay_s).await?;
    }
    let facts = member.facts(session, running).await?;
    replication::start_applier(session, facts.replication.as_ref()).await
}

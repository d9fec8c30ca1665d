//! Receiving from a source.
//!
//! The receiver must never be started under a claim that is no longer stored, and a member that is open must
//! never become a replica with commits still waiting on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use topology::facts::{MemberReport, Replication, ServerFacts, ServerState, ThreadState};
use topology::record::{Phase, Record};
use wire::{Endpoint, Outcome};

use super::fence::drained;
use super::{admit, failed, not_changed, receiver, refused, superseded};
use crate::member::Member;
use crate::sql::{PROMPT, Session, SqlError, replication, semi_sync};
use crate::state::Following;
use crate::supervise::Running;

/// How long to wait for the receiver to be connected before the answer is that it is under way.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a receiver waits at a source that has locked its account before it tries again: an opening takes tens of
/// milliseconds, and so does a login.
const KNOCK: Duration = Duration::from_millis(50);

/// Follows a source, starting mysqld closed first where it is stopped.
pub async fn follow(member: &Arc<Member>, record: &Record, source: &Endpoint) -> Outcome {
    if member.config.reads_along() {
        return refused("this is a read replica, which may not acknowledge; it is told to Read");
    }
    if source.member == member.name() {
        return refused("a member cannot follow itself");
    }
    if record.phase == Phase::Freezing {
        return refused("nobody receives while the record is Freezing; expected Promoting or Serving");
    }
    if record.primary == member.name() {
        return refused(
            "this member is the record's primary; it is opened by Promote, which also fetches what it lacks",
        );
    }
    if record.leaving.as_deref() == Some(member.name()) {
        return refused("this member is being removed, and receives nothing any more");
    }
    let running = match member.ensure_started().await {
        Ok(running) => running,
        Err(why) => return failed(format!("{why:#}")),
    };
    match receive(member, record, source, running).await {
        Ok(Outcome::Done) => connected(member, record, source).await,
        Ok(other) => other,
        Err(why) => failed(why.to_string()),
    }
}

async fn receive(
    member: &Arc<Member>,
    record: &Record,
    source: &Endpoint,
    running: Running,
) -> Result<Outcome, SqlError> {
    let (mut session, _) = member.session().await?;
    let facts = member.facts(&mut session, running).await?;
    if member.was_opened(running) || facts.open {
        if !drained(&facts) {
            return Ok(refused("this server was opened and is not drained: drain or fence it first"));
        }
        semi_sync::end_source_side(&mut session).await?;
        member.mark_closed();
    }
    if let Some(outcome) = remember(member, record, source, 0).await {
        return Ok(outcome);
    }
    let gate = tokio::time::timeout(PROMPT, member.gate.lock()).await;
    let Ok(_gate) = gate else { return Err(SqlError::Late(PROMPT)) };
    if member.state.claim() != Some(record.claim()) {
        return Ok(superseded(member, record.claim()));
    }
    let acknowledge = wants_acks(member);
    if is_set_up(member, &mut session, facts.replication.as_ref(), source, acknowledge).await? {
        replication::start_applier(&mut session, facts.replication.as_ref()).await?;
    } else {
        point_at(member, &mut session, running, source, acknowledge).await?;
    }
    if acknowledge {
        admit::readers(member, &mut session, record, &facts, running).await?;
    }
    Ok(Outcome::Done)
}

/// Puts on disk whom this data follows, how many seconds late, and under which claim.
pub(super) async fn remember(member: &Member, record: &Record, source: &Endpoint, delay_s: u64) -> Option<Outcome> {
    let Some(incarnation) = member.incarnation() else { return Some(refused("there is no data")) };
    let claim = record.claim();
    let following = Following { source: source.clone(), claim, incarnation, delay_s };
    let changed = member.state.change_under(claim, |remembered| remembered.following = Some(following)).await;
    changed.err().map(not_changed)
}

async fn is_set_up(
    member: &Member,
    session: &mut Session,
    channel: Option<&Replication>,
    source: &Endpoint,
    acknowledge: bool,
) -> Result<bool, SqlError> {
    Ok(channel.is_some_and(|channel| replication::receives_from(channel, source))
        && semi_sync::replica_side(session).await? == acknowledge
        && replication::logs_in_as(session, &member.config, acknowledge).await?)
}

/// Points the receiver at a source and starts it, and the applier too. The caller holds the gate and has checked the
/// claim.
pub(super) async fn point_at(
    member: &Member,
    session: &mut Session,
    running: Running,
    source: &Endpoint,
    acknowledge: bool,
) -> Result<(), SqlError> {
    point_receiver(member, session, running, source, acknowledge).await?;
    let facts = member.facts(session, running).await?;
    replication::start_applier(session, facts.replication.as_ref()).await
}

/// The same, without the applier. Gives what was true when the receiver had stopped.
pub(super) async fn point_receiver(
    member: &Member,
    session: &mut Session,
    running: Running,
    source: &Endpoint,
    acknowledge: bool,
) -> Result<ServerFacts, SqlError> {
    receiver::stop(member, session).await?;
    semi_sync::set_replica_side(session, acknowledge).await?;
    // Read again: what is received is only certain once the receiver has stopped.
    let facts = member.facts(session, running).await?;
    let at_source = facts.replication.as_ref().is_some_and(|channel| channel.source_host == source.host);
    if !at_source {
        replication::point(session, &member.config, &facts, source, acknowledge).await?;
    } else if !replication::logs_in_as(session, &member.config, acknowledge).await? {
        replication::log_in_as(session, &member.config, &facts, acknowledge).await?;
    }
    replication::start_receiver(session).await?;
    Ok(facts)
}

/// Whether this member may acknowledge to the source it remembers: only to the record's primary.
pub(super) fn wants_acks(member: &Member) -> bool {
    let remembered = member.state.get();
    let source = remembered.following.as_ref().map(|following| following.source.member.as_str());
    let primary = remembered.record.as_ref().map(|record| record.primary.as_str());
    // Whatever a record says of it, a read replica never does.
    !member.config.reads_along()
        && source.is_some()
        && source == primary
        && remembered.may_acknowledge(member.name(), member.incarnation(), &member.boot_id)
}

/// Waits until the receiver is connected, and checks to whom.
pub(super) async fn connected(member: &Arc<Member>, record: &Record, source: &Endpoint) -> Outcome {
    let until = Instant::now() + CONNECT;
    let mut report = settled(member, until).await;
    // A source lets this member in once it has stored the record in which it votes, or a moment before it opens. mysqld
    // itself tries again only after a second.
    while channel(&report).is_some_and(is_locked_out) && Instant::now() < until {
        tokio::select! {
            () = tokio::time::sleep(KNOCK) => {}
            () = member.superseded(record.claim()) => return superseded(member, record.claim()),
        }
        if let Err(why) = knock(member, record).await {
            return failed(why.to_string());
        }
        report = settled(member, until).await;
    }
    let Some(channel) = channel(&report) else { return failed("the replication channel is gone") };
    match (channel.receiver, channel.source_uuid) {
        (ThreadState::On, Some(uuid)) if uuid == source.server_uuid => Outcome::Done,
        (ThreadState::On, Some(uuid)) => {
            leave_stranger(Arc::clone(member)).await;
            failed(format!(
                "{} answers as server {uuid}, expected {} of {}",
                source.host, source.server_uuid, source.member
            ))
        }
        (ThreadState::Off, _) => failed(format!("the receiver ended: {}", channel.receiver_error)),
        _ => Outcome::Pending { waiting_for: format!("the connection to {}: {}", source.host, channel.receiver_error) },
    }
}

/// The report once the receiver has come to something, or the time is over.
async fn settled(member: &Arc<Member>, until: Instant) -> MemberReport {
    member.observe().await;
    let settled = |report: &MemberReport| match channel(report) {
        None => true,
        Some(channel) => match channel.receiver {
            ThreadState::Off => true,
            ThreadState::Connecting => !channel.receiver_error.is_empty(),
            // It is On a moment before it has asked the source who it is.
            ThreadState::On => channel.source_uuid.is_some(),
        },
    };
    let mut latest = member.latest.subscribe();
    match tokio::time::timeout_at(until, latest.wait_for(settled)).await {
        Ok(Ok(report)) => report.clone(),
        _ => member.latest.borrow().clone(),
    }
}

/// Whether the source has locked the account of this member (3118, ER_ACCOUNT_HAS_BEEN_LOCKED).
fn is_locked_out(channel: &Replication) -> bool {
    channel.receiver == ThreadState::Connecting && channel.receiver_error.starts_with("3118: ")
}

/// Makes a receiver that was not let in try again now.
async fn knock(member: &Member, record: &Record) -> Result<(), SqlError> {
    let (mut session, _) = member.session().await?;
    let Ok(_gate) = tokio::time::timeout(PROMPT, member.gate.lock()).await else { return Err(SqlError::Late(PROMPT)) };
    if member.state.claim() != Some(record.claim()) {
        return Ok(());
    }
    receiver::stop(member, &mut session).await?;
    replication::start_receiver(&mut session).await
}

fn channel(report: &MemberReport) -> Option<&Replication> {
    match &report.server {
        ServerState::Running(facts) => facts.replication.as_ref(),
        _ => None,
    }
}

/// Stops a receiver that is connected to another server than the one it was told of.
pub async fn leave_stranger(member: Arc<Member>) {
    let Ok((mut session, _)) = member.session().await else { return };
    let Ok(_gate) = tokio::time::timeout(PROMPT, member.gate.lock()).await else { return };
    if let Err(why) = receiver::stop(&member, &mut session).await {
        tracing::warn!(%why, "a receiver that is connected to the wrong server could not be stopped yet");
    }
    member.changed.notify_one();
}

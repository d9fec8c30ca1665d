//! Standing, and what follows from it: whether this member acknowledges, and how many acknowledgements its own
//! commits wait for.
//!
//! A member must never acknowledge before it has been proved to hold everything it ever acknowledged.

use std::sync::Arc;

use topology::facts::{ServerState, ThreadState};
use topology::gtid::GtidSet;
use topology::record::{Claim, Record};
use wire::Outcome;

use super::follow::wants_acks;
use super::{admit, failed, not_changed, receiver, refused};
use crate::member::Member;
use crate::sql::{PROMPT, Session, SqlError, replication, semi_sync};
use crate::supervise::Running;

/// Declares that everything in the barrier was received.
pub async fn grant(member: &Arc<Member>, claim: Claim, barrier: &GtidSet) -> Outcome {
    let known = async {
        let (mut session, running) = member.session().await?;
        Ok::<_, SqlError>(member.facts(&mut session, running).await?.known())
    };
    let known = match known.await {
        Ok(known) => known,
        Err(why) => return failed(why.to_string()),
    };
    let missing = barrier.subtract(&known);
    if !missing.is_empty() {
        return refused(format!(
            "{} transactions of the barrier have not been received yet: {missing}",
            missing.count()
        ));
    }
    let proved = member.proved_now();
    if let Err(why) = member.state.change_under(claim, |remembered| remembered.proved = proved).await {
        return not_changed(why);
    }
    settle_acks(Arc::clone(member)).await;
    Outcome::Done
}

/// Switches acknowledging on or off as record and standing say, restarting the receiver if it runs. One that is leaving
/// receives nothing more: if it is kept, it is sent what it missed and acknowledges that.
pub async fn settle_acks(member: Arc<Member>) {
    let answers = matches!(member.latest.borrow().server, ServerState::Running(_));
    let opened = member.supervisor.now().running().is_some_and(|running| member.was_opened(running));
    if !answers || opened {
        return;
    }
    if let Err(why) = try_settle_acks(&member).await {
        tracing::warn!(%why, "whether this member acknowledges could not be brought in line; the next command tries again");
    }
    member.changed.notify_one();
}

async fn try_settle_acks(member: &Arc<Member>) -> Result<(), SqlError> {
    let (mut session, running) = member.session().await?;
    let gate = tokio::time::timeout(PROMPT, member.gate.lock()).await;
    let _gate = gate.map_err(|_| SqlError::Late(PROMPT))?;
    let remembered = member.state.get();
    if remembered.is_leaving(member.name()) {
        semi_sync::set_replica_side(&mut session, false).await?;
        return receiver::stop(member, &mut session).await;
    }
    let wanted = wants_acks(member);
    acknowledge(member, &mut session, running, wanted).await?;
    // Whoever acknowledges has everything, or nearly so: from now on it may be read from.
    let Some(record) = remembered.record.as_ref().filter(|_| wanted) else { return Ok(()) };
    let facts = member.facts(&mut session, running).await?;
    if facts.replication.as_ref().is_none_or(|channel| channel.receiver == ThreadState::Off) {
        return Ok(());
    }
    admit::readers(member, &mut session, record, &facts, running).await
}

async fn acknowledge(member: &Member, session: &mut Session, running: Running, wanted: bool) -> Result<(), SqlError> {
    let (config, side) = (&member.config, semi_sync::replica_side(session).await?);
    if side == wanted && replication::logs_in_as(session, config, wanted).await? {
        return Ok(());
    }
    let facts = member.facts(session, running).await?;
    // A receiver that is stopped is pointed anew before it is started.
    let Some(_) = facts.replication.filter(|channel| channel.receiver != ThreadState::Off) else {
        return semi_sync::set_replica_side(session, wanted).await;
    };
    // Stopped first: one that reconnects by itself must not begin to acknowledge under an account that nobody locks.
    receiver::stop(member, session).await?;
    semi_sync::set_replica_side(session, wanted).await?;
    // Read again: what is received is only certain once the receiver has stopped.
    let facts = member.facts(session, running).await?;
    replication::log_in_as(session, config, &facts, wanted).await?;
    replication::start_receiver(session).await
}

/// Sets how many replicas a commit waits for.
pub async fn set_acks(member: &Member, record: &Record, acks: u32) -> Outcome {
    if record.primary != member.name() {
        return refused(format!("only the record's primary, {}, waits for acknowledgements", record.primary));
    }
    let promised = record.effective_acks();
    if acks < promised {
        return refused(format!("the record promises {promised} acknowledgements; lower the record first"));
    }
    let stored = member.state.change_under(record.claim(), |remembered| remembered.wait_count = Some(acks)).await;
    if let Err(why) = stored {
        return not_changed(why);
    }
    let set = async {
        let (mut session, _) = member.session().await?;
        semi_sync::wait_for(&mut session, acks).await
    };
    match set.await {
        Ok(()) => Outcome::Done,
        Err(why) => failed(why.to_string()),
    }
}

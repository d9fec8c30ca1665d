//! Keeps a replica running without the operator: restarts mysqld closed after it has ended, and goes on
//! following under a record that is still the one it followed under.
//!
//! It must never start a server that was opened for writing: the start commits what nobody acknowledged. That is for
//! the operator to say or, where none is there, for [`crate::alone`], which asks the replicas first.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wire::Outcome;

use crate::commands::{follow, read};
use crate::member::Member;
use crate::state::Remembered;

/// The first pause after an end, doubled with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A server that has run for so long was well: the next pause is the first again.
const WELL: Duration = Duration::from_secs(60);

/// Runs until the agent ends.
pub async fn run(member: Arc<Member>) {
    let mut process = member.supervisor.watch();
    let mut pause = Duration::ZERO;
    let mut started = Instant::now();
    loop {
        if member.supervisor.now().running().is_none() && is_replica(&member) {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = member.ending.cancelled() => return,
            }
            started = Instant::now();
            if let Err(why) = restart(&member).await {
                tracing::error!("the replica could not be restarted: {why:#}");
            }
        }
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        tokio::select! {
            ended = process.wait_for(|process| process.running().is_none()), if member.supervisor.now().running().is_some() => {
                if ended.is_err() {
                    return;
                }
            }
            // It is stopped: look again now and then whether it has become a replica.
            () = tokio::time::sleep(pause), if member.supervisor.now().running().is_none() => {}
            () = member.ending.cancelled() => return,
        }
        if started.elapsed() > WELL {
            pause = Duration::ZERO;
        }
    }
}

/// Whether the data that is there was last a replica's.
fn is_replica(member: &Member) -> bool {
    let remembered = member.state.get();
    let following = remembered.following.as_ref().map(|following| following.incarnation);
    following.is_some() && following == member.incarnation()
}

async fn restart(member: &Arc<Member>) -> anyhow::Result<()> {
    let _turn = member.turn.lock().await;
    if member.ending.is_cancelled() || !is_replica(member) {
        return Ok(());
    }
    member.ensure_started().await?;
    let remembered = member.state.get();
    if member.config.reads_along() {
        return read_on(member, &remembered).await;
    }
    let (Some(record), Some(source)) = (&remembered.record, remembered.may_resume(member.incarnation())) else {
        return Ok(());
    };
    match follow::follow(member, record, source).await {
        Outcome::Failed { error } | Outcome::Refused { reason: error } => anyhow::bail!(error),
        _ => Ok(()),
    }
}

async fn read_on(member: &Arc<Member>, remembered: &Remembered) -> anyhow::Result<()> {
    let (Some(record), Some(following)) = (&remembered.record, remembered.may_read_on(member.incarnation())) else {
        return Ok(());
    };
    match read::read(member, record, &following.source, following.delay_s).await {
        Outcome::Failed { error } | Outcome::Refused { reason: error } => anyhow::bail!(error),
        _ => Ok(()),
    }
}

//! Freezing and fencing: how a member is made to take part in nothing any more.
//!
//! Neither may wait for SQL that can hang: whatever does not answer within a moment is killed, which loses
//! nothing that was acknowledged and acknowledges nothing that was not.

use std::time::Duration;

use topology::facts::{ServerFacts, ServerState};
use topology::record::Claim;
use wire::Outcome;

use super::{failed, receiver};
use crate::member::Member;
use crate::sql::replication::STOP_RECEIVER;
use crate::sql::{SqlError, opening};
use crate::supervise::Running;

/// How long a server gets that has not answered for a while already.
const HANGING: Duration = Duration::from_millis(500);

/// How long `offline_mode` may take; 0–25 ms were measured.
const OFFLINE: Duration = Duration::from_millis(300);

/// Receives nothing more; a server that was opened, and not drained, is killed.
pub async fn freeze(member: &Member, claim: Claim) -> Outcome {
    let Some(running) = member.supervisor.now().running() else { return stopped(member).await };
    if member.was_opened(running) || is_open(member) {
        // Under the gate nobody reopens between the look and the answer: whoever does checks the claim there.
        let gate = tokio::time::timeout(OFFLINE, member.gate.lock()).await;
        if gate.is_ok() && is_drained(member, running).await {
            return Outcome::Done;
        }
        member.kill().await;
        return stopped(member).await;
    }
    if let Err(why) = cut_off(member).await {
        tracing::warn!(%why, %claim, "the receiver does not stop: mysqld is killed instead");
        member.kill().await;
        return stopped(member).await;
    }
    Outcome::Done
}

/// Ends every commit that waits, and mysqld with it. Clients learn from the broken connection that the outcome is
/// unknown, which a SIGTERM would turn into a false OK.
pub async fn fence(member: &Member) -> Outcome {
    if member.supervisor.now().running().is_some() {
        if let Ok((mut session, _)) = member.session().await {
            let _ = opening::go_offline(&mut session, OFFLINE).await;
        }
        member.kill().await;
    }
    stopped(member).await
}

/// Whether applications can write to it, whoever opened it.
fn is_open(member: &Member) -> bool {
    matches!(&member.latest.borrow().server, ServerState::Running(facts) if facts.open)
}

/// Whether a server that was opened takes no more writes and none is under way.
async fn is_drained(member: &Member, running: Running) -> bool {
    let facts = async {
        let (mut session, _) = member.session().await?;
        member.facts(&mut session, running).await
    };
    matches!(tokio::time::timeout(OFFLINE, facts).await, Ok(Ok(facts)) if drained(&facts))
}

/// Offline, read-only, and no commit waits: `super_read_only` returned, so nothing is being committed either.
pub(super) fn drained(facts: &ServerFacts) -> bool {
    facts.offline && facts.read_only && facts.semi_sync.waiting_commits == 0
}

async fn cut_off(member: &Member) -> Result<(), SqlError> {
    let patience = match member.latest.borrow().server {
        ServerState::Unresponsive { .. } => HANGING,
        _ => STOP_RECEIVER,
    };
    let cut = tokio::time::timeout(patience, stop_receiving(member)).await;
    cut.unwrap_or(Err(SqlError::Late(patience)))
}

async fn stop_receiving(member: &Member) -> Result<(), SqlError> {
    let mut session = match member.session().await {
        Ok((session, _)) => session,
        // A server that does not answer yet was started without its receiver, and nobody can start it but us.
        Err(_) if member.latest.borrow().server == ServerState::Starting => return Ok(()),
        Err(why) => return Err(why),
    };
    let _gate = member.gate.lock().await;
    receiver::stop(member, &mut session).await
}

async fn stopped(member: &Member) -> Outcome {
    match member.read_logs().await {
        Ok(()) => Outcome::Done,
        Err(why) => failed(format!("{why:#}")),
    }
}

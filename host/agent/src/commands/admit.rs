//! When applications may read from a replica.
//!
//! A server that has led is still taken for the primary by clients that are told late who leads now: what they read
//! there would be out of date, while they may rely on a primary's answers. It must therefore refuse them for a while, and
//! must never be opened to readers under a claim that is no longer stored.

use std::sync::Arc;
use std::time::Duration;

use topology::facts::ServerFacts;
use topology::record::{Claim, Phase, Record};

use crate::member::Member;
use crate::sql::{PROMPT, Session, SqlError, opening};
use crate::supervise::Running;

/// For how long a server that has led lets nobody read once it follows another. kube-proxy writes its rules at most once
/// a second, and on a busy node some seconds late.
const FORMER_PRIMARY_AFTER: Duration = Duration::from_secs(5);

/// Lets applications read from a server that acknowledges, now or in a while. Only a record that is being served from
/// has readers: before that a primary may still be chosen. The caller holds the gate, and the record is the stored one.
pub(super) async fn readers(
    member: &Arc<Member>,
    session: &mut Session,
    record: &Record,
    facts: &ServerFacts,
    running: Running,
) -> Result<(), SqlError> {
    if record.phase != Phase::Serving || !facts.offline || !facts.read_only {
        return Ok(());
    }
    let has_led = member.state.get().opened_epoch(member.incarnation()).is_some();
    if !has_led {
        return opening::admit_readers(session).await;
    }
    let (member, claim) = (Arc::clone(member), record.claim());
    tokio::spawn(async move {
        while is_wanted(&member, claim, running) {
            tokio::select! {
                () = tokio::time::sleep(FORMER_PRIMARY_AFTER) => {}
                () = member.superseded(claim) => return,
            }
            match late(&member, claim, running).await {
                Ok(()) => return,
                Err(why) => tracing::warn!(%why, "applications cannot be let in yet"),
            }
        }
    });
    Ok(())
}

fn is_wanted(member: &Member, claim: Claim, running: Running) -> bool {
    member.state.claim() == Some(claim) && member.supervisor.now().running() == Some(running)
}

async fn late(member: &Member, claim: Claim, running: Running) -> Result<(), SqlError> {
    let (mut session, _) = member.session().await?;
    let Ok(_gate) = tokio::time::timeout(PROMPT, member.gate.lock()).await else { return Err(SqlError::Late(PROMPT)) };
    let facts = member.facts(&mut session, running).await?;
    let follows = facts.replication.is_some() && facts.read_only && !member.was_opened(running);
    if is_wanted(member, claim, running) && follows {
        opening::admit_readers(&mut session).await?;
        member.changed.notify_one();
    }
    Ok(())
}

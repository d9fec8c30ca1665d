//! Locking out, at the member that leads, whoever may not acknowledge: who does not vote, and who is leaving.
//!
//! What is locked always follows from the record that is stored at that moment, never from one that a command brought:
//! an earlier command that is late must not undo a later one. Nothing here may touch a server that is not led by the
//! record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use topology::record::{Phase, Record};
use wire::Outcome;

use super::{failed, refused};
use crate::config::{ordinal, replication_account};
use crate::member::Member;
use crate::sql::{Session, SqlError, locks, opening};
use crate::supervise::Running;

/// How long whoever is logging in to an open server gets until it is known who it is.
const LOGIN: Duration = Duration::from_millis(500);

/// The same where nobody but members has business yet, and writers wait for the opening.
const EARLY_LOGIN: Duration = Duration::from_millis(100);

/// How soon locks that could not be set are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Whose accounts are usable, and in which process all others were found locked and gone.
#[derive(Debug, Default)]
pub struct Locks {
    process: u32,
    allowed: BTreeSet<String>,
}

/// Answers once nobody acknowledges any more who may not.
pub async fn lock(member: &Member, record: &Record) -> Outcome {
    if record.primary != member.name() {
        return refused(format!("only the record's primary, {}, lets members in", record.primary));
    }
    let Some(running) = open(member) else {
        return refused("this server has not been opened: opening it locks whoever may not acknowledge");
    };
    let locked = async {
        let (mut session, _) = member.session().await?;
        settle(member, running, &mut session, true).await
    };
    match locked.await {
        Ok(()) => Outcome::Done,
        Err(why) => failed(why.to_string()),
    }
}

/// Makes a server writable for those who may write to a closed one, and everything right that has to be so before
/// anybody else may. Unless it is to be looked at anew, nothing is done where this process was open under the same
/// members before.
pub(super) async fn before_opening(
    member: &Member,
    running: Running,
    session: &mut Session,
    anew: bool,
) -> Result<(), SqlError> {
    let mut locks_now = member.locks.lock().await;
    let allowed = allowed(member);
    if !anew && locks_now.process == running.pid && locks_now.allowed == allowed {
        return Ok(());
    }
    // First, so that none of them is there to acknowledge the first commit that is possible.
    locks::end_connections(session, &allowed, None).await?;
    opening::admit_agent(session).await?;
    locks::settle(&member.sql, session, &allowed).await?;
    locks::end_connections(session, &allowed, Some(EARLY_LOGIN)).await?;
    *locks_now = Locks { process: running.pid, allowed };
    Ok(())
}

/// Keeps an open primary's accounts as the stored record says. Runs until the agent ends.
pub async fn run(member: Arc<Member>) {
    let mut claims = member.claims.subscribe();
    let mut settled = true;
    loop {
        tokio::select! {
            changed = claims.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !settled => {}
            () = member.ending.cancelled() => return,
        }
        settled = match follow_record(&member).await {
            Ok(()) => true,
            Err(why) => {
                tracing::debug!(%why, "the members' accounts are not as the record says yet");
                false
            }
        };
    }
}

async fn follow_record(member: &Member) -> Result<(), SqlError> {
    let remembered = member.state.get();
    let leads = remembered.record.as_ref().is_some_and(|record| {
        record.primary == member.name() && matches!(record.phase, Phase::Promoting | Phase::Serving)
    });
    let Some(running) = open(member).filter(|_| leads) else { return Ok(()) };
    let (mut session, _) = member.session().await?;
    settle(member, running, &mut session, false).await
}

async fn settle(member: &Member, running: Running, session: &mut Session, anew: bool) -> Result<(), SqlError> {
    let mut locks_now = member.locks.lock().await;
    let allowed = allowed(member);
    if !anew && locks_now.process == running.pid && locks_now.allowed == allowed {
        return Ok(());
    }
    locks::settle(&member.sql, session, &allowed).await?;
    locks::end_connections(session, &allowed, Some(LOGIN)).await?;
    *locks_now = Locks { process: running.pid, allowed };
    Ok(())
}

/// The process, if it was opened for writing.
fn open(member: &Member) -> Option<Running> {
    member.supervisor.now().running().filter(|running| member.was_opened(*running))
}

/// The accounts of those who may acknowledge under the record as it is stored now.
fn allowed(member: &Member) -> BTreeSet<String> {
    let remembered = member.state.get();
    let Some(record) = &remembered.record else { return BTreeSet::new() };
    let trusted = record.members.iter().filter(|other| record.may_acknowledge(&other.name));
    trusted.filter_map(|other| ordinal(&other.name).ok()).map(replication_account).collect()
}

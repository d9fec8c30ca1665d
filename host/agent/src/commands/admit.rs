//! When applications may read from a replica.
//!
//! A server that has led is still taken for the primary by clients that are told late who leads now: what they read
//! there would be out of date, while they may rely on a primary's answers. It must therefore refuse them for a while, and
//! must never be opened to readers under a claim that is no longer stored.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
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
    member.admission.begin(record.claim(), running, |until| {
        let (member, claim) = (Arc::clone(member), record.claim());
        tokio::spawn(async move { admit(&member, claim, running, until).await })
    });
    Ok(())
}

async fn admit(member: &Arc<Member>, claim: Claim, running: Running, mut until: Instant) {
    while is_wanted(member, claim, running) {
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = member.superseded(claim) => return,
        }
        match late(member, claim, running).await {
            Ok(()) => return,
            Err(why) => tracing::warn!(%why, "applications cannot be let in yet"),
        }
        until = Instant::now() + FORMER_PRIMARY_AFTER;
    }
}

/// The one wait after which applications are let in.
#[derive(Debug, Default)]
pub struct Admission {
    pending: Mutex<Option<Pending>>,
}

#[derive(Debug)]
struct Pending {
    epoch: u64,
    running: Running,
    until: Instant,
    task: JoinHandle<()>,
}

impl Admission {
    /// Begins to wait in the place of whoever waited before. A record of the same epoch, which a change of members
    /// brings, does not make the wait longer: the process follows the same primary as before.
    fn begin(&self, claim: Claim, running: Running, wait: impl FnOnce(Instant) -> JoinHandle<()>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pending.take();
        let same = before.as_ref().filter(|before| before.epoch == claim.epoch && before.running == running);
        let until = same.map_or_else(|| Instant::now() + FORMER_PRIMARY_AFTER, |same| same.until);
        if let Some(before) = before {
            before.task.abort();
        }
        *pending = Some(Pending { epoch: claim.epoch, running, until, task: wait(until) });
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_records_in_a_row_wait_once_and_no_longer() {
        let admission = Admission::default();
        let running = Running { pid: 1, started_unix_ms: 1 };
        let begin = |epoch, generation| {
            let claim = Claim { epoch, phase: Phase::Serving, generation };
            let mut until = None;
            admission.begin(claim, running, |given| {
                until = Some(given);
                tokio::spawn(std::future::pending())
            });
            until.unwrap()
        };
        let task = || admission.pending.lock().unwrap().as_ref().unwrap().task.abort_handle();
        let first = begin(7, 0);
        let before = task();
        assert_eq!(begin(7, 1), first, "the same primary");
        while !before.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!task().is_finished());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(begin(8, 0) > first, "another one");
    }
}

//! Carries out steps: names become addresses, orders become commands, and what comes back is remembered.
//!
//! It decides nothing. A command runs in its own task, so that a slow member never holds up a fast one; its end
//! wakes the cluster, and the next pass sees what came of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use topology::facts::{MemberReport, ServerFacts, ServerState};
use topology::gtid::GtidSet;
use topology::plan::Order;
use topology::record::{Claim, Record};
use uuid::Uuid;
use wire::{Command, Endpoint, Outcome, Request, WIRE_VERSION};

use crate::agents::Caller;
use crate::backups::Source;

/// How long a member is left alone after a command failed, so that a broken one is not asked a thousand times.
const BACKOFF: Duration = Duration::from_millis(500);

/// How long to wait before a copy that failed is tried again, doubled with every further failure.
const COPY_BACKOFF: Duration = Duration::from_secs(5);

/// After so long without a copy the first wait is the shortest again.
const COPIES_FORGOTTEN: Duration = Duration::from_secs(3_600);

/// The longest wait before a copy is tried again.
const LONGEST_COPY_BACKOFF: Duration = Duration::from_secs(300);

/// How long most commands may take: each is a few statements on a local socket.
const USUAL: Duration = Duration::from_secs(5);

/// How long an agent is asked to try to catch up and open before it reports back.
const PROMOTE_MS: u64 = 2_000;

/// How long a drain may take. Commits under way end within one round trip to a replica.
const DRAIN_MS: u64 = 3_000;

/// How long a silent member may take to answer a probe before it counts as out of reach.
pub const PROBE_WITHIN: Duration = Duration::from_millis(300);

/// What the commands under way, and those that ended, leave behind for the next pass.
#[derive(Clone, Default)]
pub struct Board {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    under_way: HashMap<String, (u64, Option<Claim>)>,
    not_before: HashMap<String, Instant>,
    failures: HashMap<String, Failure>,
    change: Option<(Claim, GtidSet)>,
    drain_failed: Option<Instant>,
    barriers: HashMap<String, (Memory, GtidSet)>,
    copies: HashMap<String, Copies>,
    next: u64,
}

/// Which memory of a member a barrier is for: its data, and the boot of its machine. In another it may have acknowledged
/// more, and lost that again, than was committed when the barrier was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    incarnation: Option<Uuid>,
    boot_id: String,
}

impl Memory {
    /// The memory that a report is about.
    pub fn of(report: &MemberReport) -> Self {
        Self { incarnation: report.data.incarnation(), boot_id: report.boot_id.clone() }
    }
}

/// Copies that were begun at one pod, one soon after the other. Whether they were good does not matter: a good one that
/// is of no use a moment later is as little worth repeating at once as a bad one.
struct Copies {
    begun: u32,
    last: Instant,
}

impl Copies {
    /// How long after the last one the next may begin.
    fn pause(&self) -> Duration {
        COPY_BACKOFF.saturating_mul(1 << self.begun.saturating_sub(1).min(16)).min(LONGEST_COPY_BACKOFF)
    }
}

/// What a member last failed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it was told, and what it answered.
    pub what: String,
}

impl Board {
    /// Whether a member can be given a command under this claim.
    pub fn is_available(&self, member: &str, claim: Option<Claim>) -> bool {
        let inner = self.lock();
        let busy = inner.under_way.get(member).is_some_and(|(_, under)| *under == claim);
        let resting = inner.not_before.get(member).is_some_and(|until| Instant::now() < *until);
        !busy && !resting
    }

    /// Whether a copy may begin there: the last one is long enough ago.
    pub fn may_copy(&self, pod: &str) -> bool {
        self.lock().copies.get(pod).is_none_or(|copies| copies.last.elapsed() >= copies.pause())
    }

    /// What a member last failed to do, until it succeeds at something.
    pub fn failure(&self, member: &str) -> Option<Failure> {
        self.lock().failures.get(member).cloned()
    }

    /// What the primary's binary log could hold when the change that the record of this claim announces came into
    /// force there.
    pub fn change_barrier(&self, claim: Claim) -> Option<GtidSet> {
        self.lock().change.as_ref().filter(|(under, _)| *under == claim).map(|(_, barrier)| barrier.clone())
    }

    /// When a drain last failed.
    pub fn drain_failed(&self) -> Option<Instant> {
        self.lock().drain_failed
    }

    /// Forgets what belonged to an earlier primary.
    pub fn forget_primary(&self) {
        let mut inner = self.lock();
        inner.barriers.clear();
        inner.drain_failed = None;
    }

    fn copy_begins(&self, pod: &str) {
        let mut inner = self.lock();
        let before = inner.copies.get(pod).filter(|copies| copies.last.elapsed() < COPIES_FORGOTTEN);
        let begun = before.map_or(0, |copies| copies.begun).saturating_add(1);
        inner.copies.insert(pod.to_owned(), Copies { begun, last: Instant::now() });
    }

    /// Notes that something is being done to a member under this claim.
    pub(super) fn begin(&self, member: &str, claim: Option<Claim>) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        let number = inner.next;
        inner.under_way.insert(member.to_owned(), (number, claim));
        number
    }

    /// Notes how it ended.
    pub(super) fn end(&self, member: &str, number: u64, failure: Option<String>) {
        let mut inner = self.lock();
        if inner.under_way.get(member).is_some_and(|(latest, _)| *latest == number) {
            inner.under_way.remove(member);
        }
        match failure {
            Some(what) => {
                inner.not_before.insert(member.to_owned(), Instant::now() + BACKOFF);
                inner.failures.insert(member.to_owned(), Failure { what });
            }
            None => {
                inner.not_before.remove(member);
                inner.failures.remove(member);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One command, with everything needed to give it.
pub struct Errand {
    /// The cluster, for the log.
    pub cluster: String,
    /// The member that is told.
    pub member: String,
    /// What it is told.
    pub order: Order,
    /// The record it is told under.
    pub record: Record,
    /// The link to it.
    pub caller: Caller,
    /// What that member remembers with, for barriers. None where it did not answer.
    pub memory: Option<Memory>,
    /// The link to the primary, for barriers.
    pub primary: Option<Caller>,
    /// Where the member that the order names is.
    pub other: Option<Endpoint>,
    /// The backup that the first data is made from. None for an empty server.
    pub recovery: Option<Source>,
}

impl Errand {
    /// Sends it on its way. Its end wakes `wake`.
    pub fn send(self, board: &Board, wake: Arc<Notify>) {
        if self.copies() {
            board.copy_begins(&self.member);
        }
        let number = board.begin(&self.member, Some(self.record.claim()));
        let board = board.clone();
        tokio::spawn(async move {
            let started = Instant::now();
            let failure = self.run(&board).await.err();
            let took_ms = started.elapsed().as_millis();
            match &failure {
                None => {
                    tracing::info!(cluster = self.cluster, member = self.member, order = %self.order, took_ms, "done")
                }
                Some(failure) => {
                    tracing::info!(cluster = self.cluster, member = self.member, order = %self.order, took_ms, failure, "not done");
                }
            }
            board.end(&self.member, number, failure);
            wake.notify_one();
        });
    }

    /// Whether a member's data is fetched from elsewhere, which takes long and is not tried again at once.
    pub fn copies(&self) -> bool {
        matches!(self.order, Order::Clone { .. }) || (self.order == Order::Initialize && self.recovery.is_some())
    }

    async fn run(&self, board: &Board) -> Result<(), String> {
        let command = self.command(board).await?;
        let within = match &self.order {
            Order::Promote { .. } => Duration::from_millis(PROMOTE_MS) + USUAL,
            Order::Drain => Duration::from_millis(DRAIN_MS) + USUAL,
            _ => USUAL,
        };
        let request = Request { wire: WIRE_VERSION, record: self.record.clone(), command };
        let response =
            self.caller.command(&request, within).await.map_err(|error| format!("{}: {error}", self.order))?;
        if response.outcome == Outcome::Done
            && self.puts_change_in_force()
            && let ServerState::Running(facts) = &response.report.server
        {
            board.lock().change = Some((self.record.claim(), facts.logged()));
        }
        if matches!((&self.order, &response.outcome), (Order::Drain, Outcome::Failed { .. })) {
            board.lock().drain_failed = Some(Instant::now());
        }
        if matches!((&self.order, &response.outcome), (Order::GrantStanding, Outcome::Done)) {
            board.lock().barriers.remove(&self.member);
        }
        match response.outcome {
            Outcome::Done | Outcome::Pending { .. } => Ok(()),
            Outcome::Stale { stale } => Err(format!("{}: the agent has promised more: {stale}", self.order)),
            Outcome::Refused { reason } => Err(format!("{}: refused: {reason}", self.order)),
            Outcome::Failed { error } => Err(format!("{}: {error}", self.order)),
            Outcome::Unknown => {
                Err(format!("{}: its agent answers with what this version has no word for", self.order))
            }
        }
    }

    /// Whether this is what the change that the record announces waits for.
    fn puts_change_in_force(&self) -> bool {
        match &self.order {
            Order::SetAcks { acks } => self.record.raising_acks == Some(*acks),
            Order::Lock => self.record.leaving.is_some(),
            _ => false,
        }
    }

    async fn command(&self, board: &Board) -> Result<Command, String> {
        let other =
            || self.other.clone().ok_or_else(|| format!("{}: where that member is, is not known yet", self.order));
        Ok(match &self.order {
            Order::Store => Command::Store,
            Order::Initialize => match &self.recovery {
                None => Command::Initialize,
                Some(recovery) => recovery.command().await.map_err(|why| format!("{}: {why:#}", self.order))?,
            },
            Order::Start => Command::Start,
            Order::Clone { .. } => Command::Clone { donor: other()? },
            Order::Trim => Command::Trim { keep: self.committed().await? },
            Order::Follow { .. } => Command::Follow { source: other()? },
            Order::Read { delay_s, .. } => Command::Read { source: other()?, delay_s: *delay_s },
            Order::Freeze => Command::Freeze,
            Order::GrantStanding => Command::GrantStanding { barrier: self.barrier(board).await? },
            Order::Promote { source: None, required } => {
                Command::Promote { source: None, required: required.clone(), deadline_ms: PROMOTE_MS }
            }
            Order::Promote { source: Some(_), required } => {
                Command::Promote { source: Some(other()?), required: required.clone(), deadline_ms: PROMOTE_MS }
            }
            Order::SetAcks { acks } => Command::SetAcks { acks: *acks },
            Order::Lock => Command::Lock,
            Order::Fence => Command::Fence,
            Order::Drain => Command::Drain { deadline_ms: DRAIN_MS },
            Order::Undrain => Command::Undrain,
        })
    }

    /// What the primary's binary log can hold by now, asked once after the member was seen to need it: a later answer
    /// would run ahead of a busy primary for ever.
    async fn barrier(&self, board: &Board) -> Result<GtidSet, String> {
        let memory = self.memory.clone().ok_or("the member did not answer, so what it has to prove is not known")?;
        if let Some((of, barrier)) = board.lock().barriers.get(&self.member)
            && *of == memory
        {
            return Ok(barrier.clone());
        }
        let (_, facts) = self.primary().await?;
        if !self.record.base.is_subset_of(&facts.executed) {
            return Err("the primary has not executed everything it was chosen with yet".to_owned());
        }
        board.lock().barriers.insert(self.member.clone(), (memory, facts.logged()));
        Ok(facts.logged())
    }

    /// What the primary has committed, once it is open under this record: whatever else a former primary committed
    /// was never acknowledged.
    async fn committed(&self) -> Result<GtidSet, String> {
        let (opened_in_epoch, facts) = self.primary().await?;
        let opened = facts.open && opened_in_epoch >= Some(self.record.primary_since_epoch);
        opened.then_some(facts.executed).ok_or_else(|| format!("{} is not open yet", self.record.primary))
    }

    /// The epoch in which the primary opened, and what its server says now.
    async fn primary(&self) -> Result<(Option<u64>, ServerFacts), String> {
        let primary = self.primary.as_ref().ok_or("the primary cannot be asked what it has committed")?;
        let report = primary.probe(USUAL).await;
        let report = report.map_err(|error| format!("asking the primary what it has committed: {error}"))?;
        match report.server {
            ServerState::Running(facts) => Ok((report.opened_in_epoch, *facts)),
            _ => Err("the primary does not run, so it cannot be asked what it has committed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_fails_again_and_again_is_tried_less_and_less_often() {
        let board = Board::default();
        assert!(board.may_copy("shop-read-0"));
        board.copy_begins("shop-read-0");
        assert!(!board.may_copy("shop-read-0") && board.may_copy("shop-read-1"));
        let pause = |begun| Copies { begun, last: Instant::now() }.pause().as_secs();
        assert_eq!([1, 2, 3, 7, 40].map(pause), [5, 10, 20, 300, 300]);
        board.copy_begins("shop-read-0");
        assert_eq!(board.lock().copies["shop-read-0"].begun, 2);
    }
}

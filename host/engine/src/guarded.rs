//! The breaker before a module in force, shared by the threads that decide, with the clock it needs.
//!
//! Its lock is held for a comparison, and never while a module runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::breaker::{Breaker, Change, Terms};
use crate::decision::{DecidedBy, Failure, FailureKind};

/// What a module said.
pub enum Heard<'a> {
    /// What it wants.
    Answer,
    /// That it wants to wait, which says nothing yet: it may turn out to last too long.
    Hold,
    /// It failed. A fault of the sandbox says nothing of the module.
    Failure(&'a Failure),
}

/// A module that is not asked for the time being, because it failed too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutOfUse {
    /// Why, in the same words for as long as it lasts.
    pub why: String,
    /// Since when, in seconds since 1970, UTC.
    pub since_unix_s: u64,
    /// The first question from then on is its trial, in seconds since 1970, UTC. Later with each trial that fails.
    pub until_unix_s: u64,
    /// Who is next in line, and decides meanwhile.
    pub instead: DecidedBy,
}

/// A breaker that threads share.
pub struct Guarded {
    began: Instant,
    /// The same moment on the clock that people read.
    began_at: SystemTime,
    held: Mutex<Held>,
}

struct Held {
    breaker: Breaker,
    /// What went wrong when it opened.
    why: String,
    /// When it did.
    opened: Duration,
    /// The epoch in which a hold last counted as a failure.
    held_in: Option<u64>,
}

impl Held {
    fn blame(&mut self, why: &str, now: Duration) -> Option<Change> {
        let change = self.breaker.failed(now);
        if change == Some(Change::Opened) {
            why.clone_into(&mut self.why);
            self.opened = now;
        }
        change
    }
}

impl Guarded {
    /// Closed.
    pub fn new(terms: Terms) -> Self {
        let held = Held { breaker: Breaker::new(terms), why: String::new(), opened: Duration::ZERO, held_in: None };
        Self { began: Instant::now(), began_at: SystemTime::now(), held: Mutex::new(held) }
    }

    /// Whether the module is to be asked now. `remember` counts it as a trial where the breaker is open.
    pub fn lets_through(&self, remember: bool) -> bool {
        let now = self.began.elapsed();
        let breaker = &mut self.lock().breaker;
        if remember { breaker.admit(now) } else { breaker.lets_through(now) }
    }

    /// The module was asked.
    pub fn learn(&self, heard: Heard<'_>) -> Option<Change> {
        let mut held = self.lock();
        match heard {
            Heard::Answer => held.breaker.succeeded(),
            Heard::Hold => None,
            Heard::Failure(failure) if failure.kind == FailureKind::Sandbox => None,
            Heard::Failure(failure) => held.blame(&failure.message, self.began.elapsed()),
        }
    }

    /// The module held for longer than it may. Asked again and again in one epoch, that is one failure.
    pub fn held_too_long(&self, epoch: u64, why: &str) -> Option<Change> {
        let mut held = self.lock();
        match held.held_in.replace(epoch) {
            Some(before) if before == epoch => None,
            _ => held.blame(why, self.began.elapsed()),
        }
    }

    /// Why the module is not asked and until when, where the breaker is not closed. `instead` says who decides meanwhile.
    pub fn out_of_use(&self, instead: impl FnOnce() -> DecidedBy) -> Option<OutOfUse> {
        let held = self.lock();
        held.breaker.next_trial().map(|next| {
            let Terms { failures, pause, longest } = held.breaker.terms();
            let why = format!(
                "it failed {failures} times in a row, the last time because {}; it is tried again after {} s, then after pauses of up to {} s, and until it answers whoever is next in line decides",
                held.why,
                pause.as_secs(),
                longest.as_secs()
            );
            let (since_unix_s, until_unix_s) = (self.unix_s(held.opened), self.unix_s(next));
            OutOfUse { why, since_unix_s, until_unix_s, instead: instead() }
        })
    }

    fn unix_s(&self, since_it_began: Duration) -> u64 {
        let at = self.began_at.checked_add(since_it_began).unwrap_or(self.began_at);
        at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

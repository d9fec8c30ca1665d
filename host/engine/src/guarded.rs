//! The breaker before a module in force, shared by the threads that decide, with the clock it needs.
//!
//! Its lock is held for a comparison, and never while a module runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::breaker::{Breaker, Change, Terms};
use crate::decision::{Failure, FailureKind};

/// What a module said.
pub enum Heard<'a> {
    /// What it wants.
    Answer,
    /// That it wants to wait, which says nothing yet: it may turn out to last too long.
    Hold,
    /// It failed. A fault of the sandbox says nothing of the module.
    Failure(&'a Failure),
}

/// A breaker that threads share.
pub struct Guarded {
    began: Instant,
    held: Mutex<Held>,
}

struct Held {
    breaker: Breaker,
    /// What went wrong when it opened.
    why: String,
    /// The epoch in which a hold last counted as a failure.
    held_in: Option<u64>,
}

impl Held {
    fn blame(&mut self, why: &str, now: Duration) -> Option<Change> {
        let change = self.breaker.failed(now);
        if change == Some(Change::Opened) {
            why.clone_into(&mut self.why);
        }
        change
    }
}

impl Guarded {
    /// Closed.
    pub fn new(terms: Terms) -> Self {
        let held = Held { breaker: Breaker::new(terms), why: String::new(), held_in: None };
        Self { began: Instant::now(), held: Mutex::new(held) }
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

    /// Why the module is not asked, where the breaker is not closed. The same words for as long as it is not.
    pub fn why_not(&self) -> Option<String> {
        let held = self.lock();
        held.breaker.is_open().then(|| {
            let Terms { failures, pause, longest } = held.breaker.terms();
            format!(
                "it failed {failures} times in a row, the last time because {}; it is tried again after {} s, then after pauses of up to {} s, and until it answers whoever is next in line decides",
                held.why,
                pause.as_secs(),
                longest.as_secs()
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How many planned disruptions there may be, over all clusters: restarts, moves of a role that nobody asked for,
//! copies that replace data.
//!
//! A bad setting or a bad image shows on the first clusters before it is everywhere. What a loss calls for never comes
//! here. What is remembered bounds the pace only: a new operator begins with a full allowance.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// How many may come at once: a cluster of seven members, restarted from the first to the last, takes eight.
const BURST: u64 = 10;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// A bucket of tokens, one for each disruption; pure, on a clock that is handed in.
///
/// It holds the moment at which it will be full again instead of a number of tokens, so that nothing has to be
/// refilled and nothing is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    /// How long one token takes to come back, in milliseconds. None if none ever does.
    every_ms: Option<u64>,
    full_at_ms: u64,
}

impl Bucket {
    fn full(per_hour: u32) -> Self {
        Self { every_ms: HOUR_MS.checked_div(u64::from(per_hour)).map(|every| every.max(1)), full_at_ms: 0 }
    }

    fn is_empty(&self, now_ms: u64) -> bool {
        self.every_ms.is_none_or(|every| self.full_at_ms.saturating_sub(now_ms) > (BURST - 1) * every)
    }

    /// Takes a token. False if there is none.
    fn take(&mut self, now_ms: u64) -> bool {
        let Some(every) = self.every_ms.filter(|_| !self.is_empty(now_ms)) else { return false };
        self.full_at_ms = self.full_at_ms.max(now_ms) + every;
        true
    }
}

/// The limit of this operator, shared by all clusters.
#[derive(Debug)]
pub struct Limits {
    bucket: Mutex<Bucket>,
    began: Instant,
}

impl Limits {
    /// So many an hour on average, and ten at once; none ever if 0.
    pub fn per_hour(disruptions: u32) -> Self {
        Self { bucket: Mutex::new(Bucket::full(disruptions)), began: Instant::now() }
    }

    /// Whether the next one has to wait.
    pub fn is_reached(&self) -> bool {
        self.lock().is_empty(self.now_ms())
    }

    /// Takes one. False if another cluster was quicker.
    pub fn take(&self) -> bool {
        self.lock().take(self.now_ms())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_a_minute() {
        let mut bucket = Bucket::full(60);
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, 0), 10);
        assert!(bucket.is_empty(59_999));
        assert!(!bucket.is_empty(60_000), "looking takes nothing");
        assert_eq!(taken(&mut bucket, 60_000), 1);
        assert_eq!(taken(&mut bucket, 60_000 + 180_000), 3);
        assert_eq!(taken(&mut bucket, 100 * HOUR_MS), 10, "what is not used does not add up");
    }

    #[test]
    fn whoever_asks_all_the_time_gets_what_an_hour_allows() {
        let mut bucket = Bucket::full(7);
        let taken = (0..3 * HOUR_MS / 1_000).filter(|second| bucket.take(second * 1_000)).count();
        assert_eq!(taken, 10 + 3 * 7 - 1);
    }

    #[test]
    fn none_an_hour_means_none() {
        assert!(!Bucket::full(0).take(HOUR_MS));
    }
}

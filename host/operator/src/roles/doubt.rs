//! Whether the record that this operator holds can still be the one there is, and since when it looks otherwise.
//!
//! A watch shows a record that was deleted or put back late or not at all, and what an operator wrote itself it believes
//! until it is told otherwise. Doubt only makes it read again: what to do is decided from what was read.

use std::time::Duration;

use tokio::time::Instant;

/// How long the watch may say something else than what was read or written last: it shows an operator's own writes some
/// milliseconds late.
const WATCH_LAG: Duration = Duration::from_secs(1);

/// How often the record is read again while something contradicts it.
const READ_EVERY: Duration = Duration::from_secs(1);

/// What contradicts the record.
#[derive(Default)]
pub struct Doubt {
    watch_differs: Option<Instant>,
    contradicted: Option<Instant>,
    read_at: Option<Instant>,
}

impl Doubt {
    /// The watch has another record than this operator, or does not.
    pub fn watch_differs(&mut self, differs: bool, now: Instant) {
        self.watch_differs = differs.then(|| self.watch_differs.unwrap_or(now));
    }

    /// A member remembers a later record than this operator has, or none does.
    pub fn contradicted(&mut self, contradicted: bool, now: Instant) {
        self.contradicted = contradicted.then(|| self.contradicted.unwrap_or(now));
    }

    /// Whether the record has to be read again now. Says so at most once a second.
    pub fn calls_for_a_read(&mut self, now: Instant) -> bool {
        let lags = self.watch_differs.is_some_and(|since| now.duration_since(since) >= WATCH_LAG);
        let rested = self.read_at.is_none_or(|read| now.duration_since(read) >= READ_EVERY);
        let reads = rested && (lags || self.contradicted.is_some());
        if reads {
            self.read_at = Some(now);
        }
        reads
    }

    /// For how long members have remembered a later record than the one that was read since, in milliseconds.
    pub fn contradicted_ms(&self, now: Instant) -> u64 {
        let since = self.contradicted.filter(|since| self.read_at.is_some_and(|read| read >= *since));
        since.map_or(0, |since| u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_secs(3);

    #[test]
    fn a_contradiction_counts_from_when_it_began_and_once_the_record_was_read_again() {
        let began = Instant::now();
        let mut doubt = Doubt::default();
        doubt.contradicted(true, began);
        assert_eq!(doubt.contradicted_ms(began + MOMENT), 0, "it may only be a record of a moment ago");
        assert!(doubt.calls_for_a_read(began + MOMENT));
        assert!(!doubt.calls_for_a_read(began + MOMENT), "once a second");
        doubt.contradicted(true, began + MOMENT);
        assert_eq!(doubt.contradicted_ms(began + MOMENT), 3_000);
        doubt.contradicted(false, began + MOMENT);
        assert_eq!(doubt.contradicted_ms(began + MOMENT), 0);
    }

    #[test]
    fn a_watch_that_is_late_by_a_moment_is_no_reason_to_read() {
        let began = Instant::now();
        let mut doubt = Doubt::default();
        doubt.watch_differs(true, began);
        assert!(!doubt.calls_for_a_read(began));
        doubt.watch_differs(true, began + MOMENT);
        assert!(doubt.calls_for_a_read(began + MOMENT));
        assert_eq!(doubt.contradicted_ms(began + MOMENT), 0, "no member says so");
    }
}

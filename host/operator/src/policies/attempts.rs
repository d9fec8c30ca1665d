//! When a module is loaded again, where what failed may have passed: less and less often, and one attempt at a time. Pure.

use std::time::Duration;

/// How long after a failure that may pass by itself a module is loaded again; twice as long after every further one.
const RETRY: Duration = Duration::from_secs(10);

/// The longest pause between two such attempts.
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// Attempts that fail at what may pass by itself.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// How many did in a row.
    failed: u32,
    /// Whether another one is on its way.
    goes_on: bool,
}

impl Attempts {
    /// One begins.
    pub(super) fn begin(&mut self) {
        self.goes_on = false;
    }

    /// How long to wait before everything is tried again, if it is to be and is not on its way.
    pub(super) fn next(&mut self, again: bool) -> Option<Duration> {
        if !again {
            self.failed = 0;
            return None;
        }
        let pause = RETRY.saturating_mul(1 << self.failed.min(16)).min(LONGEST_RETRY);
        self.failed += 1;
        (!std::mem::replace(&mut self.goes_on, true)).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_by_itself_is_tried_again_less_and_less_often_and_one_attempt_at_a_time() {
        let mut attempts = Attempts::default();
        assert_eq!((attempts.next(false), attempts.next(true)), (None, Some(RETRY)));
        assert_eq!(attempts.next(true), None, "one is on its way");
        let mut pauses = Vec::new();
        for _ in 0..30 {
            attempts.begin();
            pauses.extend(attempts.next(true));
        }
        assert!(pauses.is_sorted() && pauses.first() > Some(&RETRY) && pauses.last() == Some(&LONGEST_RETRY));
        attempts.next(false);
        attempts.begin();
        assert_eq!(attempts.next(true), Some(RETRY), "all was well in between");
    }
}

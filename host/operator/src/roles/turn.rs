//! Whose turn it is to act for a cluster: the operator with the Lease or, where that one cannot, one that can.
//!
//! The Lease says who acts and cannot know who sees. A leader beside a primary that is cut off from the other nodes
//! renews it and reaches no replica, while another operator sees that the primary is lost. So whoever sees that
//! for long enough stands in. This must never be what keeps two operators apart: the record's compare-and-swap
//! does, and two that act at once only do some work twice.

use std::time::Duration;

use tokio::time::Instant;

/// How long a loss has to be seen, and nobody may have moved the record, before an operator without the Lease
/// makes it. A leader that sees the loss claims within some tens of milliseconds (measured 20–60). A slow API server is no
/// reason to wait for longer: whoever stands in has to go through it too, and two that claim at once cost each other one
/// write.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This operator's.
    Mine,
    /// Another's, for now: look again soon.
    Perhaps,
    /// Another's.
    Theirs,
}

/// What one look at a cluster shows of whose turn it is.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// This operator holds the Lease.
    pub leads: bool,
    /// It sees that the primary is lost and nobody has claimed the next epoch yet.
    pub finds_a_loss: bool,
    /// The record stands as this operator wrote it.
    pub record_is_ours: bool,
    /// For how long nobody has moved the record.
    pub record_unchanged: Duration,
}

/// What an operator remembers of its turns at one cluster.
#[derive(Debug, Default)]
pub struct Turns {
    found_since: Option<Instant>,
    stands_in: bool,
}

impl Turns {
    /// Whose turn it is at `now`. Whoever stands in goes on until somebody else moves the record, because what
    /// it began has to be finished by somebody who sees.
    pub fn take(&mut self, sight: Sight, now: Instant) -> Turn {
        let Sight { leads, finds_a_loss, record_is_ours, record_unchanged } = sight;
        self.stands_in &= record_is_ours && !leads;
        self.found_since = self.found_since.filter(|_| finds_a_loss).or(finds_a_loss.then_some(now));
        if leads || self.stands_in {
            return Turn::Mine;
        }
        let Some(since) = self.found_since else { return Turn::Theirs };
        if now.duration_since(since).min(record_unchanged) < PATIENCE {
            return Turn::Perhaps;
        }
        Turn::Mine
    }

    /// The record was moved by this operator, whether or not it holds the Lease. True if that was in another's stead.
    pub fn moved(&mut self, leads: bool) -> bool {
        let begun = !leads && !self.stands_in;
        self.stands_in = !leads;
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Sight =
        Sight { leads: false, finds_a_loss: false, record_is_ours: false, record_unchanged: Duration::from_secs(60) };
    const LOST: Sight = Sight { finds_a_loss: true, ..QUIET };

    #[test]
    fn the_lease_decides_while_nothing_is_lost() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.take(QUIET, now), Turn::Theirs);
        assert_eq!(turns.take(Sight { leads: true, ..QUIET }, now), Turn::Mine);
        assert_eq!(turns.take(QUIET, now), Turn::Theirs);
    }

    #[test]
    fn a_loss_that_nobody_sees_to_is_seen_to_after_a_while() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.take(LOST, now), Turn::Perhaps);
        assert_eq!(turns.take(LOST, now + PATIENCE / 2), Turn::Perhaps);
        assert_eq!(turns.take(LOST, now + PATIENCE), Turn::Mine);
    }

    #[test]
    fn a_loss_that_passes_or_that_somebody_sees_to_begins_anew() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        turns.take(LOST, now);
        turns.take(QUIET, now + PATIENCE / 2);
        assert_eq!(turns.take(LOST, now + PATIENCE), Turn::Perhaps);
        let moved = Sight { record_unchanged: PATIENCE / 2, ..LOST };
        assert_eq!(turns.take(moved, now + PATIENCE * 5), Turn::Perhaps);
    }

    #[test]
    fn whoever_stands_in_finishes_unless_somebody_else_moves_the_record() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert!(turns.moved(false), "that is told once");
        assert!(!turns.moved(false));
        let mine = Sight { record_is_ours: true, ..QUIET };
        assert_eq!(turns.take(mine, now), Turn::Mine);
        assert_eq!(turns.take(QUIET, now), Turn::Theirs);
        assert_eq!(turns.take(mine, now), Turn::Theirs, "what ended does not come back");
    }
}

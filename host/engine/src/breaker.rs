//! Spares a module that keeps failing the questions, and the questions the module.
//!
//! Closed: it is asked. After so many failures in a row it opens: whoever is next in line decides straight away. After a
//! pause one question is let through (half-open): if it is answered the breaker closes, else it opens for twice as long,
//! up to a limit. Pure: the time is given. It must never stay open for ever.

use std::time::Duration;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Failures in a row that open it. Every one of them costs a decision what a call may cost (some 20 ms, at most
    /// half a second), so that a few are borne for the sake of a module that fails on one question only.
    pub failures: u32,
    /// How long it stays open at first: longer than a failover takes, so that one failover has one opinion.
    pub pause: Duration,
    /// How long it stays open at most: whoever mends what a module stumbles over should not have to wait for hours.
    pub longest: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { failures: 3, pause: Duration::from_secs(30), longest: Duration::from_secs(600) }
    }
}

/// A change that people are told of: once when it opens, once when it closes. A trial that fails is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// From now on it is not asked.
    Opened,
    /// From now on it is asked again.
    Closed,
}

/// What a breaker does. Times are durations since any moment that stays the same for one breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        since: Duration,
        pause: Duration,
    },
    /// One question is on its way since then. If nobody tells what came of it, the next is let through after a pause.
    HalfOpen {
        since: Duration,
        pause: Duration,
    },
}

/// The breaker before one module with its settings.
#[derive(Debug, Clone)]
pub struct Breaker {
    terms: Terms,
    state: State,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(Terms::default())
    }
}

impl Breaker {
    /// Closed.
    pub fn new(terms: Terms) -> Self {
        Self { terms, state: State::Closed { failures: 0 } }
    }

    /// Whether the module would be asked now.
    pub fn lets_through(&self, now: Duration) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { since, pause } | State::HalfOpen { since, pause } => now.saturating_sub(since) >= pause,
        }
    }

    /// The same, and a question that is let through an open breaker is its trial: no other is until it has ended.
    pub fn admit(&mut self, now: Duration) -> bool {
        let admitted = self.lets_through(now);
        if let (true, State::Open { pause, .. } | State::HalfOpen { pause, .. }) = (admitted, self.state) {
            self.state = State::HalfOpen { since: now, pause };
        }
        admitted
    }

    /// A question was answered.
    pub fn succeeded(&mut self) -> Option<Change> {
        let was = std::mem::replace(&mut self.state, State::Closed { failures: 0 });
        match was {
            State::Closed { .. } => None,
            State::Open { .. } | State::HalfOpen { .. } => Some(Change::Closed),
        }
    }

    /// A question was not.
    pub fn failed(&mut self, now: Duration) -> Option<Change> {
        match self.state {
            State::Closed { failures } if failures + 1 < self.terms.failures => {
                self.state = State::Closed { failures: failures + 1 };
                None
            }
            State::Closed { .. } => {
                self.state = State::Open { since: now, pause: self.terms.pause };
                Some(Change::Opened)
            }
            // Asked before it opened, and late.
            State::Open { .. } => None,
            State::HalfOpen { pause, .. } => {
                let pause = pause.saturating_mul(2).min(self.terms.longest);
                self.state = State::Open { since: now, pause };
                None
            }
        }
    }

    /// Whether it is not closed.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// When the next question is let through as a trial. None while it is closed and lets every one through.
    pub fn next_trial(&self) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { since, pause } | State::HalfOpen { since, pause } => Some(since.saturating_add(pause)),
        }
    }

    /// When it opens and for how long.
    pub fn terms(&self) -> Terms {
        self.terms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms { failures: 3, pause: Duration::from_secs(30), longest: Duration::from_secs(100) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Open since second 0.
    fn open() -> Breaker {
        let mut breaker = Breaker::new(TERMS);
        let told: Vec<_> = (0..3).map(|_| breaker.failed(at(0))).collect();
        assert_eq!(told, [None, None, Some(Change::Opened)]);
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_then() {
        let mut breaker = Breaker::new(TERMS);
        for _ in 0..10 {
            assert_eq!((breaker.failed(at(1)), breaker.failed(at(1)), breaker.succeeded()), (None, None, None));
        }
        assert!(!open().lets_through(at(29)) && open().lets_through(at(30)));
    }

    #[test]
    fn a_trial_that_fails_doubles_the_pause_up_to_a_limit_and_is_not_news() {
        let (mut breaker, mut now) = (open(), at(0));
        for pause in [30, 60, 100, 100] {
            assert!(!breaker.admit(now + at(pause) - Duration::from_millis(1)));
            now += at(pause);
            assert!(breaker.admit(now));
            assert!(!breaker.lets_through(now), "one trial at a time");
            assert_eq!(breaker.failed(now), None);
        }
        assert!(breaker.admit(now + at(100)));
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert!(!breaker.is_open() && breaker.lets_through(at(0)));
        assert_eq!(open(), breaker_after(&mut breaker), "it has forgotten how long it was open");
    }

    fn breaker_after(breaker: &mut Breaker) -> Breaker {
        for _ in 0..3 {
            breaker.failed(at(0));
        }
        breaker.clone()
    }

    impl PartialEq for Breaker {
        fn eq(&self, other: &Self) -> bool {
            (self.terms, self.state) == (other.terms, other.state)
        }
    }

    #[test]
    fn it_tells_when_it_tries_again_and_failures_that_come_late_change_nothing() {
        let mut breaker = open();
        assert_eq!((breaker.next_trial(), Breaker::new(TERMS).next_trial()), (Some(at(30)), None));
        assert_eq!((breaker.failed(at(7)), breaker.next_trial()), (None, Some(at(30))));
        assert!(breaker.admit(at(31)));
        breaker.failed(at(32));
        assert_eq!(breaker.next_trial(), Some(at(92)), "a minute after the trial failed");
    }

    #[test]
    fn a_trial_of_which_nobody_hears_again_is_followed_by_another() {
        let mut breaker = open();
        assert!(breaker.admit(at(30)) && !breaker.admit(at(59)) && breaker.admit(at(60)));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Ask { answers: bool },
        Lose,
        Wait(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => any::<bool>().prop_map(|answers| Act::Ask { answers }),
            1 => Just(Act::Lose),
            3 => (0_u64..150).prop_map(Act::Wait),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_it_tells_each_change_once_and_asks_again_within_its_longest_pause(
            acts in prop::collection::vec(act(), 0..200)
        ) {
            let (mut breaker, mut now, mut told_open, mut in_a_row) = (Breaker::new(TERMS), at(1_000), false, 0_u32);
            for act in acts {
                match act {
                    Act::Wait(seconds) => now += at(seconds),
                    Act::Lose => {
                        breaker.admit(now);
                    }
                    Act::Ask { answers } => {
                        if breaker.admit(now) {
                            let change = if answers { breaker.succeeded() } else { breaker.failed(now) };
                            in_a_row = if answers { 0 } else { in_a_row + 1 };
                            match change {
                                Some(Change::Opened) => prop_assert!(!std::mem::replace(&mut told_open, true)),
                                Some(Change::Closed) => prop_assert!(std::mem::replace(&mut told_open, false)),
                                None => {}
                            }
                        } else {
                            prop_assert!(told_open, "only an open one keeps a question away");
                        }
                    }
                }
                prop_assert_eq!(breaker.is_open(), told_open);
                prop_assert_eq!(told_open, in_a_row >= TERMS.failures, "failures in a row are what opens it");
                prop_assert!(breaker.lets_through(now + TERMS.longest), "it never stays open for ever");
            }
        }
    }
}

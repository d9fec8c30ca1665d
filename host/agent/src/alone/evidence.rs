//! What a primary has noticed of operators, replicas and the API server, and when.
//!
//! Everything is counted on a clock that this agent has watched without a gap. After a pause of its own it knows
//! nothing, and begins anew: what it remembers from before says nothing about now.

use std::time::Duration;

use tokio::time::Instant;
use topology::facts::ServerFacts;
use topology::gtid::GtidSet;

use super::decide::{Api, Heartbeat, ROUND, Situation};
use crate::operators::Contact;

/// A look that comes so late was not late: the agent, or its machine, was paused.
pub const PAUSE: Duration = Duration::from_secs(1);

/// What was noticed, and when.
#[derive(Debug)]
pub struct Evidence {
    looked: Instant,
    contact: Contact,
    operator: Instant,
    progress: Instant,
    acknowledged: Option<Instant>,
    executed: Option<GtidSet>,
    api: Asked,
    beat: Beat,
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Never,
    Now(Instant),
    Then { asked: Instant, answered: bool },
}

#[derive(Debug, Clone, Copy)]
enum Beat {
    None,
    Failed(Instant),
    Waits(Instant),
}

impl Evidence {
    /// Nothing is known.
    pub fn new(now: Instant) -> Self {
        Self {
            looked: now,
            contact: Contact::default(),
            operator: now,
            progress: now,
            acknowledged: None,
            executed: None,
            api: Asked::Never,
            beat: Beat::None,
        }
    }

    /// Takes in one look: who has been heard of, and what the open server says; None where it is not open or does
    /// not answer. Whether the agent was paused before it.
    pub fn look(&mut self, now: Instant, contact: Contact, open: Option<&ServerFacts>) -> bool {
        let paused = now.saturating_duration_since(self.looked) > PAUSE;
        if paused {
            self.begin_anew(now);
        }
        self.looked = now;
        if contact.streams > 0 || contact.heard != self.contact.heard {
            self.operator = now;
        }
        self.contact = contact;
        self.look_at_commits(now, open);
        paused
    }

    fn look_at_commits(&mut self, now: Instant, open: Option<&ServerFacts>) {
        let Some(facts) = open else {
            (self.executed, self.progress, self.beat) = (None, now, Beat::None);
            return;
        };
        // In the engine, and so in this set, a commit is only after its acknowledgement.
        let grew = self.executed.as_ref().is_some_and(|before| *before != facts.executed);
        if grew && facts.semi_sync.enabled {
            self.acknowledged = Some(now);
        }
        if grew || facts.semi_sync.waiting_commits == 0 {
            self.progress = now;
            if let Beat::Waits(since) = &mut self.beat {
                *since = now;
            }
        }
        self.executed = Some(facts.executed.clone());
    }

    fn begin_anew(&mut self, now: Instant) {
        (self.operator, self.progress) = (now, now);
        (self.acknowledged, self.executed) = (None, None);
        (self.api, self.beat) = (Asked::Never, Beat::None);
    }

    /// The API server is being asked.
    pub fn asking(&mut self, now: Instant) {
        self.api = Asked::Now(now);
    }

    /// What the API server said, unless a pause came in between.
    pub fn answered(&mut self, answered: bool) {
        if let Asked::Now(asked) = self.api {
            self.api = Asked::Then { asked, answered };
        }
    }

    /// A heartbeat has been sent.
    pub fn beating(&mut self, now: Instant) {
        self.beat = Beat::Waits(now);
    }

    /// What became of the heartbeat.
    pub fn beaten(&mut self, now: Instant, acknowledged: bool) {
        if acknowledged {
            (self.acknowledged, self.beat) = (Some(now), Beat::None);
        } else {
            self.beat = Beat::Failed(now);
        }
    }

    /// For how long no operator has been heard of.
    pub fn operator_silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.operator)
    }

    /// How it stands, for a server whose commits wait for so many acknowledgements.
    pub fn situation(&self, now: Instant, acks: u32) -> Situation {
        let ago = |then: Instant| now.saturating_duration_since(then);
        Situation {
            acks,
            operator_silent: ago(self.operator),
            stuck: ago(self.progress),
            acknowledged: self.acknowledged.map(ago),
            api: match self.api {
                Asked::Never => Api::Unknown,
                Asked::Now(_) => Api::Asking,
                Asked::Then { asked, answered: true } => Api::InReach { asked: ago(asked) },
                Asked::Then { asked, answered: false } => Api::OutOfReach { asked: ago(asked) },
            },
            heartbeat: match self.beat {
                Beat::Waits(since) => Heartbeat::Sent { waiting: ago(since) },
                Beat::Failed(then) if ago(then) < ROUND => Heartbeat::Failed,
                Beat::Failed(_) | Beat::None => Heartbeat::None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use topology::facts::SemiSync;
    use uuid::Uuid;

    use super::super::decide::{Step, next};
    use super::*;

    const TICK: Duration = Duration::from_millis(250);
    const NOBODY: Contact = Contact { streams: 0, heard: 0 };

    fn server(executed: u64, waiting_commits: u32) -> ServerFacts {
        ServerFacts {
            pid: 1,
            started_unix_ms: 1,
            server_uuid: Uuid::nil(),
            version: "9.7.4".to_owned(),
            executed: format!("00000000-0000-0000-0000-000000000001:1-{executed}").parse().unwrap(),
            owned: GtidSet::new(),
            received: GtidSet::new(),
            open: true,
            offline: false,
            read_only: false,
            replication: None,
            semi_sync: SemiSync { enabled: true, wait_count: 1, clients: 1, waiting_commits },
        }
    }

    /// Looks four times a second for so long, and carries out each step as a primary would that is cut off.
    fn watch(evidence: &mut Evidence, from: Instant, lasts: Duration, facts: &ServerFacts) -> (Instant, Vec<Step>) {
        let (mut now, mut steps) = (from, Vec::new());
        while now < from + lasts {
            now += TICK;
            evidence.look(now, NOBODY, Some(facts));
            let step = next(&evidence.situation(now, 1));
            match step {
                Step::AskApi => {
                    evidence.asking(now);
                    evidence.answered(false);
                }
                Step::Beat => evidence.beating(now),
                Step::Watch | Step::Fence => {}
            }
            steps.push(step);
        }
        (now, steps)
    }

    #[test]
    fn a_cut_is_fenced_after_suspicion_and_an_unanswered_heartbeat() {
        let start = Instant::now();
        let mut evidence = Evidence::new(start);
        let (_, steps) = watch(&mut evidence, start, Duration::from_secs(6), &server(9, 1));
        let fenced = steps.iter().position(|step| *step == Step::Fence).unwrap() as u32;
        assert!((Duration::from_secs(4)..Duration::from_secs(5)).contains(&(TICK * fenced)), "{fenced} looks");
    }

    #[test]
    fn a_pause_ends_what_was_known_before_it() {
        let start = Instant::now();
        let mut evidence = Evidence::new(start);
        let (now, steps) = watch(&mut evidence, start, Duration::from_secs(4), &server(9, 1));
        assert!(steps.contains(&Step::Beat) && !steps.contains(&Step::Fence), "on the brink: {steps:?}");
        let woken = now + Duration::from_secs(60);
        assert!(evidence.look(woken, NOBODY, Some(&server(9, 1))));
        assert_eq!(next(&evidence.situation(woken, 1)), Step::Watch);
        let (_, steps) = watch(&mut evidence, woken, Duration::from_secs(3), &server(9, 1));
        assert!(!steps.contains(&Step::Fence), "{steps:?}");
        assert!(steps.contains(&Step::AskApi), "asked anew: {steps:?}");
    }

    #[test]
    fn an_answer_from_before_a_pause_does_not_count() {
        let start = Instant::now();
        let mut evidence = Evidence::new(start);
        evidence.asking(start);
        evidence.look(start + Duration::from_secs(60), NOBODY, None);
        evidence.answered(false);
        assert_eq!(evidence.situation(start + Duration::from_secs(60), 1).api, Api::Unknown);
    }

    #[test]
    fn a_commit_that_is_acknowledged_ends_the_waiting() {
        let start = Instant::now();
        let mut evidence = Evidence::new(start);
        let (now, _) = watch(&mut evidence, start, Duration::from_secs(4), &server(9, 1));
        let now = now + TICK;
        evidence.look(now, NOBODY, Some(&server(10, 1)));
        let situation = evidence.situation(now, 1);
        assert_eq!((situation.stuck, situation.acknowledged), (Duration::ZERO, Some(Duration::ZERO)));
        assert_eq!(situation.heartbeat, Heartbeat::Sent { waiting: Duration::ZERO });
    }

    #[test]
    fn a_heartbeat_that_waits_for_something_else_is_no_evidence() {
        let start = Instant::now();
        let mut evidence = Evidence::new(start);
        let (_, steps) = watch(&mut evidence, start, Duration::from_secs(20), &server(9, 0));
        assert!(steps.contains(&Step::Beat) && !steps.contains(&Step::Fence), "{steps:?}");
    }

    #[test]
    fn a_command_counts_as_an_operator() {
        let start = Instant::now();
        let mut evidence = Evidence::new(start);
        evidence.look(start + TICK, Contact { streams: 1, heard: 1 }, None);
        assert_eq!(evidence.operator_silent(start + TICK), Duration::ZERO);
        evidence.look(start + TICK * 2, Contact { streams: 0, heard: 1 }, None);
        assert_eq!(evidence.operator_silent(start + TICK * 2), TICK);
        evidence.look(start + TICK * 3, Contact { streams: 0, heard: 2 }, None);
        assert_eq!(evidence.operator_silent(start + TICK * 3), Duration::ZERO);
    }
}

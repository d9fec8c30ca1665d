//! An operator: what it has seen, and one pass of `host/operator/src/roles` cut into the steps between which it can
//! stop for any time, or die: look, decide, and one step after the other.
//!
//! There are two, and both act. The Lease that keeps one of them quiet in the product only spares work, so the model
//! has none.

use std::collections::{BTreeMap, VecDeque};

use topology::assess::{Asked, Assessment, Waiting, assess};
use topology::decision::{Answer, Question};
use topology::facts::MemberReport;
use topology::gtid::GtidSet;
use topology::guard::guard;
use topology::leads::EndedLeads;
use topology::plan::{Step, plan};
use topology::readers::Readers;
use topology::record::{Claim, Phase, Record};
use topology::snapshot::{MemberView, Pace, PodFacts, Probe, Snapshot, Switchover};
use topology::trouble::trouble;
use uuid::Uuid;

use super::member::{Index, address, name};
use super::world::{Place, World};

/// How long, in milliseconds, an operator waits for the answer to a command.
const PATIENCE: u64 = 5_000;

/// What was last seen of an agent.
#[derive(Debug, Clone)]
pub enum Seen {
    Known { report: Box<MemberReport>, at: u64, since: u64 },
    Unreachable { since: u64, tried: u64 },
}

/// Which memory of a member a barrier is for.
pub type Memory = (String, Option<Uuid>);

/// Who answers the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The first eligible candidate.
    Sensible,
    /// Anything at all.
    Hostile(u8),
}

/// One operator.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Which process of it: answers to a dead one are not heard.
    pub life: u32,
    pub seen: BTreeMap<Index, Seen>,
    /// What the watch showed last.
    pub watched: Option<(Record, u64)>,
    pub record: Option<Record>,
    pub version: u64,
    pub record_seen: u64,
    pub ours: Option<u64>,
    pub loaded: bool,
    pub busy: BTreeMap<Index, (Claim, u32, u64)>,
    /// By member, with the boot and the data that each is for.
    pub barriers: BTreeMap<Index, (Memory, GtidSet)>,
    pub raised: Option<(Claim, GtidSet)>,
    pub snapshot: Option<Snapshot>,
    pub steps: VecDeque<Step>,
    /// What the last pass waited for.
    pub waiting: Vec<Waiting>,
}

impl Operator {
    pub fn new() -> Self {
        Self {
            life: 0,
            seen: BTreeMap::new(),
            watched: None,
            record: None,
            version: 0,
            record_seen: 0,
            ours: None,
            loaded: false,
            busy: BTreeMap::new(),
            barriers: BTreeMap::new(),
            raised: None,
            snapshot: None,
            steps: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    /// Whether it is in the middle of something.
    pub fn is_acting(&self) -> bool {
        !self.steps.is_empty()
    }
}

impl World {
    /// The operator dies, and another takes its place that knows nothing.
    pub fn restart_operator(&mut self, operator: usize) {
        let life = self.operators[operator].life + 1;
        self.operators[operator] = Operator { life, ..Operator::new() };
        self.say(|| format!("operator {operator} restarts"));
    }

    /// What the operator can see of members and record reaches it.
    pub fn look(&mut self, operator: usize) {
        for index in 0..self.members.len() {
            self.look_at(operator, index);
        }
        if self.linked(Place::Operator(operator), Place::Api) {
            let version = self.api.version;
            self.operators[operator].watched = self.api.record.clone().map(|record| (record, version));
        }
    }

    pub fn look_at(&mut self, operator: usize, index: Index) {
        let seen = if self.linked(Place::Operator(operator), Place::Member(index)) {
            let since = match self.operators[operator].seen.get(&index) {
                Some(Seen::Known { since, .. }) => *since,
                _ => self.now,
            };
            Seen::Known { report: Box::new(self.members[index].report(self.rules)), at: self.now, since }
        } else {
            let since = match self.operators[operator].seen.get(&index) {
                Some(Seen::Unreachable { since, .. }) => *since,
                _ => self.now,
            };
            Seen::Unreachable { since, tried: self.now }
        };
        self.operators[operator].seen.insert(index, seen);
    }

    /// Decides what follows from what the operator has seen. Nothing is done yet.
    pub fn decide(&mut self, operator: usize, policy: Policy) {
        self.recall(operator);
        let mut snapshot = self.snapshot(operator);
        let record = snapshot.record.clone();
        self.rules.tamper_snapshot(&mut snapshot);
        let Assessment { mut steps, question, waiting, upkeep: _ } = assess(&snapshot);
        if let Some(asked) = &question {
            let answer = answer(asked, policy);
            match guard(&snapshot, &answer) {
                Ok(approved) => steps.extend(plan(&snapshot, &approved)),
                Err(refusal) => self.say(|| format!("operator {operator}: {refusal}")),
            }
        }
        for step in &mut steps {
            self.rules.restore(step, record.as_ref());
        }
        for line in &waiting {
            self.say(|| format!("operator {operator} waits: {line}"));
        }
        self.finish_wishes(record.as_ref());
        let acting = &mut self.operators[operator];
        acting.waiting = waiting;
        acting.steps = steps.into();
        acting.snapshot = Some(snapshot);
    }

    /// Takes the newest record, as `Cluster::recall` does.
    fn recall(&mut self, operator: usize) {
        let (now, reaches) = (self.now, self.linked(Place::Operator(operator), Place::Api));
        let api = self.api.clone();
        let acting = &mut self.operators[operator];
        let known = acting.record.as_ref().map(Record::claim);
        if let Some((watched, version)) = acting.watched.clone()
            && known.is_none_or(|known| watched.claim() > known)
        {
            acting.take(watched, version, now);
            acting.loaded = true;
        }
        if !acting.loaded && reaches {
            acting.loaded = true;
            match api.record {
                Some(record) => acting.take(record, api.version, now),
                None => acting.record = None,
            }
        }
    }

    fn snapshot(&self, operator: usize) -> Snapshot {
        let acting = &self.operators[operator];
        let record = acting.record.clone();
        let claim = record.as_ref().map(Record::claim);
        let in_record = |index: &Index| {
            record.as_ref().is_some_and(|record| record.members.iter().any(|member| member.name == name(*index)))
        };
        let members = (0..self.members.len())
            .filter(|index| (*index as u32) < self.desired.replicas || in_record(index))
            .map(|index| self.view(acting, index, claim));
        let switchover = self.switchover.as_ref().map(|wish| Switchover {
            to: wish.to.clone(),
            from: wish.from.clone(),
            left_ms: wish.until.saturating_sub(self.now),
        });
        let raised = acting.raised.as_ref().filter(|(under, _)| Some(*under) == claim);
        let mut snapshot = Snapshot {
            namespace: String::new(),
            cluster: "shop".to_owned(),
            now_unix_ms: self.now,
            record_unchanged_ms: self.now - acting.record_seen,
            record_is_ours: acting.record.is_some() && acting.ours == Some(acting.version),
            desired: self.desired,
            members: members.collect(),
            readers: Readers::default(),
            switchover,
            rebuild: self.rebuild.clone(),
            accept_loss: None,
            restart: None,
            pace: Pace::default(),
            // The least patience: whoever sees an old record has only the compare-and-swap against it.
            contradicted_ms: 5_000,
            without_primary_ms: 0,
            drain_failed_ms: None,
            ended_leads: EndedLeads::default(),
            change_barrier: raised.map(|(_, barrier)| barrier.clone()),
            record,
        };
        // The least patience here too: a trouble has always lasted.
        let lasting = snapshot.members.iter().map(|view| u64::from(trouble(&snapshot, view).is_some()) * 60_000);
        let lasting: Vec<_> = lasting.collect();
        for (view, trouble_ms) in snapshot.members.iter_mut().zip(lasting) {
            view.trouble_ms = trouble_ms;
        }
        snapshot
    }

    fn view(&self, operator: &Operator, index: Index, claim: Option<Claim>) -> MemberView {
        let probe = match operator.seen.get(&index) {
            None => Probe::NotProbed,
            Some(Seen::Known { report, at, since }) => {
                Probe::Known { report: report.clone(), age_ms: self.now - at, connected_ms: self.now - since }
            }
            Some(Seen::Unreachable { since, tried }) => Probe::Unreachable {
                for_ms: self.now - since,
                tried_ms: self.now - tried,
                error: "no answer".to_owned(),
            },
        };
        let pod = PodFacts {
            ip: address(index),
            node: format!("node-{index}"),
            node_ready: true,
            terminating: self.members[index].terminating,
            ..PodFacts::default()
        };
        let busy = operator.busy.get(&index).filter(|(_, _, since)| self.now - since < PATIENCE);
        let available = busy.is_none_or(|(under, ..)| Some(*under) != claim);
        MemberView {
            name: name(index),
            ordinal: index as u32,
            pod: Some(pod),
            probe,
            signals: None,
            available,
            trouble_ms: 0,
            other_version: None,
        }
    }

    /// What somebody asked for is so, or cannot be so any more.
    fn finish_wishes(&mut self, record: Option<&Record>) {
        let Some(record) = record.filter(|record| record.phase == Phase::Serving) else { return };
        let now = self.now;
        self.switchover.take_if(|wish| wish.from != record.primary || wish.until <= now);
        self.rebuild.take_if(|asked| {
            asked.member == record.primary || record.incarnation_of(&asked.member) != Some(asked.incarnation)
        });
    }
}

impl Operator {
    /// Takes a record for the newest.
    pub fn take(&mut self, record: Record, version: u64, now: u64) {
        if self.record.is_none() || self.version != version {
            self.record_seen = now;
        }
        self.version = version;
        self.record = Some(record);
    }
}

fn answer(asked: &Asked, policy: Policy) -> Answer {
    let promote = |candidate: String| Answer::Promote { candidate, reason: String::new(), ranking: Vec::new() };
    match (&asked.named, policy) {
        (Some(named), _) => promote(named.clone()),
        (None, Policy::Sensible) => sensible(&asked.question),
        (None, Policy::Hostile(9)) => Answer::Hold { reason: "no".to_owned() },
        (None, Policy::Hostile(8)) => promote("nobody-9".to_owned()),
        (None, Policy::Hostile(choice)) => {
            let candidates = &asked.question.candidates;
            let candidate = candidates.get(usize::from(choice) % candidates.len().max(1));
            promote(candidate.map(|candidate| candidate.name.clone()).unwrap_or_default())
        }
    }
}

fn sensible(question: &Question) -> Answer {
    match question.candidates.iter().find(|candidate| candidate.is_eligible()) {
        Some(candidate) => {
            Answer::Promote { candidate: candidate.name.clone(), reason: String::new(), ranking: Vec::new() }
        }
        None => Answer::Hold { reason: "nobody is eligible".to_owned() },
    }
}

//! One pass of an operator after the other, and what has to hold of every record that it makes.

use topology::assess::assess;
use topology::decision::{Answer, Question};
use topology::gtid::GtidSet;
use topology::guard::guard;
use topology::plan::{Step, plan};
use topology::record::{Phase, Record};
use topology::snapshot::Snapshot;

use super::World;

impl World {
    /// One pass of an operator, with this policy. False if there was nothing to do.
    pub fn pass(&mut self, policy: impl Fn(&Question) -> Answer) -> bool {
        let snapshot = self.snapshot();
        let steps = self.think(&snapshot, policy);
        let busy = !steps.is_empty();
        self.carry_out(&snapshot, steps);
        self.remove_pods();
        busy
    }

    /// What an operator would do about what it sees.
    pub fn think(&mut self, snapshot: &Snapshot, policy: impl Fn(&Question) -> Answer) -> Vec<Step> {
        let assessment = assess(snapshot);
        let mut steps = assessment.steps;
        if let Some(asked) = &assessment.question {
            let answer = match &asked.named {
                Some(named) => {
                    Answer::Promote { candidate: named.clone(), reason: "named".to_owned(), ranking: Vec::new() }
                }
                None => policy(&asked.question),
            };
            match guard(snapshot, &answer) {
                Ok(approved) => steps.extend(plan(snapshot, &approved)),
                Err(refusal) => self.log.push(format!("refused: {refusal}")),
            }
        }
        self.log.extend(assessment.waiting.iter().map(|waiting| format!("waiting: {waiting}")));
        steps
    }

    /// Does what follows from a snapshot, which may be long out of date: the record changes only if it is still that
    /// one, and every command is given under it.
    pub fn carry_out(&mut self, snapshot: &Snapshot, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Advance { to, because } => {
                    if self.record != snapshot.record {
                        break;
                    }
                    self.log.push(format!("{} {}: {because}", to.claim(), to.primary));
                    assert!(to.may_replace(self.record.as_ref()).is_ok(), "the record went back: {:#?}", self.log);
                    self.check_order(&to);
                    self.forsake(&to);
                    self.past.push((*to).clone());
                    self.record = Some(*to);
                    self.ours = true;
                    break;
                }
                Step::Command { member, order } if self.readers.contains_key(&member) => {
                    self.obey_as_reader(&member, &order)
                }
                Step::Command { member, order } => {
                    if let Some(record) = &snapshot.record {
                        self.obey(record, &member, &order);
                    }
                }
                Step::Probe { .. } => {}
                Step::Replace { member, uid, because } => {
                    assert_eq!(uid, format!("{member}/{}", self.nodes[&member].made), "another pod is meant");
                    self.log.push(format!("{member}: its pod is replaced: {because}"));
                    self.delete_pod(&member);
                }
            }
        }
    }

    /// What the adoption of a lost record relies on: a change of members or acks is begun only once enough members know
    /// of the one before.
    fn check_order(&self, to: &Record) {
        let Some(before) = &self.record else { return };
        if before.phase != Phase::Serving || to.phase != Phase::Serving {
            return;
        }
        let knowing = before.members.iter().filter(|member| {
            let stored = self.nodes[&member.name].record.as_ref();
            stored.is_some_and(|stored| stored.claim() >= before.claim())
        });
        let needed = (before.effective_acks() as usize + 1).min(before.freeze_quorum());
        let reign = before.given_up.iter().find(|given_up| given_up.epoch == before.primary_since_epoch);
        let gone = |name: &&String| !self.nodes[*name].reachable && before.incarnation_of(name).is_some();
        let gone = reign.map_or(0, |reign| reign.members.iter().filter(gone).count());
        assert!(knowing.count() + gone >= needed, "{} is known to too few: {:#?}", before.claim(), self.log);
    }

    /// What is accepted as lost must be what the record says, and is not asked for any more.
    fn forsake(&mut self, to: &Record) {
        let promotes = to.phase == Phase::Promoting;
        let Some(given_up) = to.given_up.last().filter(|given_up| promotes && given_up.epoch == to.epoch) else {
            return;
        };
        let lost = self.acknowledged.subtract(&to.base);
        let named = given_up.servers.iter().fold(GtidSet::new(), |named, server| named.union(&lost.of_server(*server)));
        assert_eq!(named, lost, "the record does not say under which names: {:#?}", self.log);
        self.acknowledged = self.acknowledged.subtract(&lost);
        for name in self.nodes.keys() {
            let held = self.held(name).intersect(&lost);
            if !held.is_empty() {
                self.forsaken.push((name.clone(), held));
            }
        }
    }

    /// Passes until nothing is left to do.
    pub fn settle(&mut self, passes: usize, policy: impl Fn(&Question) -> Answer) {
        for _ in 0..passes {
            self.replicate();
            if !self.pass(&policy) {
                return;
            }
        }
    }
}

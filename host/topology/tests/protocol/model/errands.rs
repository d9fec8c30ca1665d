//! What an operator does with a decision: one step after the other, as `record.rs` and `execute.rs` of the product's
//! roles do, with the answer to each on its own way back.

use topology::facts::{ServerFacts, ServerState};
use topology::gtid::GtidSet;
use topology::plan::{Order, Step};
use topology::record::{Phase, Record};

use super::agent::{Command, Message, Outcome};
use super::member::{Index, name};
use super::operator::Seen;
use super::rules::Rule;
use super::transaction::ServerId;
use super::world::{Place, World};

impl World {
    /// Takes the next step of the last decision. `heard` says whether the answer of the API server arrives.
    pub fn act(&mut self, operator: usize, heard: bool) {
        let Some(step) = self.operators[operator].steps.pop_front() else { return };
        match step {
            Step::Advance { to, because } => {
                self.operators[operator].steps.clear();
                self.advance(operator, &to, &because, heard);
            }
            Step::Probe { member } => {
                if let Some(index) = self.index(&member) {
                    self.look_at(operator, index);
                }
            }
            Step::Command { member, order } => self.send(operator, &member, &order),
            // No pod of the model is ever due: whoever replaces one kills what runs in it, which histories do anyway.
            Step::Replace { .. } => {}
        }
    }

    fn advance(&mut self, operator: usize, to: &Record, because: &str, heard: bool) {
        if !self.linked(Place::Operator(operator), Place::Api) {
            self.operators[operator].loaded = false;
            return;
        }
        let acting = &self.operators[operator];
        let current = match (&acting.record, &self.api.record) {
            (None, None) => true,
            (Some(_), Some(_)) => acting.version == self.api.version || self.rules.off(Rule::CompareAndSwap),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !current {
            self.say(|| format!("operator {operator}: conflict at {}", to.claim()));
            self.operators[operator].loaded = false;
            return;
        }
        if !self.rules.off(Rule::CompareAndSwap) && !self.api.lost {
            self.check_succession(to);
        }
        self.say(|| format!("operator {operator}: {} {} k={}: {because}", to.claim(), to.primary, to.acks));
        (self.api.record, self.api.lost) = (Some(to.clone()), false);
        self.api.version += 1;
        let (version, now) = (self.api.version, self.now);
        let acting = &mut self.operators[operator];
        if !heard {
            acting.loaded = false;
            return;
        }
        let before = acting.record.as_ref().map(|record| record.primary_since_epoch);
        if before != Some(to.primary_since_epoch) {
            acting.barriers.clear();
        }
        acting.ours = Some(version);
        acting.take(to.clone(), version, now);
    }

    /// A record only ever goes forward. One that was adopted from fewer than all members may turn out not to have been the
    /// last: then a later primary that was chosen and never mattered takes its place in another freeze.
    fn check_succession(&mut self, to: &Record) {
        let Some(before) = self.api.record.clone() else { return };
        let forward = to.claim() > before.claim() && to.epoch <= before.epoch + 1;
        let adopted = self.counts.lost_records > 0 && to.phase == Phase::Freezing;
        let chosen = (before.phase, to.phase) == (Phase::Freezing, Phase::Promoting);
        let primary = to.primary == before.primary || chosen || adopted;
        let since = to.primary_since_epoch >= before.primary_since_epoch;
        let promised = to.acks >= before.acks && to.members.len() >= before.members.len();
        if !(forward && primary && since && promised) {
            self.breaks(format!("the record goes from {before:?} to {to:?}"));
        }
    }

    fn send(&mut self, operator: usize, member: &str, order: &Order) {
        let Some(index) = self.index(member) else { return };
        let Some(record) = self.operators[operator].record.clone() else { return };
        let Some(command) = self.command(operator, index, &record, order) else { return };
        let id = self.number();
        let now = self.now;
        let acting = &mut self.operators[operator];
        acting.busy.insert(index, (record.claim(), id, now));
        let (life, agent) = (acting.life, self.members[index].agent);
        self.messages.push(Message { id, operator, life, agent, member: index, record, command });
    }

    /// Looks up what the order needs, as `Errand::command` does. None where it is not known.
    fn command(&mut self, operator: usize, index: Index, record: &Record, order: &Order) -> Option<Command> {
        Some(match order {
            Order::Store => Command::Store,
            Order::Initialize => Command::Initialize,
            Order::Start => Command::Start,
            Order::Clone { donor } => {
                let (donor, server) = self.endpoint(operator, donor)?;
                Command::Clone { donor, server }
            }
            Order::Trim => Command::Trim { keep: self.committed(operator, index, record)? },
            Order::Follow { source } => {
                let (source, server) = self.endpoint(operator, source)?;
                Command::Follow { source, server }
            }
            Order::Freeze => Command::Freeze,
            Order::GrantStanding => self.barrier(operator, index, record)?,
            Order::Promote { source: None, required } => Command::Promote { source: None, required: required.clone() },
            Order::Promote { source: Some(source), required } => {
                Command::Promote { source: Some(self.endpoint(operator, source)?), required: required.clone() }
            }
            Order::SetAcks { acks } => Command::SetAcks { acks: *acks },
            Order::Fence => Command::Fence,
            // Members only come here, so nobody has to be locked out; and who does not vote does not acknowledge.
            Order::Lock => return None,
            Order::Drain => Command::Drain,
            Order::Undrain => Command::Undrain,
            // Nobody here is only read from: such a server is in no record, counts nowhere and acknowledges nothing.
            Order::Read { .. } => return None,
        })
    }

    /// Where a running member is, as the operator saw it last.
    fn endpoint(&self, operator: usize, named: &str) -> Option<(Index, ServerId)> {
        let index = self.index(named)?;
        let seen = self.operators[operator].snapshot.as_ref()?.member(named)?.server()?.server_uuid;
        Some((index, seen.as_u128() as ServerId))
    }

    /// What the primary says when it is asked now.
    fn primary_now(&self, operator: usize, record: &Record) -> Option<(Option<u64>, ServerFacts)> {
        let index = self.index(&record.primary)?;
        if !self.linked(Place::Operator(operator), Place::Member(index)) {
            return None;
        }
        let report = self.members[index].report(self.rules);
        match report.server {
            ServerState::Running(facts) => Some((report.opened_in_epoch, *facts)),
            _ => None,
        }
    }

    fn barrier(&mut self, operator: usize, index: Index, record: &Record) -> Option<Command> {
        let snapshot = self.operators[operator].snapshot.as_ref()?;
        let report = snapshot.member(&name(index))?.report()?;
        let memory = (report.boot_id.clone(), report.data.incarnation());
        let known = self.operators[operator].barriers.get(&index).cloned();
        let barrier = match known {
            Some((of, barrier)) if of == memory => barrier,
            _ => {
                let (_, facts) = self.primary_now(operator, record)?;
                if !record.base.is_subset_of(&facts.executed) {
                    return None;
                }
                self.operators[operator].barriers.insert(index, (memory, facts.logged()));
                facts.logged()
            }
        };
        Some(Command::GrantStanding { barrier })
    }

    fn committed(&self, operator: usize, index: Index, record: &Record) -> Option<GtidSet> {
        if self.rules.off(Rule::TrimAgainstPrimary) {
            let others = self.members.iter().filter(|member| member.index != index);
            let others = others.filter_map(|member| Some(member.running()?.1.executed()));
            return others.min_by_key(GtidSet::count);
        }
        let (opened, facts) = self.primary_now(operator, record)?;
        (facts.open && opened >= Some(record.primary_since_epoch)).then_some(facts.executed)
    }

    /// The answer to a command reaches whoever gave it, if it still lives and the link is there.
    pub fn answer(&mut self, message: &Message, outcome: Outcome) {
        let (operator, index) = (message.operator, message.member);
        let linked = self.linked(Place::Operator(operator), Place::Member(index));
        if !linked || self.operators[operator].life != message.life {
            return;
        }
        let report = self.members[index].report(self.rules);
        let now = self.now;
        let acting = &mut self.operators[operator];
        if acting.busy.get(&index).is_some_and(|(_, id, _)| *id == message.id) {
            acting.busy.remove(&index);
        }
        match (&message.command, outcome, &report.server) {
            (Command::SetAcks { .. }, Outcome::Done, ServerState::Running(facts)) => {
                acting.raised = Some((message.record.claim(), facts.logged()));
            }
            (Command::GrantStanding { .. }, Outcome::Done, _) => {
                acting.barriers.remove(&index);
            }
            _ => {}
        }
        acting.seen.insert(index, Seen::Known { report: Box::new(report), at: now, since: now });
    }
}

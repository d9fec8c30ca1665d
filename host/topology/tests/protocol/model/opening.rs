//! How an agent opens its server, closes it for a change of primary, and takes that back. It follows `promote.rs` and
//! `drain.rs` of the agent's commands.

use topology::gtid::GtidSet;
use topology::record::{Phase, Record};

use super::agent::{Message, Outcome, Task};
use super::member::{Following, Index, Opened, Receiver, name};
use super::rules::Rule;
use super::transaction::ServerId;
use super::world::World;

impl World {
    pub fn promote(
        &mut self,
        index: Index,
        record: &Record,
        source: Option<(Index, ServerId)>,
        required: &GtidSet,
    ) -> Outcome {
        let member = &self.members[index];
        let mine = member.incarnation();
        let voter = mine.is_some() && record.incarnation_of(&member.name) == mine;
        if record.primary != member.name || record.phase == Phase::Freezing || !voter || !self.start(index) {
            return Outcome::Refused;
        }
        let member = &self.members[index];
        let opened = member.opened().map(|opened| opened.epoch) == Some(record.epoch);
        if member.is_open() {
            return if opened { Outcome::Done } else { self.open(index, record) };
        }
        let Some((_, data)) = member.running() else { return Outcome::Refused };
        if !required.is_subset_of(&data.known()) {
            let (Some((source, server)), Some(incarnation)) = (source, mine) else { return Outcome::Refused };
            let following = Following { source, server, claim: record.claim(), incarnation };
            self.members[index].remembered.following = Some(following);
            // Nobody may count on acknowledgements of a member that is about to lead.
            self.point_at(index, source, false);
            return Outcome::Pending;
        }
        let member = &mut self.members[index];
        let (Some(mysqld), Some(data)) = (&mut member.mysqld, &member.data) else { return Outcome::Refused };
        mysqld.receiver = Receiver::Off;
        mysqld.applies = true;
        if !required.is_subset_of(&data.executed()) || !data.relay.is_empty() {
            return Outcome::Pending;
        }
        self.open(index, record)
    }

    fn open(&mut self, index: Index, record: &Record) -> Outcome {
        if !self.mark_open(index, record) {
            return Outcome::Refused;
        }
        let Some(mysqld) = &mut self.members[index].mysqld else { return Outcome::Refused };
        (mysqld.offline, mysqld.read_only, mysqld.epoch) = (false, false, record.epoch);
        self.say(|| format!("{}: opens in epoch {}", name(index), record.epoch));
        self.has_opened(index, record.epoch);
        Outcome::Done
    }

    /// The opening on disk, which comes before the opening itself.
    pub fn mark_open(&mut self, index: Index, record: &Record) -> bool {
        let acks = record.effective_acks();
        let member = &mut self.members[index];
        let mut servers = member.opened().map(|opened| opened.servers.clone()).unwrap_or_default();
        let (Some(mysqld), Some(data)) = (&mut member.mysqld, &mut member.data) else { return false };
        (data.source, mysqld.receiver, mysqld.replica_side) = (None, Receiver::Off, false);
        (mysqld.waits, mysqld.wait_count) = (acks > 0, acks);
        servers.extend(data.server.filter(|server| !servers.contains(server)));
        member.remembered.opened = Some(Opened { epoch: record.epoch, incarnation: data.incarnation, servers });
        member.remembered.proved = Some((data.incarnation, member.boot));
        member.remembered.following = None;
        member.was_opened = true;
        true
    }

    fn may_drain(&self, index: Index, record: &Record) -> bool {
        record.primary == name(index) && record.phase == Phase::Serving && self.members[index].was_opened
    }

    pub fn drain(&mut self, message: &Message) -> Outcome {
        if !self.may_drain(message.member, &message.record) {
            return Outcome::Refused;
        }
        if let Some(mysqld) = &mut self.members[message.member].mysqld {
            mysqld.offline = true;
        }
        self.tasks.push(Task::Drain(message.clone()));
        Outcome::Pending
    }

    /// The commits under way have ended, or the time has: then the drain is taken back, unless the record moved on.
    pub fn drained(&mut self, message: Message, in_time: bool) {
        let index = message.member;
        let ended = self.members[index].waiting() == 0 || self.rules.off(Rule::DrainWaits);
        if !ended && in_time {
            self.tasks.push(Task::Drain(message));
            return;
        }
        let superseded = self.superseded(index, &message.record);
        let outcome = match &mut self.members[index].mysqld {
            None => Outcome::Refused,
            Some(_) if superseded => Outcome::Refused,
            Some(mysqld) if ended => {
                mysqld.read_only = true;
                Outcome::Done
            }
            Some(_) => {
                self.undrain(index, &message.record);
                Outcome::Refused
            }
        };
        self.answer(&message, outcome);
    }

    pub fn undrain(&mut self, index: Index, record: &Record) -> Outcome {
        if !self.may_drain(index, record) {
            return Outcome::Refused;
        }
        self.wait_for(index, record.effective_acks());
        if let Some(mysqld) = &mut self.members[index].mysqld {
            (mysqld.offline, mysqld.read_only) = (false, false);
        }
        Outcome::Done
    }
}

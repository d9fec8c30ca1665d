//! What an agent does when it is told something. It follows `host/agent/src/commands`: the record is stored before
//! anything is done under it, a stale one is refused and the command with it, and what is done afterwards is a second
//! step, before which other records may be stored and the agent may end.
//!
//! Abstractions: a step is not divided further, except where the agent itself waits (a drain, a copy, a promotion that
//! is told again until it is through). A command that finds the turn taken is answered with "busy" at once. A server
//! that is told to follow a stranger leaves it before anything was received.

use topology::gtid::GtidSet;
use topology::record::{Phase, Record};

use super::member::{Copying, Data, Following, Index, Receiver, Work, name};
use super::rules::Rule;
use super::transaction::{ServerId, names};
use super::world::World;

/// What an operator tells an agent: `wire::Command`, with everything looked up that the operator looks up.
#[derive(Debug, Clone)]
pub enum Command {
    Store,
    Initialize,
    Start,
    Clone { donor: Index, server: ServerId },
    Trim { keep: GtidSet },
    Follow { source: Index, server: ServerId },
    Freeze,
    GrantStanding { barrier: GtidSet },
    Promote { source: Option<(Index, ServerId)>, required: GtidSet },
    SetAcks { acks: u32 },
    Fence,
    Drain,
    Undrain,
}

/// A command on its way.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: u32,
    pub operator: usize,
    /// Which process of it.
    pub life: u32,
    /// Which process of the agent: a message does not outlive the connection that it is on.
    pub agent: u32,
    pub member: Index,
    pub record: Record,
    pub command: Command,
}

/// What an agent has yet to do.
#[derive(Debug, Clone)]
pub enum Task {
    /// The record of this command is stored; the rest follows.
    Obey(Message),
    /// Commits under way are being waited for.
    Drain(Message),
    /// Record or standing changed: whether this member acknowledges follows from them.
    Settle { member: Index },
    /// mysqld ended, and its logs can be read.
    ReadLogs { member: Index },
}

impl Task {
    pub fn member(&self) -> Index {
        match self {
            Self::Obey(message) | Self::Drain(message) => message.member,
            Self::Settle { member } | Self::ReadLogs { member } => *member,
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Pending,
    Refused,
}

impl World {
    /// A command arrives: its record is stored or refused.
    pub fn deliver(&mut self, message: Message) {
        let member = &mut self.members[message.member];
        if member.agent != message.agent {
            return;
        }
        let stored = member.remembered.record.as_ref();
        let stale = message.record.may_replace(stored).is_err();
        if stale && !self.rules.off(Rule::RefuseStale) {
            self.say(|| format!("{}: refuses {}", name(message.member), message.record.claim()));
            self.answer(&message, Outcome::Refused);
            return;
        }
        if stored != Some(&message.record) {
            member.remembered.record = Some(message.record.clone());
            self.tasks.push(Task::Settle { member: message.member });
        }
        self.tasks.push(Task::Obey(message));
    }

    /// Does one of the things that are to be done. `in_time` says whether a wait that is over by the clock was in time.
    pub fn run_task(&mut self, place: usize, in_time: bool) {
        if place >= self.tasks.len() {
            return;
        }
        match self.tasks.remove(place) {
            Task::Obey(message) => {
                let outcome = self.obey(&message);
                if !self.tasks.iter().any(|task| matches!(task, Task::Drain(other) if other.id == message.id)) {
                    self.answer(&message, outcome);
                }
            }
            Task::Drain(message) => self.drained(message, in_time),
            Task::Settle { member } => self.settle_acks(member),
            Task::ReadLogs { member } => self.read_logs(member),
        }
    }

    fn obey(&mut self, message: &Message) -> Outcome {
        let (index, record) = (message.member, &message.record);
        self.say(|| format!("{}: {:?} under {}", name(index), message.command, record.claim()));
        match &message.command {
            Command::Store => return Outcome::Done,
            Command::Freeze => return self.freeze(index),
            Command::Fence => return self.fence(index),
            _ => {}
        }
        let taken = matches!(self.members[index].work, Some(Work::Copy(_)))
            || self.tasks.iter().any(|task| matches!(task, Task::Drain(other) if other.member == index));
        if taken || self.superseded(index, record) {
            return Outcome::Pending;
        }
        match &message.command {
            Command::Store | Command::Freeze | Command::Fence => Outcome::Done,
            Command::Initialize => self.initialize(index, record),
            Command::Start => done(self.start(index)),
            Command::Clone { donor, server } => self.copy(index, record, *donor, *server),
            Command::Trim { keep } => self.trim(index, record, keep),
            Command::Follow { source, server } => self.follow(index, record, *source, *server),
            Command::GrantStanding { barrier } => self.grant(index, barrier),
            Command::Promote { source, required } => self.promote(index, record, *source, required),
            Command::SetAcks { acks } => self.set_acks(index, record, *acks),
            Command::Drain => self.drain(message),
            Command::Undrain => self.undrain(index, record),
        }
    }

    pub fn superseded(&self, index: Index, record: &Record) -> bool {
        self.members[index].claim() != Some(record.claim())
    }

    fn initialize(&mut self, index: Index, record: &Record) -> Outcome {
        if record.primary != name(index) || self.members[index].data.is_some() {
            return Outcome::Refused;
        }
        let incarnation = self.incarnation();
        let member = &mut self.members[index];
        member.data = Some(Data::new(incarnation, Vec::new()));
        member.remembered.proved = Some((incarnation, member.boot));
        done(self.start(index))
    }

    fn copy(&mut self, index: Index, record: &Record, donor: Index, server: ServerId) -> Outcome {
        let member = &mut self.members[index];
        let taking_writes = (member.was_opened || member.is_open()) && !member.is_drained();
        if record.primary == member.name || donor == index || taking_writes {
            return Outcome::Refused;
        }
        member.work = Some(Work::Copy(Copying::Begun { donor, server }));
        Outcome::Pending
    }

    fn freeze(&mut self, index: Index) -> Outcome {
        let member = &mut self.members[index];
        if member.mysqld.is_some() && (member.was_opened || member.is_open()) {
            if member.is_drained()
                || (self.rules.off(Rule::DrainWaits) && member.mysqld.as_ref().is_some_and(|mysqld| mysqld.read_only))
            {
                return Outcome::Done;
            }
            self.end_waiting_commits(index);
        } else if let Some(mysqld) = &mut member.mysqld {
            mysqld.receiver = Receiver::Off;
            return Outcome::Done;
        }
        self.read_logs(index);
        Outcome::Done
    }

    fn fence(&mut self, index: Index) -> Outcome {
        self.end_waiting_commits(index);
        self.read_logs(index);
        Outcome::Done
    }

    fn end_waiting_commits(&mut self, index: Index) {
        if self.rules.off(Rule::FenceByKill) { self.terminate(index) } else { self.kill(index) }
    }

    fn read_logs(&mut self, index: Index) {
        let member = &mut self.members[index];
        member.logs_read |= member.mysqld.is_none() && member.powered;
    }

    fn follow(&mut self, index: Index, record: &Record, source: Index, server: ServerId) -> Outcome {
        if source == index || record.phase == Phase::Freezing || record.primary == name(index) || !self.start(index) {
            return Outcome::Refused;
        }
        let rules = self.rules;
        let member = &mut self.members[index];
        if member.was_opened || member.is_open() {
            let drained = member.is_drained()
                || (rules.off(Rule::DrainWaits) && member.mysqld.as_ref().is_some_and(|mysqld| mysqld.read_only));
            if !drained {
                return Outcome::Refused;
            }
            self.answer_ok_to_all(index);
            self.members[index].was_opened = false;
        }
        let member = &mut self.members[index];
        let Some(incarnation) = member.incarnation() else { return Outcome::Refused };
        member.remembered.following = Some(Following { source, server, claim: record.claim(), incarnation });
        let acknowledges = member.wants_acks(rules);
        let (Some(mysqld), Some(data)) = (&mut member.mysqld, &member.data) else { return Outcome::Refused };
        let stranger = matches!(&mysqld.receiver, Receiver::On(connection) if connection.server != server);
        let runs = data.source == Some(source) && !matches!(mysqld.receiver, Receiver::Off);
        if runs && !stranger && mysqld.replica_side == acknowledges {
            mysqld.applies = true;
        } else {
            self.point_at(index, source, acknowledges);
        }
        if let Some(mysqld) = &mut self.members[index].mysqld
            && acknowledges
            && record.phase == Phase::Serving
            && mysqld.read_only
        {
            mysqld.offline = false;
        }
        Outcome::Done
    }

    pub fn point_at(&mut self, index: Index, source: Index, acknowledges: bool) {
        let forgets = self.rules.off(Rule::KeepRelayLogs);
        let member = &mut self.members[index];
        let (Some(mysqld), Some(data)) = (&mut member.mysqld, &mut member.data) else { return };
        if data.source != Some(source) {
            data.source = Some(source);
            if forgets {
                data.relay.clear();
                data.synced = 0;
            }
        }
        mysqld.replica_side = acknowledges;
        mysqld.receiver = Receiver::Connecting;
        mysqld.applies = true;
        self.connect(index);
    }

    fn grant(&mut self, index: Index, barrier: &GtidSet) -> Outcome {
        let member = &mut self.members[index];
        let received = member.running().is_some_and(|(_, data)| barrier.is_subset_of(&data.known()));
        if !received {
            return Outcome::Refused;
        }
        member.remembered.proved = member.incarnation().map(|mine| (mine, member.boot));
        self.settle_acks(index);
        Outcome::Done
    }

    fn settle_acks(&mut self, index: Index) {
        let member = &mut self.members[index];
        let wanted = member.wants_acks(self.rules);
        if member.was_opened {
            return;
        }
        let Some(mysqld) = member.mysqld.as_mut().filter(|mysqld| mysqld.replica_side != wanted) else { return };
        mysqld.replica_side = wanted;
        if !matches!(mysqld.receiver, Receiver::Off) {
            mysqld.receiver = Receiver::Connecting;
        }
    }

    fn set_acks(&mut self, index: Index, record: &Record, acks: u32) -> Outcome {
        if record.primary != name(index) || acks < record.effective_acks() || self.members[index].mysqld.is_none() {
            return Outcome::Refused;
        }
        if !self.rules.off(Rule::RaiseBeforePromise) {
            self.wait_for(index, acks);
        }
        Outcome::Done
    }

    pub fn wait_for(&mut self, index: Index, acks: u32) {
        if let Some(mysqld) = &mut self.members[index].mysqld {
            (mysqld.waits, mysqld.wait_count) = (acks > 0, acks);
        }
        self.commit(index);
    }

    fn trim(&mut self, index: Index, record: &Record, keep: &GtidSet) -> Outcome {
        if record.primary == name(index) || record.phase != Phase::Serving {
            return Outcome::Refused;
        }
        if self.members[index].led_last() && self.members[index].mysqld.is_none() {
            self.cut_excess(index, keep);
        }
        done(self.start(index))
    }

    /// Cuts what is fit to be cut; see the agent's `trim.rs`.
    fn cut_excess(&mut self, index: Index, keep: &GtidSet) {
        let renames = !self.rules.off(Rule::NewName);
        let member = &mut self.members[index];
        let own = member.opened().map(|opened| opened.servers.clone()).unwrap_or_default();
        let Some(data) = &mut member.data else { return };
        let kept = |held: &super::transaction::Transaction| names(&[*held]).is_subset_of(keep);
        let Some(first) = data.binlog.iter().position(|held| !kept(held)) else { return };
        let tail = &data.binlog[first..];
        let fit = first >= data.newest_file
            && !data.closed
            && tail.iter().all(|held| own.contains(&held.gtid.server) && !kept(held));
        if !fit {
            return;
        }
        let cut = data.binlog.split_off(first);
        let torn = data.committed > first;
        data.committed = data.committed.min(first);
        if renames {
            data.server = None;
        }
        member.logs_read = false;
        self.counts.trims += 1;
        self.say(|| format!("{}: {:?} are cut off", name(index), cut));
        let acknowledged = cut.iter().find(|held| self.truth.acknowledged.contains_key(&held.gtid));
        if let Some(held) = acknowledged {
            self.breaks(format!("{} cuts off {:?}, which was acknowledged", name(index), held.gtid));
        } else if torn {
            self.breaks(format!("{} cuts off what its engine has committed", name(index)));
        }
    }

    /// A replica is started without being told, and goes on following where nothing has changed.
    pub fn keep(&mut self, index: Index) {
        let member = &self.members[index];
        let busy = matches!(member.work, Some(Work::Copy(_)));
        if !member.powered || busy || member.mysqld.is_some() || !member.is_replica() || !self.start(index) {
            return;
        }
        let member = &self.members[index];
        if let (Some(following), Some(record)) = (member.may_resume(), member.remembered.record.clone()) {
            self.follow(index, &record, following.source, following.server);
        }
    }
}

fn done(started: bool) -> Outcome {
    if started { Outcome::Done } else { Outcome::Refused }
}

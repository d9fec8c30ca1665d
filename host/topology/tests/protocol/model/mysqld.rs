//! What mysqld does by itself: start, commit, send, receive, acknowledge, apply, die.
//!
//! A commit is in the binary log, and may be sent, before the engine has it; the engine commits it, and its client
//! hears OK, when enough replicas acknowledged it. What waits when mysqld dies is committed by the next start.
//! A replica acknowledges what is in its relay log, on the disk or not, and whether or not its applier can execute it.
//! Left out: XA, encryption, purged logs, data that mysqld does not start on, a link that works in one direction only.

use super::agent::Task;
use super::member::{Connection, Index, Mysqld, Receiver, Work, name};
use super::rules::Rule;
use super::transaction::{Gtid, Transaction};
use super::world::{Place, World};

impl World {
    /// Starts mysqld on the data that is there. What waited for acknowledgements when the last one died is committed.
    pub fn start(&mut self, index: Index) -> bool {
        if self.members[index].mysqld.is_some() {
            return true;
        }
        if self.members[index].data.is_none() {
            return false;
        }
        let (process, fresh) = (self.number(), self.server());
        let open = self.rules.off(Rule::BootClosed);
        let member = &mut self.members[index];
        let Some(data) = &mut member.data else { return false };
        data.server.get_or_insert(fresh);
        data.committed = data.binlog.len();
        data.newest_file = data.binlog.len();
        (data.closed, data.answered) = (false, true);
        member.mysqld = Some(Mysqld {
            process,
            offline: !open,
            read_only: !open,
            epoch: member.remembered.record.as_ref().map_or(0, |record| record.epoch),
            waits: false,
            wait_count: 0,
            acknowledged: std::collections::BTreeMap::new(),
            replica_side: false,
            receiver: Receiver::Off,
            applies: false,
        });
        self.say(|| format!("{}: mysqld starts", name(index)));
        true
    }

    /// mysqld dies at once. What it had received is still in the page cache.
    pub fn kill(&mut self, index: Index) {
        let member = &mut self.members[index];
        if member.mysqld.take().is_none() {
            return;
        }
        (member.was_opened, member.logs_read) = (false, false);
        self.tasks.push(Task::ReadLogs { member: index });
        self.say(|| format!("{}: mysqld is killed", name(index)));
    }

    /// What SIGTERM does: every client that waits hears OK.
    pub fn terminate(&mut self, index: Index) {
        self.answer_ok_to_all(index);
        if let Some(data) = self.members[index].data.as_mut() {
            (data.closed, data.synced) = (true, data.relay.len());
        }
        self.kill(index);
    }

    /// Switching the source's side off, or SIGTERM: nobody waits any more, and everybody hears OK.
    pub fn answer_ok_to_all(&mut self, index: Index) {
        if let Some(mysqld) = self.members[index].mysqld.as_mut() {
            mysqld.waits = false;
        }
        self.commit(index);
    }

    /// The agent ends, and mysqld with it. Both are back, mysqld closed, as soon as somebody starts it.
    pub fn end_agent(&mut self, index: Index) {
        self.kill(index);
        self.tasks.retain(|task| task.member() != index);
        self.tasks.push(Task::ReadLogs { member: index });
        let member = &mut self.members[index];
        // A copy that was not in place is thrown away; the data from before it is still there.
        member.work = None;
        member.agent += 1;
        (member.was_opened, member.logs_read) = (false, false);
    }

    /// The machine loses power: of what was received and not fsynced, only a part is there afterwards.
    pub fn lose_power(&mut self, index: Index, kept: usize) {
        if !self.members[index].powered {
            return;
        }
        self.end_agent(index);
        let member = &mut self.members[index];
        (member.powered, member.boot) = (false, member.boot + 1);
        if let Some(data) = &mut member.data {
            let kept = data.relay.len().min(data.synced + kept);
            data.relay.truncate(kept);
            data.synced = kept;
        }
    }

    /// Everything on the volume is gone, the agent's promises included.
    pub fn wipe(&mut self, index: Index) {
        self.end_agent(index);
        let member = &mut self.members[index];
        member.data = None;
        member.remembered = super::member::Remembered::default();
    }

    /// A client's commit reaches the binary log. Nobody has acknowledged it yet.
    pub fn write(&mut self, index: Index) -> Option<Gtid> {
        let content = self.number();
        let member = &mut self.members[index];
        let open = member.mysqld.as_ref().is_some_and(Mysqld::is_open);
        let data = member.data.as_mut().filter(|_| open)?;
        let server = data.server?;
        let gtid = Gtid { server, number: data.next_number(server) };
        let holder = self.members.iter().find(|member| member.data.as_ref().is_some_and(|data| data.holds(gtid)));
        if let Some(holder) = holder {
            let what = format!("{} commits {gtid:?}, which is something else on {}", name(index), holder.name);
            self.breaks(what);
        }
        if let Some(data) = &mut self.members[index].data {
            data.binlog.push(Transaction { gtid, content });
        }
        self.commit(index);
        Some(gtid)
    }

    /// Commits, in order, whatever enough replicas acknowledged.
    pub fn commit(&mut self, index: Index) {
        loop {
            let member = &mut self.members[index];
            let (Some(mysqld), Some(data)) = (&member.mysqld, &mut member.data) else { return };
            let Some(next) = data.binlog.get(data.committed).copied() else { return };
            let needed = if mysqld.waits { mysqld.wait_count as usize } else { 0 };
            let acks = mysqld.acknowledged.values().filter(|upto| **upto > data.committed).count();
            if acks < needed {
                return;
            }
            data.committed += 1;
            let epoch = mysqld.epoch;
            self.say(|| format!("{}: OK to {:?}", name(index), next.gtid));
            self.told_ok(index, epoch, next.gtid, next.content);
        }
    }

    /// A receiver connects, or notices that its connection is gone.
    pub fn connect(&mut self, index: Index) {
        let Some((mysqld, data)) = self.members[index].running() else { return };
        let Some(source) = data.source else { return };
        let there = self.members.get(source).and_then(super::member::Member::running);
        let there = there.filter(|_| self.linked(Place::Member(index), Place::Member(source)));
        let there = there.map(|(mysqld, data)| (mysqld.process, data.server.unwrap_or_default()));
        let acknowledges = mysqld.replica_side;
        let stranger = |server| {
            let told = self.members[index].remembered.following.as_ref();
            told.is_some_and(|told| told.source == source && told.server != server)
        };
        let receiver = match (&mysqld.receiver, there) {
            (Receiver::Off, _) => return,
            (Receiver::On(connection), Some((process, _))) if connection.process == process => return,
            (Receiver::On(_), _) | (Receiver::Connecting, None) => Receiver::Connecting,
            (Receiver::Connecting, Some((_, server))) if stranger(server) => Receiver::Off,
            (Receiver::Connecting, Some((process, server))) => {
                Receiver::On(Connection { process, server, acknowledges, sent: 0, received: 0 })
            }
        };
        if let Some(mysqld) = &mut self.members[index].mysqld {
            mysqld.receiver = receiver;
        }
    }

    /// The source sends up to so many transactions that this replica has not: also those that nobody acknowledged.
    pub fn receive(&mut self, index: Index, most: usize) {
        self.connect(index);
        let Some((mysqld, data)) = self.members[index].running() else { return };
        let (Receiver::On(connection), Some(source)) = (&mysqld.receiver, data.source) else { return };
        let mut connection = connection.clone();
        let Some((_, from)) = self.members[source].running() else { return };
        let mut fresh = Vec::new();
        while fresh.len() < most {
            let Some(next) = from.binlog.get(connection.sent).copied() else { break };
            connection.sent += 1;
            if !data.holds(next.gtid) {
                connection.received = connection.sent;
                fresh.push(next);
            }
        }
        let member = &mut self.members[index];
        if let (Some(mysqld), Some(data)) = (&mut member.mysqld, &mut member.data) {
            mysqld.receiver = Receiver::On(connection);
            data.relay.extend(fresh);
        }
    }

    /// The acknowledgement of everything received on this connection reaches the source.
    pub fn acknowledge(&mut self, index: Index) {
        let Some((mysqld, data)) = self.members[index].running() else { return };
        let (Receiver::On(connection), Some(source)) = (&mysqld.receiver, data.source) else { return };
        let (process, upto) = (connection.process, connection.received);
        if !connection.acknowledges || upto == 0 || !self.linked(Place::Member(index), Place::Member(source)) {
            return;
        }
        let there = self.members[source].mysqld.as_mut().filter(|there| there.process == process);
        let Some(there) = there else { return };
        let last = there.acknowledged.entry(index).or_default();
        *last = upto.max(*last);
        self.commit(source);
    }

    /// The applier executes up to so many transactions.
    pub fn apply(&mut self, index: Index, most: usize) {
        let member = &mut self.members[index];
        let (Some(mysqld), Some(data)) = (&member.mysqld, &mut member.data) else { return };
        if !mysqld.applies || data.broken || mysqld.is_open() || data.committed < data.binlog.len() {
            return;
        }
        for next in data.relay.drain(..most.min(data.relay.len())) {
            data.synced = data.synced.saturating_sub(1);
            if !data.binlog.iter().any(|held| held.gtid == next.gtid) {
                data.binlog.push(next);
            }
        }
        data.committed = data.binlog.len();
    }

    /// The kernel writes a relay log out.
    pub fn sync(&mut self, index: Index) {
        if let Some(data) = self.members[index].data.as_mut() {
            data.synced = data.relay.len();
        }
    }

    /// One step of a copy under way.
    pub fn work(&mut self, index: Index) {
        use super::member::Copying::{Begun, Copied, Stopped};
        let Some(Work::Copy(copying)) = self.members[index].work.clone() else { return };
        let reach = |world: &Self, donor: Index| {
            let linked = world.linked(Place::Member(index), Place::Member(donor));
            world.members[donor].running().filter(|_| linked).map(|(_, data)| data.clone())
        };
        let next = match copying {
            Begun { donor, server } => match reach(self, donor).filter(|data| data.server == Some(server)) {
                Some(_) => {
                    self.terminate(index);
                    Work::Copy(Stopped { donor })
                }
                None => Work::CopyFailed,
            },
            // Only what the engine of the donor has committed is in the copy.
            Stopped { donor } => match reach(self, donor) {
                Some(data) => Work::Copy(Copied { binlog: data.binlog[..data.committed].to_vec() }),
                None => Work::CopyFailed,
            },
            Copied { binlog } => {
                let incarnation = self.incarnation();
                self.members[index].data = Some(super::member::Data::new(incarnation, binlog));
                self.members[index].logs_read = false;
                self.start(index);
                self.counts.copies += 1;
                self.say(|| format!("{}: the copy is in place", name(index)));
                Work::Copied
            }
        };
        self.members[index].work = Some(next);
    }
}

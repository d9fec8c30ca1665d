//! What an agent does when it is told something.

use topology::gtid::GtidSet;
use topology::plan::Order;
use topology::record::{Phase, Record};

use super::{Node, Server, World};

impl World {
    /// What an agent does.
    pub fn obey(&mut self, record: &Record, name: &str, order: &Order) {
        self.log.push(format!("{name}: {order}"));
        let record = record.clone();
        let (incarnation, uuid, renamed) = (self.fresh(), self.fresh(), self.fresh());
        let donor = match order {
            Order::Clone { donor } => self.nodes[donor]
                .server
                .as_ref()
                .filter(|_| self.nodes[donor].running)
                .map(|server| (server.executed.clone(), server.locked.clone())),
            _ => None,
        };
        let source_log = match order {
            Order::Promote { source: Some(source), .. } => self.nodes[source]
                .server
                .as_ref()
                .filter(|_| self.nodes[source].running && self.nodes[source].reachable)
                .map(|server| server.executed.union(&server.received)),
            _ => None,
        };
        let committed = self.nodes[&record.primary].server.as_ref().map(|server| server.executed.clone());
        let primary_knows = self.nodes[&record.primary].record.as_ref().map(Record::claim);
        let node = self.nodes.get_mut(name).unwrap();
        if !node.reachable || node.silent || record.may_replace(node.record.as_ref()).is_err() {
            return;
        }
        let newcomer = node.record.as_ref().is_none_or(|stored| stored.incarnation_of(name) != node.incarnation)
            && node.incarnation.is_some()
            && record.incarnation_of(name) == node.incarnation;
        let ahead = newcomer && primary_knows.is_none_or(|stored| stored < record.claim());
        let settled = record.phase == Phase::Serving && record.primary != name;
        assert!(!(settled && ahead), "{name} votes by {} before its primary knows: {:#?}", record.claim(), self.log);
        let node = self.nodes.get_mut(name).unwrap();
        node.store(name, &record);
        let starts = matches!(order, Order::Start | Order::Follow { .. } | Order::Trim) && !node.running;
        if let Some(server) = node.server.as_mut().filter(|server| starts && record.gave_up(server.uuid)) {
            server.uuid = renamed;
        }
        let opened =
            node.opened_in_epoch.is_some_and(|opened| opened >= record.primary_since_epoch) && record.primary == name;
        match order {
            Order::Initialize if node.incarnation.is_none() => {
                *node = Node { record: Some(record), ..node.with_data(incarnation, uuid, GtidSet::new(), true) }
            }
            Order::Clone { .. } => {
                if let Some((executed, locked)) = donor {
                    *node = Node { record: Some(record), ..node.with_data(incarnation, uuid, executed, false) };
                    node.server.as_mut().unwrap().locked = locked;
                }
            }
            Order::Start => {
                node.led_last &= node.running;
                node.running = node.server.is_some();
            }
            Order::Trim => {
                let fit = node.led_last && !node.running;
                if let (Some(server), Some(committed), true) = (&mut node.server, &committed, fit) {
                    let excess = server.executed.of_server(server.uuid).subtract(committed);
                    if !excess.is_empty() {
                        server.executed = server.executed.subtract(&excess);
                        server.uuid = uuid;
                    }
                }
                node.led_last = false;
                node.running = node.server.is_some();
            }
            Order::Follow { source } => {
                node.led_last = false;
                node.running = node.server.is_some();
                let acknowledges = node.may_acknowledge(name);
                if let Some(server) = &mut node.server {
                    server.source = Some(source.clone());
                    server.acknowledges = acknowledges;
                    server.open = false;
                }
            }
            Order::Freeze => {
                let kill = opened && node.server.as_ref().is_some_and(|server| server.open);
                if let Some(server) = &mut node.server {
                    server.source = None;
                    server.acknowledges = false;
                    server.open = false;
                    server.waiting.clear();
                }
                node.running &= !kill;
            }
            Order::GrantStanding => {
                // The barrier: everything that the primary has committed by now has to be there.
                let known = node.server.as_ref().map(|server| server.executed.union(&server.received));
                let barrier = committed.filter(|committed| record.base.is_subset_of(committed));
                node.good |= known.zip(barrier).is_some_and(|(known, barrier)| barrier.is_subset_of(&known));
            }
            Order::Promote { required, .. } if record.primary == name => {
                if let Some(server) = node.server.as_mut().filter(|_| node.running) {
                    server.received = server.received.union(&source_log.unwrap_or_default());
                    server.executed = server.executed.union(&server.received);
                    if required.is_subset_of(&server.executed) {
                        (server.open, server.drained, server.source, server.acknowledges) = (true, false, None, false);
                        server.wait_count = record.effective_acks();
                        server.lock(&record);
                        node.opened_in_epoch = Some(record.epoch);
                        node.opened_as.push(server.uuid);
                        node.led_last = true;
                        node.good = true;
                    }
                }
            }
            Order::SetAcks { acks } if record.primary == name && *acks >= record.effective_acks() => {
                if let Some(server) = node.server.as_mut().filter(|server| server.open) {
                    server.wait_count = *acks;
                    if record.raising_acks == Some(*acks) {
                        self.barrier = Some((record.claim(), server.executed.clone()));
                    }
                    self.release(name);
                }
            }
            Order::Lock if record.primary == name => {
                if let Some(server) = node.server.as_mut().filter(|server| server.open) {
                    server.lock(&record);
                    self.barrier = Some((record.claim(), server.executed.clone()));
                }
            }
            Order::Fence => self.kill(name),
            Order::Drain => {
                if let Some(server) = node.server.as_mut().filter(|server| server.waiting.is_empty()) {
                    (server.open, server.drained) = (false, true);
                }
            }
            Order::Undrain => {
                if let Some(server) = &mut node.server {
                    (server.open, server.drained) = (true, false);
                }
            }
            Order::Read { .. } => panic!("a member was told to read: {:#?}", self.log),
            Order::Store | Order::Initialize | Order::Promote { .. } | Order::SetAcks { .. } | Order::Lock => {}
        }
    }
}

impl Server {
    /// Locks out whoever may not acknowledge, and nobody else. What was acknowledged already stays so.
    pub(super) fn lock(&mut self, record: &Record) {
        let accounts = (0..7).map(|ordinal| format!("shop-{ordinal}"));
        self.locked = accounts.filter(|name| !record.may_acknowledge(name)).collect();
    }
}

impl Node {
    /// Stores a record. One in which its data does not vote ends what it had proved, and with that its acknowledging.
    pub(super) fn store(&mut self, name: &str, record: &Record) {
        let votes = record.incarnation_of(name).is_some_and(|incarnation| Some(incarnation) == self.incarnation);
        if self.record.as_ref() != Some(record) {
            self.good &= votes;
            self.record = Some(record.clone());
        }
        let may_acknowledge = self.may_acknowledge(name);
        if let Some(server) = &mut self.server {
            server.acknowledges &= may_acknowledge;
            // Whoever may acknowledge is let in. Locking others out takes a moment, and an order to be sure of it.
            if server.open && record.primary == name {
                server.locked.retain(|name| !record.may_acknowledge(name));
            }
        }
    }

    /// Whether it acknowledges as far as it knows.
    pub(super) fn may_acknowledge(&self, name: &str) -> bool {
        let record = self.record.as_ref().filter(|record| record.may_acknowledge(name));
        let votes = record.is_some_and(|record| record.incarnation_of(name) == self.incarnation);
        self.good && votes
    }
}

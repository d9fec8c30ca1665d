//! A small cluster in memory: members with logs, an operator that passes over them, and a record.
//!
//! It follows what real servers were measured to do as far as these tests need it: a killed primary keeps the
//! transactions nobody acknowledged, and commits them when it is started again; a commit that waits keeps the
//! acknowledgements it has, whoever gave them; a member that acknowledges connects with an account of its own, which
//! its source can lock, and everybody else with one that is never locked.

mod agent;
mod pass;
mod readers;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use topology::decision::{Answer, Question};
use topology::facts::VolumeTrouble;
use topology::gtid::GtidSet;
use topology::record::{Claim, Phase, Record};
use topology::snapshot::{AcceptLoss, Desired, Outdated, Pace, Rebuild, Restart, Switchover};
use uuid::Uuid;

/// A transaction: the server that committed it, and its number there.
fn gtid(server: Uuid, number: u64) -> GtidSet {
    format!("{server}:{number}").parse().unwrap()
}

#[derive(Clone)]
pub struct Server {
    pub uuid: Uuid,
    /// Everything in its binary log.
    pub executed: GtidSet,
    /// Commits that wait, oldest first, each with whoever acknowledged it.
    pub waiting: Vec<(GtidSet, BTreeSet<String>)>,
    /// Whose own accounts are locked in its data.
    pub locked: BTreeSet<String>,
    pub received: GtidSet,
    pub open: bool,
    pub drained: bool,
    pub source: Option<String>,
    pub acknowledges: bool,
    pub wait_count: u32,
}

#[derive(Clone)]
pub struct Node {
    pub reachable: bool,
    /// No operator reaches its agent; its mysqld and the other members know nothing of that.
    pub silent: bool,
    /// It is connected and has yet to receive what was sent last.
    pub lags: bool,
    pub running: bool,
    pub server: Option<Server>,
    pub incarnation: Option<Uuid>,
    pub record: Option<Record>,
    pub opened_in_epoch: Option<u64>,
    pub opened_as: Vec<Uuid>,
    /// Its log holds what it committed as a primary, and its server has not been started since.
    pub led_last: bool,
    pub good: bool,
    pub next: u64,
    pub terminating: bool,
    pub volume: Option<VolumeTrouble>,
    /// When its pod was made: the clock of the world.
    pub made: u64,
    pub cordoned: bool,
    pub pending: bool,
    pub outdated: Option<Outdated>,
    pub version: String,
}

#[derive(Clone)]
pub struct World {
    pub nodes: BTreeMap<String, Node>,
    pub record: Option<Record>,
    pub ours: bool,
    pub desired: Desired,
    pub switchover: Option<Switchover>,
    pub rebuild: Option<Rebuild>,
    pub accept_loss: Option<AcceptLoss>,
    /// Every record there ever was, oldest first.
    pub past: Vec<Record>,
    /// The read replicas.
    pub readers: BTreeMap<String, Node>,
    pub barrier: Option<(Claim, GtidSet)>,
    pub restart: Option<Restart>,
    pub pace: Pace,
    pub drain_failed_ms: Option<u64>,
    /// Counts pods that were made and restarts that were asked for.
    pub clock: u64,
    /// Everything a client was told is safe.
    pub acknowledged: GtidSet,
    /// What of that was given up, and who held it then.
    pub forsaken: Vec<(String, GtidSet)>,
    pub log: Vec<String>,
    serial: u128,
}

impl World {
    pub fn new(replicas: u32) -> Self {
        let nodes = (0..replicas).map(|ordinal| (format!("shop-{ordinal}"), Node::empty())).collect();
        Self {
            nodes,
            record: None,
            ours: false,
            desired: Desired { replicas, acks: usual_acks(replicas) },
            switchover: None,
            rebuild: None,
            accept_loss: None,
            past: Vec::new(),
            readers: BTreeMap::new(),
            barrier: None,
            restart: None,
            pace: Pace::default(),
            drain_failed_ms: None,
            clock: 1,
            acknowledged: GtidSet::new(),
            forsaken: Vec::new(),
            log: Vec::new(),
            serial: 1,
        }
    }

    /// A cluster that serves.
    pub fn serving(replicas: u32) -> Self {
        let mut world = Self::new(replicas);
        world.settle(60, choose_first);
        assert_eq!(world.primary().as_deref(), Some("shop-0"), "{:#?}", world.log);
        world
    }

    fn fresh(&mut self) -> Uuid {
        self.serial += 1;
        Uuid::from_u128(self.serial)
    }

    /// The member that is open under the record.
    pub fn primary(&self) -> Option<String> {
        let record = self.record.as_ref().filter(|record| record.phase == Phase::Serving)?;
        let node = &self.nodes[&record.primary];
        (node.running && node.server.as_ref().is_some_and(|server| server.open)).then(|| record.primary.clone())
    }

    pub fn open(&self) -> Vec<String> {
        let open = self
            .nodes
            .iter()
            .filter(|(_, node)| node.running && node.server.as_ref().is_some_and(|server| server.open));
        open.map(|(name, _)| name.clone()).collect()
    }

    /// Somebody asks for another number of members.
    pub fn scale(&mut self, replicas: u32) {
        self.desired = Desired { replicas, acks: usual_acks(replicas) };
        for ordinal in 0..replicas {
            self.nodes.entry(format!("shop-{ordinal}")).or_insert_with(Node::empty);
        }
    }

    /// Kubernetes removes pods that nobody wants and the record does not name, where it reaches their nodes. Their
    /// volumes stay.
    fn remove_pods(&mut self) {
        let (record, wanted) = (self.record.clone(), self.desired.replicas);
        let voting = record.iter().flat_map(|record| &record.members).map(|member| ordinal(&member.name) + 1);
        let pods = voting.max().unwrap_or_default().max(wanted);
        let gone: Vec<_> = self.nodes.keys().filter(|name| ordinal(name) >= pods).cloned().collect();
        for name in gone {
            if self.nodes[&name].reachable && !self.nodes[&name].silent {
                self.kill(&name);
            }
        }
    }

    /// Whether one member's receiver is connected to another: both run, and the source lets it in.
    fn is_attached(&self, replica: &str, source: &str) -> bool {
        let node = |name: &str| self.nodes.get(name).or_else(|| self.readers.get(name));
        let up = |name: &str| node(name).is_some_and(|node| node.running && node.reachable);
        let server = |name: &str| node(name).and_then(|node| node.server.as_ref());
        let (Some(mine), Some(theirs)) = (server(replica), server(source)) else { return false };
        let admitted = !mine.acknowledges || !theirs.locked.contains(replica);
        up(replica) && up(source) && admitted && mine.source.as_deref() == Some(source)
    }

    /// A client writes once through whoever is open. True if it hears OK.
    pub fn write(&mut self) -> bool {
        let Some(name) = self.open().first().cloned() else { return false };
        let node = self.nodes.get_mut(&name).unwrap();
        node.next += 1;
        let number = node.next;
        let server = node.server.as_mut().unwrap();
        let transaction = gtid(server.uuid, number);
        server.executed = server.executed.union(&transaction);
        server.waiting.push((transaction.clone(), BTreeSet::new()));
        self.receive(&name);
        transaction.is_subset_of(&self.acknowledged)
    }

    /// Whoever is attached to a server receives its log, and acknowledges what waits there.
    fn receive(&mut self, source: &str) {
        let Some(log) = self.nodes[source].server.as_ref().map(|server| server.executed.clone()) else { return };
        let attached = self.nodes.iter().filter(|(name, node)| !node.lags && self.is_attached(name, source));
        let attached: Vec<_> = attached.map(|(name, _)| name.clone()).collect();
        for replica in attached {
            let server = self.nodes.get_mut(&replica).unwrap().server.as_mut().unwrap();
            // It acknowledges what it is sent, and with that whatever came before.
            let sent = log.subtract(&server.received).subtract(&server.executed);
            server.received = server.received.union(&log);
            if server.acknowledges {
                let waiting = &mut self.nodes.get_mut(source).unwrap().server.as_mut().unwrap().waiting;
                let last = waiting.iter().rposition(|(transaction, _)| transaction.is_subset_of(&sent));
                for (_, by) in &mut waiting[..last.map_or(0, |last| last + 1)] {
                    by.insert(replica.clone());
                }
            }
        }
        self.release(source);
    }

    /// Commits that have enough acknowledgements are told to their clients, in order.
    fn release(&mut self, name: &str) {
        let Some(server) = self.nodes.get_mut(name).unwrap().server.as_mut() else { return };
        while server.waiting.first().is_some_and(|(_, by)| by.len() as u32 >= server.wait_count) {
            let (transaction, _) = server.waiting.remove(0);
            self.acknowledged = self.acknowledged.union(&transaction);
        }
    }

    /// Replication catches up everywhere it can.
    pub fn replicate(&mut self) {
        for _ in 0..self.nodes.len() {
            let names: Vec<_> = self.nodes.keys().cloned().collect();
            for name in names {
                self.receive(&name);
            }
            for node in self.nodes.values_mut().filter(|node| node.running) {
                if let Some(server) = node.server.as_mut().filter(|server| !server.open) {
                    server.executed = server.executed.union(&server.received);
                }
            }
        }
        self.feed_readers();
    }

    /// mysqld dies at once. What it had received and not executed stays in its relay logs.
    pub fn kill(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).unwrap();
        node.running = false;
        if let Some(server) = &mut node.server {
            server.open = false;
            server.source = None;
            server.acknowledges = false;
            server.waiting.clear();
        }
    }

    /// The machine of a replica restarts, and what was received and not executed was never on its disk.
    pub fn reboot(&mut self, name: &str) {
        self.kill(name);
        let node = self.nodes.get_mut(name).unwrap();
        node.good = false;
        if let Some(server) = &mut node.server {
            server.received = server.received.intersect(&server.executed);
        }
    }

    /// The agent of a replica whose mysqld ended brings it back by itself, under the record that it knows.
    pub fn resume(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).unwrap();
        let Some(record) = node.record.clone().filter(|record| record.phase == Phase::Serving) else { return };
        if node.running || node.led_last || record.primary == name {
            return;
        }
        node.running = node.server.is_some();
        let acknowledges = node.may_acknowledge(name);
        if let Some(server) = &mut node.server {
            (server.source, server.acknowledges) = (Some(record.primary), acknowledges);
        }
    }

    /// The pod is deleted; its agent and mysqld have yet to end.
    pub fn delete_pod(&mut self, name: &str) {
        self.nodes.get_mut(name).unwrap().terminating = true;
    }

    /// The agent of a deleted pod lets writes end and takes no more.
    pub fn close(&mut self, name: &str) {
        if let Some(server) = self.nodes.get_mut(name).unwrap().server.as_mut() {
            server.open = false;
        }
    }

    /// The deleted pod ends, and another one takes its place on the same volume.
    pub fn replace_pod(&mut self, name: &str) {
        self.kill(name);
        self.clock += 1;
        let node = self.nodes.get_mut(name).unwrap();
        (node.terminating, node.pending, node.outdated, node.made) = (false, false, None, self.clock);
    }

    /// Somebody asks for a restart of one member, or of all.
    pub fn ask_for_restart(&mut self, member: Option<&str>) {
        self.clock += 1;
        self.restart = Some(Restart { member: member.map(ToOwned::to_owned), asked_unix_ms: self.clock });
    }

    /// Whether Kubernetes has the pods that are being deleted, so that it makes new ones.
    pub fn leaving(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.terminating).map(|(name, _)| name.clone()).collect()
    }

    /// The node loses power, and comes back with everything stopped.
    pub fn power_off(&mut self, name: &str) {
        self.kill(name);
        self.nodes.get_mut(name).unwrap().reachable = false;
    }

    /// The record is what it was before its last so many changes, and the operator sees that.
    pub fn restore_record(&mut self, changes_ago: usize) {
        let index = self.past.len().checked_sub(changes_ago + 1);
        self.record = index.map(|index| self.past[index].clone());
        self.ours = false;
    }

    /// Somebody accepts to go on without whoever does not answer.
    pub fn accept_loss(&mut self) {
        let epoch = self.record.as_ref().unwrap().epoch;
        self.accept_loss = Some(AcceptLoss { epoch, operation: "accept".to_owned() });
    }

    /// Everything a member holds, running or not.
    pub fn held(&self, name: &str) -> GtidSet {
        self.nodes[name].server.as_ref().map(|server| server.executed.union(&server.received)).unwrap_or_default()
    }

    pub fn power_on(&mut self, name: &str) {
        self.nodes.get_mut(name).unwrap().reachable = true;
    }
}

/// k where nobody says otherwise.
fn usual_acks(replicas: u32) -> u32 {
    if replicas == 1 { 0 } else { ((replicas - 1) / 2).max(1) }
}

fn ordinal(name: &str) -> u32 {
    name.rsplit('-').next().unwrap().parse().unwrap()
}

impl Node {
    pub fn empty() -> Self {
        Self {
            reachable: true,
            silent: false,
            lags: false,
            running: false,
            server: None,
            incarnation: None,
            record: None,
            opened_in_epoch: None,
            opened_as: Vec::new(),
            led_last: false,
            good: false,
            next: 0,
            terminating: false,
            volume: None,
            made: 1,
            cordoned: false,
            pending: false,
            outdated: None,
            version: "9.7.4".to_owned(),
        }
    }

    /// The same pod with a data directory that has just been made.
    pub fn with_data(&self, incarnation: Uuid, uuid: Uuid, executed: GtidSet, good: bool) -> Self {
        let server = Server {
            uuid,
            executed,
            waiting: Vec::new(),
            locked: BTreeSet::new(),
            received: GtidSet::new(),
            open: false,
            drained: false,
            source: None,
            acknowledges: false,
            wait_count: 0,
        };
        Self {
            running: true,
            server: Some(server),
            incarnation: Some(incarnation),
            good,
            made: self.made,
            cordoned: self.cordoned,
            outdated: self.outdated,
            version: self.version.clone(),
            ..Self::empty()
        }
    }
}

pub fn ip(name: &str) -> String {
    format!("10.0.{}.{}", u8::from(name.contains("-read-")), name.rsplit('-').next().unwrap())
}

/// A policy that takes the first eligible candidate other than the former primary.
pub fn choose_first(question: &Question) -> Answer {
    let eligible = question.candidates.iter().find(|candidate| candidate.is_eligible());
    match eligible {
        Some(candidate) => {
            Answer::Promote { candidate: candidate.name.clone(), reason: "first".to_owned(), ranking: Vec::new() }
        }
        None => Answer::Hold { reason: "nobody is eligible".to_owned() },
    }
}

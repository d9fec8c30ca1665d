//! A small cluster in memory: members with logs, an operator that passes over them, and a record.
//!
//! It follows what real servers were measured to do as far as these tests need it: a killed primary keeps the
//! transactions nobody acknowledged, and commits them when it is started again; a commit that waits keeps the
//! acknowledgements it has, whoever gave them; a member that acknowledges connects with an account of its own, which
//! its source can lock, and everybody else with one that is never locked.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod readers;

use std::collections::{BTreeMap, BTreeSet};

use topology::assess::assess;
use topology::decision::{Answer, Question};
use topology::facts::{
    DataState, MemberReport, Replication, SemiSync, ServerFacts, ServerState, Standing, ThreadState, VolumeTrouble,
};
use topology::gtid::GtidSet;
use topology::guard::guard;
use topology::plan::{Order, Step, plan};
use topology::record::{Claim, Phase, Record};
use topology::snapshot::{
    AcceptLoss, Desired, MemberView, Outdated, Pace, PodFacts, Probe, Rebuild, Restart, Snapshot, Switchover,
};
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

    pub fn snapshot(&self) -> Snapshot {
        // As the operator does: whoever is wanted, and whoever votes.
        let seen = self.nodes.iter().filter(|(name, _)| {
            let votes = self.record.as_ref().is_some_and(|record| record.incarnation_of(name).is_some());
            ordinal(name) < self.desired.replicas || votes
        });
        let members = seen.map(|(name, node)| self.view(ordinal(name), name, node)).collect();
        let claim = self.record.as_ref().map(Record::claim);
        Snapshot {
            namespace: "default".to_owned(),
            cluster: "shop".to_owned(),
            now_unix_ms: 0,
            record: self.record.clone(),
            record_unchanged_ms: 5_000,
            record_is_ours: self.ours,
            desired: self.desired,
            members,
            switchover: self.switchover.clone(),
            rebuild: self.rebuild.clone(),
            accept_loss: self.accept_loss.clone(),
            contradicted_ms: 5_000,
            restart: self.restart.clone(),
            pace: self.pace,
            without_primary_ms: 0,
            readers: self.reader_views(),
            change_barrier: self.barrier.clone().filter(|(under, _)| Some(*under) == claim).map(|(_, barrier)| barrier),
            drain_failed_ms: self.drain_failed_ms,
        }
    }

    fn view(&self, ordinal: u32, name: &str, node: &Node) -> MemberView {
        let pod = PodFacts {
            ip: ip(name),
            node: format!("node-{ordinal}"),
            node_ready: true,
            terminating: node.terminating,
            uid: format!("{name}/{}", node.made),
            created_unix_ms: node.made,
            node_cordoned: node.cordoned,
            pending: node.pending,
            outdated: node.outdated,
            ..PodFacts::default()
        };
        let probe = if node.reachable && !node.silent {
            Probe::Known { report: Box::new(self.report(name, node)), age_ms: 1_000, connected_ms: 60_000 }
        } else {
            Probe::Unreachable { for_ms: 5_000, tried_ms: 1_000, error: "connection refused".to_owned() }
        };
        MemberView { name: name.to_owned(), ordinal, pod: Some(pod), probe, signals: None, available: true }
    }

    fn report(&self, name: &str, node: &Node) -> MemberReport {
        let data = match node.incarnation {
            None => DataState::Empty,
            Some(incarnation) => DataState::Ready { incarnation },
        };
        let server = match &node.server {
            Some(server) if node.running => ServerState::Running(Box::new(self.facts(name, server, &node.version))),
            Some(server) => ServerState::Stopped { exit: None, gtids: Some(server.executed.union(&server.received)) },
            None => ServerState::Stopped { exit: None, gtids: None },
        };
        let standing = if node.good { Standing::Good } else { Standing::Unproved { because: "new data".to_owned() } };
        MemberReport {
            member: name.to_owned(),
            agent_version: "0.1.0".to_owned(),
            boot_id: "boot".to_owned(),
            record: node.record.clone(),
            opened_in_epoch: node.opened_in_epoch,
            opened_as: node.opened_as.clone(),
            trimmed: None,
            data,
            standing,
            server,
            job: None,
            volume: node.volume.clone(),
            config_error: None,
        }
    }

    fn facts(&self, name: &str, server: &Server, version: &str) -> ServerFacts {
        let replication = server.source.as_ref().map(|source| {
            let attached = self.is_attached(name, source);
            let there = self.nodes.get(source).filter(|_| attached).and_then(|node| node.server.as_ref());
            Replication {
                source_host: ip(source),
                source_uuid: there.map(|server| server.uuid),
                receiver: if there.is_some() { ThreadState::On } else { ThreadState::Connecting },
                receiver_error: String::new(),
                applier: ThreadState::On,
                applier_error: String::new(),
                acknowledges: server.acknowledges && there.is_some(),
                lag_s: Some(0),
                delay_s: 0,
            }
        });
        let acknowledges = |other: &String| self.nodes[other].server.as_ref().is_some_and(|server| server.acknowledges);
        let clients = self.nodes.keys().filter(|other| acknowledges(other) && self.is_attached(other, name));
        let owned = server.waiting.iter().fold(GtidSet::new(), |all, (transaction, _)| all.union(transaction));
        ServerFacts {
            pid: 1,
            started_unix_ms: 0,
            server_uuid: server.uuid,
            version: version.to_owned(),
            executed: server.executed.subtract(&owned),
            owned,
            received: server.received.clone(),
            open: server.open,
            offline: !server.open,
            read_only: !server.open,
            replication,
            semi_sync: SemiSync {
                enabled: server.wait_count > 0,
                wait_count: server.wait_count,
                clients: clients.count() as u32,
                waiting_commits: server.waiting.len() as u32,
            },
        }
    }

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
        assert!(knowing.count() >= needed, "{} is known to too few: {:#?}", before.claim(), self.log);
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

/// k where nobody says otherwise.
fn usual_acks(replicas: u32) -> u32 {
    if replicas == 1 { 0 } else { ((replicas - 1) / 2).max(1) }
}

fn ordinal(name: &str) -> u32 {
    name.rsplit('-').next().unwrap().parse().unwrap()
}

impl Server {
    /// Locks out whoever may not acknowledge, and nobody else. What was acknowledged already stays so.
    fn lock(&mut self, record: &Record) {
        let accounts = (0..7).map(|ordinal| format!("shop-{ordinal}"));
        self.locked = accounts.filter(|name| !record.may_acknowledge(name)).collect();
    }
}

impl Node {
    /// Stores a record. One in which its data does not vote ends what it had proved, and with that its acknowledging.
    fn store(&mut self, name: &str, record: &Record) {
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
    fn may_acknowledge(&self, name: &str) -> bool {
        let record = self.record.as_ref().filter(|record| record.may_acknowledge(name));
        let votes = record.is_some_and(|record| record.incarnation_of(name) == self.incarnation);
        self.good && votes
    }

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

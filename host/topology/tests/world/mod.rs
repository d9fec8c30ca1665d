//! A small cluster in memory: members with logs, an operator that passes over them, and a record.
//!
//! It follows what real servers were measured to do as far as these tests need it: a killed primary keeps the
//! transactions nobody acknowledged, and commits them when it is started again.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod readers;

use std::collections::BTreeMap;

use topology::assess::assess;
use topology::decision::{Answer, Question};
use topology::facts::{
    DataState, MemberReport, Replication, SemiSync, ServerFacts, ServerState, Standing, ThreadState, VolumeTrouble,
};
use topology::gtid::GtidSet;
use topology::guard::guard;
use topology::plan::{Order, Step, plan};
use topology::record::{Phase, Record};
use topology::snapshot::{AcceptLoss, Desired, MemberView, PodFacts, Probe, Rebuild, Snapshot, Switchover};
use uuid::Uuid;

/// A transaction: the server that committed it, and its number there.
fn gtid(server: Uuid, number: u64) -> GtidSet {
    format!("{server}:{number}").parse().unwrap()
}

pub struct Server {
    pub uuid: Uuid,
    pub executed: GtidSet,
    pub received: GtidSet,
    pub open: bool,
    pub drained: bool,
    pub source: Option<String>,
    pub acknowledges: bool,
    pub wait_count: u32,
}

pub struct Node {
    pub reachable: bool,
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
}

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
    pub raised: Option<GtidSet>,
    /// The read replicas.
    pub readers: BTreeMap<String, Node>,
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
        let acks = if replicas == 1 { 0 } else { ((replicas - 1) / 2).max(1) };
        Self {
            nodes,
            record: None,
            ours: false,
            desired: Desired { replicas, acks },
            switchover: None,
            rebuild: None,
            accept_loss: None,
            past: Vec::new(),
            raised: None,
            readers: BTreeMap::new(),
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

    /// A client writes once through whoever is open. True if it hears OK.
    pub fn write(&mut self) -> bool {
        let Some(name) = self.open().first().cloned() else { return false };
        let node = self.nodes.get_mut(&name).unwrap();
        node.next += 1;
        let number = node.next;
        let reachable = node.reachable;
        let server = node.server.as_mut().unwrap();
        let (uuid, needed) = (server.uuid, server.wait_count);
        let transaction = gtid(uuid, number);
        let mut acks = 0;
        for (other, node) in &mut self.nodes {
            let attached = *other != name && node.running && node.reachable && reachable;
            if let Some(server) =
                node.server.as_mut().filter(|server| attached && server.source.as_deref() == Some(&name))
            {
                server.received = server.received.union(&transaction);
                acks += u32::from(server.acknowledges);
            }
        }
        let server = self.nodes.get_mut(&name).unwrap().server.as_mut().unwrap();
        server.executed = server.executed.union(&transaction);
        if acks >= needed {
            self.acknowledged = self.acknowledged.union(&transaction);
        }
        acks >= needed
    }

    /// Replication catches up everywhere it can.
    pub fn replicate(&mut self) {
        for _ in 0..self.nodes.len() {
            let logs: BTreeMap<_, _> = self
                .nodes
                .iter()
                .filter(|(_, node)| node.running && node.reachable)
                .filter_map(|(name, node)| Some((name.clone(), node.server.as_ref()?.executed.clone())))
                .collect();
            for node in self.nodes.values_mut().filter(|node| node.running) {
                let reachable = node.reachable;
                let Some(server) = node.server.as_mut() else { continue };
                if let Some(log) = server.source.as_ref().filter(|_| reachable).and_then(|source| logs.get(source)) {
                    server.received = server.received.union(log);
                }
                if !server.open {
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
        self.nodes.get_mut(name).unwrap().terminating = false;
    }

    /// The node loses power, and comes back with everything stopped.
    pub fn power_off(&mut self, name: &str) {
        self.kill(name);
        self.nodes.get_mut(name).unwrap().reachable = false;
    }

    /// The machine loses power, and with it what was not fsynced: all that was received and not executed.
    pub fn reboot(&mut self, name: &str) {
        self.kill(name);
        let node = self.nodes.get_mut(name).unwrap();
        node.good = false;
        if let Some(server) = &mut node.server {
            server.received = GtidSet::new();
        }
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
        let members = self
            .nodes
            .iter()
            .enumerate()
            .map(|(ordinal, (name, node))| self.view(ordinal as u32, name, node))
            .collect();
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
            without_primary_ms: 0,
            raise_barrier: self.raised.clone(),
            readers: self.reader_views(),
        }
    }

    fn view(&self, ordinal: u32, name: &str, node: &Node) -> MemberView {
        let pod = PodFacts {
            ip: ip(name),
            node: format!("node-{ordinal}"),
            node_ready: true,
            terminating: node.terminating,
            ..PodFacts::default()
        };
        let probe = if node.reachable {
            Probe::Known { report: Box::new(self.report(name, node)), age_ms: 1_000 }
        } else {
            Probe::Unreachable { for_ms: 5_000, error: "connection refused".to_owned() }
        };
        MemberView { name: name.to_owned(), ordinal, pod: Some(pod), probe, available: true }
    }

    fn report(&self, name: &str, node: &Node) -> MemberReport {
        let data = match node.incarnation {
            None => DataState::Empty,
            Some(incarnation) => DataState::Ready { incarnation },
        };
        let server = match &node.server {
            Some(server) if node.running => ServerState::Running(Box::new(self.facts(server))),
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

    fn facts(&self, server: &Server) -> ServerFacts {
        let replication = server.source.as_ref().map(|source| {
            let there = self
                .nodes
                .get(source)
                .filter(|node| node.running && node.reachable)
                .and_then(|node| node.server.as_ref());
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
        let clients =
            self.nodes.values().filter(|node| node.running && node.reachable).filter_map(|node| node.server.as_ref());
        let clients = clients.filter(|other| {
            other.acknowledges
                && other.source.as_ref().is_some_and(|source| {
                    self.nodes[source].server.as_ref().is_some_and(|mine| mine.uuid == server.uuid)
                })
        });
        ServerFacts {
            pid: 1,
            started_unix_ms: 0,
            server_uuid: server.uuid,
            version: "9.7.4".to_owned(),
            executed: server.executed.clone(),
            received: server.received.clone(),
            open: server.open,
            offline: !server.open,
            read_only: !server.open,
            replication,
            semi_sync: SemiSync {
                enabled: true,
                wait_count: server.wait_count,
                clients: clients.count() as u32,
                waiting_commits: 0,
            },
        }
    }

    /// One pass of an operator, with this policy. False if there was nothing to do.
    pub fn pass(&mut self, policy: impl Fn(&Question) -> Answer) -> bool {
        let snapshot = self.snapshot();
        let assessment = assess(&snapshot);
        let mut steps = assessment.steps;
        if let Some(asked) = &assessment.question {
            let answer = match &asked.named {
                Some(named) => {
                    Answer::Promote { candidate: named.clone(), reason: "named".to_owned(), ranking: Vec::new() }
                }
                None => policy(&asked.question),
            };
            match guard(&snapshot, &answer) {
                Ok(approved) => steps.extend(plan(&snapshot, &approved)),
                Err(refusal) => self.log.push(format!("refused: {refusal}")),
            }
        }
        self.log.extend(assessment.waiting.iter().map(|waiting| format!("waiting: {waiting}")));
        let busy = !steps.is_empty();
        for step in steps {
            match step {
                Step::Advance { to, because } => {
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
                Step::Command { member, order } => self.obey(&member, &order),
                Step::Probe { .. } => {}
            }
        }
        busy
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
    fn obey(&mut self, name: &str, order: &Order) {
        self.log.push(format!("{name}: {order}"));
        let Some(record) = self.record.clone() else { return };
        let (incarnation, uuid, renamed) = (self.fresh(), self.fresh(), self.fresh());
        let donor = match order {
            Order::Clone { donor } => self.nodes[donor]
                .server
                .as_ref()
                .filter(|_| self.nodes[donor].running)
                .map(|server| server.executed.clone()),
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
        if !node.reachable || record.may_replace(node.record.as_ref()).is_err() {
            return;
        }
        let newcomer = node.record.as_ref().is_none_or(|stored| stored.incarnation_of(name) != node.incarnation)
            && node.incarnation.is_some()
            && record.incarnation_of(name) == node.incarnation;
        let ahead = newcomer && primary_knows.is_none_or(|stored| stored < record.claim());
        let settled = record.phase == Phase::Serving && record.primary != name;
        assert!(!(settled && ahead), "{name} votes by {} before its primary knows: {:#?}", record.claim(), self.log);
        let node = self.nodes.get_mut(name).unwrap();
        node.record = Some(record.clone());
        let starts = matches!(order, Order::Start | Order::Follow { .. } | Order::Trim) && !node.running;
        if let Some(server) = node.server.as_mut().filter(|server| starts && record.gave_up(server.uuid)) {
            server.uuid = renamed;
        }
        let opened =
            node.opened_in_epoch.is_some_and(|opened| opened >= record.primary_since_epoch) && record.primary == name;
        match order {
            Order::Initialize if node.incarnation.is_none() => {
                *node = Node { record: Some(record), ..Node::with_data(incarnation, uuid, GtidSet::new(), true) }
            }
            Order::Clone { .. } => {
                if let Some(executed) = donor {
                    *node = Node { record: Some(record), ..Node::with_data(incarnation, uuid, executed, false) };
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
                let votes = record
                    .members
                    .iter()
                    .any(|member| member.name == name && Some(member.incarnation) == node.incarnation);
                let acknowledges = node.good && votes;
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
                        node.opened_in_epoch = Some(record.epoch);
                        node.opened_as.push(server.uuid);
                        node.led_last = true;
                        node.good = true;
                    }
                }
            }
            Order::SetAcks { acks } => {
                if let Some(server) = &mut node.server {
                    server.wait_count = *acks;
                    self.raised = Some(server.executed.clone());
                }
            }
            Order::Fence => self.kill(name),
            Order::Drain => {
                if let Some(server) = &mut node.server {
                    (server.open, server.drained) = (false, true);
                }
            }
            Order::Undrain => {
                if let Some(server) = &mut node.server {
                    (server.open, server.drained) = (true, false);
                }
            }
            Order::Read { .. } => panic!("a member was told to read: {:#?}", self.log),
            Order::Store | Order::Initialize | Order::Promote { .. } => {}
        }
    }
}

impl Node {
    pub fn empty() -> Self {
        Self {
            reachable: true,
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
        }
    }

    pub fn with_data(incarnation: Uuid, uuid: Uuid, executed: GtidSet, good: bool) -> Self {
        let server = Server {
            uuid,
            executed,
            received: GtidSet::new(),
            open: false,
            drained: false,
            source: None,
            acknowledges: false,
            wait_count: 0,
        };
        Self { running: true, server: Some(server), incarnation: Some(incarnation), good, ..Self::empty() }
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

//! One cluster's loop: observe, assess, decide, guard, act, publish.
//!
//! What it remembers between passes only spares work or measures time; a new operator that remembers nothing
//! comes to the same decisions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use objects::api::{MysqlCluster, MysqlTopology, names};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use topology::assess::{Asked, Assessment, assess, is_contradicted};
use topology::decision::{Answer, Trigger};
use topology::facts::ServerState;
use topology::gtid::GtidSet;
use topology::guard::guard;
use topology::plan::{Order, Step, plan};
use topology::record::{Phase, Record};
use topology::snapshot::{MemberView, Snapshot};
use wire::Endpoint;

use super::advice::Advisory;
use super::agenda::Agenda;
use super::disrupt::disruption;
use super::doubt::Doubt;
use super::endpoints::Endpoints;
use super::execute::{Board, Errand, Memory, PROBE_WITHIN};
use super::keep::keep;
use super::leads::Leads;
use super::observe::{address_of, is_of, observe};
use super::outlook::Outlook;
use super::publish::{Choice, Publisher};
use super::record::{Records, ReplaceError, Versioned};
use super::troubles::Troubles;
use super::turn::{Sight, Turn, Turns};
use super::wanted::{Wanted, wanted};
use crate::Context;
use crate::agents::{Link, Seen, Target};
use crate::backups::Source;
use crate::cache::ClusterKey;
use crate::failure_points::Point;
use crate::tls;

/// How often a cluster is looked at when nothing says that it changed. Only memory is read then.
const QUIET_PASS: Duration = Duration::from_secs(1);

/// The same while something is not as it should be.
const BUSY_PASS: Duration = Duration::from_millis(200);

/// How long the API server may take to show a record, before what was decided meanwhile counts as old: a hundred times
/// what it takes as a rule, and less than any failover that it can wait for.
const LATE: Duration = Duration::from_millis(500);

/// How many passes may follow one another at once because each changed the record. A failover takes four.
const CONSECUTIVE: usize = 8;

/// One cluster and everything the operator holds for it.
pub struct Cluster {
    pub(super) context: Arc<Context>,
    pub(super) key: ClusterKey,
    /// The MysqlCluster that this is about: one that is deleted and applied again is another one.
    pub(super) uid: Option<String>,
    pub(super) made: Option<Timestamp>,
    pub(super) links: HashMap<String, Link>,
    pub(super) record: Option<Versioned>,
    pub(super) record_seen: Instant,
    pub(super) without_primary: Option<Instant>,
    pub(super) change_barrier: Option<GtidSet>,
    pub(super) drain_failed: Option<Instant>,
    pub(super) agenda: Agenda,
    pub(super) doubt: Doubt,
    troubles: Troubles,
    pub(super) leads: Leads,
    written_by_us: Option<Versioned>,
    turns: Turns,
    loaded: bool,
    /// When a claim was last put off because the API server answered late.
    answered_late: Option<Instant>,
    records: Records,
    pub(super) board: Board,
    endpoints: Endpoints,
    publisher: Publisher,
    /// The last planned disruption that the limit over all clusters allowed.
    pub(super) granted: Option<String>,
    outlook: Outlook,
    advisory: Advisory,
    tls: Option<tls::Kept>,
    pub(super) wake: Arc<Notify>,
}

impl Cluster {
    /// A cluster of which nothing is known but the object.
    pub fn new(context: Arc<Context>, key: ClusterKey, wake: Arc<Notify>, object: &MysqlCluster) -> Self {
        Self {
            uid: object.uid(),
            made: object.creation_timestamp().map(|made| made.0),
            records: Records::new(context.client.clone(), &key, object.uid()),
            endpoints: Endpoints::new(context.client.clone(), &key),
            publisher: Publisher::new(&context, &key),
            agenda: Agenda::new(&context, &key),
            links: HashMap::new(),
            record: None,
            record_seen: Instant::now(),
            without_primary: None,
            change_barrier: None,
            drain_failed: None,
            written_by_us: None,
            turns: Turns::default(),
            doubt: Doubt::default(),
            troubles: Troubles::default(),
            leads: Leads::default(),
            loaded: false,
            answered_late: None,
            board: Board::default(),
            granted: None,
            outlook: Outlook::default(),
            advisory: Advisory::default(),
            tls: None,
            context,
            key,
            wake,
        }
    }

    /// Works until the cluster is deleted or the operator is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        tracing::info!(cluster = %self.key, "watching");
        let mut pause = BUSY_PASS;
        let mut leads = self.context.leads.clone();
        while !stop.is_cancelled() {
            // Whatever ends the wait means the same: look again.
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wake.notified() => {}
                _ = leads.changed() => {}
                () = stop.cancelled() => {}
            }
            let Some(object) = self.context.cache.cluster(&self.key) else { break };
            if object.uid() != self.uid {
                tracing::info!(cluster = %self.key, "another cluster of this name");
                self = Self::new(self.context, self.key, self.wake, &object);
            }
            pause = match self.pass(&object).await {
                Ok(true) => QUIET_PASS,
                Ok(false) => BUSY_PASS,
                Err(error) => {
                    tracing::warn!(cluster = %self.key, error = format!("{error:#}"), "this pass was cut short");
                    QUIET_PASS
                }
            };
        }
        self.context.cache.unregister(&self.key);
        tracing::info!(cluster = %self.key, "no longer watching");
    }

    /// One look at the cluster, and what follows from it. True if everything is as it should be.
    async fn pass(&mut self, object: &MysqlCluster) -> anyhow::Result<bool> {
        self.connect().await?;
        self.recall().await?;
        let leads = *self.context.leads.borrow();
        for _ in 0..CONSECUTIVE {
            self.agenda.refresh(self.record.as_ref().map(|versioned| &versioned.record), leads).await;
            let wanted = wanted(object, self.record.as_ref().map(|versioned| &versioned.record));
            let mut snapshot = self.look(wanted);
            if self.doubts(&snapshot) {
                self.read_again().await;
                snapshot = self.look(wanted);
            }
            // What is being deleted is left to Kubernetes, which takes the record away before the pods.
            if object.spec.paused || object.metadata.deletion_timestamp.is_some() {
                return Ok(true);
            }
            let mut assessment = assess(&snapshot);
            let turn = self.turn(leads, assessment.finds_a_loss(&snapshot));
            if turn != Turn::Mine {
                // To see is everybody's: whoever does not look cannot stand in.
                assessment.probes().for_each(|member| self.probe(member));
                return Ok(turn == Turn::Theirs);
            }
            // While a primary is in doubt its replicas hear nothing of it either, and to take them out of their Service would
            // cost a second: kube-proxy waits for as long (minSyncPeriod) before it carries out what is written next, which
            // may be where the new primary is.
            if let Some(primary) = open_primary(&snapshot).filter(|primary| !assessment.doubts(primary))
                && self.endpoints.point_at(&snapshot, primary).await?
            {
                self.context.failure_points.passed(Point::Pointed);
            }
            let choice = self.choose(&snapshot, &mut assessment).await;
            let again = self.act(&snapshot, &assessment, object).await?;
            self.agenda.settle(&snapshot, &assessment, choice.as_ref()).await;
            if !again {
                let quiet =
                    assessment.steps.is_empty() && assessment.waiting.is_empty() && assessment.question.is_none();
                self.endpoints.label(&snapshot, &self.context.cache).await;
                self.publisher.publish(object, &snapshot, &assessment, &self.board).await;
                self.outlook.look(&self.context, &self.key, &snapshot);
                self.advisory.look(&self.context, &self.key, object, &snapshot, &assessment);
                return Ok(quiet);
            }
        }
        Ok(false)
    }

    fn turn(&mut self, leads: bool, finds_a_loss: bool) -> Turn {
        let sight = Sight {
            leads,
            finds_a_loss,
            record_is_ours: self.record_is_ours(),
            record_unchanged: self.record_seen.elapsed(),
        };
        self.turns.take(sight, Instant::now())
    }

    /// One snapshot, and the clocks that depend on it.
    fn look(&mut self, wanted: Wanted) -> Snapshot {
        self.change_barrier =
            self.record.as_ref().and_then(|versioned| self.board.change_barrier(versioned.record.claim()));
        self.drain_failed = self.board.drain_failed();
        let mut snapshot = observe(self, wanted);
        self.troubles.measure(&mut snapshot, Instant::now());
        let open = open_primary(&snapshot).is_some();
        match (open, self.without_primary) {
            (true, _) => self.without_primary = None,
            (false, None) => self.without_primary = Some(Instant::now()),
            (false, Some(_)) => {}
        }
        snapshot
    }

    /// Asks whoever has to be asked, and adds to the steps what the guard approves.
    async fn choose(&mut self, snapshot: &Snapshot, assessment: &mut Assessment) -> Option<Choice> {
        let asked = assessment.question.as_ref()?;
        let choice = self.ask(asked).await;
        let verdict = guard(snapshot, &choice.answer);
        if let Ok(approved) = &verdict {
            assessment.steps.extend(plan(snapshot, approved));
        }
        let mut choice = Choice { verdict: Some(verdict.map(|approved| approved.primary().to_owned())), ..choice };
        self.publisher.answered(&choice);
        keep(&self.context, &self.key, &mut choice);
        Some(choice)
    }

    async fn ask(&self, asked: &Asked) -> Choice {
        let question = asked.question.clone();
        if let Some(named) = &asked.named {
            let answer = Answer::Promote {
                candidate: named.clone(),
                reason: format!("{named} was named by the operation"),
                ranking: Vec::new(),
            };
            return Choice {
                answer,
                by: "the operation".to_owned(),
                failures: Vec::new(),
                took_micros: 0,
                trigger: question.trigger,
                breaker: None,
                verdict: None,
                entry: None,
            };
        }
        let held_for = Duration::from_millis(question.without_primary_ms);
        let trigger: Trigger = question.trigger;
        self.context.policies.decide(&self.key, question, held_for).await.unwrap_or_else(|| Choice::nobody(trigger))
    }

    /// Carries out steps. True if the record changed, so that another pass should follow at once.
    async fn act(
        &mut self,
        snapshot: &Snapshot,
        assessment: &Assessment,
        object: &MysqlCluster,
    ) -> anyhow::Result<bool> {
        for step in &assessment.steps {
            if let Some(subject) = disruption(snapshot, assessment, step)
                && !self.may_disrupt(subject)
            {
                continue;
            }
            match step {
                Step::Advance { to, because } => return self.advance(snapshot, to, because, object).await,
                Step::Probe { member } => self.probe(member),
                Step::Command { member, order } => self.send(snapshot, member, order),
                Step::Replace { member, uid, because } => {
                    self.evict(snapshot, member, uid);
                    self.publisher.restarting(object, &assessment.upkeep, member, uid, because).await;
                }
            }
        }
        Ok(false)
    }

    async fn advance(
        &mut self,
        snapshot: &Snapshot,
        to: &Record,
        because: &str,
        object: &MysqlCluster,
    ) -> anyhow::Result<bool> {
        if to.phase == Phase::Freezing && self.comes_late().await? {
            return Ok(true);
        }
        let owner = kube::Resource::controller_owner_ref(object, &());
        match self.records.replace(&self.key.name, self.record.as_ref(), to, owner).await {
            Ok(written) => {
                tracing::info!(cluster = %self.key, record = %to.claim(), primary = to.primary, because, "record advanced");
                self.context.failure_points.passed(Point::Advanced(to.phase));
                if snapshot.record.as_ref().map(|record| record.primary_since_epoch) != Some(to.primary_since_epoch) {
                    self.board.forget_primary();
                }
                self.publisher.advanced(object, snapshot, to, because).await;
                self.leads.advanced(snapshot, to, Instant::now());
                self.written_by_us = Some(written.clone());
                self.take(Some(written));
                if self.turns.moved(*self.context.leads.borrow()) {
                    tracing::warn!(cluster = %self.key, "the operator with the Lease does not see to this; this one does");
                }
                Ok(true)
            }
            Err(ReplaceError::Conflict) => {
                tracing::info!(cluster = %self.key, offered = %to.claim(), "somebody else advanced the record first");
                self.loaded = false;
                Ok(false)
            }
            Err(error @ ReplaceError::Api(_)) => {
                self.loaded = false;
                Err(error.into())
            }
        }
    }

    /// Whether the API server took so long to show the record that a claim should be decided anew. What is sent to it
    /// while this operator is cut off arrives when it is not any more, whatever is true by then. What was decided after
    /// such an answer is not asked for another: an API server that is only slow holds up no failover.
    async fn comes_late(&mut self) -> anyhow::Result<bool> {
        if self.answered_late.is_some_and(|at| at.elapsed() < LATE) {
            return Ok(false);
        }
        let asked = Instant::now();
        let record = self.records.read(&self.key.name).await?;
        let late = asked.elapsed() >= LATE;
        if late {
            tracing::info!(cluster = %self.key, "the API server answered late; the claim is decided anew");
            self.answered_late = Some(Instant::now());
            self.take(record);
        }
        Ok(late)
    }

    fn probe(&self, member: &str) {
        let Some(link) = self.links.get(member) else { return };
        let caller = link.caller();
        // Whatever comes of it is on the link, and the link wakes the cluster.
        tokio::spawn(async move { caller.probe(PROBE_WITHIN).await.map(drop) });
    }

    fn send(&self, snapshot: &Snapshot, member: &str, order: &Order) {
        let (Some(link), Some(record)) = (self.links.get(member), &self.record) else { return };
        let other = match order {
            Order::Clone { donor: name }
            | Order::Follow { source: name }
            | Order::Read { source: name, .. }
            | Order::Promote { source: Some(name), .. } => endpoint(snapshot, name),
            _ => None,
        };
        let errand = Errand {
            cluster: self.key.to_string(),
            member: member.to_owned(),
            order: order.clone(),
            record: record.record.clone(),
            caller: link.caller(),
            memory: snapshot.member(member).and_then(MemberView::report).map(Memory::of),
            primary: self.links.get(&record.record.primary).map(Link::caller),
            other,
            recovery: Source::of(&self.context, &self.key),
        };
        // Another copy is waited for where it is decided; what cannot be restored stays so.
        if errand.order == Order::Initialize && errand.copies() && !self.board.may_copy(member) {
            return;
        }
        errand.send(&self.board, self.wake.clone());
        if let Some(point) = Point::sent(order) {
            self.context.failure_points.passed(point);
        }
    }

    /// Keeps a link to every pod that has an address. A pod that is gone keeps its old link, which says since
    /// when it has been silent.
    async fn connect(&mut self) -> anyhow::Result<()> {
        let Some(tls) = self.tls().await? else { return Ok(()) };
        for pod in self.context.cache.pods.state() {
            let Some(address) = is_of(&pod, self).then(|| address_of(&pod)).flatten() else { continue };
            let Ok(ip) = address.parse() else { continue };
            let name = pod.name_any();
            let target = Target {
                address: std::net::SocketAddr::new(ip, wire::AGENT_PORT),
                server_name: format!("{name}.{}.{}.svc", names::instances_service(&self.key.name), self.key.namespace),
                tls: tls.clone(),
            };
            let before =
                self.links.get(&name).map_or((None, Seen::NotProbed), |link| (Some(link.address()), link.seen()));
            if before.0 != Some(target.address) {
                let link = Link::open(target, before.1, self.context.in_reach.clone(), self.wake.clone());
                self.links.insert(name, link);
            }
        }
        self.forget_readers();
        Ok(())
    }

    /// Ends the links to read replicas that are gone: of a member, how long it has been silent matters; they may have
    /// been scaled away for good.
    fn forget_readers(&mut self) {
        let prefix = format!("{}-", names::readers(&self.key.name));
        let (cache, namespace) = (&self.context.cache, &self.key.namespace);
        self.links.retain(|name, _| !name.starts_with(&prefix) || cache.pod(namespace, name).is_some());
    }

    /// The operator's certificate for this cluster, once the resources controller has made it.
    async fn tls(&mut self) -> anyhow::Result<Option<tls::Current>> {
        if self.tls.is_none() {
            let client = &self.context.client;
            let first = tls::client_config(client, &self.key).await?;
            self.tls = first.map(|first| tls::Kept::begin(client.clone(), self.key.clone(), first));
        }
        Ok(self.tls.as_ref().map(tls::Kept::current))
    }

    /// Takes the newest record: what this operator wrote last, or what a watch or a read brought since. That one went back
    /// does not show here but in [`Cluster::doubts`].
    async fn recall(&mut self) -> anyhow::Result<()> {
        let newer = self.stored().filter(|stored| {
            let known = self.record.as_ref();
            known.is_none_or(|known| stored.spec.record.claim() > known.record.claim())
        });
        if let Some(stored) = newer {
            let moved = self.record.as_ref().is_some_and(|known| known.record.epoch < stored.spec.record.epoch);
            if moved && *self.context.leads.borrow() {
                // Somebody else saw to what this operator did not: it had better lead.
                self.context.resign.notify_one();
            }
            self.take(Some(Versioned::seen(&stored)));
            self.loaded = true;
        }
        if !self.loaded {
            let read = self.records.read(&self.key.name).await?;
            self.loaded = true;
            self.take(read);
        }
        Ok(())
    }

    /// The record that the watch shows, if it is this cluster's.
    fn stored(&self) -> Option<Arc<MysqlTopology>> {
        let stored = self.context.cache.topologies.get(&ObjectRef::new(&self.key.name).within(&self.key.namespace));
        stored.filter(|stored| self.records.is_ours(stored))
    }

    /// Whether the record has to be read again, because a member or the watch knows of another one. It may have been
    /// deleted, or an older one been restored, and neither shows as a newer one.
    fn doubts(&mut self, snapshot: &Snapshot) -> bool {
        let stored = self.stored().and_then(|stored| stored.resource_version());
        let version = self.record.as_ref().and_then(Versioned::version);
        let now = Instant::now();
        self.doubt.watch_differs(stored != version, now);
        self.doubt.contradicted(is_contradicted(snapshot), now);
        self.doubt.calls_for_a_read(now)
    }

    /// Takes the record as it is, older or not. Without an answer the one from before has to do.
    async fn read_again(&mut self) {
        match self.records.read(&self.key.name).await {
            Ok(read) => self.take(read),
            Err(error) => tracing::warn!(cluster = %self.key, %error, "the record could not be read again"),
        }
    }

    fn take(&mut self, versioned: Option<Versioned>) {
        let version = |versioned: &Option<Versioned>| versioned.as_ref().and_then(Versioned::version);
        if version(&self.record) != version(&versioned) {
            self.record_seen = Instant::now();
        }
        self.leads.found(versioned.as_ref().map(|versioned| &versioned.record), Instant::now());
        self.record = versioned;
    }

    /// Whether the record stands as this operator wrote it. After a restore of etcd a version may be given twice, so the
    /// words count too.
    pub(super) fn record_is_ours(&self) -> bool {
        match (&self.record, &self.written_by_us) {
            (Some(now), Some(written)) => now.version() == written.version() && now.record == written.record,
            _ => false,
        }
    }

    /// Whether a copy of a member's data may begin there.
    pub(super) fn may_copy(&self, name: &str) -> bool {
        self.board.may_copy(name)
    }

    /// Whether a member can be given a command.
    pub(super) fn is_available(&self, member: &str) -> bool {
        self.board.is_available(member, self.record.as_ref().map(|versioned| versioned.record.claim()))
    }
}

/// The member that is open under the record, if one is.
pub fn open_primary(snapshot: &Snapshot) -> Option<&str> {
    let record = snapshot.record.as_ref().filter(|record| record.phase != Phase::Freezing)?;
    let primary = snapshot.member(&record.primary)?;
    let opened = primary.opened_as_primary_of(record) && primary.server().is_some_and(|facts| facts.open);
    opened.then_some(primary.name.as_str())
}

/// Where a running member is.
fn endpoint(snapshot: &Snapshot, name: &str) -> Option<Endpoint> {
    let member = snapshot.member(name)?;
    let host = member.pod.as_ref().map(|pod| pod.ip.clone()).filter(|host| !host.is_empty())?;
    let ServerState::Running(facts) = &member.report()?.server else { return None };
    Some(Endpoint { member: name.to_owned(), host, server_uuid: facts.server_uuid })
}

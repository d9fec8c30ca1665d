//! One cluster's archive: who writes it is seen to, and how far it is is told.

use std::sync::Arc;
use std::time::Duration;

use backup::appoint::{Appointed, Archiver, appoint};
use backup::archive::Archive;
use backup::choose::Part;
use backup::encryption::Recipients;
use backup::full::Start;
use backup::recovery_point::{self, is_whole};
use backup::{Store, layout};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use objects::api::{ArchiveStatus, Backup, MysqlCluster};
use objects::conditions::{BACKUPS_CURRENT, find};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use topology::facts::ServerState;
use topology::gtid::GtidSet;
use topology::record::{Phase, Record};
use wire::{ArchiveAsk, ArchiveOrder, ArchiveState, StoreAccess};

use super::agents::{Agents, Voter};
use super::fulls::Fulls;
use super::{EVERY, asks_for_it, is_wanted, judge, tell};
use crate::Context;
use crate::backups::access;
use crate::backups::observe::STORE;
use crate::cache::ClusterKey;

/// For how long the way into a store is good: a Secret that was changed is taken over within it.
const ACCESS_LASTS: Duration = Duration::from_secs(60);

/// How often it is tried to take the archive over from a primary.
const RELIEVE_EVERY: Duration = Duration::from_secs(60);

/// After so long without a segment, though there is something to archive, another member is tried: one whose log holds what
/// the primary will never execute waits for ever. A transaction of some gigabytes is sent in less.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// For how long it need not be known how far an archive is: an operator, or an agent, has just begun to ask.
const GRACE: Duration = Duration::from_secs(60);

/// How long the watch may take to show what was written.
const WATCH_LAG: Duration = Duration::from_secs(5);

/// Sees to the archive of a cluster until the term ends or nobody asks for it any more.
pub async fn run(context: Arc<Context>, key: ClusterKey, term: CancellationToken) {
    let mut keeper = Keeper::new(&context, &key);
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while term.run_until_cancelled(tick.tick()).await.is_some() {
        let cluster = context.cache.cluster(&key);
        match cluster.as_ref().filter(|cluster| is_wanted(cluster)) {
            Some(cluster) => drop(term.run_until_cancelled(keeper.look(cluster)).await),
            None => {
                keeper.stop().await;
                if let Some(cluster) = cluster.filter(|cluster| !asks_for_it(cluster)) {
                    tell::withdraw(&context, &cluster).await;
                }
                break;
            }
        }
    }
    context.metrics.recovery_point(&key, None);
}

/// Everything that is remembered of one archive.
struct Keeper {
    context: Arc<Context>,
    key: ClusterKey,
    agents: Agents,
    /// The way into the store and for whom what is archived is encrypted, with the spec that says so.
    access: Option<(Backup, Access, Instant)>,
    appointed: Option<(Appointed, Instant)>,
    nobody_since: Option<Instant>,
    state: Option<ArchiveState>,
    /// When the archive was last known to be whole, in microseconds since 1970.
    whole_unix_us: u64,
    fulls: Fulls,
    /// The newest segment that was heard of, and since when.
    newest: (u64, Instant),
    began: Instant,
    told: Option<(ArchiveStatus, Condition)>,
    told_at: Instant,
}

/// The way into a store, and for whom what goes there is encrypted, if it is.
type Access = (StoreAccess, Option<Recipients>);

/// What one look came to.
struct Sight {
    executed: Option<GtidSet>,
    problem: Option<String>,
}

impl Keeper {
    fn new(context: &Arc<Context>, key: &ClusterKey) -> Self {
        Self {
            agents: Agents::new(context.client.clone(), key.clone()),
            context: context.clone(),
            key: key.clone(),
            access: None,
            appointed: None,
            nobody_since: None,
            state: None,
            whole_unix_us: 0,
            fulls: Fulls::default(),
            newest: (0, Instant::now()),
            began: Instant::now(),
            told: None,
            told_at: Instant::now(),
        }
    }

    async fn look(&mut self, cluster: &MysqlCluster) {
        let sight = match self.order(cluster).await {
            Ok(executed) => Sight { executed, problem: self.state.as_ref().and_then(|state| state.problem.clone()) },
            Err(problem) => Sight { executed: None, problem: Some(problem) },
        };
        let base = self.state.as_ref().filter(|state| state.sequence > 0).map(|state| state.base.clone());
        let start = match base {
            Some(base) => Some(self.fulls.start(&self.context, cluster, base).await),
            None => None,
        };
        self.tell(cluster, sight, start).await;
    }

    /// Has somebody archive. Says what the primary has executed, if it is open.
    async fn order(&mut self, cluster: &MysqlCluster) -> Result<Option<GtidSet>, String> {
        let record = self.context.cache.topologies.get(&ObjectRef::new(&self.key.name).within(&self.key.namespace));
        let record = record.ok_or("the cluster has no primary yet")?.spec.record.clone();
        let (access, recipients) = self.access(cluster).await?;
        let voters = self.agents.voters(&self.context.cache, &record).await;
        let executed = executed(&record, &voters).ok_or("no primary is open")?;
        let stuck = self.is_stuck(&executed);
        if stuck || !self.is_content(&voters) {
            self.appoint(cluster, &voters, &access, stuck).await?;
        }
        let Some((appointed, _)) = self.appointed.clone() else { return Ok(Some(executed)) };
        let Some(voter) = voters.iter().find(|voter| voter.candidate.name == appointed.member) else {
            self.appointed = None;
            return Err(format!("{} is no member any more", appointed.member));
        };
        let order = ArchiveOrder {
            store: access,
            path: self.path(cluster),
            cluster_uid: cluster.uid().unwrap_or_default(),
            epoch: record.epoch,
            executed: executed.clone(),
            although_primary: appointed.although_primary,
            give_up: appointed.give_up.clone(),
        };
        let order = Box::new(order);
        let ask = match recipients {
            Some(recipients) => ArchiveAsk::KeepEncrypted { order, recipients: recipients.texts() },
            None => ArchiveAsk::Keep(order),
        };
        let answer = self.agents.ask(voter, ask).await;
        let answer = answer.map_err(|why| format!("{}: {why}", appointed.member));
        let refused = match answer {
            Ok(answer) => {
                self.state = answer.state.or(self.state.take());
                answer.refused.map(|why| format!("{}: {why}", appointed.member))
            }
            Err(why) => Some(why),
        };
        if let Some(why) = refused {
            self.appointed = None;
            return Err(why);
        }
        Ok(Some(executed))
    }

    /// Whether whoever archives has not come on for too long, and says nothing of why.
    fn is_stuck(&mut self, executed: &GtidSet) -> bool {
        let Some(state) = self.state.as_ref().filter(|_| self.appointed.is_some()) else { return false };
        let waits = state.problem.is_none() && !executed.is_subset_of(&state.covered);
        if !waits || state.sequence != self.newest.0 {
            self.newest = (state.sequence, Instant::now());
        }
        self.newest.1.elapsed() >= STUCK_AFTER
    }

    /// Whether whoever archives can go on with it.
    fn is_content(&self, voters: &[Voter]) -> bool {
        let Some((appointed, since)) = &self.appointed else { return false };
        let lacks = self.state.as_ref().is_some_and(|state| !state.lacks.is_subset_of(&appointed.give_up));
        let relieved = appointed.although_primary && voters.len() > 1 && since.elapsed() >= RELIEVE_EVERY;
        let fit = voters.iter().any(|voter| {
            let (candidate, leads) = (&voter.candidate, voter.candidate.part == Part::Primary);
            candidate.name == appointed.member && candidate.unfit.is_none() && leads == appointed.although_primary
        });
        fit && !lacks && !relieved
    }

    async fn appoint(
        &mut self,
        cluster: &MysqlCluster,
        voters: &[Voter],
        access: &StoreAccess,
        stuck: bool,
    ) -> Result<(), String> {
        let store = Store::open(access, STORE).map_err(|why| why.to_string())?;
        let archive = Archive::at(store, &self.path(cluster)).map_err(|why| why.to_string())?;
        let newest = archive.newest(None).await.map_err(|why| why.to_string())?;
        let covered = newest.as_ref().map(backup::log::Entry::after);
        let mut active = self.appointed.as_ref().map(|(appointed, _)| appointed.member.clone());
        let mut archivers = Vec::new();
        for voter in voters {
            let mut archiver = Archiver { candidate: voter.candidate.clone(), lacks: None };
            if stuck && active.as_ref() == Some(&archiver.candidate.name) {
                archiver.candidate.unfit = Some(format!("it has archived nothing for {} s", STUCK_AFTER.as_secs()));
            }
            if archiver.candidate.unfit.is_none() {
                match self.agents.ask(voter, ArchiveAsk::Look { covered: covered.clone() }).await {
                    Ok(answer) => {
                        archiver.lacks = if covered.is_some() { answer.lacks } else { Some(GtidSet::new()) };
                        if active.is_none() && answer.state.is_some_and(|state| state.active) {
                            active = Some(archiver.candidate.name.clone());
                        }
                    }
                    Err(why) => archiver.candidate.unfit = Some(why),
                }
            }
            archivers.push(archiver);
        }
        let since = *self.nobody_since.get_or_insert_with(Instant::now);
        let appointed = appoint(&archivers, active.as_deref(), since.elapsed().as_secs())?;
        self.nobody_since = None;
        let before = self.appointed.as_ref().map(|(appointed, _)| appointed.member.clone()).or(active);
        if let Some(other) = before.filter(|before| *before != appointed.member)
            && let Some(voter) = voters.iter().find(|voter| voter.candidate.name == other)
        {
            // Whoever does not hear it ends by itself; two that write at once cannot fork the chain.
            let _ = self.agents.ask(voter, ArchiveAsk::Stop).await;
        }
        if self.appointed.as_ref().map(|(before, _)| before) != Some(&appointed) {
            tracing::info!(cluster = %self.key, member = appointed.member, "archives the binary log");
        }
        if !appointed.give_up.is_empty() {
            tell::hole(&self.context, cluster, &appointed.member, &appointed.give_up).await;
        }
        self.appointed = Some((appointed, Instant::now()));
        self.newest.1 = Instant::now();
        Ok(())
    }

    async fn tell(&mut self, cluster: &MysqlCluster, sight: Sight, start: Option<Start>) {
        let now = Timestamp::now();
        let known = self.state.as_ref().is_some_and(|state| state.sequence > 0);
        if !known && self.began.elapsed() < GRACE {
            return;
        }
        let covered = self.state.as_ref().map(|state| state.covered.clone()).unwrap_or_default();
        let through = self.state.as_ref().and_then(|state| state.last_commit_unix_us);
        // Before the first segment everything may be missing that was written since there is the cluster.
        let created = cluster.creation_timestamp().map_or(now, |time| time.0);
        let known = recovery_point::Known {
            executed: sight.executed.as_ref().filter(|_| known),
            covered: &covered,
            last_commit_unix_us: through.unwrap_or_else(|| unix_us(created)),
            whole_unix_us: self.whole_unix_us,
        };
        let behind_s = recovery_point::seconds(&known, unix_us(now));
        if is_whole(&known) {
            self.whole_unix_us = unix_us(now);
        }
        self.context.metrics.recovery_point(&self.key, Some(behind_s));
        let given_up = sight.executed.as_ref().map(|executed| covered.subtract(executed)).unwrap_or_default();
        let known = judge::Known {
            member: self.appointed.as_ref().map(|(appointed, _)| appointed.member.clone()),
            behind_s,
            through_unix_us: through,
            start,
            given_up,
            problem: sight.problem,
        };
        self.write(cluster, &known, now).await;
    }

    async fn write(&mut self, cluster: &MysqlCluster, known: &judge::Known, now: Timestamp) {
        let shown = cluster.status.clone().unwrap_or_default();
        let status = judge::status(known);
        let condition = judge::finding(known, &self.path(cluster)).over(&shown.conditions, None, &Time(now));
        let seen =
            shown.backup.and_then(|backup| backup.archive).zip(find(&shown.conditions, BACKUPS_CURRENT).cloned());
        // What was written last counts until the watch has shown it, and what is shown from then on.
        let settled = self.told_at.elapsed() >= WATCH_LAG;
        let before = if settled || self.told.is_none() { seen } else { self.told.clone() };
        let borrowed = before.as_ref().map(|(status, condition)| (status, condition));
        if !judge::is_due(borrowed, &status, &condition, self.told_at.elapsed()) {
            return;
        }
        match tell::publish(&self.context, cluster, &status, &condition).await {
            Ok(()) => (self.told, self.told_at) = (Some((status, condition)), Instant::now()),
            Err(error) => tracing::warn!(cluster = %self.key, %error, "what is so of an archive could not be written"),
        }
    }

    /// Nobody is to archive any more.
    async fn stop(&mut self) {
        let Some((appointed, _)) = self.appointed.take() else { return };
        let record = self.context.cache.topologies.get(&ObjectRef::new(&self.key.name).within(&self.key.namespace));
        let Some(record) = record else { return };
        let voters = self.agents.voters(&self.context.cache, &record.spec.record).await;
        if let Some(voter) = voters.iter().find(|voter| voter.candidate.name == appointed.member) {
            // Whoever does not hear it ends by itself.
            let _ = self.agents.ask(voter, ArchiveAsk::Stop).await;
        }
    }

    async fn access(&mut self, cluster: &MysqlCluster) -> Result<Access, String> {
        let spec = cluster.spec.backup.as_ref().ok_or("spec.backup is gone")?;
        let kept = self.access.as_ref().filter(|(of, _, at)| of == spec && at.elapsed() < ACCESS_LASTS);
        if let Some((_, access, _)) = kept {
            return Ok(access.clone());
        }
        let (client, namespace) = (&self.context.client, &self.key.namespace);
        let read = async {
            let store = access::access(client, namespace, &spec.store).await?;
            anyhow::Ok((store, access::recipients(client, namespace, spec).await?))
        };
        let access = read.await.map_err(|why| format!("{why:#}"))?;
        self.access = Some((spec.clone(), access.clone(), Instant::now()));
        Ok(access)
    }

    fn path(&self, cluster: &MysqlCluster) -> String {
        layout::log(&self.key.namespace, &self.key.name, &cluster.uid().unwrap_or_default())
    }
}

/// What the primary has executed, if it is open under this record.
fn executed(record: &Record, voters: &[Voter]) -> Option<GtidSet> {
    let primary = voters.iter().find(|voter| voter.candidate.name == record.primary)?;
    let ServerState::Running(facts) = &primary.report.as_ref()?.server else { return None };
    (record.phase == Phase::Serving && facts.open).then(|| facts.executed.clone())
}

fn unix_us(time: Timestamp) -> u64 {
    u64::try_from(time.as_microsecond()).unwrap_or(0)
}

//! What is to be seen of one drill: what the members of the cluster say, what is in the store, and how far the throw-away
//! cluster is. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use backup::archive::Archive;
use backup::choose::Candidate;
use backup::drill::{Instance, InstanceState, Newest, Seen};
use backup::{Error, Store, find, layout};
use futures::FutureExt as _;
use futures::future::join_all;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use objects::api::{DRILL_PATIENCE_S, MysqlCluster, MysqlOperation, names};
use objects::conditions::{PRIMARY_AVAILABLE, RESOURCES_APPLIED, SPEC_VALID, Status, find as condition};
use objects::drill::operation_of;
use objects::duration;
use tokio::time::timeout;
use topology::facts::{JobState, MemberReport, ServerState};
use topology::gtid::GtidSet;
use topology::record::{Phase, Record};
use wire::{CheckAsk, CheckCall, CheckJob, CheckState, RecoveryTarget, WIRE_VERSION};
use wire_client::Connection;

use crate::Context;
use crate::backups::access;
use crate::backups::observe::{STORE, agent_address, connect, part, within};
use crate::cache::ClusterKey;

/// How long a look into the store may take.
const LOOK: Duration = Duration::from_secs(30);

/// A drill, and the cluster that is drilled.
pub struct Subject {
    /// The operation's uid, by which everything that belongs to it is known.
    pub id: String,
    /// The cluster.
    pub key: ClusterKey,
    /// The cluster's spec.
    pub cluster: Arc<MysqlCluster>,
    record: Record,
}

/// The throw-away cluster as an object, beside what is seen of it.
pub type Made = Option<Arc<MysqlCluster>>;

impl Subject {
    /// The cluster that is to be drilled.
    ///
    /// # Errors
    /// What is missing, and is waited for.
    pub fn of(context: &Context, drill: &MysqlOperation) -> Result<Self, String> {
        let key = super::key_of(drill);
        let cluster = context.cache.cluster(&key).ok_or_else(|| format!("there is no MysqlCluster {}", key.name))?;
        if cluster.spec.paused {
            return Err(format!("MysqlCluster {} is paused", key.name));
        }
        if cluster.spec.backup.is_none() {
            return Err(format!("MysqlCluster {} has no spec.backup.store; add one", key.name));
        }
        let record = record(context, &key).ok_or_else(|| format!("MysqlCluster {} has no primary yet", key.name))?;
        let id = drill.uid().unwrap_or_default();
        Ok(Self { id, key, cluster, record })
    }

    /// Everything that is to be known before anything is done.
    ///
    /// # Errors
    /// The API server does not say whether there is a throw-away cluster.
    pub async fn observe(&self, context: &Context, drill: &MysqlOperation) -> Result<(Seen, Made), String> {
        let made = self.made(context).await?;
        let instance = match &made {
            Some(made) => Some(self.instance(context, made).await),
            None => None,
        };
        // There may be many tables: they are asked for once they can be compared.
        let restored = instance.as_ref().and_then(|instance| instance.check.as_ref());
        let tables = restored.is_some_and(|check| matches!(check.state, CheckState::Done { .. }));
        let members = self.members(context, tables).await;
        let newest = if made.is_some() {
            Ok(None)
        } else {
            let checked = members.iter().filter_map(|(_, job)| job.as_ref()).find(|job| job.id == self.id);
            let found = timeout(LOOK, self.newest(context, checked.and_then(|job| job.gtids.clone()))).await;
            found.unwrap_or_else(|_| Err(format!("it does not answer within {} s", LOOK.as_secs())))
        };
        let known = drill.status.as_ref().and_then(|status| status.drill.as_ref());
        let seen = Seen {
            id: self.id.clone(),
            is_over: age_s(drill) >= patience_s(drill, &self.cluster),
            members,
            acks: self.record.acks,
            newest,
            instance,
            was_made: known.is_some_and(|known| known.instance.is_some()),
        };
        Ok((seen, made))
    }

    /// Asks the agent of a member of the cluster for a check.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn ask_source(&self, context: &Context, member: &str, ask: CheckAsk) -> Result<(), String> {
        ask_agent(context, &self.key, member, ask).await
    }

    /// Asks the agent of the throw-away cluster's only member for a check.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn ask_instance(&self, context: &Context, ask: CheckAsk) -> Result<(), String> {
        let key = self.instance_key();
        ask_agent(context, &key, &names::member(&key.name, 0), ask).await
    }

    /// Whether what is encrypted could be opened for a drill.
    ///
    /// # Errors
    /// Why not.
    pub async fn can_open(&self, context: &Context) -> Result<(), String> {
        let Some(backup) = &self.cluster.spec.backup else { return Ok(()) };
        access::can_open(&context.client, &self.key.namespace, backup).await.map_err(|why| format!("{why:#}"))
    }

    fn instance_key(&self) -> ClusterKey {
        ClusterKey { namespace: self.key.namespace.clone(), name: names::drill(&self.key.name, &self.id) }
    }

    /// From the API server itself: whether it is there must be known, not guessed.
    async fn made(&self, context: &Context) -> Result<Made, String> {
        let key = self.instance_key();
        let clusters: Api<MysqlCluster> = Api::namespaced(context.client.clone(), &key.namespace);
        let found = clusters.get_opt(&key.name).await.map_err(|why| why.to_string())?;
        match found.filter(|cluster| cluster.metadata.deletion_timestamp.is_none()) {
            Some(cluster) if operation_of(&cluster) == Some(self.id.as_str()) => Ok(Some(Arc::new(cluster))),
            Some(_) => Err(format!("there is a MysqlCluster {} that is of no drill; remove it", key.name)),
            None => Ok(None),
        }
    }

    async fn members(&self, context: &Context, tables: bool) -> Vec<(Candidate, Option<CheckJob>)> {
        let tls = crate::tls::client_config(&context.client, &self.key).await;
        let pods = context.cache.pods.state();
        let parts: Vec<_> = pods.iter().filter_map(|pod| part(&self.key, &self.record, pod)).collect();
        let asked = parts.iter().map(|(part, name, address)| {
            let tls = match &tls {
                Ok(Some(tls)) => Ok(tls.clone()),
                Ok(None) => Err("the cluster has no certificates yet".to_owned()),
                Err(why) => Err(format!("{why:#}")),
            };
            async move {
                let looked = async {
                    let address = address.ok_or("its container does not run")?;
                    look(&connect(&self.key, tls?, name, address).await?, tables).await
                };
                match looked.await {
                    Ok((report, job)) => (Candidate::of(name, *part, Ok(&report)), job),
                    Err(why) => (Candidate::of(name, *part, Err(&why)), None),
                }
            }
            .boxed()
        });
        join_all(asked.collect::<Vec<_>>()).await
    }

    /// The newest backup of this cluster in the store, from which everything within `gtids` can be reached.
    async fn newest(&self, context: &Context, gtids: Option<GtidSet>) -> Result<Option<Newest>, String> {
        let Some(spec) = &self.cluster.spec.backup else { return Ok(None) };
        let access = access::access(&context.client, &self.key.namespace, &spec.store).await;
        let store = Store::open(&access.map_err(|why| format!("{why:#}"))?, STORE).map_err(|why| why.to_string())?;
        let target = gtids.map_or(RecoveryTarget::End, |gtids| RecoveryTarget::WithinGtids { gtids });
        let place = format!("{}/{}", self.key.namespace, self.key.name);
        let (path, manifest) = match find::newest(&store, &place, &target).await {
            Ok(found) => found,
            Err(Error::Missing { .. }) => return Ok(None),
            Err(why) => return Err(why.to_string()),
        };
        // Another cluster had the same name, and this one has no backup yet.
        if Some(&manifest.cluster.uid) != self.cluster.uid().as_ref() {
            return Ok(None);
        }
        let covered = if spec.is_continuous() {
            let archive =
                Archive::at(store, &layout::log_beside(&path, &manifest.cluster)).map_err(|why| why.to_string())?;
            let newest = archive.newest(None).await.map_err(|why| why.to_string())?;
            Some(newest.map(|entry| entry.after()).unwrap_or_default())
        } else {
            None
        };
        Ok(Some(Newest { path, at_most: manifest.gtids.at_most, covered }))
    }

    async fn instance(&self, context: &Context, made: &MysqlCluster) -> Instance {
        let recovery = made.spec.bootstrap.as_ref().and_then(|bootstrap| bootstrap.recovery.as_ref());
        let target = recovery.and_then(|recovery| recovery.target.as_ref()?.within_gtids.clone());
        let gtids = target.and_then(|gtids| gtids.parse().ok());
        let (state, check) = match self.only_member(context).await {
            Ok((report, check)) => (state(&self.instance_key(), context, made, Some(&report)), check),
            Err(_) => (state(&self.instance_key(), context, made, None), None),
        };
        Instance { state, gtids, check }
    }

    async fn only_member(&self, context: &Context) -> Result<(Box<MemberReport>, Option<CheckJob>), String> {
        let key = self.instance_key();
        let connection = connection(context, &key, &names::member(&key.name, 0)).await?;
        look(&connection, true).await
    }
}

fn record(context: &Context, key: &ClusterKey) -> Option<Record> {
    let record = context.cache.topologies.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
    Some(record.spec.record.clone())
}

async fn look(connection: &Connection, tables: bool) -> Result<(Box<MemberReport>, Option<CheckJob>), String> {
    let heartbeat = within(connection.report()).await?;
    let report = heartbeat.report.ok_or("its agent has no report yet")?;
    let call = CheckCall { wire: WIRE_VERSION, ask: CheckAsk::Look { tables } };
    Ok((report, within(connection.check(&call)).await?.job))
}

async fn connection(context: &Context, key: &ClusterKey, member: &str) -> Result<Connection, String> {
    let pod = context.cache.pod(&key.namespace, member);
    let address = pod.and_then(|pod| agent_address(&pod)).ok_or_else(|| format!("{member} has no address"))?;
    let tls = crate::tls::client_config(&context.client, key).await.map_err(|why| format!("{why:#}"))?;
    connect(key, tls.ok_or("the cluster has no certificates yet")?, member, address).await
}

async fn ask_agent(context: &Context, key: &ClusterKey, member: &str, ask: CheckAsk) -> Result<(), String> {
    let connection = connection(context, key, member).await?;
    let answer = within(connection.check(&CheckCall { wire: WIRE_VERSION, ask })).await?;
    answer.refused.map_or(Ok(()), Err)
}

/// How far the throw-away cluster is: what its agent says, or else what its status does.
fn state(key: &ClusterKey, context: &Context, made: &MysqlCluster, report: Option<&MemberReport>) -> InstanceState {
    let conditions = made.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let wrong = |kind: &str| {
        condition(conditions, kind)
            .filter(|found| found.status == Status::False.as_str())
            .map(|found| found.message.clone())
    };
    match report.and_then(|report| report.job.as_ref()).map(|job| &job.state) {
        Some(JobState::Failed { error }) => return InstanceState::Failed(error.clone()),
        Some(JobState::Running { stage }) => return InstanceState::Making(stage.clone()),
        Some(JobState::Done | JobState::Unknown) | None => {}
    }
    if let Some(why) = wrong(SPEC_VALID) {
        return InstanceState::Failed(why);
    }
    let serves = record(context, key).is_some_and(|record| record.phase == Phase::Serving);
    match report.map(|report| &report.server) {
        Some(ServerState::Running(facts)) if serves && facts.open => {
            InstanceState::Serving { server_uuid: facts.server_uuid }
        }
        _ => InstanceState::Making(
            wrong(RESOURCES_APPLIED).or_else(|| wrong(PRIMARY_AVAILABLE)).unwrap_or_else(|| "it begins".to_owned()),
        ),
    }
}

/// How many seconds it took from the throw-away cluster's beginning until it took writes.
pub fn seconds_to_recover(made: &MysqlCluster) -> Option<i64> {
    let conditions = &made.status.as_ref()?.conditions;
    let serves = condition(conditions, PRIMARY_AVAILABLE).filter(|found| found.status == Status::True.as_str())?;
    Some(serves.last_transition_time.0.duration_since(made.creation_timestamp()?.0).as_secs())
}

fn age_s(drill: &MysqlOperation) -> i64 {
    let created = drill.creation_timestamp().map_or(Timestamp::now(), |time| time.0);
    Timestamp::now().duration_since(created).as_secs()
}

/// How long it may take: what was asked for, or what the cluster's spec says.
fn patience_s(drill: &MysqlOperation, cluster: &MysqlCluster) -> i64 {
    let spec = cluster.spec.backup.as_ref().and_then(|backup| backup.drill.as_ref()?.timeout.as_deref());
    let told = spec.and_then(duration::parse).and_then(|timeout| i64::try_from(timeout.as_secs()).ok());
    let asked = drill.spec.timeout_seconds.map(i64::from);
    asked.or(told.filter(|told| *told > 0)).unwrap_or(i64::from(DRILL_PATIENCE_S))
}

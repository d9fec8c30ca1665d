//! What is to be seen of one backup: what each member of its cluster says, and what is in the store.
//!
//! Connections are made for one look and closed again. They say nothing about whether an operator sees to the cluster:
//! agents count only those who listen to their reports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backup::choose::{Candidate, Part};
use backup::steps::Seen;
use backup::store::Patience;
use backup::{Manifest, Store, layout};
use futures::FutureExt as _;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use objects::api::{BackupMethod, MysqlBackup, MysqlCluster, labels, names};
use tokio::time::timeout;
use topology::record::Record;
use wire::{BackupAnswer, BackupAsk, BackupCall, StoreAccess, WIRE_VERSION};
use wire_client::Connection;

use crate::Context;
use crate::cache::ClusterKey;
use crate::roles::address_of;

/// How long an agent may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// How patient an operator is with a store: it looks again anyway.
pub const STORE: Patience = Patience { retry: Duration::from_secs(3), request: Duration::from_secs(5) };

/// A backup that is asked for, and its cluster.
pub struct Subject {
    /// What the backup is known by: in the order of time, and never used twice.
    pub id: String,
    /// The cluster.
    pub key: ClusterKey,
    /// The cluster's spec.
    pub cluster: Arc<MysqlCluster>,
    /// Its record.
    pub record: Record,
    /// How the backup is made.
    pub method: BackupMethod,
    /// The way to its agents.
    tls: Arc<rustls::ClientConfig>,
}

impl Subject {
    /// The cluster that a backup is of.
    ///
    /// # Errors
    /// What is missing, and is waited for.
    pub async fn of(context: &Context, backup: &MysqlBackup) -> Result<Self, String> {
        let namespace = backup.namespace().unwrap_or_default();
        let key = ClusterKey { namespace, name: backup.spec.cluster.clone() };
        let cluster = context.cache.cluster(&key);
        let cluster = cluster.ok_or_else(|| format!("there is no MysqlCluster {}", key.name))?;
        if cluster.spec.paused {
            return Err(format!("MysqlCluster {} is paused", key.name));
        }
        let record = context.cache.topologies.get(&ObjectRef::new(&key.name).within(&key.namespace));
        let record = record.ok_or_else(|| format!("MysqlCluster {} has no primary yet", key.name))?;
        let tls = crate::tls::client_config(&context.client, &key).await.map_err(|why| format!("{why:#}"))?;
        let tls = tls.ok_or_else(|| format!("MysqlCluster {} has no certificates yet", key.name))?;
        let method = backup.spec.method.unwrap_or_default();
        Ok(Self { id: id(backup), key, cluster, record: record.spec.record.clone(), method, tls })
    }

    /// Where an attempt from this member lies.
    pub fn path(&self, member: &str) -> String {
        let (namespace, cluster) = (&self.key.namespace, &self.key.name);
        match self.method {
            BackupMethod::Clone => layout::full(namespace, cluster, &self.id, member),
            BackupMethod::Logical => layout::logical(namespace, cluster, &self.id, member),
        }
    }

    /// Everything that is to be known before anything is done.
    pub async fn observe(&self, context: &Context, store: Result<&StoreAccess, String>, age_s: u64) -> Seen {
        let pods: Vec<_> = context.cache.pods.state().into_iter().filter_map(|pod| self.part(&pod)).collect();
        let members: Vec<_> = join_all(pods.iter().map(|pod| self.member(pod).boxed())).await;
        let known = members.iter().any(|(_, job)| job.as_ref().is_some_and(|job| job.id == self.id));
        let stored = match (known, store) {
            (true, _) => Ok(None),
            (false, Err(why)) => Err(why),
            (false, Ok(access)) => {
                let names: Vec<_> = members.iter().map(|(candidate, _)| candidate.name.clone()).collect();
                self.stored(access, &names).await
            }
        };
        Seen { id: self.id.clone(), age_s, members, acks: self.record.acks, stored }
    }

    /// Asks a member's agent something about backups.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ask(&self, context: &Context, member: &str, ask: BackupAsk) -> Result<BackupAnswer, String> {
        let pod = context.cache.pod(&self.key.namespace, member);
        let address = pod.and_then(|pod| agent_address(&pod)).ok_or_else(|| format!("{member} has no address"))?;
        let connection = self.connect(member, address).await?;
        within(connection.backup(&BackupCall { wire: WIRE_VERSION, ask })).await
    }

    fn part(&self, pod: &Pod) -> Option<(Part, String, Option<SocketAddr>)> {
        part(&self.key, &self.record, pod)
    }

    async fn member(
        &self,
        (part, name, address): &(Part, String, Option<SocketAddr>),
    ) -> (Candidate, Option<wire::BackupJob>) {
        let (part, address) = (*part, *address);
        let looked = async {
            let address = address.ok_or("its container does not run")?;
            let connection = self.connect(name, address).await?;
            let heartbeat = within(connection.report()).await?;
            let report = heartbeat.report.ok_or("its agent has no report yet")?;
            let answer = within(connection.backup(&BackupCall { wire: WIRE_VERSION, ask: BackupAsk::Look })).await?;
            Ok::<_, String>((report, answer.job))
        };
        match looked.await {
            Ok((report, job)) => (Candidate::of(name, part, Ok(&report)), job),
            Err(why) => (Candidate::of(name, part, Err(&why)), None),
        }
    }

    async fn connect(&self, member: &str, address: SocketAddr) -> Result<Connection, String> {
        connect(&self.key, self.tls.clone(), member, address).await
    }

    /// The finished attempt of any of these members.
    async fn stored(
        &self,
        access: &StoreAccess,
        members: &[String],
    ) -> Result<Option<(String, Manifest, String)>, String> {
        let store = Store::open(access, STORE).map_err(|why| why.to_string())?;
        for member in members {
            if let Some((manifest, sum)) = store.manifest(&self.path(member)).await.map_err(|why| why.to_string())? {
                return Ok(Some((member.clone(), manifest, sum)));
            }
        }
        Ok(None)
    }
}

/// What a pod is in a cluster, and where its agent is. None for a pod that is no part of it.
pub fn part(key: &ClusterKey, record: &Record, pod: &Pod) -> Option<(Part, String, Option<SocketAddr>)> {
    let ours = pod.labels().get(labels::CLUSTER) == Some(&key.name)
        && pod.namespace().as_deref() == Some(key.namespace.as_str());
    let name = pod.name_any();
    let votes = record.members.iter().any(|member| member.name == name);
    let part = match pod.labels().get(labels::ROLE).map(String::as_str) {
        Some(labels::READ_REPLICA) => Part::Reader,
        _ if record.primary == name => Part::Primary,
        _ if votes => Part::Replica,
        _ => return None,
    };
    ours.then(|| (part, name, agent_address(pod)))
}

/// A connection to a member's agent.
///
/// # Errors
/// In words: it does not answer.
pub async fn connect(
    key: &ClusterKey,
    tls: Arc<rustls::ClientConfig>,
    member: &str,
    address: SocketAddr,
) -> Result<Connection, String> {
    let name = format!("{member}.{}.{}.svc", names::instances_service(&key.name), key.namespace);
    within(Connection::open(address, tls, &name)).await
}

/// When it was asked for, and by which object.
fn id(backup: &MysqlBackup) -> String {
    let created = backup.creation_timestamp().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0);
    let uid = backup.uid().unwrap_or_default();
    format!("{}-{}", created.strftime("%Y%m%dT%H%M%SZ"), uid.get(..8).unwrap_or(&uid))
}

/// Where the agent of a pod is, if that has an address.
pub fn agent_address(pod: &Pod) -> Option<SocketAddr> {
    Some(SocketAddr::new(address_of(pod)?.parse().ok()?, wire::AGENT_PORT))
}

/// A call that does not last longer than is reasonable.
///
/// # Errors
/// In words: what went wrong.
pub async fn within<T>(call: impl Future<Output = Result<T, wire_client::Error>>) -> Result<T, String> {
    match timeout(ANSWER, call).await {
        Ok(answer) => answer.map_err(|why| why.to_string()),
        Err(_) => Err(format!("its agent does not answer within {} s", ANSWER.as_secs())),
    }
}

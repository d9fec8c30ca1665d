//! What the API server last said, kept by watches, and who wants to know when it says something new.
//!
//! Reading here costs nothing and may be a moment old. Nothing may be written on the strength of it alone
//! except by compare-and-swap.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use objects::api::{MysqlCluster, MysqlOperation, MysqlTopology, OperationType, labels};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A cluster's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for ClusterKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// The stores, and the clusters to wake.
pub struct Cache {
    /// Every MysqlCluster.
    pub clusters: Store<MysqlCluster>,
    /// Every record.
    pub topologies: Store<MysqlTopology>,
    /// Every operation.
    pub operations: Store<MysqlOperation>,
    /// The pods of clusters.
    pub pods: Store<Pod>,
    /// The StatefulSets of clusters.
    pub sets: Store<StatefulSet>,
    /// Every node.
    pub nodes: Store<Node>,
    /// The claims of clusters' volumes. Only policies hear of them, so nothing waits for them.
    pub claims: Store<PersistentVolumeClaim>,
    wakers: Mutex<HashMap<ClusterKey, Arc<Notify>>>,
    seen: mpsc::UnboundedSender<ClusterKey>,
    filled: watch::Sender<bool>,
}

impl Cache {
    /// Starts the watches. The receiver yields the key of every MysqlCluster that appears or changes.
    pub fn start(client: &Client, stop: &CancellationToken) -> (Arc<Self>, mpsc::UnboundedReceiver<ClusterKey>) {
        let (seen, appeared) = mpsc::unbounded_channel();
        let ours = watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER));
        let (clusters, clusters_writer) = reflector::store();
        let (topologies, topologies_writer) = reflector::store();
        let (operations, operations_writer) = reflector::store();
        let (pods, pods_writer) = reflector::store();
        let (sets, sets_writer) = reflector::store();
        let (nodes, nodes_writer) = reflector::store();
        let (claims, claims_writer) = reflector::store();
        let cache = Arc::new(Self {
            clusters,
            topologies,
            operations,
            pods,
            sets,
            nodes,
            claims,
            wakers: Mutex::default(),
            seen,
            filled: watch::Sender::new(false),
        });
        let all = watcher::Config::default();
        follow(client, all.clone(), clusters_writer, &cache, stop, |cache, cluster: &MysqlCluster| {
            let key = key_of(cluster, cluster.name_any());
            cache.wake(&key);
            // The receiver only goes away at the end.
            let _ = cache.seen.send(key);
        });
        follow(client, all.clone(), topologies_writer, &cache, stop, |cache, topology: &MysqlTopology| {
            cache.wake(&key_of(topology, topology.name_any()));
        });
        follow(client, all.clone(), operations_writer, &cache, stop, |cache, operation: &MysqlOperation| {
            cache.wake(&key_of(operation, operation.spec.cluster.clone()));
        });
        follow(client, ours.clone(), sets_writer, &cache, stop, |cache, set: &StatefulSet| {
            if let Some(name) = set.labels().get(labels::CLUSTER) {
                cache.wake(&key_of(set, name.clone()));
            }
        });
        follow(client, ours, pods_writer, &cache, stop, |cache, pod: &Pod| {
            if let Some(name) = pod.labels().get(labels::CLUSTER) {
                cache.wake(&key_of(pod, name.clone()));
            }
        });
        // A node changes every few seconds by its heartbeat alone, and what matters of it is read in the next pass.
        follow(client, all, nodes_writer, &cache, stop, |_, _: &Node| {});
        let claimed = watcher::Config::default().labels(labels::CLUSTER);
        follow(client, claimed, claims_writer, &cache, stop, |_, _: &PersistentVolumeClaim| {});
        tokio::spawn(cache.clone().fill());
        (cache, appeared)
    }

    /// Waits until every store has been filled once. Any number of tasks may wait.
    pub async fn ready(&self) {
        // The sender lives as long as the cache.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// A store remembers only the last task that waits for it, so that exactly one may.
    async fn fill(self: Arc<Self>) {
        let stores = tokio::join!(
            self.clusters.wait_until_ready(),
            self.topologies.wait_until_ready(),
            self.operations.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.sets.wait_until_ready(),
            self.nodes.wait_until_ready(),
        );
        // A writer that is gone belongs to an operator that is ending.
        let records = stores.0.is_ok() && stores.1.is_ok() && stores.2.is_ok();
        let objects = stores.3.is_ok() && stores.4.is_ok() && stores.5.is_ok();
        self.filled.send_replace(records && objects);
    }

    /// Whoever handles this cluster is woken from now on.
    pub fn register(&self, key: ClusterKey, wake: Arc<Notify>) {
        self.lock().insert(key, wake);
    }

    /// Nobody handles this cluster any more.
    pub fn unregister(&self, key: &ClusterKey) {
        self.lock().remove(key);
    }

    /// Wakes whoever handles this cluster.
    pub fn wake(&self, key: &ClusterKey) {
        if let Some(wake) = self.lock().get(key) {
            wake.notify_one();
        }
    }

    /// A cluster as last seen.
    pub fn cluster(&self, key: &ClusterKey) -> Option<Arc<MysqlCluster>> {
        self.clusters.get(&ObjectRef::new(&key.name).within(&key.namespace))
    }

    /// A pod as last seen.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.pods.get(&ObjectRef::new(name).within(namespace))
    }

    /// The unfinished operations of a cluster that are about its roles or pods, oldest first. Drills are not: the backups
    /// controller sees to them.
    pub fn open_operations(&self, key: &ClusterKey) -> Vec<Arc<MysqlOperation>> {
        let mut operations = self.operations.state();
        operations.retain(|operation| {
            operation.spec.kind != OperationType::Drill
                && operation.spec.cluster == key.name
                && operation.namespace().as_deref() == Some(key.namespace.as_str())
                && operation.status.as_ref().is_none_or(|status| !status.is_finished())
        });
        operations.sort_by_key(|operation| (operation.creation_timestamp(), operation.name_any()));
        operations
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ClusterKey, Arc<Notify>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(object: &impl ResourceExt, name: String) -> ClusterKey {
    ClusterKey { namespace: object.namespace().unwrap_or_default(), name }
}

/// Keeps one store filled, and tells about every object that appears, changes or goes.
fn follow<K>(
    client: &Client,
    config: watcher::Config,
    writer: reflector::store::Writer<K>,
    cache: &Arc<Cache>,
    stop: &CancellationToken,
    tell: fn(&Cache, &K),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Default + Send + Sync,
{
    let api: Api<K> = Api::all(client.clone());
    let (cache, stop) = (cache.clone(), stop.clone());
    tokio::spawn(async move {
        let events = watcher(api, config).default_backoff().modify(forget_managers).reflect(writer);
        let mut events = Box::pin(events.take_until(stop.cancelled_owned()));
        while let Some(event) = events.next().await {
            match event {
                Ok(
                    watcher::Event::Apply(object) | watcher::Event::Delete(object) | watcher::Event::InitApply(object),
                ) => {
                    tell(&cache, &object);
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => {
                    tracing::warn!(%error, kind = std::any::type_name::<K>(), "a watch broke; it is begun again")
                }
            }
        }
    });
}

/// Who manages which field is for the API server to know: as trees of many small maps it is most of what an object takes in
/// memory.
fn forget_managers(object: &mut impl Resource) {
    object.meta_mut().managed_fields = None;
}

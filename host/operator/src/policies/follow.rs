//! Follows clusters and the ConfigMaps that people write, and loads whenever either says something new.
//!
//! One cluster after another: a module that takes long to compile delays others that are new, and no decision.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use engine::LoadError;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use objects::api::{MysqlCluster, labels};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::bring::{Bringing, Brought, in_words};
use super::fetch::Problem;
use super::wanted::{FIELD, Wanted, enforced, max_hold, references};
use super::{Policies, Slot};
use crate::cache::{Cache, ClusterKey};

/// Which cluster of a name was loaded for, and with which spec.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    uid: String,
    generation: i64,
}

impl Policies {
    /// Follows clusters and policy ConfigMaps until told to stop.
    pub async fn run(self: Arc<Self>, cache: Arc<Cache>, stop: CancellationToken) {
        let clusters: Api<MysqlCluster> = Api::all(self.client.clone());
        let modules: Api<PartialObjectMeta<ConfigMap>> = Api::all(self.client.clone());
        let labelled = watcher::Config::default().labels(labels::POLICY);
        let mut clusters = Box::pin(watcher(clusters, watcher::Config::default()).default_backoff());
        let mut modules = Box::pin(watcher(modules, labelled).default_backoff());
        let mut retrying = self.retrying.lock().await;
        let mut seen: HashMap<ClusterKey, Seen> = HashMap::new();
        // What changes after the modules were listed is told. Before that a cluster could read one that changes unnoticed.
        let mut listed = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = clusters.next(), if listed => match event {
                    Ok(watcher::Event::Apply(cluster) | watcher::Event::InitApply(cluster)) => {
                        self.saw(&cluster, &mut seen, &cache).await;
                    }
                    Ok(watcher::Event::Delete(cluster)) => {
                        let key = key_of(&cluster);
                        seen.remove(&key);
                        self.forget(&key);
                    }
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
                },
                Some(event) = modules.next() => match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => self.reload(&object, &cache).await,
                    // The watch broke, and this one may have changed in between.
                    Ok(watcher::Event::InitApply(object)) if listed => self.reload(&object, &cache).await,
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                    Ok(watcher::Event::InitDone) | Err(_) => listed = true,
                },
                Some(key) = retrying.recv() => {
                    self.slot(&key).lock().may_try_again();
                    if let Some(cluster) = cache.cluster(&key) {
                        self.load(&key, &cluster, &cache).await;
                    }
                }
            }
        }
    }

    /// Loads for a cluster that is new or whose spec has changed. A status changes often, and names no module.
    async fn saw(&self, cluster: &MysqlCluster, seen: &mut HashMap<ClusterKey, Seen>, cache: &Cache) {
        if cluster.metadata.deletion_timestamp.is_some() {
            return;
        }
        let key = key_of(cluster);
        let now = Seen { uid: cluster.uid().unwrap_or_default(), generation: cluster.metadata.generation.unwrap_or(0) };
        let before = seen.insert(key.clone(), now.clone());
        if before.as_ref().is_some_and(|before| before.uid != now.uid) {
            self.forget(&key);
        }
        if before != Some(now) {
            self.load(&key, cluster, cache).await;
        }
    }

    /// A cluster is gone. One that is made under its name begins with nothing of it.
    fn forget(&self, key: &ClusterKey) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.shadows.forget(key);
        self.advisors.forget(key);
    }

    /// Loads anew for every cluster that names this ConfigMap.
    async fn reload(&self, object: &PartialObjectMeta<ConfigMap>, cache: &Cache) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        for cluster in cache.clusters.state() {
            let key = key_of(&cluster);
            let mut modules = references(&key, &cluster, &self.operator).into_iter();
            if modules.any(|module| module.namespace == namespace && module.config_map.name == name) {
                self.load(&key, &cluster, cache).await;
            }
        }
    }

    /// Brings what the spec asks for into force, or says why not.
    async fn load(&self, key: &ClusterKey, cluster: &MysqlCluster, cache: &Cache) {
        let slot = self.slot(key);
        let brought = self.bring(key, cluster, &slot).await;
        let again = {
            let mut state = slot.lock();
            state.max_hold = max_hold(cluster);
            let (problem, copy_is_due) = match brought {
                Ok(brought) => {
                    let source = &brought.source;
                    tracing::info!(cluster = %key, module = slot.selection.in_force().description.name, source, "policy in force");
                    state.source = brought.source;
                    state.signed_by = brought.signed_by;
                    state.copy = brought.copy;
                    state.failed = None;
                    (brought.problem, brought.copy_is_due)
                }
                Err(problem) => (Some(problem), false),
            };
            let again = copy_is_due || problem.as_ref().is_some_and(|problem| problem.passing);
            state.problem = problem.map(|problem| in_words(&problem, state.copy.as_deref()));
            if let Some(problem) = &state.problem {
                tracing::warn!(cluster = %key, problem, "the policy that the spec names is not in force; the one before goes on");
            }
            state.attempts.next(again)
        };
        self.retry_after(key, again);
        cache.wake(key);
        // The receiver only goes away at the end.
        let _ = self.to_shadow.send((key.clone(), cluster.clone()));
    }
}

/// What says who leads.
impl Policies {
    async fn bring(&self, key: &ClusterKey, cluster: &MysqlCluster, slot: &Arc<Slot>) -> Result<Brought, Problem> {
        let Wanted { module, settings } = enforced(key, cluster, &self.operator);
        let Some(module) = module else { return self.bring_embedded(slot, settings).await };
        let (options, slot) = (&self.operator.options, &slot.selection);
        let bringing = Bringing { client: &self.client, options, engine: &self.engine, key, cluster, slot };
        bringing.bring(&module, settings.as_ref()).await
    }

    async fn bring_embedded(&self, slot: &Arc<Slot>, settings: Option<Value>) -> Result<Brought, Problem> {
        let (engine, slot) = (self.engine.clone(), slot.clone());
        let bound = tokio::task::spawn_blocking(move || {
            let settings = settings.unwrap_or_else(|| json!({}));
            let binding = engine.embedded().and_then(|module| engine.bind(module, &settings))?;
            // A module that was taken out of the spec is not to come back as the last that worked.
            slot.selection.clear();
            slot.selection.swap(binding);
            Ok::<_, LoadError>(())
        });
        match bound.await {
            Ok(Ok(())) => {
                let source = "embedded".to_owned();
                Ok(Brought { source, signed_by: None, problem: None, copy: None, copy_is_due: false })
            }
            Ok(Err(error)) => Err(Problem::lasting(format!("{FIELD}.settings: {error}"))),
            Err(error) => Err(Problem::lasting(format!("the embedded policy ended unexpectedly: {error}"))),
        }
    }
}

fn key_of(cluster: &MysqlCluster) -> ClusterKey {
    ClusterKey { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() }
}

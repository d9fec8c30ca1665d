//! Brings policy modules from ConfigMaps to decisions: watches, loads, binds, swaps.
//!
//! Whatever goes wrong with a new module, the pair (module, settings) that decided before goes on deciding; this
//! module must never take the last working one away. It keeps no module's bytes: a referenced ConfigMap is
//! fetched when it is needed.

mod fetch;
mod shadows;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use engine::{Attempt, Compiler, Decision, Engine, Entry, PrimarySelection, Source};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use objects::api::{MysqlCluster, Policy, PolicyMode, PolicyStatus, labels};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;
use topology::decision::Question;
use uuid::Uuid;

use self::fetch::fetch;
pub use self::shadows::Asked;
use self::shadows::{ShadowSets, shadows_of};
use crate::cache::{Cache, ClusterKey};
use crate::roles::Choice;

/// How long a module may hold while there is no primary, where the spec says nothing.
const DEFAULT_MAX_HOLD: Duration = Duration::from_secs(5);

/// Where a spec names its module.
const MODULE: &str = "spec.policies.primarySelection.module.configMap";

/// The policies of every cluster.
pub struct Policies {
    client: Client,
    engine: Engine,
    shadows: ShadowSets,
    /// Clusters whose shadows are to be loaded.
    to_shadow: mpsc::UnboundedSender<(ClusterKey, MysqlCluster)>,
    shadowing: AsyncMutex<mpsc::UnboundedReceiver<(ClusterKey, MysqlCluster)>>,
    slots: RwLock<HashMap<ClusterKey, Arc<Slot>>>,
}

/// The policy of one cluster.
struct Slot {
    selection: PrimarySelection,
    state: Mutex<State>,
}

struct State {
    /// Where the module in force came from.
    source: String,
    /// Why the module that the spec names is not in force.
    problem: Option<String>,
    /// What went wrong when it was last asked.
    failed: Option<String>,
    /// None is for ever.
    max_hold: Option<Duration>,
    /// Whether everything that the spec names has been loaded, or found not to load.
    complete: bool,
}

impl Policies {
    /// An engine, and no cluster yet. `compiler` is the binary whose `compile-policy` compiles modules.
    ///
    /// # Errors
    /// The engine could not be made.
    pub fn new(client: Client, compiler: PathBuf) -> anyhow::Result<Arc<Self>> {
        let compiler = Compiler { program: compiler, arguments: vec!["compile-policy".to_owned()] };
        let engine = Engine::new(engine::Options::new(compiler))?;
        let (to_shadow, shadowing) = mpsc::unbounded_channel();
        Ok(Arc::new(Self {
            client,
            engine,
            shadows: ShadowSets::default(),
            to_shadow,
            shadowing: AsyncMutex::new(shadowing),
            slots: RwLock::default(),
        }))
    }

    /// Follows clusters and policy ConfigMaps until told to stop.
    pub async fn run(self: Arc<Self>, cache: Arc<Cache>, stop: CancellationToken) {
        let clusters: Api<MysqlCluster> = Api::all(self.client.clone());
        let modules: Api<PartialObjectMeta<ConfigMap>> = Api::all(self.client.clone());
        let labelled = watcher::Config::default().labels(labels::POLICY);
        let clusters = watcher(clusters, watcher::Config::default()).default_backoff().touched_objects();
        let modules = watcher(modules, labelled).default_backoff();
        let mut clusters = Box::pin(clusters.take_until(stop.clone().cancelled_owned()));
        let mut modules = Box::pin(modules.take_until(stop.clone().cancelled_owned()));
        let mut seen: HashMap<ClusterKey, i64> = HashMap::new();
        while !stop.is_cancelled() {
            tokio::select! {
                Some(cluster) = clusters.next() => {
                    let Ok(cluster) = cluster else { continue };
                    let key = ClusterKey { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() };
                    // A status changes often and a spec seldom; only the spec names a module.
                    let generation = cluster.metadata.generation.unwrap_or(0);
                    if cluster.metadata.deletion_timestamp.is_none() && seen.insert(key.clone(), generation) != Some(generation) {
                        self.load(&key, &cluster, &cache).await;
                    }
                }
                Some(event) = modules.next() => {
                    if let Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) = event {
                        self.reload(&object, &cache).await;
                    }
                }
                else => break,
            }
        }
    }

    /// Loads anew for every cluster that names this ConfigMap.
    async fn reload(&self, object: &PartialObjectMeta<ConfigMap>, cache: &Cache) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        for cluster in cache.clusters.state() {
            let modules = shadows_of(&cluster).into_iter().map(|shadow| shadow.policy.module);
            let mut modules = modules.chain([policy_of(&cluster).and_then(|policy| policy.module.clone())]).flatten();
            let names_it = modules.any(|module| module.config_map.name == name);
            if names_it && cluster.namespace().as_deref() == Some(namespace.as_str()) {
                let key = ClusterKey { namespace: namespace.clone(), name: cluster.name_any() };
                self.load(&key, &cluster, cache).await;
            }
        }
    }

    /// Brings what the spec asks for into force, or says why not.
    async fn load(&self, key: &ClusterKey, cluster: &MysqlCluster, cache: &Cache) {
        let slot = self.slot(key);
        let policy = enforced(cluster);
        let loaded = self.bind(key, &slot, &policy).await;
        {
            let mut state = slot.lock();
            state.max_hold = max_hold(&policy);
            match loaded {
                Ok(source) => {
                    tracing::info!(cluster = %key, module = slot.selection.in_force().description.name, source, "policy in force");
                    state.source = source;
                    state.problem = None;
                    state.failed = None;
                }
                Err(problem) => {
                    tracing::warn!(cluster = %key, problem, "the policy that the spec names is not in force; the one before goes on");
                    state.problem = Some(problem);
                }
            }
        }
        cache.wake(key);
        // The receiver only goes away at the end.
        let _ = self.to_shadow.send((key.clone(), cluster.clone()));
    }

    /// Loads shadows after and beside everything else, one cluster after another: a module that decides never waits for
    /// one that does not.
    pub async fn run_shadows(self: Arc<Self>, cache: Arc<Cache>, stop: CancellationToken) {
        let mut shadowing = self.shadowing.lock().await;
        while let Some(Some((key, cluster))) = stop.run_until_cancelled(shadowing.recv()).await {
            self.load_shadows(&key, &cluster).await;
            self.slot(&key).lock().complete = true;
            cache.wake(&key);
        }
    }

    async fn load_shadows(&self, key: &ClusterKey, cluster: &MysqlCluster) {
        let mut wanted = Vec::new();
        for shadow in shadows_of(cluster) {
            let fetched = match &shadow.policy.module {
                Some(module) => {
                    let field = format!("{}.module.configMap", shadow.field);
                    fetch(&self.client, key, &module.config_map, &field).await.map(Some)
                }
                None => Ok(None),
            };
            wanted.push((shadow, fetched));
        }
        self.shadows.load(key, wanted, &self.engine).await;
    }

    async fn bind(&self, key: &ClusterKey, slot: &Arc<Slot>, policy: &Policy) -> Result<String, String> {
        let settings = policy.settings.clone().unwrap_or_else(|| serde_json::json!({}));
        let fetched = match &policy.module {
            Some(module) => Some(fetch(&self.client, key, &module.config_map, MODULE).await?),
            None => None,
        };
        let source = fetched.as_ref().map_or_else(|| "embedded".to_owned(), |(source, _)| source.clone());
        let (engine, slot, named) = (self.engine.clone(), slot.clone(), fetched.is_some());
        let bound = tokio::task::spawn_blocking(move || {
            let module = match fetched {
                Some((_, bytes)) => engine.load(&bytes),
                None => engine.embedded(),
            }?;
            let binding = engine.bind(module, &settings)?;
            if !named {
                // A module that was taken out of the spec is not to come back as the last that worked.
                slot.selection.clear();
            }
            slot.selection.swap(binding);
            Ok::<_, engine::LoadError>(())
        });
        match bound.await {
            Ok(Ok(())) => Ok(source),
            Ok(Err(error)) if policy.module.is_none() => {
                Err(format!("spec.policies.primarySelection.settings: {error}"))
            }
            Ok(Err(error)) => Err(format!("spec.policies.primarySelection ({source}): {error}")),
            Err(error) => Err(format!("loading {source} ended unexpectedly: {error}")),
        }
    }

    fn slot(&self, key: &ClusterKey) -> Arc<Slot> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let state = State {
                source: "embedded".to_owned(),
                problem: None,
                failed: None,
                max_hold: Some(DEFAULT_MAX_HOLD),
                complete: false,
            };
            Arc::new(Slot { selection: PrimarySelection::new(self.engine.clone()), state: Mutex::new(state) })
        };
        slots.entry(key.clone()).or_insert_with(fresh).clone()
    }

    /// What is in force for a cluster, for its status.
    pub fn in_force(&self, key: &ClusterKey) -> Option<PolicyStatus> {
        let slot = self.slot(key);
        let module = slot.selection.in_force();
        let state = slot.lock();
        Some(PolicyStatus {
            name: module.description.name.clone(),
            version: module.description.version.clone(),
            digest: module.digest.clone(),
            source: state.source.clone(),
            problem: state.problem.clone(),
            failed: state.failed.clone(),
            last_answer: None,
            shadows: self.shadows.status(key),
        })
    }

    /// Asks a cluster's policy. A module that holds for longer than it may is passed over for the embedded
    /// default. Always answers; the decision runs on a thread of its own.
    pub async fn decide(&self, key: &ClusterKey, question: Question, held_for: Duration) -> Option<Choice> {
        let (slot, engine) = (self.slot(key), self.engine.clone());
        let trigger = question.trigger;
        let decided = tokio::task::spawn_blocking(move || {
            let patience = slot.lock().max_hold;
            let decision = slot.selection.decide(&question);
            let impatient = patience.is_some_and(|patience| held_for > patience);
            let decision = if impatient { slot.selection.overrule(decision, &question) } else { decision };
            let entry = Entry::new(Uuid::new_v4().to_string(), question, &decision, engine.limits());
            let choice = Choice { entry: Some(Box::new(entry)), ..choice(decision, trigger) };
            slot.lock().failed = failed(&choice);
            choice
        });
        decided.await.inspect_err(|error| tracing::error!(cluster = %key, %error, "a decision panicked")).ok()
    }

    /// What would be decided, asked for its own sake: whoever fails here fails nothing. None before everything that the
    /// spec names was tried.
    pub async fn suppose(&self, key: &ClusterKey, question: Question) -> Option<Entry> {
        let (slot, engine) = (self.slot(key), self.engine.clone());
        if !slot.lock().complete {
            return None;
        }
        let supposed = tokio::task::spawn_blocking(move || {
            let decision = slot.selection.suppose(&question);
            Entry::new(Uuid::new_v4().to_string(), question, &decision, engine.limits())
        });
        supposed.await.inspect_err(|error| tracing::error!(cluster = %key, %error, "a supposition panicked")).ok()
    }

    /// Asks a cluster's shadows some time later. `done` is called if there are any and not too many questions wait.
    pub fn ask_shadows(
        &self,
        key: &ClusterKey,
        question: Question,
        done: impl FnOnce(Vec<Attempt>) + Send + 'static,
    ) -> Asked {
        self.shadows.ask(key, question, done)
    }
}

impl Slot {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn choice(decision: Decision, trigger: topology::decision::Trigger) -> Choice {
    let whence = match decision.by.source {
        Source::Configured => "",
        Source::LastKnownGood => ", the last that worked",
        Source::Default => ", the embedded default",
        Source::Native => ", the embedded default without its sandbox",
        Source::Shadow => ", a shadow",
    };
    Choice {
        answer: decision.answer,
        by: format!("{} {}{whence}", decision.by.name, decision.by.version),
        failures: decision
            .failures
            .iter()
            .map(|failed| format!("{} {}: {}", failed.by.name, failed.by.version, failed.failure))
            .collect(),
        took_micros: decision.took_micros,
        trigger,
        verdict: None,
        entry: None,
    }
}

/// What went wrong with whoever should have decided, and who did instead.
fn failed(choice: &Choice) -> Option<String> {
    (!choice.failures.is_empty()).then(|| format!("{}; {} decided instead", choice.failures.join("; "), choice.by))
}

fn policy_of(cluster: &MysqlCluster) -> Option<&Policy> {
    cluster.spec.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref())
}

/// What decides: the embedded default where what is named is only to be compared.
fn enforced(cluster: &MysqlCluster) -> Policy {
    let policy = policy_of(cluster).cloned().unwrap_or_default();
    match policy.mode {
        Some(PolicyMode::Shadow) => Policy { module: None, settings: None, ..policy },
        Some(PolicyMode::Enforce) | None => policy,
    }
}

/// How long a module may hold. The schema has already refused what is no duration.
fn max_hold(policy: &Policy) -> Option<Duration> {
    match policy.max_hold.as_deref() {
        None => Some(DEFAULT_MAX_HOLD),
        Some("unlimited") => None,
        Some(text) => Some(objects::duration::parse(text).unwrap_or(DEFAULT_MAX_HOLD)),
    }
}

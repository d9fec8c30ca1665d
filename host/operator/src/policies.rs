//! Brings policy modules from ConfigMaps to decisions: watches, loads, binds, swaps.
//!
//! Whatever goes wrong with a new module, the pair (module, settings) that decided before goes on deciding; this
//! module must never take the last working one away. It keeps no module's bytes: a referenced ConfigMap is
//! fetched when it is needed.

mod advisors;
mod attempts;
mod bring;
mod consult;
mod copies;
mod fetch;
mod follow;
mod options;
mod recent;
mod shadows;
mod trust;
mod wanted;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use engine::{Attempt, Compiler, DecidedBy, Decision, Engine, Entry, InForce, OutOfUse, PrimarySelection, Source};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use objects::api::{MysqlCluster, OutOfUseStatus, PolicyStatus, policy};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;
use topology::decision::Question;
use uuid::Uuid;

pub use self::advisors::{Advisors, Seats};
use self::attempts::Attempts;
pub use self::consult::{Consulted, Told, consult};
pub use self::options::PolicyOptions;
pub use self::shadows::Asked;
use self::shadows::ShadowSets;
use self::wanted::{DEFAULT_MAX_HOLD, OfOperator};
use crate::cache::{Cache, ClusterKey};
use crate::roles::Choice;

/// The policies of every cluster.
pub struct Policies {
    client: Client,
    engine: Engine,
    operator: OfOperator,
    shadows: ShadowSets,
    advisors: Advisors,
    /// Clusters whose shadows are to be loaded.
    to_shadow: mpsc::UnboundedSender<(ClusterKey, MysqlCluster)>,
    shadowing: AsyncMutex<mpsc::UnboundedReceiver<(ClusterKey, MysqlCluster)>>,
    /// Clusters whose module is to be loaded again, because what failed may have passed.
    to_retry: mpsc::UnboundedSender<ClusterKey>,
    retrying: AsyncMutex<mpsc::UnboundedReceiver<ClusterKey>>,
    slots: RwLock<HashMap<ClusterKey, Arc<Slot>>>,
}

/// The policy of one cluster.
struct Slot {
    selection: Arc<PrimarySelection>,
    state: Mutex<State>,
}

struct State {
    /// Where the module in force came from.
    source: String,
    /// Whose key signed it.
    signed_by: Option<String>,
    /// Why the module that the spec names is not in force.
    problem: Option<String>,
    /// The copy that is in force instead, if one is.
    copy: Option<String>,
    /// What went wrong when it was last asked.
    failed: Option<String>,
    /// None is for ever.
    max_hold: Option<Duration>,
    /// Whether everything that the spec names has been loaded, or found not to load.
    complete: bool,
    /// Attempts to load what says who leads.
    attempts: Attempts,
    /// Attempts to load what is asked and not followed.
    advisors: Attempts,
}

impl Policies {
    /// An engine, and no cluster yet. `compiler` is the binary whose `compile-policy` compiles modules, `namespace` the
    /// operator's own.
    ///
    /// # Errors
    /// The engine could not be made.
    pub fn new(
        client: Client,
        compiler: PathBuf,
        namespace: &str,
        options: PolicyOptions,
    ) -> anyhow::Result<Arc<Self>> {
        let compiler = Compiler { program: compiler, arguments: vec!["compile-policy".to_owned()] };
        let engine = Engine::new(engine::Options::new(compiler))?;
        let (to_shadow, shadowing) = mpsc::unbounded_channel();
        let (to_retry, retrying) = mpsc::unbounded_channel();
        Ok(Arc::new(Self {
            client,
            engine,
            operator: OfOperator { namespace: namespace.to_owned(), options },
            shadows: ShadowSets::default(),
            advisors: Advisors::default(),
            to_shadow,
            shadowing: AsyncMutex::new(shadowing),
            to_retry,
            retrying: AsyncMutex::new(retrying),
            slots: RwLock::default(),
        }))
    }

    /// Loads shadows after and beside everything else, one cluster after another: a module that decides never waits for
    /// one that does not.
    pub async fn run_shadows(self: Arc<Self>, cache: Arc<Cache>, stop: CancellationToken) {
        let mut shadowing = self.shadowing.lock().await;
        while let Some(Some((key, cluster))) = stop.run_until_cancelled(shadowing.recv()).await {
            self.load_shadows(&key, &cluster).await;
            let again = self.advisors.load(&self.client, &self.operator, &key, &cluster, &self.engine).await;
            let pause = {
                let slot = self.slot(&key);
                let mut state = slot.lock();
                state.complete = true;
                state.advisors.next(again)
            };
            self.retry_after(&key, pause);
            cache.wake(&key);
        }
    }

    async fn load_shadows(&self, key: &ClusterKey, cluster: &MysqlCluster) {
        let mut loaded = Vec::new();
        for shadow in wanted::shadows(key, cluster) {
            let fetched = match &shadow.module {
                Some(module) => {
                    let options = &self.operator.options;
                    trust::fetch(&self.client, options, &key.namespace, policy::PRIMARY_SELECTION, module)
                        .await
                        .map(Some)
                }
                None => Ok(None),
            };
            loaded.push((shadow, fetched.map_err(|problem| problem.message)));
        }
        self.shadows.load(key, loaded, &self.engine).await;
    }

    /// Has everything that a cluster names loaded again after a pause, if there is one.
    fn retry_after(&self, key: &ClusterKey, pause: Option<Duration>) {
        let Some(pause) = pause else { return };
        let (to_retry, key) = (self.to_retry.clone(), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // The receiver only goes away at the end.
            let _ = to_retry.send(key);
        });
    }

    fn slot(&self, key: &ClusterKey) -> Arc<Slot> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let state = State {
                source: "embedded".to_owned(),
                signed_by: None,
                problem: None,
                copy: None,
                failed: None,
                max_hold: Some(DEFAULT_MAX_HOLD),
                complete: false,
                attempts: Attempts::default(),
                advisors: Attempts::default(),
            };
            let selection = Arc::new(PrimarySelection::new(self.engine.clone()));
            Arc::new(Slot { selection, state: Mutex::new(state) })
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
            signed_by: state.signed_by.clone(),
            breaker: breaker(&module),
            out_of_use: module.breaker.as_ref().map(out_of_use),
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

    /// The modules that are asked and not followed.
    pub fn advisors(&self) -> &Advisors {
        &self.advisors
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

impl State {
    /// An attempt begins, which loads everything.
    fn may_try_again(&mut self) {
        self.attempts.begin();
        self.advisors.begin();
    }
}

impl Slot {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn choice(decision: Decision, trigger: topology::decision::Trigger) -> Choice {
    Choice {
        failures: failures(&decision),
        answer: decision.answer,
        by: who(&decision.by),
        took_micros: decision.took_micros,
        trigger,
        breaker: decision.breaker,
        verdict: None,
        entry: None,
    }
}

/// Who decides, and why that one.
fn who(by: &DecidedBy) -> String {
    let whence = match by.source {
        Source::Configured => "",
        Source::LastKnownGood => ", the last that worked",
        Source::Default => ", the embedded default",
        Source::Native => ", the embedded default without its sandbox",
        Source::Shadow => ", a shadow",
    };
    format!("{} {}{whence}", by.name, by.version)
}

/// Each module that should have answered and failed, and how.
fn failures<A>(decision: &Decision<A>) -> Vec<String> {
    let failures = decision.failures.iter();
    failures.map(|failed| format!("{} {}: {}", failed.by.name, failed.by.version, failed.failure)).collect()
}

/// Which module is not asked for a while, and why, if it is not.
fn breaker(module: &InForce) -> Option<String> {
    let why = &module.breaker.as_ref()?.why;
    Some(format!("{} {}: {why}", module.description.name, module.description.version))
}

/// Since when and until when it is not, and who is asked instead.
fn out_of_use(out: &OutOfUse) -> OutOfUseStatus {
    let at = |unix_s: u64| {
        let second = i64::try_from(unix_s).ok().and_then(|second| Timestamp::from_second(second).ok());
        Time(second.unwrap_or(Timestamp::UNIX_EPOCH))
    };
    OutOfUseStatus { since: at(out.since_unix_s), until: at(out.until_unix_s), instead: who(&out.instead) }
}

/// What went wrong with whoever should have decided, and who did instead.
fn failed(choice: &Choice) -> Option<String> {
    (!choice.failures.is_empty()).then(|| format!("{}; {} decided instead", choice.failures.join("; "), choice.by))
}

//! The modules that have no part in a failover: those that scale, those that tune, and those that say when backups are made.
//!
//! They are brought into force like any other, with an engine of their own that is made when the first of them is named:
//! no decision of who leads shares anything with them. What is wrong with one is told in the cluster's status and touches
//! nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use engine::{DecisionKind, Engine, Entry, Slot};
use kube::Client;
use objects::api::{MysqlCluster, PoliciesStatus, PolicyStatus};
use tokio::sync::OnceCell;
use topology::{backup_window, scaling, tuning};
use uuid::Uuid;

use super::bring::{Bringing, Brought, in_words};
use super::fetch::Problem;
use super::wanted::{Advised, Named, OfOperator, advised};
use super::{breaker, failures, out_of_use};
use crate::cache::ClusterKey;

/// How many of them may run at once: each cluster has a question a minute, and nobody waits for the answers.
const AT_ONCE: u32 = 1;

/// The modules of every cluster that decide beside who leads.
#[derive(Default)]
pub struct Advisors {
    apart: OnceCell<Result<Engine, String>>,
    scaling: Seats<scaling::Question>,
    tuning: Seats<tuning::Question>,
    backup_window: Seats<backup_window::Question>,
}

impl Advisors {
    /// Brings what a spec or the operator names into force, or says why not. What was in force before goes on meanwhile.
    /// True if what failed may succeed later.
    pub(super) async fn load(
        &self,
        client: &Client,
        operator: &OfOperator,
        key: &ClusterKey,
        cluster: &MysqlCluster,
        engine: &Engine,
    ) -> bool {
        let Advised { scaling, tuning, backup_window } = advised(key, cluster, operator);
        let world = World { client, operator, key, cluster, apart: &self.apart, engine };
        let again = [
            self.scaling.load(&world, scaling).await,
            self.tuning.load(&world, tuning).await,
            self.backup_window.load(&world, backup_window).await,
        ];
        again.contains(&true)
    }

    /// A cluster is gone.
    pub(super) fn forget(&self, key: &ClusterKey) {
        self.scaling.write().remove(key);
        self.tuning.write().remove(key);
        self.backup_window.write().remove(key);
    }

    /// Those that say how many read replicas there should be, and how large servers and volumes.
    pub fn scaling(&self) -> &Seats<scaling::Question> {
        &self.scaling
    }

    /// Those that say how mysqld should be set.
    pub fn tuning(&self) -> &Seats<tuning::Question> {
        &self.tuning
    }

    /// Those that say when backups are made.
    pub fn backup_window(&self) -> &Seats<backup_window::Question> {
        &self.backup_window
    }

    /// How many times a module of a cluster that scales or tunes was brought into force. Whoever was asked before the last
    /// time was another.
    pub fn swaps(&self, key: &ClusterKey) -> u64 {
        self.scaling.swaps(key) + self.tuning.swaps(key)
    }

    /// What a cluster's status says of them, beside the policy that decides who leads.
    pub fn status(&self, key: &ClusterKey, primary_selection: Option<PolicyStatus>) -> PoliciesStatus {
        PoliciesStatus {
            primary_selection,
            scaling: self.scaling.status(key),
            config_tuning: self.tuning.status(key),
            backup_window: self.backup_window.status(key),
        }
    }
}

/// What a module is fetched with and runs in.
struct World<'a> {
    client: &'a Client,
    operator: &'a OfOperator,
    key: &'a ClusterKey,
    cluster: &'a MysqlCluster,
    apart: &'a OnceCell<Result<Engine, String>>,
    engine: &'a Engine,
}

/// The modules of every cluster that make one decision.
pub struct Seats<Q: DecisionKind> {
    seats: RwLock<HashMap<ClusterKey, Arc<Seat<Q>>>>,
}

/// The module of one cluster.
struct Seat<Q: DecisionKind> {
    /// None until a module could be brought into force.
    placed: RwLock<Option<Arc<Placed<Q>>>>,
    state: Mutex<State>,
}

/// A slot with what it runs in.
struct Placed<Q: DecisionKind> {
    slot: Arc<Slot<Q>>,
    engine: Engine,
}

#[derive(Debug, Clone, Default)]
struct State {
    source: String,
    signed_by: Option<String>,
    problem: Option<String>,
    /// The copy that is in force, if one is.
    copy: Option<String>,
    failed: Option<String>,
    swaps: u64,
}

impl<Q: DecisionKind> Default for Seats<Q> {
    fn default() -> Self {
        Self { seats: RwLock::default() }
    }
}

impl<Q: DecisionKind> Seats<Q> {
    async fn load(&self, world: &World<'_>, named: Option<Named>) -> bool {
        let key = world.key;
        let Some(named) = named else {
            self.write().remove(key);
            return false;
        };
        let seat = self.write().entry(key.clone()).or_default().clone();
        let loaded = match engine_apart(world.apart, world.engine).await {
            Ok(apart) => bring(world, &named, apart, seat.placed()).await,
            Err(why) => Err(Problem::lasting(why)),
        };
        let mut state = seat.lock();
        let (problem, copy_is_due) = match loaded {
            Ok((placed, Brought { source, signed_by, problem, copy, copy_is_due })) => {
                let module = placed.slot.in_force().description.name;
                tracing::info!(cluster = %key, decision = %Q::KIND, module, source, "policy brought into force");
                *seat.placed.write().unwrap_or_else(PoisonError::into_inner) = Some(placed);
                *state = State { source, signed_by, copy, swaps: state.swaps + 1, ..State::default() };
                (problem, copy_is_due)
            }
            Err(problem) => (Some(problem), false),
        };
        let again = copy_is_due || problem.as_ref().is_some_and(|problem| problem.passing);
        state.problem = problem.map(|problem| in_words(&problem, state.copy.as_deref()));
        if let Some(problem) = &state.problem {
            tracing::warn!(cluster = %key, decision = %Q::KIND, problem, "the policy that is named is not asked");
        }
        again
    }

    /// What the module of a cluster says. None where there is none that could be brought into force.
    pub async fn ask(&self, key: &ClusterKey, question: Q) -> Option<Asked<Q>> {
        let seat = self.of(key)?;
        let placed = seat.placed()?;
        let asked = tokio::task::spawn_blocking(move || {
            let decision = placed.slot.decide(&question);
            let failures = failures(&decision);
            let by = format!("{} {}", decision.by.name, decision.by.version);
            seat.lock().failed =
                (!failures.is_empty()).then(|| format!("{}; {by} answered instead", failures.join("; ")));
            let entry = Entry::new(Uuid::new_v4().to_string(), question, &decision, placed.engine.limits());
            Asked { entry, by, failures: failures.len(), took_micros: decision.took_micros }
        });
        asked.await.inspect_err(|error| tracing::error!(cluster = %key, %error, "asking a policy panicked")).ok()
    }

    /// Whether a cluster has one that can be asked.
    pub fn has(&self, key: &ClusterKey) -> bool {
        self.of(key).is_some_and(|seat| seat.placed().is_some())
    }

    /// How many times a module was brought into force for a cluster.
    pub fn swaps(&self, key: &ClusterKey) -> u64 {
        self.of(key).map_or(0, |seat| seat.lock().swaps)
    }

    fn status(&self, key: &ClusterKey) -> Option<PolicyStatus> {
        let seat = self.of(key)?;
        let module = seat.placed().map(|placed| placed.slot.in_force());
        let State { source, signed_by, problem, failed, .. } = seat.lock().clone();
        let status = PolicyStatus { source, signed_by, problem, failed, ..PolicyStatus::default() };
        Some(match module {
            Some(module) => PolicyStatus {
                breaker: breaker(&module),
                out_of_use: module.breaker.as_ref().map(out_of_use),
                name: module.description.name,
                version: module.description.version,
                digest: module.digest,
                ..status
            },
            None => PolicyStatus { name: "none".to_owned(), ..status },
        })
    }

    fn of(&self, key: &ClusterKey) -> Option<Arc<Seat<Q>>> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<ClusterKey, Arc<Seat<Q>>>> {
        self.seats.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a question.
pub struct Asked<Q: DecisionKind> {
    /// For the journal.
    pub entry: Entry<Q>,
    /// Who answered, with the version.
    pub by: String,
    /// How many modules should have and failed.
    pub failures: usize,
    /// How long it took.
    pub took_micros: u64,
}

impl<Q: DecisionKind> Default for Seat<Q> {
    fn default() -> Self {
        Self { placed: RwLock::default(), state: Mutex::default() }
    }
}

impl<Q: DecisionKind> Seat<Q> {
    fn placed(&self) -> Option<Arc<Placed<Q>>> {
        self.placed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn engine_apart<'a>(apart: &'a OnceCell<Result<Engine, String>>, engine: &Engine) -> Result<&'a Engine, String> {
    let made = apart.get_or_init(|| async {
        let engine = engine.clone();
        let made = tokio::task::spawn_blocking(move || engine.apart(AT_ONCE).map_err(|error| error.to_string()));
        made.await.unwrap_or_else(|error| Err(error.to_string()))
    });
    made.await.as_ref().map_err(|why| format!("there is no engine to ask it with: {why}"))
}

/// Brings a module into its slot, a new one where there is none yet.
async fn bring<Q: DecisionKind>(
    world: &World<'_>,
    named: &Named,
    engine: &Engine,
    placed: Option<Arc<Placed<Q>>>,
) -> Result<(Arc<Placed<Q>>, Brought), Problem> {
    let fresh = || Arc::new(Placed { slot: Arc::new(Slot::new(engine.clone())), engine: engine.clone() });
    let placed = placed.unwrap_or_else(fresh);
    let World { client, operator, key, cluster, .. } = *world;
    let bringing = Bringing { client, options: &operator.options, engine, key, cluster, slot: &placed.slot };
    let brought = bringing.bring(&named.module, named.settings.as_ref()).await?;
    Ok((placed, brought))
}

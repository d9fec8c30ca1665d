//! The modules that are asked beside those in force.
//!
//! They have an engine of their own, made when the first of them is named: no decision shares anything with them. What is
//! wrong with one is told in the cluster's status and touches neither the others nor the module in force.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use engine::{Attempt, Binding, Demand, Engine, LoadError, Shadows};
use objects::api::ShadowStatus;
use serde_json::json;
use tokio::sync::OnceCell;
use topology::decision::Question;

use super::fetch;
use super::wanted::WantedShadow;
use crate::cache::ClusterKey;

/// How many shadows may run at once: their thread asks one after another.
const AT_ONCE: u32 = 1;

/// A module as it was fetched, with what is asked of it; nothing where the embedded one is meant.
pub(super) type Fetched = Result<Option<(fetch::Fetched, Demand)>, String>;

/// The shadows of every cluster.
#[derive(Default)]
pub(super) struct ShadowSets {
    apart: OnceCell<Apart>,
    sets: RwLock<HashMap<ClusterKey, Arc<[Slot]>>>,
}

#[derive(Clone)]
struct Apart {
    engine: Engine,
    shadows: Shadows,
}

struct Slot {
    source: String,
    bound: Result<Arc<Binding>, String>,
}

impl ShadowSets {
    /// Puts other shadows beside a cluster's policy. `engine` is that of the modules in force, of which theirs is another.
    pub(super) async fn load(&self, key: &ClusterKey, wanted: Vec<(WantedShadow, Fetched)>, engine: &Engine) {
        let slots = if wanted.is_empty() { Vec::new() } else { self.bind(wanted, engine).await };
        for slot in &slots {
            match &slot.bound {
                Ok(binding) => {
                    tracing::info!(cluster = %key, shadow = binding.module().description().name, source = slot.source, "shadow asked beside the policy");
                }
                Err(problem) => tracing::warn!(cluster = %key, problem, "a shadow is not asked"),
            }
        }
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if slots.is_empty() {
            sets.remove(key);
        } else {
            sets.insert(key.clone(), slots.into());
        }
    }

    /// A cluster is gone.
    pub(super) fn forget(&self, key: &ClusterKey) {
        self.sets.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    async fn bind(&self, wanted: Vec<(WantedShadow, Fetched)>, engine: &Engine) -> Vec<Slot> {
        let apart = self.apart(engine).await;
        let bound = tokio::task::spawn_blocking(move || {
            let each = wanted.into_iter().map(|(wanted, fetched)| {
                let source = fetched.as_ref().map(|found| found.as_ref().map(|(found, _)| found.source.clone()));
                let source = source.ok().flatten().unwrap_or_else(|| named(&wanted));
                let bound = apart.clone().and_then(|apart| bind(&apart.engine, &wanted, fetched));
                Slot { source, bound }
            });
            each.collect()
        });
        bound.await.inspect_err(|error| tracing::error!(%error, "loading shadows panicked")).unwrap_or_default()
    }

    async fn apart(&self, engine: &Engine) -> Result<Apart, String> {
        let made = self.apart.get_or_try_init(|| async {
            let engine = engine.clone();
            let made = tokio::task::spawn_blocking(move || {
                let engine = engine.apart(AT_ONCE).map_err(|error| error.to_string())?;
                let shadows = Shadows::start().map_err(|error| error.to_string())?;
                Ok(Apart { engine, shadows })
            });
            made.await.unwrap_or_else(|error| Err(error.to_string()))
        });
        made.await.cloned().map_err(|error: String| format!("shadows have no engine: {error}"))
    }

    fn of(&self, key: &ClusterKey) -> Option<Arc<[Slot]>> {
        self.sets.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Asks every shadow of a cluster, some time later. False if there is none, or too many questions wait: then `done`
    /// is never called.
    pub(super) fn ask(
        &self,
        key: &ClusterKey,
        question: Question,
        done: impl FnOnce(Vec<Attempt>) + Send + 'static,
    ) -> Asked {
        let bindings: Vec<_> = self.of(key).iter().flat_map(|set| set.iter()).filter_map(bound).collect();
        let Some(apart) = self.apart.get().filter(|_| !bindings.is_empty()) else { return Asked::Nobody };
        match apart.shadows.ask(question, bindings, done) {
            Ok(()) => Asked::Everybody,
            Err(_) => Asked::Busy,
        }
    }

    /// What a cluster's status says of them.
    pub(super) fn status(&self, key: &ClusterKey) -> Vec<ShadowStatus> {
        let set = self.of(key);
        let each = set.iter().flat_map(|set| set.iter()).map(|slot| {
            let module = slot.bound.as_ref().ok().map(|binding| binding.module());
            ShadowStatus {
                source: slot.source.clone(),
                name: module.map(|module| format!("{} {}", module.description().name, module.description().version)),
                digest: module.map(|module| module.digest().to_owned()),
                problem: slot.bound.as_ref().err().cloned(),
            }
        });
        each.collect()
    }
}

fn bound(slot: &Slot) -> Option<Arc<Binding>> {
    slot.bound.as_ref().ok().cloned()
}

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// There is no shadow.
    Nobody,
    /// All of them.
    Everybody,
    /// None, because too many questions wait.
    Busy,
}

fn bind(engine: &Engine, wanted: &WantedShadow, fetched: Fetched) -> Result<Arc<Binding>, String> {
    let refused = |error: LoadError| format!("{}: {error}", wanted.field);
    let module = match fetched? {
        Some((found, demand)) => engine.load_vouched(&found.bytes, &demand).map(|(module, _)| module),
        None => engine.embedded(),
    };
    let settings = wanted.settings.clone().unwrap_or_else(|| json!({}));
    engine.bind(module.map_err(refused)?, &settings).map_err(refused)
}

/// Where a module should have come from.
fn named(wanted: &WantedShadow) -> String {
    wanted
        .module
        .as_ref()
        .map_or_else(|| "embedded".to_owned(), |module| format!("ConfigMap {}", module.config_map.name))
}

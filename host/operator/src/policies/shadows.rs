//! The modules that are asked beside those in force.
//!
//! They have an engine of their own, made when the first of them is named: no decision shares anything with them. What is
//! wrong with one is told in the cluster's status and touches neither the others nor the module in force.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use engine::{Attempt, Binding, Engine, LoadError, Shadows};
use objects::api::{MysqlCluster, PolicyMode, ShadowPolicy, ShadowStatus};
use serde_json::json;
use tokio::sync::OnceCell;
use topology::decision::Question;

use super::policy_of;
use crate::cache::ClusterKey;

/// How many shadows may run at once: their thread asks one after another.
const AT_ONCE: u32 = 1;

/// A module as it was fetched, with where from; nothing where the embedded one is meant.
pub(super) type Fetched = Result<Option<(String, Vec<u8>)>, String>;

/// A shadow that a spec names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// The field that names it.
    pub(super) field: String,
    /// The module and its settings.
    pub(super) policy: ShadowPolicy,
}

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
    pub(super) async fn load(&self, key: &ClusterKey, wanted: Vec<(Wanted, Fetched)>, engine: &Engine) {
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

    async fn bind(&self, wanted: Vec<(Wanted, Fetched)>, engine: &Engine) -> Vec<Slot> {
        let apart = self.apart(engine).await;
        let bound = tokio::task::spawn_blocking(move || {
            let each = wanted.into_iter().map(|(wanted, fetched)| {
                let source = fetched.as_ref().map(|found| found.as_ref().map(|(source, _)| source.clone()));
                let source = source.ok().flatten().unwrap_or_else(|| named(&wanted.policy));
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

fn bind(engine: &Engine, wanted: &Wanted, fetched: Fetched) -> Result<Arc<Binding>, String> {
    let Wanted { field, policy } = wanted;
    let refused = |error: LoadError| format!("{field}: {error}");
    let module = match fetched? {
        Some((_, bytes)) => engine.load(&bytes),
        None => engine.embedded(),
    };
    let settings = policy.settings.clone().unwrap_or_else(|| json!({}));
    engine.bind(module.map_err(refused)?, &settings).map_err(refused)
}

/// Where a module should have come from.
fn named(policy: &ShadowPolicy) -> String {
    policy
        .module
        .as_ref()
        .map_or_else(|| "embedded".to_owned(), |module| format!("ConfigMap {}", module.config_map.name))
}

/// The shadows that a spec names. A policy whose mode is Shadow is the first of them.
pub(super) fn shadows_of(cluster: &MysqlCluster) -> Vec<Wanted> {
    const POLICY: &str = "spec.policies.primarySelection";
    let Some(policy) = policy_of(cluster) else { return Vec::new() };
    let itself = ShadowPolicy { module: policy.module.clone(), settings: policy.settings.clone() };
    let itself = (policy.mode == Some(PolicyMode::Shadow)).then(|| Wanted { field: POLICY.to_owned(), policy: itself });
    let beside = policy
        .shadows
        .iter()
        .enumerate()
        .map(|(at, shadow)| Wanted { field: format!("{POLICY}.shadows[{at}]"), policy: shadow.clone() });
    itself.into_iter().chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::super::enforced;
    use super::*;

    fn cluster(policy: &str) -> MysqlCluster {
        let text = format!(
            r#"{{"apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster", "metadata": {{"name": "shop"}},
                "spec": {{"storage": {{"size": "1Gi"}}, "policies": {{"primarySelection": {policy}}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn shadows_are_those_that_are_named_and_the_policy_itself_where_its_mode_says_so() {
        let module = r#""module": {"configMap": {"name": "zones"}}, "maxHold": "1s""#;
        let beside = r#""shadows": [{"settings": {"a": 1}}]"#;
        let fields = |cluster: &MysqlCluster| shadows_of(cluster).into_iter().map(|one| one.field).collect::<Vec<_>>();
        let enforcing = cluster(&format!("{{{module}, {beside}}}"));
        assert_eq!(fields(&enforcing), ["spec.policies.primarySelection.shadows[0]"]);
        assert!(enforced(&enforcing).module.is_some());
        let shadowing = cluster(&format!(r#"{{{module}, {beside}, "mode": "Shadow"}}"#));
        assert_eq!(fields(&shadowing), ["spec.policies.primarySelection", "spec.policies.primarySelection.shadows[0]"]);
        let decides = enforced(&shadowing);
        assert_eq!((decides.module, decides.max_hold.as_deref()), (None, Some("1s")), "the default decides");
        assert_eq!(fields(&cluster("{}")), [""; 0]);
    }
}

//! Brings the module that a cluster is to have for a decision into force, or says why not.
//!
//! Whatever goes wrong with one, the pair that decided before goes on: the one in force, or, where this operator has only
//! just started, the newest copy of what was. A copy has to be as trustworthy as the module would have had to be.

use std::sync::Arc;
use std::time::Duration;

use engine::{Binding, DecisionKind, Demand, Engine, LoadError, Slot, Source, Vouched};
use kube::Client;
use objects::api::MysqlCluster;
use serde_json::{Value, json};

use super::copies::{self, Kept, Passed};
use super::fetch::{Fetched, Problem, Reference};
use super::options::PolicyOptions;
use super::{recent, trust};
use crate::cache::ClusterKey;

/// How long keeping a copy may take.
const KEEPING: Duration = Duration::from_secs(10);

/// What came into force.
pub(super) struct Brought {
    /// Where from, for people.
    pub(super) source: String,
    /// Whose key signed it.
    pub(super) signed_by: Option<String>,
    /// Why it is not what was named, if it is not.
    pub(super) problem: Option<Problem>,
    /// The copy that it is, for people, if it is one.
    pub(super) copy: Option<String>,
    /// Whether keeping a copy failed and may succeed later.
    pub(super) copy_is_due: bool,
}

/// A module on its way into force.
struct Climbing<Q> {
    bytes: Vec<u8>,
    demand: Demand,
    settings: Value,
    recent: Arc<[(String, Q)]>,
}

/// The place of a cluster's module for one decision, and what it takes to bring one there.
pub(super) struct Bringing<'a, Q: DecisionKind> {
    pub(super) client: &'a Client,
    pub(super) options: &'a PolicyOptions,
    pub(super) engine: &'a Engine,
    pub(super) key: &'a ClusterKey,
    pub(super) cluster: &'a MysqlCluster,
    pub(super) slot: &'a Arc<Slot<Q>>,
}

impl<Q: DecisionKind> Bringing<'_, Q> {
    /// Brings what is named into force or, where nothing is in force yet, the newest copy of what was. `settings` come
    /// before those that lie beside the module.
    pub(super) async fn bring(&self, named: &Reference, settings: Option<&Value>) -> Result<Brought, Problem> {
        let recent: Arc<[_]> = recent::questions::<Q>(self.client, self.key, self.cluster).await.into();
        let problem = match self.bring_named(named, settings, recent.clone()).await {
            Ok(brought) => return Ok(brought),
            Err(problem) => problem,
        };
        if self.slot.in_force().source == Source::Configured {
            return Err(problem);
        }
        match self.bring_copy(named, recent).await {
            Some((copy, vouched)) => {
                let since = copy.since.map_or_else(|| "some time".to_owned(), |since| since.to_string());
                Ok(Brought {
                    source: format!("copy in ConfigMap {}", copy.name),
                    signed_by: vouched.by,
                    problem: Some(problem),
                    copy: Some(format!("the copy of {since}, ConfigMap {}", copy.name)),
                    copy_is_due: false,
                })
            }
            None => Err(problem),
        }
    }

    async fn bring_named(
        &self,
        named: &Reference,
        settings: Option<&Value>,
        recent: Arc<[(String, Q)]>,
    ) -> Result<Brought, Problem> {
        let fetched = trust::fetch(self.client, self.options, &self.key.namespace, Q::KIND.name(), named).await?;
        let (Fetched { source, bytes, signature, settings: beside }, demand) = fetched;
        let source = if named.namespace == self.key.namespace {
            source
        } else {
            format!("{source} of namespace {}", named.namespace)
        };
        let settings = settings.cloned().or(beside).unwrap_or_else(|| json!({}));
        let climbing = Climbing { bytes: bytes.clone(), demand, settings, recent };
        let climbed = self.climb(climbing).await;
        let (binding, vouched) = climbed.map_err(|error| refused(&named.field, &source, error))?;
        self.slot.swap(binding.clone());
        let passed = Passed {
            decision: Q::KIND.name(),
            module: binding.module(),
            settings: binding.settings_json(),
            bytes: &bytes,
            source: &source,
            signature: signature.as_deref(),
            named: Some(&named.config_map.name),
        };
        let copy_is_due = self.keep_copy(&passed).await;
        Ok(Brought { source, signed_by: vouched.by, problem: None, copy: None, copy_is_due })
    }

    /// True if it was not kept and may be later.
    async fn keep_copy(&self, passed: &Passed<'_>) -> bool {
        match tokio::time::timeout(KEEPING, copies::keep(self.client, self.cluster, passed)).await {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                let cluster = self.key;
                tracing::warn!(%cluster, decision = %Q::KIND, %error, "no copy of the policy in force is kept; it decides all the same");
                error.is_passing()
            }
            Err(_) => true,
        }
    }

    /// The newest copy that can be used.
    async fn bring_copy(&self, named: &Reference, recent: Arc<[(String, Q)]>) -> Option<(Kept, Vouched)> {
        let (cluster, decision) = (self.key, Q::KIND.name());
        let demand = trust::demand(self.client, self.options, &self.key.namespace, decision).await.ok()?;
        let kept = copies::load(self.client, self.cluster, decision).await;
        let kept = kept.inspect_err(|error| tracing::warn!(%cluster, %error, "copies of policies cannot be read"));
        for copy in kept.ok()? {
            let demand = Demand { signature: copy.signature.clone(), ..demand.clone() };
            let demand = trusted(demand, named.digest.clone(), &copy);
            let (bytes, settings) = (copy.bytes.clone(), copy.settings.clone());
            match self.climb(Climbing { bytes, demand, settings, recent: recent.clone() }).await {
                Ok((binding, vouched)) => {
                    self.slot.swap(binding);
                    tracing::warn!(%cluster, decision, name = copy.name, "running from a copy of what was in force");
                    return Some((copy, vouched));
                }
                Err(error) => tracing::warn!(%cluster, decision, name = copy.name, %error, "a copy is of no use"),
            }
        }
        None
    }

    /// From bytes to a pair that may come into force. One that is in force is not asked again what it was asked lately: it
    /// would only be refused in favour of itself.
    async fn climb(&self, climbing: Climbing<Q>) -> Result<(Arc<Binding<Q>>, Vouched), LoadError> {
        let (engine, slot) = (self.engine.clone(), self.slot.clone());
        let climbed = tokio::task::spawn_blocking(move || {
            let Climbing { bytes, demand, settings, recent } = climbing;
            let (module, vouched) = engine.load_vouched(&bytes, &demand)?;
            let binding = engine.bind(module, &settings)?;
            let now = slot.in_force();
            let same = (now.digest.as_str(), now.settings_json.as_str())
                == (binding.module().digest(), binding.settings_json());
            if !(same && now.source == Source::Configured) {
                engine.rehearse(&binding, &recent)?;
            }
            Ok((binding, vouched))
        });
        climbed.await.unwrap_or_else(|error| Err(LoadError::Compiler { why: error.to_string() }))
    }
}

/// Why what was named is not in force, and what is instead.
pub(super) fn in_words(problem: &Problem, copy: Option<&str>) -> String {
    match copy {
        Some(copy) => format!("{}; running from {copy}", problem.message),
        None => problem.message.clone(),
    }
}

/// What is asked of a copy: that it is the module that was pinned, or that somebody who is trusted signed it. Whoever may
/// write ConfigMaps could have made it, so that a pin does not let another module in.
fn trusted(demand: Demand, pinned: Option<String>, copy: &Kept) -> Demand {
    match (pinned, &copy.signature) {
        (None, _) | (Some(_), Some(_)) => demand,
        (pinned @ Some(_), None) => Demand { digest: pinned, ..demand },
    }
}

/// Why a module was refused, in the words of whoever named it.
fn refused(field: &str, source: &str, error: LoadError) -> Problem {
    let message = match &error {
        LoadError::OtherDigest { .. } => format!("{field}.digest ({source}): {error}"),
        LoadError::WrongSignature { .. } => format!("{field}.signature ({source}): {error}"),
        LoadError::Settings { .. } | LoadError::SettingsCheck(_) | LoadError::DryRun { .. } => {
            format!("{} ({source}): {error}", field.trim_end_matches(".module"))
        }
        _ => format!("{field} ({source}): {error}"),
    };
    Problem { message, passing: error.is_passing() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(signature: Option<&str>) -> Kept {
        let signature = signature.map(ToOwned::to_owned);
        Kept { name: "a".to_owned(), bytes: Vec::new(), settings: json!({}), signature, since: None }
    }

    fn digest(pinned: Option<&str>, signature: Option<&str>) -> Option<String> {
        trusted(Demand::default(), pinned.map(ToOwned::to_owned), &copy(signature)).digest
    }

    #[test]
    fn a_pin_lets_no_copy_in_that_nobody_vouches_for() {
        assert_eq!(digest(None, None), None);
        assert_eq!(digest(Some("sha256:01"), None), Some("sha256:01".to_owned()));
        assert_eq!(digest(Some("sha256:01"), Some("sig")), None, "the signature is verified instead");
    }

    #[test]
    fn a_refusal_names_the_field_that_is_to_be_changed() {
        let field = "spec.policies.primarySelection.module";
        let told = |error| refused(field, "ConfigMap zones key policy.wasm", error).message;
        let other = LoadError::OtherDigest { expected: "sha256:01".to_owned(), found: "sha256:02".to_owned() };
        let told_of_digest = told(other);
        assert!(told_of_digest.starts_with("spec.policies.primarySelection.module.digest (ConfigMap zones key"));
        assert!(told_of_digest.contains("sha256:01") && told_of_digest.contains("sha256:02"));
        let (decision, digest, tried) = ("scaling".to_owned(), "sha256:01".to_owned(), "none".to_owned());
        let wrong = told(LoadError::WrongSignature { decision, digest, tried });
        assert!(wrong.starts_with("spec.policies.primarySelection.module.signature"), "{wrong}");
        let settings = told(LoadError::Settings { path: "zones".to_owned(), message: "none".to_owned() });
        assert!(settings.starts_with("spec.policies.primarySelection (ConfigMap"), "{settings}");
    }
}

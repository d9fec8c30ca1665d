//! Brings the module that a cluster is to have into force, or says why not.
//!
//! Whatever goes wrong with one, the pair that decided before goes on: the one in force, or, where this operator has only
//! just started, the newest copy of what was. A copy has to be as trustworthy as the module would have had to be.

use std::sync::Arc;
use std::time::Duration;

use engine::{Binding, Demand, Engine, LoadError, Source, Vouched};
use objects::api::{MysqlCluster, policy};
use serde_json::{Value, json};
use topology::decision::Question;

use super::copies::{self, Kept, Passed};
use super::fetch::{Fetched, Problem};
use super::wanted::{FIELD, Wanted, enforced};
use super::{Policies, Slot, recent, trust};
use crate::cache::ClusterKey;

/// How long keeping a copy may take.
const KEEPING: Duration = Duration::from_secs(10);

/// What this module brings about.
const DECISION: &str = policy::PRIMARY_SELECTION;

/// What came into force.
pub(super) struct Brought {
    /// Where from, for people.
    pub(super) source: String,
    /// Whose key signed it.
    pub(super) signed_by: Option<String>,
    /// Why it is not what the spec names, if it is not.
    pub(super) problem: Option<Problem>,
    /// The copy that it is, for people, if it is one.
    pub(super) copy: Option<String>,
    /// Whether keeping a copy failed and may succeed later.
    pub(super) copy_is_due: bool,
}

/// A module on its way into force.
struct Climbing {
    bytes: Vec<u8>,
    demand: Demand,
    settings: Value,
    recent: Arc<[(String, Question)]>,
}

impl Policies {
    /// Brings what the spec asks for into force.
    pub(super) async fn bring(
        &self,
        key: &ClusterKey,
        cluster: &MysqlCluster,
        slot: &Arc<Slot>,
    ) -> Result<Brought, Problem> {
        let wanted = enforced(key, cluster, &self.operator);
        if wanted.module.is_none() {
            return self.bring_embedded(slot, wanted.settings).await;
        }
        let recent: Arc<[_]> = recent::questions(&self.client, key, DECISION).await.into();
        let problem = match self.bring_named(key, cluster, slot, &wanted, recent.clone()).await {
            Ok(brought) => return Ok(brought),
            Err(problem) => problem,
        };
        if slot.selection.in_force().source == Source::Configured {
            return Err(problem);
        }
        match self.bring_copy(key, cluster, slot, &wanted, recent).await {
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

    async fn bring_named(
        &self,
        key: &ClusterKey,
        cluster: &MysqlCluster,
        slot: &Arc<Slot>,
        wanted: &Wanted,
        recent: Arc<[(String, Question)]>,
    ) -> Result<Brought, Problem> {
        let Some(reference) = &wanted.module else { return Err(Problem::lasting("no module is named")) };
        let fetched = trust::fetch(&self.client, &self.operator.options, &key.namespace, DECISION, reference).await?;
        let (Fetched { source, bytes, signature, settings }, demand) = fetched;
        let source = if reference.namespace == key.namespace {
            source
        } else {
            format!("{source} of namespace {}", reference.namespace)
        };
        let settings = wanted.settings.clone().or(settings).unwrap_or_else(|| json!({}));
        let climbing = Climbing { bytes: bytes.clone(), demand, settings, recent };
        let (binding, vouched) =
            self.climb(slot, climbing).await.map_err(|error| refused(&reference.field, &source, error))?;
        slot.selection.swap(binding.clone());
        let passed = Passed {
            decision: DECISION,
            binding: &binding,
            bytes: &bytes,
            source: &source,
            signature: signature.as_deref(),
            named: Some(&reference.config_map.name),
        };
        let copy_is_due = self.keep_copy(key, cluster, &passed).await;
        Ok(Brought { source, signed_by: vouched.by, problem: None, copy: None, copy_is_due })
    }

    /// True if it was not kept and may be later.
    async fn keep_copy(&self, key: &ClusterKey, cluster: &MysqlCluster, passed: &Passed<'_>) -> bool {
        match tokio::time::timeout(KEEPING, copies::keep(&self.client, cluster, passed)).await {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                tracing::warn!(cluster = %key, %error, "no copy of the policy in force is kept; it decides all the same");
                error.is_passing()
            }
            Err(_) => true,
        }
    }

    /// The newest copy that can be used.
    async fn bring_copy(
        &self,
        key: &ClusterKey,
        cluster: &MysqlCluster,
        slot: &Arc<Slot>,
        wanted: &Wanted,
        recent: Arc<[(String, Question)]>,
    ) -> Option<(Kept, Vouched)> {
        let pinned = wanted.module.as_ref().and_then(|module| module.digest.clone());
        let demand = trust::demand(&self.client, &self.operator.options, &key.namespace, DECISION).await.ok()?;
        let kept = copies::load(&self.client, cluster, DECISION).await;
        let kept =
            kept.inspect_err(|error| tracing::warn!(cluster = %key, %error, "copies of policies cannot be read"));
        for copy in kept.ok()? {
            let demand = Demand { signature: copy.signature.clone(), ..demand.clone() };
            let demand = trusted(demand, pinned.clone(), &copy);
            let (bytes, settings) = (copy.bytes.clone(), copy.settings.clone());
            let climbing = Climbing { bytes, demand, settings, recent: recent.clone() };
            match self.climb(slot, climbing).await {
                Ok((binding, vouched)) => {
                    slot.selection.swap(binding);
                    tracing::warn!(cluster = %key, name = copy.name, "running from a copy of what was in force");
                    return Some((copy, vouched));
                }
                Err(error) => tracing::warn!(cluster = %key, name = copy.name, %error, "a copy is of no use"),
            }
        }
        None
    }

    /// From bytes to a pair that may come into force. One that is in force is not asked again what it was asked lately: it
    /// would only be refused in favour of itself.
    async fn climb(&self, slot: &Arc<Slot>, climbing: Climbing) -> Result<(Arc<Binding>, Vouched), LoadError> {
        let (engine, slot): (Engine, Arc<Slot>) = (self.engine.clone(), slot.clone());
        let climbed = tokio::task::spawn_blocking(move || {
            let Climbing { bytes, demand, settings, recent } = climbing;
            let (module, vouched) = engine.load_vouched(&bytes, &demand)?;
            let binding = engine.bind(module, &settings)?;
            let now = slot.selection.in_force();
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

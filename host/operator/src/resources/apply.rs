//! Server-side apply, and above all not applying: an apply that changes nothing is still a write.
//!
//! A child is left alone if it has every field that we want. Where the API server writes a value in its own way
//! (1024Mi as 1Gi), or somebody adds to a list, that comparison never agrees; so what we last applied, and what the
//! child looked like right after, is remembered, and nobody fights over it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use objects::api::{MysqlCluster, labels};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::reconcile::Error;
use super::{FIELD_MANAGER, Worker};

/// What was last applied, and what the child looked like right after. Losing it costs one apply.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Child, Applied>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Child {
    cluster: (String, String),
    object: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    digest: String,
    resource_version: Option<String>,
}

impl Memory {
    /// A cluster goes.
    pub fn forget(&self, cluster: &MysqlCluster) {
        let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        self.lock().retain(|child, _| child.cluster != key);
    }

    fn says(&self, child: &Child, applied: &Applied) -> bool {
        self.lock().get(child) == Some(applied)
    }

    fn keep(&self, child: Child, applied: Applied) {
        self.lock().insert(child, applied);
    }

    /// A panic elsewhere leaves the map as whole as it was.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Child, Applied>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Makes a child as wanted, if it is not.
    pub(super) async fn apply<K>(&self, wanted: K, live: Option<&K>) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let (name, namespace) = (wanted.name_any(), wanted.namespace().unwrap_or_default());
        let what = format!("{} {name}", K::kind(&()));
        let cluster = wanted.labels().get(labels::CLUSTER).cloned().unwrap_or_default();
        let child = Child { cluster: (namespace.clone(), cluster), object: what.clone() };
        let (wanted, digest) = with_digest(&wanted);
        if let Some(live) = live {
            let standing = Applied { digest: digest.clone(), resource_version: live.resource_version() };
            if covers(&wanted, &serde_json::to_value(live).unwrap_or_default()) || self.applied.says(&child, &standing)
            {
                return Ok(());
            }
        }
        let api: Api<K> = Api::namespaced(self.context.client.clone(), &namespace);
        let applied = api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&wanted)).await;
        let applied = applied.map_err(|source| Error::Write { what: what.clone(), source })?;
        tracing::info!(object = what, namespace, "applied");
        self.applied.keep(child, Applied { digest, resource_version: applied.resource_version() });
        Ok(())
    }
}

/// The child as it is sent, with a digest of itself as an annotation: a field that is no longer wanted shows only by
/// what was wanted before.
fn with_digest<K: Serialize>(wanted: &K) -> (Value, String) {
    // These types are maps with text keys, numbers and text; all of them can be written as JSON.
    let mut wanted = serde_json::to_value(wanted).unwrap_or_default();
    let digest = hex::encode(&Sha256::digest(wanted.to_string().as_bytes())[..8]);
    if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        annotations[labels::APPLIED] = Value::String(digest.clone());
    }
    (wanted, digest)
}

/// Whether the live object has everything that is wanted. What else it has is the API server's, or somebody else's.
fn covers(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().all(|(key, wanted)| match live.get(key) {
            Some(live) => covers(wanted, live),
            None => is_nothing(wanted),
        }),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| covers(wanted, live))
        }
        (wanted, live) => wanted == live,
    }
}

/// The API server leaves out what is empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use objects::validate::ValidatedCluster;
    use serde_json::json;

    use super::super::dereference::tests::{applied, shop, smallest};
    use super::*;

    /// The StatefulSet as the API server has it after an apply: with defaults, a status and our annotation.
    fn live() -> (Value, Value) {
        let set = applied(&smallest()).stateful_set.unwrap();
        let (wanted, _) = with_digest(&set);
        let mut live = wanted.clone();
        live["metadata"]["resourceVersion"] = json!("7");
        live["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
        live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
        live["status"] = json!({"replicas": 3});
        (wanted, live)
    }

    #[test]
    fn what_the_api_server_adds_is_no_difference() {
        let (wanted, live) = live();
        assert!(covers(&wanted, &live));
    }

    #[test]
    fn what_a_person_changes_is_a_difference() {
        let (wanted, live) = live();
        for (path, value) in [
            ("/spec/replicas", json!(1)),
            ("/spec/updateStrategy/type", json!("RollingUpdate")),
            ("/spec/template/spec/containers/0/image", json!("mine")),
            ("/metadata/labels/grampus.dev~1cluster", json!("other")),
        ] {
            let mut edited = live.clone();
            *edited.pointer_mut(path).unwrap() = value;
            assert!(!covers(&wanted, &edited), "{path}");
        }
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_is_a_difference() {
        let before = shop(r#"{"storage": {"size": "1Gi"}, "scheduling": {"priorityClassName": "high"}}"#);
        let (before, _) = with_digest(&applied(&before).stateful_set.unwrap());
        let (now, _) = with_digest(&applied(&smallest()).stateful_set.unwrap());
        assert!(!covers(&now, &before), "only the digest tells");
    }

    #[test]
    fn the_same_spec_gives_the_same_digest() {
        let digest = |cluster: &ValidatedCluster| with_digest(&applied(cluster).stateful_set.unwrap()).1;
        assert_eq!(digest(&smallest()), digest(&smallest()));
        assert_ne!(digest(&smallest()), digest(&shop(r#"{"replicas": 5, "storage": {"size": "1Gi"}}"#)));
    }
}

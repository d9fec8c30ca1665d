//! Fetches a module from the ConfigMap that somebody names, or says in their words why it cannot.
//!
//! Read from the API server when it is needed; nothing keeps the bytes.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};
use objects::api::{ConfigMapKey, labels, policy};
use serde_json::Value;

/// A module that somebody names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reference {
    /// Where it is named: `spec.policies.primarySelection.module`.
    pub(super) field: String,
    /// The namespace of the ConfigMap.
    pub(super) namespace: String,
    /// The ConfigMap and the key.
    pub(super) config_map: ConfigMapKey,
    /// The digest it has to have.
    pub(super) digest: Option<String>,
    /// The signature that was given with it.
    pub(super) signature: Option<String>,
}

/// A module as it was fetched.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    /// Where from, for people.
    pub(super) source: String,
    /// The module, however it is packed.
    pub(super) bytes: Vec<u8>,
    /// Its signature, from wherever it was given.
    pub(super) signature: Option<String>,
    /// Settings that lie beside it.
    pub(super) settings: Option<Value>,
}

/// Why a module is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// For people.
    pub(super) message: String,
    /// Whether another try may end otherwise though nothing changes.
    pub(super) passing: bool,
}

impl Problem {
    /// One that stays until somebody changes something.
    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), passing: false }
    }

    /// One that may go away by itself.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), passing: true }
    }
}

/// The module that a reference names.
pub(super) async fn fetch(client: &Client, decision: &str, wanted: &Reference) -> Result<Fetched, Problem> {
    let Reference { field, namespace, config_map, signature, .. } = wanted;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let (name, field) = (&config_map.name, format!("{field}.configMap"));
    let read = maps.get_opt(name).await;
    let map = read.map_err(|error| Problem::passing(format!("{field}: reading ConfigMap {name}: {error}")))?;
    let map = map.ok_or_else(|| {
        let label = labels::POLICY;
        Problem::lasting(format!(
            "{field}.name: there is no ConfigMap {name} in namespace {namespace}; create it, labelled {label}"
        ))
    })?;
    open(&field, decision, config_map, signature.as_ref(), map)
}

/// What a ConfigMap has of a module.
fn open(
    field: &str,
    decision: &str,
    wanted: &ConfigMapKey,
    signature: Option<&String>,
    map: ConfigMap,
) -> Result<Fetched, Problem> {
    let (name, label) = (&wanted.name, labels::POLICY);
    // A rollback names a copy.
    if !map.labels().contains_key(label) && !map.labels().contains_key(labels::POLICY_COPY) {
        return Err(Problem::lasting(format!(
            "{field}.name: ConfigMap {name} lacks the label {label}; run: kubectl label configmap {name} {label}={decision}"
        )));
    }
    let key = wanted.key.as_deref().unwrap_or(policy::MODULE);
    let settings = map.data.as_ref().and_then(|data| data.get(policy::SETTINGS)).map(|text| serde_json::from_str(text));
    let settings = settings.transpose().map_err(|error| {
        Problem::lasting(format!("{field}: {} of ConfigMap {name} is no JSON: {error}", policy::SETTINGS))
    })?;
    let signature = signature.or_else(|| map.annotations().get(labels::MODULE_SIGNATURE)).cloned();
    let mut binary = map.binary_data.unwrap_or_default();
    let Some(bytes) = binary.remove(key) else {
        let keys: Vec<_> = binary.keys().map(String::as_str).collect();
        let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
        return Err(Problem::lasting(format!(
            "{field}.key: ConfigMap {name} has no {key} in its binaryData (there: {keys})"
        )));
    };
    Ok(Fetched { source: format!("ConfigMap {name} key {key}"), bytes: bytes.0, signature, settings })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use kube::api::ObjectMeta;

    use super::*;

    fn map(label: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                labels: Some([(label.to_owned(), policy::PRIMARY_SELECTION.to_owned())].into()),
                annotations: Some([(labels::MODULE_SIGNATURE.to_owned(), "of the annotation".to_owned())].into()),
                ..ObjectMeta::default()
            },
            binary_data: Some([(policy::PACKED.to_owned(), ByteString(vec![1]))].into()),
            data: Some([(policy::SETTINGS.to_owned(), r#"{"zones": ["a"]}"#.to_owned())].into()),
            ..ConfigMap::default()
        }
    }

    fn opened(key: Option<&str>, signature: Option<&String>, map: ConfigMap) -> Result<Fetched, Problem> {
        let wanted = ConfigMapKey { name: "zones".to_owned(), key: key.map(ToOwned::to_owned) };
        open("spec.x.configMap", "scaling", &wanted, signature, map)
    }

    #[test]
    fn a_module_comes_with_what_lies_beside_it_and_the_signature_of_whoever_names_it_counts_first() {
        let key = Some(policy::PACKED);
        let fetched = opened(key, None, map(labels::POLICY)).unwrap();
        assert_eq!(fetched.signature.as_deref(), Some("of the annotation"));
        assert_eq!(fetched.settings, Some(serde_json::json!({"zones": ["a"]})));
        let own = "of the spec".to_owned();
        assert_eq!(opened(key, Some(&own), map(labels::POLICY_COPY)).unwrap().signature, Some(own), "a rollback");
        let wrong = opened(None, None, map(labels::POLICY)).unwrap_err().message;
        assert!(wrong.starts_with("spec.x.configMap.key") && wrong.contains("there: policy.wasm.zst"), "{wrong}");
        let wrong = opened(key, None, map("app")).unwrap_err().message;
        assert!(wrong.contains("kubectl label configmap zones grampus.dev/policy=scaling"), "{wrong}");
    }
}

//! Fetches a module from the ConfigMap that a spec names, or says in the words of that spec why it cannot.
//!
//! Read from the API server when it is needed; nothing keeps the bytes.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};
use objects::api::{ConfigMapKey, labels};

use crate::cache::ClusterKey;

/// The key of a module in its ConfigMap where the spec names none.
const DEFAULT_KEY: &str = "policy.wasm";

/// The bytes of a module that the spec names under `field`.
pub(super) async fn fetch(
    client: &Client,
    key: &ClusterKey,
    wanted: &ConfigMapKey,
    field: &str,
) -> Result<(String, Vec<u8>), String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
    let name = &wanted.name;
    let map = maps.get_opt(name).await.map_err(|error| format!("{field}: reading ConfigMap {name}: {error}"))?;
    let map = map.ok_or_else(|| {
        format!(
            "{field}.name: there is no ConfigMap {name} in namespace {}; create it, labelled {}",
            key.namespace,
            labels::POLICY
        )
    })?;
    if !map.labels().contains_key(labels::POLICY) {
        let label = labels::POLICY;
        return Err(format!(
            "{field}.name: ConfigMap {name} lacks the label {label}; run: kubectl label configmap {name} {label}=primary-selection"
        ));
    }
    let wanted = wanted.key.as_deref().unwrap_or(DEFAULT_KEY);
    let mut binary = map.binary_data.unwrap_or_default();
    match binary.remove(wanted) {
        Some(bytes) => Ok((format!("ConfigMap {name} key {wanted}"), bytes.0)),
        None => {
            let keys: Vec<_> = binary.keys().map(String::as_str).collect();
            let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
            Err(format!("{field}.key: ConfigMap {name} has no {wanted} in its binaryData (there: {keys})"))
        }
    }
}

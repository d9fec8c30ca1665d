//! How the operator proves itself to the agents of a cluster. It reads the Secret that the resources controller
//! keeps and must never make or change one.

use std::sync::Arc;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use objects::api::names;

use crate::cache::ClusterKey;

/// The TLS settings for a cluster's agents, or None while the Secret does not exist yet.
///
/// # Errors
/// The Secret could not be read, lacks a key, or holds something else than it should.
pub async fn client_config(client: &Client, key: &ClusterKey) -> anyhow::Result<Option<Arc<rustls::ClientConfig>>> {
    let name = names::operator_secret(&key.name);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let secret = secrets.get_opt(&name).await.with_context(|| format!("reading Secret {name}"))?;
    let Some(data) = secret.and_then(|secret| secret.data) else { return Ok(None) };
    let part = |part: &str| {
        let bytes = data.get(part).map(|bytes| bytes.0.as_slice());
        bytes.with_context(|| format!("Secret {name} has no key {part}; delete it and it is made anew"))
    };
    let config = wire_client::tls_config(part("ca.crt")?, part("tls.crt")?, part("tls.key")?);
    config.map(Some).with_context(|| format!("Secret {name} holds no usable certificate"))
}

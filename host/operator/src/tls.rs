//! How the operator proves itself to the agents of a cluster. It reads the Secret that the resources controller
//! keeps and must never make or change one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
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

/// How often the Secret of a cluster that is followed is read again: a certificate is replaced months before it runs out.
const READ_AGAIN: Duration = Duration::from_secs(3600);

/// The TLS settings for a cluster's agents, as they are at the moment.
pub type Current = Arc<ArcSwap<rustls::ClientConfig>>;

/// Keeps the TLS settings for a cluster's agents up to date, until it is dropped.
pub struct Kept {
    current: Current,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    /// Keeps these, and those that the Secret holds later. What cannot be read changes nothing.
    pub fn begin(client: Client, key: ClusterKey, first: Arc<rustls::ClientConfig>) -> Self {
        let current = Arc::new(ArcSwap::new(first));
        let task = tokio::spawn(keep(client, key, current.clone()));
        Self { current, task }
    }

    /// The settings, for whoever connects at any time from now on.
    pub fn current(&self) -> Current {
        self.current.clone()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(client: Client, key: ClusterKey, current: Current) {
    let mut tick = tokio::time::interval(READ_AGAIN);
    tick.tick().await;
    loop {
        tick.tick().await;
        match client_config(&client, &key).await {
            Ok(Some(config)) => current.store(config),
            Ok(None) => {}
            Err(why) => tracing::warn!(cluster = %key, "the certificate for agents stays as it is: {why:#}"),
        }
    }
}

//! The topology controller: one task for each cluster, which observes, asks, checks, acts and reports.
//!
//! It moves roles and has pods replaced, and nothing else: children belong to [`crate::resources`]. It must never act
//! on the strength of a status, of a cache alone, or of what it meant to do a moment ago.

mod acceptance;
mod advice;
mod agenda;
mod cluster;
mod disrupt;
mod doubt;
mod endpoints;
mod evict;
mod execute;
#[cfg(test)]
mod fixtures;
mod keep;
mod leads;
mod observe;
mod outlook;
mod publish;
mod record;
mod troubles;
mod turn;
mod verdicts;
mod wanted;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub use self::observe::address_of;
pub use self::publish::Choice;

use crate::Context;
use crate::cache::ClusterKey;

/// Runs a task for every MysqlCluster there is, until told to stop.
pub async fn run(context: Arc<Context>, mut appeared: mpsc::UnboundedReceiver<ClusterKey>, stop: CancellationToken) {
    let mut running: HashMap<ClusterKey, tokio::task::JoinHandle<()>> = HashMap::new();
    while let Some(Some(key)) = stop.run_until_cancelled(appeared.recv()).await {
        let ended = running.get(&key).is_none_or(tokio::task::JoinHandle::is_finished);
        if let Some(object) = context.cache.cluster(&key).filter(|_| ended) {
            let wake = Arc::new(Notify::new());
            context.cache.register(key.clone(), wake.clone());
            let task = cluster::Cluster::new(context.clone(), key.clone(), wake, &object);
            running.insert(key, tokio::spawn(task.run(stop.child_token())));
        }
        running.retain(|_, task| !task.is_finished());
    }
    for (_, task) in running {
        // A task that panicked has already said so.
        let _ = task.await;
    }
}

//! Has the binary logs of clusters archived that ask for it, for as long as this operator leads.
//!
//! Who archives is [`backup::appoint`]'s to say; what is archived is in the store, and agents know it. What is remembered
//! here only spares questions: another operator comes to the same. It must never tell an agent that the primary has
//! executed what an open primary has not said of itself.

mod agents;
mod fulls;
mod judge;
mod keeper;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use objects::api::{Backup, MysqlCluster};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::cache::ClusterKey;

/// How often it is looked for clusters that are to be archived, and each of them is looked at.
const EVERY: Duration = Duration::from_millis(wire::ARCHIVE_ORDER_EVERY_MS);

/// Keeps a task for every cluster that is to be archived until the term ends.
pub(super) async fn run(context: Arc<Context>, term: CancellationToken) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept: HashMap<ClusterKey, JoinHandle<()>> = HashMap::new();
    while term.run_until_cancelled(tick.tick()).await.is_some() {
        kept.retain(|_, task| !task.is_finished());
        for cluster in context.cache.clusters.state() {
            let key = ClusterKey { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() };
            if kept.contains_key(&key) {
                continue;
            }
            if is_wanted(&cluster) {
                kept.insert(key.clone(), tokio::spawn(keeper::run(context.clone(), key, term.clone())));
            } else if !asks_for_it(&cluster) && tell::is_told(&cluster) {
                tell::withdraw(&context, &cluster).await;
            }
        }
    }
    for (_, task) in kept {
        // A task that panicked has already said so.
        let _ = task.await;
    }
}

fn asks_for_it(cluster: &MysqlCluster) -> bool {
    cluster.spec.backup.as_ref().is_some_and(Backup::is_continuous)
}

/// Whether a cluster is to be archived now.
fn is_wanted(cluster: &MysqlCluster) -> bool {
    asks_for_it(cluster) && !cluster.spec.paused && cluster.metadata.deletion_timestamp.is_none()
}

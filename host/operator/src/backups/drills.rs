//! Drills: has the newest backup of a cluster restored to a throw-away cluster, compared and removed, when a schedule or a
//! person asks for it, for as long as this operator leads.
//!
//! What is to be done is [`backup::drill::next`]'s to say, from what agents, the store and the API server say at that
//! moment; any operator goes on where another stopped. It must never change anything about the cluster that is drilled,
//! and never remove a cluster that it did not make.

mod act;
mod due;
mod judge;
mod observe;
mod tell;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt as _};
use objects::api::{MysqlCluster, MysqlOperation, OperationType};
use objects::drill::operation_of;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::cache::ClusterKey;

/// How often drills that are under way are looked at, as backups are.
const EVERY: Duration = super::reconcile::RETRY;

/// How many looks pass between two at schedules: no moment is finer than a minute.
const SCHEDULES: u32 = 5;

/// How many drills are looked at at a time; each waits for agents and a store most of the time.
const CONCURRENCY: usize = 8;

/// Looks after drills until the term ends.
pub(super) async fn run(context: Arc<Context>, term: CancellationToken) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = HashSet::new();
    let mut looks = 0_u32;
    while term.run_until_cancelled(tick.tick()).await.is_some() {
        let drills = drills(&context);
        if looks.is_multiple_of(SCHEDULES) {
            due::ask_for_all(&context, &drills).await;
        }
        looks = looks.wrapping_add(1);
        let looks: Vec<_> =
            first_of_each(&drills).into_iter().map(|drill| act::look(&context, drill).boxed()).collect();
        let looking = futures::stream::iter(looks).buffer_unordered(CONCURRENCY).collect::<Vec<()>>();
        if term.run_until_cancelled(looking).await.is_none() {
            break;
        }
        sweep(&context, &drills).await;
        tell_of_all(&context, &drills, &mut told).await;
    }
    for key in told {
        context.metrics.drill(&key, None);
    }
}

/// Every drill that was asked for, the oldest first.
fn drills(context: &Context) -> Vec<Arc<MysqlOperation>> {
    let mut drills = context.cache.operations.state();
    drills.retain(|operation| operation.spec.kind == OperationType::Drill);
    drills.sort_by_key(|operation| (operation.creation_timestamp(), operation.name_any()));
    drills
}

fn is_open(drill: &MysqlOperation) -> bool {
    let finished = drill.status.as_ref().is_some_and(objects::api::MysqlOperationStatus::is_finished);
    !finished && drill.metadata.deletion_timestamp.is_none()
}

fn key_of(drill: &MysqlOperation) -> ClusterKey {
    ClusterKey { namespace: drill.namespace().unwrap_or_default(), name: drill.spec.cluster.clone() }
}

/// The oldest open one of each cluster: the others wait for it.
fn first_of_each(drills: &[Arc<MysqlOperation>]) -> Vec<Arc<MysqlOperation>> {
    let mut busy = BTreeSet::new();
    drills.iter().filter(|drill| is_open(drill) && busy.insert(key_of(drill))).cloned().collect()
}

/// Removes the throw-away clusters whose drill has ended, or was removed.
async fn sweep(context: &Context, drills: &[Arc<MysqlOperation>]) {
    let open: BTreeSet<_> = drills.iter().filter(|drill| is_open(drill)).filter_map(|drill| drill.uid()).collect();
    for cluster in context.cache.clusters.state() {
        let ended = operation_of(&cluster).is_some_and(|uid| !open.contains(uid));
        if !ended || cluster.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
        let clusters: Api<MysqlCluster> = Api::namespaced(context.client.clone(), &namespace);
        let preconditions = Some(Preconditions { uid: cluster.uid(), resource_version: None });
        let removed = clusters.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
        match removed {
            Ok(_) => tracing::info!(namespace, name, "the throw-away cluster of a drill is removed"),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => tracing::warn!(namespace, name, %error, "a throw-away cluster could not be removed"),
        }
    }
}

/// Says of every cluster what its drills came to.
async fn tell_of_all(context: &Context, drills: &[Arc<MysqlOperation>], told: &mut HashSet<ClusterKey>) {
    let mut present = HashSet::new();
    for cluster in context.cache.clusters.state() {
        let key = ClusterKey { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() };
        let ours: Vec<_> = drills.iter().filter(|drill| key_of(drill) == key).map(AsRef::as_ref).collect();
        let known = judge::known(&cluster, &ours);
        if let Some(known) = &known {
            context.metrics.drill(&key, Some(known.figures()));
            present.insert(key);
        }
        tell::of_cluster(context, &cluster, known, Timestamp::now()).await;
    }
    for gone in told.difference(&present) {
        context.metrics.drill(gone, None);
    }
    *told = present;
}

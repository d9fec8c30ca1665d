//! Removes what nobody wants to keep any longer, where a spec says for how long.
//!
//! What is removed is [`backup::retention`]'s to say, from what lies in the store at that moment: MysqlBackups and what is
//! remembered here only say when to look. It must never remove anything while a cluster is being made from these backups,
//! or that it has not just seen in the store.

mod judge;
mod objects_of;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backup::Store;
use backup::manifest::Origin;
use backup::retention::{Plan, Policy, judge as plan_of};
use backup::store::Patience;
use backup::survey::{Survey, survey};
use backup::sweep::{Swept, sweep};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector;
use objects::api::{Backup, BackupPhase, MysqlBackup, MysqlCluster, Retention};
use objects::validate::{Kept, backup_retention};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::access;
use crate::Context;
use crate::cache::ClusterKey;

/// How often it is looked for clusters whose turn it is.
const LOOK: Duration = Duration::from_secs(15);

/// How long nothing needs to be looked at while nothing happens.
const EVERY: Duration = Duration::from_secs(3_600);

/// When it is tried again after something went wrong.
const RETRY: Duration = Duration::from_secs(300);

/// When it is gone on where there was more to remove than is removed at a time.
const GO_ON: Duration = Duration::from_secs(60);

/// How many objects are removed at a time, but for what belongs to the last backup of them. A busy cluster archives 720 an
/// hour.
const MOST: usize = 1_000;

/// How many clusters are looked at at a time; each waits for a store most of the time.
const AT_ONCE: usize = 4;

/// How patient to be with a store: a list of a busy fortnight takes some seconds.
const STORE: Patience = Patience { retry: Duration::from_secs(30), request: Duration::from_secs(30) };

/// When a cluster was looked at, and what there was.
struct Looked {
    of: Trigger,
    again: Instant,
}

/// What makes it worth to look at once.
#[derive(Debug, Clone, PartialEq)]
struct Trigger {
    retention: Option<Retention>,
    newest: Option<Timestamp>,
}

/// Looks at every cluster now and then, and when a backup of it was made, until the term ends. `seen` are all MysqlBackups.
pub(super) async fn run(context: Arc<Context>, seen: reflector::Store<MysqlBackup>, term: CancellationToken) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked: HashMap<ClusterKey, Looked> = HashMap::new();
    while term.run_until_cancelled(tick.tick()).await.is_some() {
        let clusters = context.cache.clusters.state();
        looked.retain(|key, _| clusters.iter().any(|cluster| key_of(cluster) == *key));
        let due: Vec<_> = clusters
            .iter()
            .filter(|cluster| is_wanted(cluster))
            .map(|cluster| (key_of(cluster), cluster.clone(), trigger(cluster, &seen)))
            .filter(|(key, _, now)| {
                looked.get(key).is_none_or(|before| before.of != *now || before.again <= Instant::now())
            })
            .collect();
        let work = futures::stream::iter(due).map(|(key, cluster, now)| {
            let (context, seen) = (&context, &seen);
            async move { (key, now, look(context, &cluster, seen).await) }
        });
        let work = work.buffer_unordered(AT_ONCE).collect::<Vec<_>>();
        let Some(done) = term.run_until_cancelled(work).await else { break };
        for (key, of, again) in done {
            looked.insert(key, Looked { of, again: Instant::now() + again });
        }
    }
}

fn key_of(cluster: &MysqlCluster) -> ClusterKey {
    ClusterKey { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() }
}

/// Whether something is to be removed, or was to be and is told of still.
fn is_wanted(cluster: &MysqlCluster) -> bool {
    let asked = cluster.spec.backup.as_ref().is_some_and(|backup| backup.retention.is_some());
    let rests = cluster.spec.paused || cluster.metadata.deletion_timestamp.is_some();
    !rests && (asked || tell::is_told(cluster))
}

fn trigger(cluster: &MysqlCluster, seen: &reflector::Store<MysqlBackup>) -> Trigger {
    let finished = objects_of::of(cluster, seen).into_iter().filter_map(|backup| {
        let status = backup.status.as_ref().filter(|status| status.phase == Some(BackupPhase::Succeeded))?;
        Some(status.finished_at.as_ref()?.0)
    });
    Trigger {
        retention: cluster.spec.backup.as_ref().and_then(|backup| backup.retention.clone()),
        newest: finished.max(),
    }
}

/// Looks at one cluster, and says when to look again.
async fn look(context: &Context, cluster: &MysqlCluster, seen: &reflector::Store<MysqlBackup>) -> Duration {
    let Some(backup) = &cluster.spec.backup else {
        tell::withdraw(context, cluster).await;
        return EVERY;
    };
    let kept = match backup_retention(backup) {
        Some(Ok(kept)) => kept,
        // What cannot be read is the resources controller's to tell.
        Some(Err(_)) => return EVERY,
        None => {
            tell::withdraw(context, cluster).await;
            return EVERY;
        }
    };
    // Before the store is looked at, so that what these say is made was there then.
    let made = objects_of::of(cluster, seen);
    let outcome = carry_out(context, cluster, backup, &kept).await;
    let mut again = EVERY;
    let (status, swept) = match outcome {
        Ok(Done { plan, survey, swept, held }) => {
            if swept.more {
                again = GO_ON;
            }
            let mut problem = held.or_else(|| swept.problem.as_ref().map(ToString::to_string));
            if !kept.dry_run {
                let gone = objects_of::gone(cluster, &made, &survey, &swept.fulls);
                problem = problem.or(objects_of::tell(context, cluster, &gone).await.err());
            }
            (judge::status(&plan, &swept, problem), swept)
        }
        Err(why) => (judge::failed(cluster, why), Swept::default()),
    };
    if let Some(problem) = &status.problem {
        again = again.min(RETRY);
        tracing::warn!(cluster = %key_of(cluster), problem, "backups could not be removed");
    }
    if let Some(note) = judge::note(&kept, &swept) {
        tell::removed(context, cluster, note).await;
    }
    if let Err(error) = tell::publish(context, cluster, &status).await {
        tracing::warn!(cluster = %key_of(cluster), %error, "what is kept of backups could not be written");
        again = again.min(RETRY);
    }
    again
}

/// What came of a look.
struct Done {
    plan: Plan,
    survey: Survey,
    swept: Swept,
    /// Why nothing was removed, if nothing was allowed to.
    held: Option<String>,
}

async fn carry_out(context: &Context, cluster: &MysqlCluster, backup: &Backup, kept: &Kept) -> Result<Done, String> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let uid = cluster.uid().ok_or("the cluster has no uid")?;
    let access = access::access(&context.client, &namespace, &backup.store).await.map_err(|why| format!("{why:#}"))?;
    let store = Store::open(&access, STORE).map_err(|why| why.to_string())?;
    let own = Origin { namespace, name, uid };
    let survey = survey(&store, &own).await.map_err(|why| why.to_string())?;
    let policy = Policy { fulls: kept.fulls, window: kept.window };
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
    let plan = plan_of(&policy, &own, &survey.sight, now);
    let held = judge::held(&context.cache.clusters.state(), &own);
    let swept =
        if kept.dry_run || held.is_some() { Swept::default() } else { sweep(&store, &own, &survey, &plan, MOST).await };
    Ok(Done { plan, survey, swept, held: held.filter(|_| !kept.dry_run) })
}

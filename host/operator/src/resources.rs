//! The resources controller: what a cluster's spec asks for is there, and nothing else is touched.
//!
//! It reads in this order: dereference → validate → secrets → children → apply → report. It never decides who leads
//! and never writes an object that is not the cluster's own. While nothing changes it writes nothing.

mod apply;
mod dereference;
mod reconcile;
mod report;
mod secrets;

pub use report::chain;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use objects::api::{MysqlCluster, MysqlTopology, labels};
use objects::children::Installation;
use objects::validate::InstallationDefaults;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Context;

/// The name under which this controller owns fields.
pub const FIELD_MANAGER: &str = "grampus/resources";

/// How long to wait before an API server that failed is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// How long what is under way when a term ends may take to end by itself: longer than a write to an API server that answers.
const GRACE: Duration = Duration::from_secs(5);

/// A cluster as the API server has it, which may be something that this version cannot read.
type Guarded = DeserializeGuard<MysqlCluster>;

/// What is the same for every cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the children need to know.
    pub installation: Installation,
    /// What stands in for what a spec leaves out.
    pub defaults: InstallationDefaults,
}

impl Settings {
    /// The settings that the operator was started with.
    pub fn of(options: &crate::Options) -> Self {
        Self {
            installation: Installation { grampus_image: options.image.clone() },
            defaults: InstallationDefaults { image: options.mysql_image.clone() },
        }
    }
}

/// What every reconcile uses.
struct Worker {
    settings: Settings,
    context: Arc<Context>,
    applied: apply::Memory,
    told: report::Told,
}

/// Writes the children of every cluster whenever this operator leads, until told to stop.
///
/// # Errors
/// When whoever says whether this operator leads is gone.
pub async fn run(settings: Settings, context: Arc<Context>, stop: CancellationToken) -> anyhow::Result<()> {
    let leads = context.leads.clone();
    let shared = Arc::new((settings, context));
    let serve = move |term| {
        let shared = shared.clone();
        async move { serve_term(&shared.0, &shared.1, term).await }
    };
    while_leading(leads, stop, serve).await
}

/// Does something whenever this operator leads, for as long as it does, until told to stop.
///
/// What does not end with its term is dropped: a controller that is shut down before its first list has come, as where a
/// slow etcd makes the Lease change hands every second, waits for that list for ever.
///
/// # Errors
/// When whoever says whether this operator leads is gone.
pub async fn while_leading<F: Future<Output = ()> + Send>(
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
    serve: impl Fn(CancellationToken) -> F + Send,
) -> anyhow::Result<()> {
    in_terms(leads, stop, GRACE, serve).await
}

async fn in_terms<F: Future<Output = ()> + Send>(
    mut leads: watch::Receiver<bool>,
    stop: CancellationToken,
    grace: Duration,
    serve: impl Fn(CancellationToken) -> F + Send,
) -> anyhow::Result<()> {
    while let Some(leading) = stop.run_until_cancelled(async { leads.wait_for(|leads| *leads).await.map(drop) }).await {
        leading?;
        let term = stop.child_token();
        let mut watching = leads.clone();
        let overdue = async {
            // A sender that is gone ends the term, too.
            let _ = term.run_until_cancelled(watching.wait_for(|leads| !*leads)).await;
            term.cancel();
            sleep(grace).await;
        };
        tokio::select! {
            () = serve(term.clone()) => term.cancel(),
            () = overdue => tracing::warn!("what was under way as the term ended is dropped: the next begins without it"),
        }
    }
    Ok(())
}

/// Reconciles until the term ends. What was remembered of the last term may be long out of date.
async fn serve_term(settings: &Settings, context: &Arc<Context>, term: CancellationToken) {
    let worker = Arc::new(Worker {
        settings: settings.clone(),
        context: context.clone(),
        applied: apply::Memory::default(),
        told: report::Told::default(),
    });
    let client = &context.client;
    let all = watcher::Config::default();
    let ours = all.clone().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER));
    let ended = term.clone();
    let voters = Voters::default();
    Controller::new(Api::<Guarded>::all(client.clone()), all.clone())
        .owns(Api::<StatefulSet>::all(client.clone()), ours.clone())
        .owns(Api::<Service>::all(client.clone()), ours.clone())
        .owns(Api::<ConfigMap>::all(client.clone()), ours.clone())
        .owns(Api::<PodDisruptionBudget>::all(client.clone()), ours.clone())
        // A Secret that outlives its cluster has no owner, so its label says whose it is.
        .watches(Api::<Secret>::all(client.clone()), ours, |secret| cluster_of(&secret))
        // Of a record only who votes matters here: whoever does keeps its pod.
        .watches(Api::<MysqlTopology>::all(client.clone()), all, move |topology| voters.changed(&topology))
        .graceful_shutdown_on(ended.cancelled_owned())
        .with_config(Config::default().concurrency(8))
        .run(reconcile::reconcile, |_, _, _| Action::requeue(RETRY), worker)
        .for_each(async |outcome| {
            if let Err(error) = outcome {
                tracing::warn!(error = %report::chain(&error), "a cluster's children could not be brought about");
            }
        })
        .await;
    term.cancel();
}

/// Who voted in each cluster when it was last looked at, so that a change of roles alone makes nobody look.
#[derive(Debug, Default)]
struct Voters(Mutex<HashMap<ObjectRef<MysqlTopology>, Vec<String>>>);

impl Voters {
    fn changed(&self, topology: &MysqlTopology) -> Option<ObjectRef<Guarded>> {
        let names = topology.spec.record.members.iter().map(|member| member.name.clone()).collect();
        let key = ObjectRef::from_obj(topology);
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Vec::clone(&names));
        let namespace = topology.namespace()?;
        (before != Some(names)).then(|| ObjectRef::new(&topology.name_any()).within(&namespace))
    }
}

fn cluster_of(secret: &Secret) -> Option<ObjectRef<Guarded>> {
    let cluster = secret.labels().get(labels::CLUSTER)?;
    Some(ObjectRef::new(cluster).within(&secret.namespace()?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_does_not_end_with_its_term_keeps_no_later_one_from_beginning() {
        let (lead, leads) = watch::channel(true);
        let (stop, terms) = (CancellationToken::new(), AtomicU32::new(0));
        let serving = in_terms(leads, stop.clone(), Duration::from_millis(1), |_| async {
            terms.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        });
        let elections = async {
            for term in 1..=3 {
                while terms.load(Ordering::SeqCst) < term {
                    sleep(Duration::from_millis(1)).await;
                }
                lead.send_replace(false);
                sleep(Duration::from_millis(5)).await;
                lead.send_replace(true);
            }
            stop.cancel();
        };
        let (served, ()) = tokio::join!(serving, elections);
        assert!(served.is_ok() && terms.into_inner() >= 3);
    }
}

//! The operator as Kubernetes sees it: its pods, which of them acts, and what they log.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::processes::{Fingerprint, ProcessFacts};
use crate::{Cluster, Environment, eventually};

/// The namespace that `deploy/operator.yaml` installs into.
pub const OPERATOR_NAMESPACE: &str = "grampus-system";
/// Its Deployment, for kubectl.
pub(crate) const OPERATOR_DEPLOYMENT: &str = "deployment/grampus-operator";
/// Where an operator of the lab looks for the place at which it is to end, in its container.
pub(crate) const FAILURE_POINTS: &str = "/tmp/failure-point";
const DEPLOYMENT: &str = "grampus-operator";
const SELECTOR: &str = "app.kubernetes.io/name=grampus-operator";

/// The operator of the lab.
pub struct Operator<'a> {
    env: &'a Environment,
}

/// One line of the operator's log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// When it was written.
    pub at: jiff::Timestamp,
    /// The pod that wrote it.
    pub pod: String,
    /// Its fields.
    pub fields: Value,
}

impl LogLine {
    /// A field that is a text, or nothing.
    pub fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or("")
    }
}

impl<'a> Operator<'a> {
    /// The operator of this lab.
    pub fn of(env: &'a Environment) -> Self {
        Self { env }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.env.client(), OPERATOR_NAMESPACE)
    }

    /// Its pods that are not on their way out.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = self.api();
        let mut pods = pods.list(&ListParams::default().labels(SELECTOR)).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    /// The fingerprint of one of its pods. The others may be on their way.
    ///
    /// # Errors
    /// The pod does not run.
    pub async fn fingerprint(&self, pod: &str) -> Result<Fingerprint> {
        let pods: Api<Pod> = self.api();
        let pod = pods.get(pod).await.with_context(|| format!("reading pod {pod}"))?;
        Fingerprint::take(&self.env.lab, &pod)
    }

    /// The fingerprints of its pods, sorted by name.
    ///
    /// # Errors
    /// A pod does not run.
    pub async fn fingerprints(&self) -> Result<Vec<Fingerprint>> {
        let pods = self.pods().await?;
        let mut all = pods.iter().map(|pod| Fingerprint::take(&self.env.lab, pod)).collect::<Result<Vec<_>>>()?;
        all.sort_by(|left, right| left.pod.cmp(&right.pod));
        Ok(all)
    }

    /// The pod that acts.
    ///
    /// # Errors
    /// Nobody holds the Lease.
    pub async fn leader(&self) -> Result<String> {
        let leases: Api<Lease> = self.api();
        let leases = leases.list(&ListParams::default()).await?.items;
        let holder =
            leases.into_iter().filter_map(|lease| lease.spec?.holder_identity).find(|holder| !holder.is_empty());
        holder.context("no operator holds the Lease")
    }

    /// Moves a cluster's primary to the node of the operator that acts, or away from it.
    ///
    /// # Errors
    /// No member is in such a place, or the switchover failed.
    pub async fn place_primary(&self, cluster: &Cluster, beside: bool) -> Result<()> {
        let leader = self.leader().await?;
        let pods = self.pods().await?;
        let pod = pods.into_iter().find(|pod| pod.name_any() == leader).context("the operator that acts has no pod")?;
        let node = pod.spec.and_then(|spec| spec.node_name).context("its pod has no node")?;
        let (primary, mut there) = (cluster.primary().await?, Vec::new());
        for member in cluster.record().await?.members {
            if (cluster.node_of(&member.name).await? == node) == beside {
                there.push(member.name);
            }
        }
        if there.contains(&primary) {
            return Ok(());
        }
        let member = there.first().with_context(|| format!("no member is in such a place; {leader} is on {node}"))?;
        cluster.switchover(Some(member)).await?.succeeded().map(drop)
    }

    /// Deletes one of its pods at once, as a node that fails would.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn delete_pod(&self, pod: &str) -> Result<()> {
        let pods: Api<Pod> = self.api();
        pods.delete(pod, &DeleteParams::default().grace_period(0))
            .await
            .with_context(|| format!("deleting pod {pod}"))?;
        Ok(())
    }

    /// Lets one of its pods end when it next passes a place in the middle of a failover, and gives its process.
    ///
    /// # Errors
    /// The pod does not run.
    pub async fn end_at(&self, pod: &str, point: &str) -> Result<ProcessFacts> {
        let process = self.fingerprint(pod).await?.first;
        let file = format!("/proc/{}/root{FAILURE_POINTS}", process.pid);
        std::fs::write(&file, point).with_context(|| format!("writing {file}"))?;
        Ok(process)
    }

    /// Sets how many there are and waits until so many run. The pods themselves are asked, since the Deployment goes on
    /// counting for a moment one that was just deleted.
    ///
    /// # Errors
    /// It did not become so.
    pub async fn scale(&self, replicas: i32) -> Result<()> {
        let deployments: Api<Deployment> = self.api();
        let patch = serde_json::json!({ "spec": { "replicas": replicas } });
        deployments.patch(DEPLOYMENT, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        eventually(&format!("{replicas} operators"), Duration::from_secs(90), || async {
            let pods = self.pods().await?;
            let as_wanted = pods.len() == usize::try_from(replicas)? && pods.iter().all(is_ready);
            Ok(as_wanted.then_some(()))
        })
        .await
    }

    /// What all its pods logged since then, in order of time.
    ///
    /// # Errors
    /// The pods could not be listed. A pod whose log is not to be had is left out.
    pub async fn log_since(&self, since: jiff::Timestamp) -> Result<Vec<LogLine>> {
        let api: Api<Pod> = self.api();
        let pods = self.pods().await?;
        // The API takes whole seconds, and may round up: what is too early is left out below.
        let asked = since - jiff::SignedDuration::from_secs(1);
        let params = LogParams { since_time: Some(asked), ..LogParams::default() };
        let logs = join_all(pods.iter().map(|pod| {
            let (api, params, name) = (&api, &params, pod.name_any());
            async move { (api.logs(&name, params).await.unwrap_or_default(), name) }
        }));
        let mut lines: Vec<LogLine> = logs
            .await
            .into_iter()
            .flat_map(|(text, pod)| text.lines().filter_map(|line| parse(line, &pod)).collect::<Vec<_>>())
            .filter(|line| line.at >= since)
            .collect();
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn parse(line: &str, pod: &str) -> Option<LogLine> {
    let fields: Value = serde_json::from_str(line).ok()?;
    let at = fields["timestamp"].as_str()?.parse().ok()?;
    Some(LogLine { at, pod: pod.to_owned(), fields })
}

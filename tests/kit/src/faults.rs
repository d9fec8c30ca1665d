//! What is done to a cluster to see it survive. Each fault says when it happened; none ends a process that is not
//! in the pod it is meant for.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use crate::Cluster;
use crate::processes::Fingerprint;

impl Cluster {
    /// SIGKILL for the mysqld of a pod; the agent lives. Gives the moment.
    ///
    /// # Errors
    /// The pod runs no mysqld.
    pub async fn kill_mysqld(&self, pod: &str) -> Result<Instant> {
        let found = self.fingerprint(pod).await?;
        let mysqld = found.mysqld.with_context(|| format!("pod {pod} runs no mysqld to kill"))?;
        sigkill(mysqld.pid)
    }

    /// SIGKILL for the first process of a pod's container, with which everything in it ends. Gives the moment.
    ///
    /// # Errors
    /// The pod does not run.
    pub async fn kill_container(&self, pod: &str) -> Result<Instant> {
        sigkill(self.fingerprint(pod).await?.first.pid)
    }

    /// Deletes a pod as `kubectl delete pod` does. Gives the moment.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn delete_pod(&self, pod: &str) -> Result<Instant> {
        let pods: Api<Pod> = self.api();
        let now = Instant::now();
        pods.delete(pod, &DeleteParams::default()).await.with_context(|| format!("deleting pod {pod}"))?;
        Ok(now)
    }

    /// Takes the power from the node of a pod. Gives the node's name and the moment.
    ///
    /// # Errors
    /// The pod is on no node, or the node did not go off.
    pub async fn crash_node_of(&self, pod: &str) -> Result<(String, Instant)> {
        let node = self.node_of(pod).await?;
        let now = Instant::now();
        self.env().lab.node(&node)?.crash()?;
        Ok((node, now))
    }

    /// Gives a node its power back and waits until Kubernetes trusts it.
    ///
    /// # Errors
    /// It did not become Ready.
    pub fn return_node(&self, node: &str) -> Result<()> {
        let node = self.env().lab.node(node)?;
        node.start()?;
        node.wait_ready(Duration::from_secs(90))
    }

    /// The fingerprint of one pod.
    ///
    /// # Errors
    /// The pod does not run.
    pub async fn fingerprint(&self, pod: &str) -> Result<Fingerprint> {
        let pods: Api<Pod> = self.api();
        let pod = pods.get(pod).await.with_context(|| format!("reading pod {pod}"))?;
        Fingerprint::take(&self.env().lab, &pod)
    }

    /// The node of a pod.
    ///
    /// # Errors
    /// It is on none.
    pub async fn node_of(&self, pod: &str) -> Result<String> {
        let pods: Api<Pod> = self.api();
        let object = pods.get(pod).await.with_context(|| format!("reading pod {pod}"))?;
        object.spec.and_then(|spec| spec.node_name).with_context(|| format!("pod {pod} is on no node"))
    }
}

fn sigkill(pid: i32) -> Result<Instant> {
    let now = Instant::now();
    signal(pid, Signal::SIGKILL)?;
    Ok(now)
}

/// Signals a process by its number as this computer counts.
pub(crate) fn signal(pid: i32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot signal process {pid}: this needs root"))
}

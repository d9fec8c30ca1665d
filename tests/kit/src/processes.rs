//! Finds the processes behind pods: which one is PID 1, which one is mysqld, and since when.
//!
//! A node's processes are processes of this computer, so they are read from /proc, where nobody has to be asked.
//! A process is always found by its container, never by its name alone.

use std::fs;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use lab::Lab;

/// One process, so that another with the same number is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Its number as this computer counts.
    pub pid: i32,
    /// When it started, in clock ticks since this computer did.
    pub started: u64,
}

impl ProcessFacts {
    /// Whether it still is that process.
    pub fn is_there(self) -> bool {
        facts(self.pid) == Some(self)
    }
}

/// Everything by which a restart would show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The pod.
    pub pod: String,
    /// Its identity: another if it was made anew.
    pub uid: String,
    /// The container's identity: another after each start.
    pub container: String,
    /// How often the kubelet restarted the container.
    pub restarts: i32,
    /// The first process of the container: the agent, or the operator.
    pub first: ProcessFacts,
    /// mysqld, where there is one.
    pub mysqld: Option<ProcessFacts>,
}

impl Fingerprint {
    /// The fingerprint of a pod's only container.
    ///
    /// # Errors
    /// The pod does not run.
    pub fn take(lab: &Lab, pod: &Pod) -> Result<Self> {
        let name = pod.name_any();
        let (container, restarts) = container(pod).with_context(|| format!("pod {name} has no running container"))?;
        let processes = of_container(lab, pod, &container)?;
        let first = processes.iter().copied().find(|pid| is_first(*pid));
        let mysqld = processes.iter().copied().filter(|pid| is_mysqld(*pid)).filter_map(facts).next();
        Ok(Self {
            uid: pod.uid().unwrap_or_default(),
            first: first.and_then(facts).with_context(|| format!("pod {name} has no first process"))?,
            pod: name,
            container,
            restarts,
            mysqld,
        })
    }
}

/// The container that runs, and how often it was restarted.
fn container(pod: &Pod) -> Option<(String, i32)> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.first()?;
    let id = status.container_id.as_ref()?.strip_prefix("containerd://")?;
    Some((id.to_owned(), status.restart_count))
}

fn of_container(lab: &Lab, pod: &Pod, container: &str) -> Result<Vec<i32>> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = lab.node(node.with_context(|| format!("pod {} is on no node", pod.name_any()))?)?;
    let mut processes = node.processes()?;
    // A container's id is part of the path of its control group.
    processes
        .retain(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(container)));
    Ok(processes)
}

/// Whether it is the first process of its PID namespace.
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.and_then(|numbers| numbers.split_whitespace().last()) == Some("1")
}

fn is_mysqld(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "mysqld")
}

fn facts(pid: i32) -> Option<ProcessFacts> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; the fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let dead = matches!(fields.first(), Some(&"Z" | &"X"));
    let started = fields.get(19)?.parse().ok()?;
    (!dead).then_some(ProcessFacts { pid, started })
}

//! Gathers one snapshot. Everything here copies what is known; nothing is asked over the network and nothing is
//! concluded.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use objects::api::labels;
use topology::decision::NodePressure;
use topology::readers::{ReaderView, Readers};
use topology::snapshot::{MemberView, OtherVersion, PodFacts, Probe, Snapshot};

use super::cluster::Cluster;
use super::wanted::Wanted;
use crate::agents::Seen;
use crate::ownership::controller_of;

/// The label of a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// How far the clocks of two API servers may be apart: more than any that still agree who holds a Lease, and less than the
/// age of the pods of a cluster that was worth keeping.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(10);

/// One cluster at this moment.
pub fn observe(cluster: &Cluster, wanted: Wanted) -> Snapshot {
    let desired = wanted.members;
    let record = cluster.record.as_ref().map(|versioned| versioned.record.clone());
    let mut names: BTreeSet<(u32, String)> = BTreeSet::new();
    for ordinal in 0..desired.replicas {
        names.insert((ordinal, objects::api::names::member(&cluster.key.name, ordinal)));
    }
    for member in record.iter().flat_map(|record| &record.members) {
        names.insert((ordinal_of(&member.name), member.name.clone()));
    }
    let members = names.into_iter().map(|(ordinal, name)| view(cluster, ordinal, name)).collect();
    Snapshot {
        namespace: cluster.key.namespace.clone(),
        cluster: cluster.key.name.clone(),
        now_unix_ms: unix_ms(jiff::Timestamp::now()),
        record_unchanged_ms: millis(cluster.record_seen.elapsed()),
        record_is_ours: cluster.record_is_ours(),
        record,
        desired,
        members,
        readers: readers(cluster, wanted),
        switchover: cluster.agenda.switchover(),
        rebuild: cluster.agenda.rebuild(),
        accept_loss: cluster.agenda.accept_loss(),
        contradicted_ms: cluster.doubt.contradicted_ms(tokio::time::Instant::now()),
        restart: cluster.agenda.restart(),
        pace: cluster.pace(),
        without_primary_ms: cluster.without_primary.map_or(0, |since| millis(since.elapsed())),
        change_barrier: cluster.change_barrier.clone(),
        drain_failed_ms: cluster.drain_failed.map(|at| millis(at.elapsed())),
        ended_leads: cluster.leads.seen(tokio::time::Instant::now()),
    }
}

/// The readers that should be. One that is being scaled away is not among them any more, so nobody is sent to it.
fn readers(cluster: &Cluster, wanted: Wanted) -> Readers {
    let views = (0..wanted.readers.count).map(|ordinal| {
        let name = objects::api::names::reader(&cluster.key.name, ordinal);
        let may_copy = cluster.may_copy(&name);
        ReaderView::new(view(cluster, ordinal, name), may_copy)
    });
    Readers { delay_s: wanted.readers.delay_s, max_lag_s: wanted.readers.max_lag_s, views: views.collect() }
}

fn view(cluster: &Cluster, ordinal: u32, name: String) -> MemberView {
    let pod = cluster.context.cache.pod(&cluster.key.namespace, &name);
    // A cluster may be named as another's read replicas are.
    let pod = pod.filter(|pod| is_of(pod, cluster));
    let mut other_version = None;
    let probe = match cluster.links.get(&name).map(crate::agents::Link::seen) {
        None | Some(Seen::NotProbed) => Probe::NotProbed,
        Some(Seen::Known { report, at, since }) => Probe::Known {
            report: Box::new((*report).clone()),
            age_ms: millis(at.elapsed()),
            connected_ms: millis(since.elapsed()),
        },
        Some(Seen::Unreachable { since, tried, error, other_version: theirs }) => {
            other_version = theirs.map(|agent| OtherVersion { agent, operator: wire::WIRE_VERSION });
            Probe::Unreachable { for_ms: millis(since.elapsed()), tried_ms: millis(tried.elapsed()), error }
        }
    };
    let available = cluster.is_available(&name);
    MemberView {
        pod: pod.map(|pod| pod_facts(cluster, &pod)),
        probe,
        signals: cluster.links.get(&name).and_then(crate::agents::Link::measured),
        available,
        trouble_ms: 0,
        other_version,
        ordinal,
        name,
    }
}

fn pod_facts(cluster: &Cluster, pod: &Pod) -> PodFacts {
    let node_name = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let node = cluster.context.cache.nodes.get(&ObjectRef::new(&node_name));
    PodFacts {
        ip: address_of(pod).unwrap_or_default(),
        zone: node.as_ref().and_then(|node| node.labels().get(ZONE).cloned()).unwrap_or_default(),
        node_ready: node.as_ref().is_some_and(is_ready),
        node_cordoned: node
            .as_ref()
            .is_some_and(|node| node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)),
        node_pressure: node.as_ref().map(|node| pressure(node)).unwrap_or_default(),
        storage_class: claim_of(cluster, pod)
            .and_then(|claim| Some(claim.spec.as_ref()?.storage_class_name.clone().unwrap_or_default())),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        uid: pod.uid().unwrap_or_default(),
        created_unix_ms: pod.creation_timestamp().map_or(0, |time| unix_ms(time.0)),
        pending: pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending"),
        outdated: set_of(cluster).and_then(|set| objects::children::outdated(&set, pod)),
        labels: pod.labels().iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        node: node_name,
    }
}

/// The claim of a pod's volume, if the watch has shown it.
fn claim_of(cluster: &Cluster, pod: &Pod) -> Option<Arc<PersistentVolumeClaim>> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    // The data is the only volume that a pod claims.
    let name = &volumes.iter().find_map(|volume| volume.persistent_volume_claim.as_ref())?.claim_name;
    cluster.context.cache.claims.get(&ObjectRef::new(name).within(&cluster.key.namespace))
}

/// The StatefulSet of the voting members.
fn set_of(cluster: &Cluster) -> Option<Arc<StatefulSet>> {
    cluster.context.cache.sets.get(&ObjectRef::new(&cluster.key.name).within(&cluster.key.namespace))
}

/// Milliseconds since 1970.
pub fn unix_ms(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

/// Whether a pod is one of this cluster's.
pub fn is_of(pod: &Pod, cluster: &Cluster) -> bool {
    pod.labels().get(labels::CLUSTER) == Some(&cluster.key.name)
        && pod.namespace().as_deref() == Some(cluster.key.namespace.as_str())
        && (!is_older(pod, cluster.made) || is_held(pod, cluster))
}

/// Whether a pod belongs to one of this cluster's StatefulSets, as one does that was there before and was adopted.
fn is_held(pod: &Pod, cluster: &Cluster) -> bool {
    let Some(holder) = controller_of(pod) else { return false };
    let set = cluster.context.cache.sets.get(&ObjectRef::new(&holder.name).within(&cluster.key.namespace));
    set.is_some_and(|set| {
        let ours = controller_of(&*set).map(|owner| owner.uid.as_str()) == cluster.uid.as_deref();
        ours && set.uid().as_deref() == Some(holder.uid.as_str())
    })
}

/// Whether a pod was there before the cluster: what a deleted one of the same name has left. It ends by itself, and until
/// then it is nobody to ask, because the volumes that it runs on need not be this cluster's.
fn is_older(pod: &Pod, than: Option<jiff::Timestamp>) -> bool {
    let made = pod.creation_timestamp().map(|made| made.0);
    made.zip(than).is_some_and(|(made, than)| made.duration_until(than) > CLOCKS_DIFFER)
}

/// A pod's address, once it has one.
pub fn address_of(pod: &Pod) -> Option<String> {
    pod.status.as_ref().and_then(|status| status.pod_ip.clone()).filter(|address| !address.is_empty())
}

/// What a node's own conditions say. One that it does not know, as where its kubelet is silent, is unknown.
fn pressure(node: &Node) -> NodePressure {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let says = |kind: &str| {
        let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
        match condition.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        }
    };
    NodePressure { memory: says("MemoryPressure"), disk: says("DiskPressure"), pid: says("PIDPressure") }
}

fn is_ready(node: &Arc<Node>) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The number at the end of a pod's name.
pub fn ordinal_of(name: &str) -> u32 {
    name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_was_there_before_its_cluster_is_somebody_elses() {
        let pod = |made: &str| -> Pod {
            serde_json::from_value(serde_json::json!({ "metadata": { "creationTimestamp": made } })).unwrap()
        };
        let cluster: jiff::Timestamp = "2026-11-28T04:00:30Z".parse().unwrap();
        assert!(is_older(&pod("2026-11-28T04:00:00Z"), Some(cluster)));
        assert!(!is_older(&pod("2026-11-28T04:00:25Z"), Some(cluster)), "another API server's clock");
        assert!(!is_older(&pod("2026-11-28T04:01:00Z"), Some(cluster)));
        assert!(!is_older(&Pod::default(), Some(cluster)) && !is_older(&pod("2026-11-28T04:00:00Z"), None));
    }

    #[test]
    fn a_node_is_short_of_what_it_says_and_of_nothing_that_it_does_not_know() {
        let node: Node = serde_json::from_value(serde_json::json!({ "status": { "conditions": [
            { "type": "MemoryPressure", "status": "True" }, { "type": "DiskPressure", "status": "False" },
            { "type": "PIDPressure", "status": "Unknown" },
        ]}}))
        .unwrap();
        assert_eq!(pressure(&node), NodePressure { memory: Some(true), disk: Some(false), pid: None });
        assert_eq!(pressure(&Node::default()), NodePressure::default());
    }
}

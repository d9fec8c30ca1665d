//! Points the Services at members: the EndpointSlices of `-primary` and `-replicas`, and the pods' role labels.
//!
//! A slice carries the epoch it was written in. This module must never replace a slice of a later epoch: an
//! operator that slept through a failover would send writers to the old primary.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use objects::api::{labels, names};
use topology::reading::{Readable, readable};
use topology::snapshot::Snapshot;

use crate::cache::{Cache, ClusterKey};

/// The epoch in which a slice was written.
const EPOCH: &str = "grampus.dev/epoch";

/// The EndpointSlices and labels of one cluster.
pub struct Endpoints {
    client: Client,
    key: ClusterKey,
    /// What was last written: nothing is written twice.
    written: HashMap<String, (u64, Vec<String>)>,
    /// Who was read from last: whoever is in may lag further than whoever is not.
    read_from: BTreeSet<String>,
}

impl Endpoints {
    /// Nothing written yet.
    pub fn new(client: Client, key: &ClusterKey) -> Self {
        Self { client, key: key.clone(), written: HashMap::new(), read_from: BTreeSet::new() }
    }

    /// Sends writers to this member, and readers to whoever may be read from; to the primary where nobody may. Whether
    /// the writers go somewhere else than before.
    pub async fn point_at(&mut self, snapshot: &Snapshot, primary: &str) -> anyhow::Result<bool> {
        let Some(record) = &snapshot.record else { return Ok(false) };
        let Some(leader) = snapshot.member(primary) else { return Ok(false) };
        let Some(pod) = &leader.pod else { return Ok(false) };
        let leader_alone = vec![Readable { name: &leader.name, pod }];
        let moved = self.write(names::primary_service(&self.key.name), record.epoch, &leader_alone).await?;
        let fit = readable(snapshot, record, leader, &self.read_from);
        self.read_from = fit.iter().map(|one| one.name.to_owned()).collect();
        let readers = if fit.is_empty() { leader_alone } else { fit };
        self.write(names::replicas_service(&self.key.name), record.epoch, &readers).await?;
        Ok(moved)
    }

    /// Whether it was written with other members than before.
    async fn write(&mut self, name: String, epoch: u64, members: &[Readable<'_>]) -> anyhow::Result<bool> {
        let mut addresses: Vec<_> = members.iter().map(|member| member.pod.ip.clone()).collect();
        addresses.sort();
        if addresses.iter().any(String::is_empty) || self.written.get(&name) == Some(&(epoch, addresses.clone())) {
            return Ok(false);
        }
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let current = api.get_opt(&name).await?;
        let wanted = slice(&self.key, &name, epoch, members);
        let moved = current.as_ref().is_some_and(|current| current.endpoints != wanted.endpoints);
        match current {
            None => {
                let mut wanted = wanted;
                wanted.metadata.owner_references = self.owner().await?;
                api.create(&PostParams::default(), &wanted).await?;
            }
            Some(current) if epoch_of(&current) > epoch => {
                anyhow::bail!(
                    "EndpointSlice {name} was written in a later epoch than {epoch}; the record is read again"
                );
            }
            Some(mut current) => {
                if current.endpoints != wanted.endpoints || epoch_of(&current) != epoch {
                    current.endpoints = wanted.endpoints;
                    current.ports = wanted.ports;
                    current.annotations_mut().insert(EPOCH.to_owned(), epoch.to_string());
                    // The resourceVersion that was read goes along.
                    api.replace(&name, &PostParams::default(), &current).await?;
                    tracing::info!(cluster = %self.key, slice = name, epoch, addresses = addresses.join(","), "pointed");
                }
            }
        }
        self.written.insert(name, (epoch, addresses));
        Ok(moved)
    }

    /// The record owns the slices, so that they go when the cluster goes.
    async fn owner(
        &self,
    ) -> anyhow::Result<Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>>> {
        let clusters: Api<objects::api::MysqlCluster> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let cluster = clusters.get(&self.key.name).await?;
        Ok(kube::Resource::controller_owner_ref(&cluster, &()).map(|owner| vec![owner]))
    }

    /// Writes each pod's role where the pod does not carry it yet. A label is a convenience: when it cannot be
    /// written the next pass tries again.
    pub async fn label(&self, snapshot: &Snapshot, cache: &Cache) {
        let Some(record) = &snapshot.record else { return };
        let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let open = super::cluster::open_primary(snapshot);
        for member in &snapshot.members {
            let Some(pod) = cache.pod(&self.key.namespace, &member.name) else { continue };
            let role = if open == Some(member.name.as_str()) {
                "primary"
            } else if member.name != record.primary && member.in_good_standing(record) {
                "replica"
            } else {
                continue;
            };
            if pod.labels().get(labels::ROLE).map(String::as_str) == Some(role) {
                continue;
            }
            let patch = serde_json::json!({ "metadata": { "uid": pod.uid(), "labels": { labels::ROLE: role } } });
            if let Err(error) = api.patch(&member.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                tracing::debug!(cluster = %self.key, member = member.name, %error, "its role label was not written");
            }
        }
    }
}

fn epoch_of(slice: &EndpointSlice) -> u64 {
    slice.annotations().get(EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
}

fn slice(key: &ClusterKey, name: &str, epoch: u64, members: &[Readable<'_>]) -> EndpointSlice {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(key.namespace.clone()),
        labels: Some(
            [
                ("kubernetes.io/service-name", name),
                ("endpointslice.kubernetes.io/managed-by", "grampus.dev"),
                (labels::MANAGED_BY, labels::MANAGER),
                (labels::CLUSTER, key.name.as_str()),
            ]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        ),
        annotations: Some([(EPOCH.to_owned(), epoch.to_string())].into()),
        ..ObjectMeta::default()
    };
    let mut endpoints: Vec<_> = members.iter().map(|member| endpoint(key, member)).collect();
    endpoints.sort_by(|left, right| left.addresses.cmp(&right.addresses));
    EndpointSlice {
        metadata,
        address_type: "IPv4".to_owned(),
        endpoints,
        ports: Some(vec![EndpointPort {
            name: Some("mysql".to_owned()),
            port: Some(i32::from(wire::MYSQL_PORT)),
            protocol: Some("TCP".to_owned()),
            ..EndpointPort::default()
        }]),
    }
}

fn endpoint(key: &ClusterKey, member: &Readable<'_>) -> Endpoint {
    let pod = member.pod;
    Endpoint {
        addresses: vec![pod.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) }),
        hostname: None,
        node_name: Some(pod.node.clone()).filter(|node| !node.is_empty()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(member.name.to_owned()),
            namespace: Some(key.namespace.clone()),
            ..ObjectReference::default()
        }),
        zone: Some(pod.zone.clone()).filter(|zone| !zone.is_empty()),
        ..Endpoint::default()
    }
}

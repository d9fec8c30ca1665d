//! The objects that a cluster is made of, from its resolved spec.
//!
//! Pure, and the same input gives the same bytes: what is applied is compared with what was applied. Nothing here
//! may say who leads; roles are the topology controller's, on pods and EndpointSlices.

mod config;
mod pod;
mod readers;
mod revision;
mod service;
mod stateful_set;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;

pub use config::MY_CNF;
pub use pod::{AGENT, CONTAINER};
pub use revision::outdated;
pub use service::MYSQL_PORT_NAME;
pub use stateful_set::{TEMPLATE_VERSION, pods};

use crate::api::{MysqlCluster, labels};
use crate::validate::{Identity, ValidatedCluster};

/// What the children need to know about the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The image of Grampus itself, from which each pod takes its agent.
    pub grampus_image: String,
}

/// Every object of a cluster beside its Secrets, in the order in which they are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Children {
    /// The people's part of my.cnf.
    pub config: ConfigMap,
    /// Names for the members.
    pub instances: Service,
    /// The way to the primary. It has no selector: the topology controller writes its EndpointSlice.
    pub primary: Service,
    /// The way to the replicas, likewise.
    pub replicas: Service,
    /// How many members may be evicted at once; nothing for a single one, which could then never be.
    pub budget: Option<PodDisruptionBudget>,
    /// The members. Near the end, because its pods need all the rest.
    pub stateful_set: StatefulSet,
    /// What belongs to the read replicas alone: there once there was one, and never in clusters that had none.
    pub readers: ReaderChildren,
}

/// The objects of the read replicas alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderChildren {
    /// How many of them may be evicted at once.
    pub budget: PodDisruptionBudget,
    /// The read replicas.
    pub stateful_set: StatefulSet,
}

/// The objects of a cluster.
pub fn children(cluster: &ValidatedCluster, installation: &Installation) -> Children {
    Children {
        config: config::config_map(cluster),
        instances: service::instances(cluster),
        primary: service::primary(cluster),
        replicas: service::replicas(cluster),
        budget: config::budget(cluster),
        stateful_set: stateful_set::stateful_set(cluster, installation),
        readers: ReaderChildren {
            budget: readers::budget(cluster),
            stateful_set: readers::stateful_set(cluster, installation),
        },
    }
}

/// The labels of everything that belongs to a cluster.
pub fn common_labels(cluster: &str) -> BTreeMap<String, String> {
    let mut all = selector_labels(cluster);
    all.insert("app.kubernetes.io/component".to_owned(), "database".to_owned());
    all.insert(labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned());
    all
}

/// The labels by which the members of a cluster are selected. A StatefulSet's selector can never change.
pub fn selector_labels(cluster: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "mysql"), ("app.kubernetes.io/instance", cluster), (labels::CLUSTER, cluster)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The labels by which the read replicas of a cluster are selected. They differ from those of the members, so that no
/// selector of the members ever takes one in.
pub fn reader_selector_labels(cluster: &str) -> BTreeMap<String, String> {
    let mut all = selector_labels(cluster);
    all.insert("app.kubernetes.io/name".to_owned(), "mysql-read-replica".to_owned());
    all
}

/// The labels that members and read replicas have in common.
fn everybody(cluster: &str) -> BTreeMap<String, String> {
    let mut all = selector_labels(cluster);
    all.remove("app.kubernetes.io/name");
    all
}

/// The reference with which a child goes when its cluster goes.
pub fn owner(identity: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: MysqlCluster::api_version(&()).into_owned(),
        kind: MysqlCluster::kind(&()).into_owned(),
        name: identity.name.clone(),
        uid: identity.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn metadata(identity: &Identity, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(identity.namespace.clone()),
        labels: Some(common_labels(&identity.name)),
        owner_references: Some(vec![owner(identity)]),
        ..ObjectMeta::default()
    }
}

fn selector(cluster: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(cluster)), match_expressions: None }
}

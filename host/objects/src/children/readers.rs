//! The read replicas: a second StatefulSet, of pods like those of the members that are told that they have no vote.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Installation, everybody, metadata, pod, reader_selector_labels, stateful_set as members};
use crate::api::{labels, names};
use crate::validate::{Identity, ValidatedCluster};

/// Whatever is decided for the members' pods holds for these, too; only what differs stands here.
pub(super) fn stateful_set(cluster: &ValidatedCluster, installation: &Installation) -> StatefulSet {
    let name = &cluster.identity.name;
    let set = members::stateful_set(cluster, installation);
    let spec = set.spec.map(|spec| StatefulSetSpec {
        replicas: i32::try_from(cluster.read_replicas.count).ok(),
        selector: selector(name),
        template: template(cluster, spec.template),
        volume_claim_templates: spec.volume_claim_templates.map(|claims| {
            claims
                .into_iter()
                .map(|mut claim| {
                    claim.metadata.labels = Some(reader_selector_labels(name));
                    claim
                })
                .collect()
        }),
        ..spec
    });
    StatefulSet { metadata: own_metadata(&cluster.identity), spec, status: None }
}

fn template(
    cluster: &ValidatedCluster,
    mut template: k8s_openapi::api::core::v1::PodTemplateSpec,
) -> k8s_openapi::api::core::v1::PodTemplateSpec {
    let name = &cluster.identity.name;
    if let Some(metadata) = &mut template.metadata {
        metadata.labels.get_or_insert_default().extend(own_labels(name));
    }
    if let Some(spec) = &mut template.spec {
        if cluster.scheduling.affinity.is_none() {
            // From the members as well: a node that fails should take as little as can be.
            let everybody = LabelSelector { match_labels: Some(everybody(name)), match_expressions: None };
            spec.affinity = Some(pod::apart(everybody));
        }
        if cluster.scheduling.topology_spread.is_none() {
            spec.topology_spread_constraints = Some(vec![pod::over_zones(selector(name))]);
        }
        for container in spec.containers.iter_mut().filter(|container| container.name == pod::CONTAINER) {
            container.env.get_or_insert_default().push(pod::value("GRAMPUS_ROLE", labels::READ_REPLICA));
        }
    }
    template
}

/// One at a time: whoever reads loses no more than one of them to a planned eviction.
pub(super) fn budget(cluster: &ValidatedCluster) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: own_metadata(&cluster.identity),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(&cluster.identity.name)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn own_metadata(identity: &Identity) -> ObjectMeta {
    let mut metadata = metadata(identity, names::readers(&identity.name));
    metadata.labels.get_or_insert_default().extend(own_labels(&identity.name));
    metadata
}

fn own_labels(cluster: &str) -> BTreeMap<String, String> {
    let mut all = reader_selector_labels(cluster);
    all.insert("app.kubernetes.io/component".to_owned(), labels::READ_REPLICA.to_owned());
    all.insert(labels::ROLE.to_owned(), labels::READ_REPLICA.to_owned());
    all
}

fn selector(cluster: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(reader_selector_labels(cluster)), match_expressions: None }
}

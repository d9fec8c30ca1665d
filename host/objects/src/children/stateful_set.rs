//! The StatefulSet that holds the members.
//!
//! `Parallel`, because all members must be able to start at once after all were lost; `OnDelete`, because only
//! Grampus may decide when a mysqld stops.

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use topology::record::Record;

use super::{Installation, common_labels, metadata, pod, selector, selector_labels};
use crate::api::{AccessMode, DeletionPolicy, labels, names};
use crate::digest;
use crate::validate::ValidatedCluster;

/// The version of the pod template. A change of what [`pod`] builds raises it, and a golden test shows the change:
/// running pods keep the version they were made with until they are replaced in an orderly way.
pub const TEMPLATE_VERSION: &str = "3";

pub(super) fn stateful_set(cluster: &ValidatedCluster, installation: &Installation) -> StatefulSet {
    let name = &cluster.identity.name;
    StatefulSet {
        metadata: metadata(&cluster.identity, name.clone()),
        spec: Some(StatefulSetSpec {
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            replicas: i32::try_from(cluster.replicas).ok(),
            selector: selector(name),
            service_name: Some(names::instances_service(name)),
            template: PodTemplateSpec {
                metadata: Some(template_metadata(cluster)),
                spec: Some(pod::spec(cluster, installation)),
            },
            volume_claim_templates: Some(vec![claim(cluster)]),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(retention(cluster.deletion_policy).to_owned()),
                // A StatefulSet that is scaled by hand must never take data with it.
                when_scaled: Some("Retain".to_owned()),
            }),
            revision_history_limit: Some(3),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// How many pods there have to be: as many as are wanted and, until the record lets a member with a higher number go,
/// that one's too. Without a record nobody knows who votes, so those that there are stay.
pub fn pods(wanted: u32, record: Option<&Record>, present: Option<i32>) -> u32 {
    let number = |name: &str| name.rsplit('-').next().and_then(|number| number.parse::<u32>().ok());
    let needed = match record {
        Some(record) => {
            let voting = record.members.iter().filter_map(|member| number(&member.name));
            voting.max().map_or(0, |highest| highest.saturating_add(1))
        }
        None => present.and_then(|present| u32::try_from(present).ok()).unwrap_or_default(),
    };
    wanted.max(needed)
}

fn retention(policy: DeletionPolicy) -> &'static str {
    match policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    }
}

fn template_metadata(cluster: &ValidatedCluster) -> ObjectMeta {
    let mut all = cluster.pod_metadata.labels.clone();
    all.extend(common_labels(&cluster.identity.name));
    all.insert(labels::TEMPLATE_VERSION.to_owned(), TEMPLATE_VERSION.to_owned());
    let mut annotations = cluster.pod_metadata.annotations.clone();
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), pod::CONTAINER.to_owned());
    annotations.insert(labels::SPEC_DIGEST.to_owned(), cluster.spec_digest.clone());
    // mysqld reads my.cnf when it starts, so that a pod runs what was there when it was made.
    annotations.insert(labels::CONFIG_DIGEST.to_owned(), digest::of_text(&cluster.my_cnf));
    ObjectMeta { labels: Some(all), annotations: Some(annotations), ..ObjectMeta::default() }
}

/// A claim template can never change, so only labels that never do stand here.
fn claim(cluster: &ValidatedCluster) -> PersistentVolumeClaim {
    let modes = cluster.storage.access_modes.clone().unwrap_or_else(|| vec![AccessMode::ReadWriteOnce]);
    let size = Quantity(cluster.storage.size.clone());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(cluster.storage.claim_name().to_owned()),
            labels: Some(selector_labels(&cluster.identity.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(modes.into_iter().map(mode_name).collect()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            storage_class_name: cluster.storage.class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn mode_name(mode: AccessMode) -> String {
    match mode {
        AccessMode::ReadWriteOnce => "ReadWriteOnce",
        AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
        AccessMode::ReadWriteMany => "ReadWriteMany",
    }
    .to_owned()
}

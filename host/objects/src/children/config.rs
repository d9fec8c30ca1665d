//! The small ones: the ConfigMap with my.cnf and the budget for evictions.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{metadata, selector};
use crate::api::names;
use crate::validate::ValidatedCluster;

/// The key of the ConfigMap under which my.cnf stands.
pub const MY_CNF: &str = "my.cnf";

pub(super) fn config_map(cluster: &ValidatedCluster) -> ConfigMap {
    ConfigMap {
        metadata: metadata(&cluster.identity, names::config(&cluster.identity.name)),
        data: Some(BTreeMap::from([(MY_CNF.to_owned(), cluster.my_cnf.clone())])),
        ..ConfigMap::default()
    }
}

/// One at a time, whatever k is: an eviction is planned, and a second one can wait for the first to be back.
pub(super) fn budget(cluster: &ValidatedCluster) -> Option<PodDisruptionBudget> {
    (cluster.replicas > 1).then(|| PodDisruptionBudget {
        metadata: metadata(&cluster.identity, cluster.identity.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(&cluster.identity.name)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

//! Policies that are asked and not followed yet: one that scales, one that tunes.
//!
//! `mode` has to be given, and can only be `Shadow`: a spec that was written today must not begin to change a cluster when
//! a later Grampus acts on such answers.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::cluster::{ModuleSource, PolicyMode};
use super::schema;

/// A module that says how many read replicas there should be, and how large servers and volumes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// Where the module is.
    pub module: ModuleSource,
    /// Settings, checked by the module itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_object")]
    pub settings: Option<serde_json::Value>,
    /// `Shadow`: it is asked, and what it says is shown, journalled and not followed.
    #[x_kube(validation = Rule::new("self == 'Shadow'").message(
        "spec.policies.scaling.mode: must be Shadow; Grampus shows what the module says and does not act on it yet"
    ))]
    pub mode: PolicyMode,
    /// What it may ask for. A wish for what has no bounds is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<ScalingBounds>,
}

/// What a policy that scales may ask for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingBounds {
    /// How many read replicas there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_replicas: Option<CountRange>,
    /// Processors that each server may have, as in `{min: 500m, max: "4"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<AmountRange>,
    /// Memory that each server may have, as in `{min: 1Gi, max: 8Gi}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<AmountRange>,
    /// The largest size of a volume, as in `100Gi`. A volume never shrinks, so there is no smallest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message(
        "spec.policies.scaling.bounds.maxStorage: must be an amount of bytes greater than zero, such as 100Gi"
    ))]
    pub max_storage: Option<String>,
}

/// From the least to the most, both included.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.min <= self.max").message(
    "spec.policies.scaling.bounds.readReplicas: min must not be greater than max"
))]
pub struct CountRange {
    /// The least.
    #[schemars(range(min = 0, max = 50))]
    pub min: i32,
    /// The most.
    #[schemars(range(min = 0, max = 50))]
    pub max: i32,
}

/// From the least to the most, both included.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new(
    "isQuantity(self.min) && isQuantity(self.max) && quantity(self.min).compareTo(quantity(self.max)) <= 0"
).message(
    "spec.policies.scaling.bounds: min and max must be amounts such as 500m or 2Gi, and min not greater than max"
))]
pub struct AmountRange {
    /// The least.
    #[schemars(length(min = 1, max = 32))]
    pub min: String,
    /// The most.
    #[schemars(length(min = 1, max = 32))]
    pub max: String,
}

/// A module that says how mysqld should be set.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigTuningPolicy {
    /// Where the module is.
    pub module: ModuleSource,
    /// Settings, checked by the module itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_object")]
    pub settings: Option<serde_json::Value>,
    /// `Shadow`: it is asked, and what it says is shown, journalled and not followed.
    #[x_kube(validation = Rule::new("self == 'Shadow'").message(
        "spec.policies.configTuning.mode: must be Shadow; Grampus shows what the module says and does not act on it yet"
    ))]
    pub mode: PolicyMode,
}

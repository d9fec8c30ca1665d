//! `MysqlTopology`: the record of who leads, as an object.
//!
//! It has no status and never will: what can be observed does not belong in it.

#![allow(clippy::duplicated_attributes, reason = "every column of kubectl has a type and a path")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use topology::record::Record;

/// The promotion record of one cluster, under the cluster's own name. Only the operator writes it, by
/// compare-and-swap; editing it by hand can lose data.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "grampus.dev",
    version = "v1alpha1",
    kind = "MysqlTopology",
    plural = "mysqltopologies",
    shortname = "myt",
    category = "grampus",
    namespaced,
    derive = "PartialEq",
    doc = "Who leads a cluster, since when, and who has promised to acknowledge. Written by the operator only.",
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".spec.epoch"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".spec.phase"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".spec.primary"),
    printcolumn(name = "Acks", type_ = "integer", json_path = ".spec.acks"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
// The second line of defence behind the compare-and-swap: a writer with an old view is refused by the API server.
#[x_kube(validation = ("self.epoch >= oldSelf.epoch", "spec.epoch: an epoch never goes back"))]
pub struct MysqlTopologySpec {
    /// See [`Record`].
    #[serde(flatten)]
    pub record: Record,
}

//! `MysqlOperation`: a command as an object, so that RBAC, audit logs and GitOps see it.
//!
//! It asks once and is never changed; asking again is another object.

#![allow(clippy::duplicated_attributes, reason = "every column of kubectl has a type and a path")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::DrillStatus;

/// A command for one cluster.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "grampus.dev",
    version = "v1alpha1",
    kind = "MysqlOperation",
    plural = "mysqloperations",
    shortname = "myo",
    category = "grampus",
    namespaced,
    status = "MysqlOperationStatus",
    derive = "PartialEq",
    doc = "A command for one MysqlCluster, carried out once.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "From", type_ = "string", json_path = ".status.from"),
    printcolumn(name = "To", type_ = "string", json_path = ".status.to"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.member) || self.type != 'Rebuild'").message(
    "spec.member: a Rebuild needs it; expected the name of a pod"
))]
#[x_kube(validation = Rule::new("!has(self.member) || self.type in ['Rebuild', 'Restart']").message(
    "spec.member: only a Rebuild and a Restart have it; expected no such field"
))]
#[x_kube(validation = Rule::new("!has(self.to) || self.type == 'Switchover'").message(
    "spec.to: only a Switchover has it; expected no such field"
))]
#[x_kube(validation = Rule::new("has(self.epoch) == (self.type == 'AcceptDataLoss')").message(
    "spec.epoch: an AcceptDataLoss needs it as its confirmation, expected the epoch of the record, and nothing else has it"
))]
#[x_kube(validation = Rule::new("self == oldSelf").message(
    "spec: an operation is carried out once and cannot be changed; create another MysqlOperation"
))]
pub struct MysqlOperationSpec {
    /// The name of the MysqlCluster, in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    pub cluster: String,
    /// What to do.
    #[serde(rename = "type")]
    pub kind: OperationType,
    /// Switchover: the pod that shall lead. Without it the cluster's policy chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub to: Option<String>,
    /// Rebuild: the pod whose data is replaced by a copy of another member's. Restart: the only pod that is replaced;
    /// without it every one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub member: Option<String>,
    /// AcceptDataLoss: the epoch in which the cluster waits. It is the confirmation: in any other epoch nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub epoch: Option<i64>,
    /// How many seconds a switchover may take before it is given up and undone, a rebuild until its copy begins, or an
    /// accepted loss until somebody leads; a copy that has begun takes as long as it takes. 30 if not given. A restart is
    /// given up after 600 if not given: pods that are replaced by then stay so, and no other is. A drill has failed after
    /// what `spec.backup.drill.timeout` of the cluster says if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
}

/// How many seconds a drill may take where nobody says: a terabyte is restored in less from a store that gives 50 MB/s.
pub const DRILL_PATIENCE_S: i32 = 21_600;

impl MysqlOperationSpec {
    /// An operation with nothing said that could be left out.
    pub fn new(cluster: &str, kind: OperationType) -> Self {
        let cluster = cluster.to_owned();
        Self { cluster, kind, to: None, member: None, epoch: None, timeout_seconds: None }
    }

    /// How many seconds it may take: what was given, or what its kind takes at most where all goes well. A restart
    /// waits for each pod in turn, and a volume can take minutes to reach another node.
    pub fn patience_seconds(&self) -> i32 {
        self.timeout_seconds.unwrap_or(match self.kind {
            OperationType::Switchover | OperationType::Rebuild | OperationType::AcceptDataLoss => 30,
            OperationType::Restart => 600,
            OperationType::Drill => DRILL_PATIENCE_S,
        })
    }
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperationType {
    /// Move the role of primary to another member, losing nothing and killing nothing.
    Switchover,
    /// Replace the data of a replica by a copy of another member's: for one that holds transactions which no primary
    /// committed, or whose data is in doubt. The old data is kept until the new is good.
    Rebuild,
    /// Go on without members that are needed to know what was acknowledged and that do not come back. Only where the
    /// cluster waits for them. What only they hold is lost to the cluster, acknowledged or not; it stays on their volumes.
    AcceptDataLoss,
    /// Replace the pods of one member or of all: replicas first, one at a time and each only while every other member
    /// is as it should be; a primary gives way before. It takes an upgrade of Grampus to pods that were made before.
    Restart,
    /// Restore the newest backup, and the archive of the binary log where there is one, to a cluster of one member,
    /// compare it with this one and remove it. Nothing of this cluster is changed.
    Drill,
}

/// How far an operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Accepted and under way.
    Running,
    /// Done as asked.
    Succeeded,
    /// Given up; the message says why, and the cluster is as it was.
    Failed,
}

/// What became of the operation.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MysqlOperationStatus {
    /// How far it has come; nothing while nobody has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// `Accepted`, `Complete` and `Failed`, see [`crate::conditions`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// One sentence for the person who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why the member in `to` was chosen, in the policy's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The pod that led before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The pod that leads, or was meant to lead, afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Rebuild: which copy of the data is to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// AcceptDataLoss: the GTID set that was gone on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// AcceptDataLoss: the members without which it was gone on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Drill: what was proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillStatus>,
    /// When it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it succeeded or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

impl MysqlOperationStatus {
    /// Whether nothing more will happen to this operation.
    pub fn is_finished(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Succeeded | Outcome::Failed))
    }
}

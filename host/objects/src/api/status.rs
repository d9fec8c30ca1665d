//! What Grampus reports about a cluster.
//!
//! A report only: nothing decides by it, and if it is deleted it is rebuilt. It must never hold a value that
//! changes while the cluster is quiet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in a column for which there is no value.
pub const NONE: &str = "-";

fn none() -> String {
    NONE.to_owned()
}

/// What Grampus has seen of a MysqlCluster and done about it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MysqlClusterStatus {
    /// The generation of the spec that the resources controller last worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// See [`crate::conditions`] for the types and who owns them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Members in good standing out of those wanted, as in `3/3`.
    #[serde(default = "none")]
    pub ready: String,
    /// The number of members in good standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_members: Option<i32>,
    /// The number of members wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The pod that takes writes, or `-` while none does.
    #[serde(default = "none")]
    pub primary: String,
    /// The epoch of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The policies in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<PoliciesStatus>,
    /// Each member as it was when something last changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<MemberStatus>,
    /// The read replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_replicas: Option<ReadReplicasStatus>,
    /// The last time the primary was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<FailoverStatus>,
    /// How far backups go, where the binary log is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupsStatus>,
}

impl Default for MysqlClusterStatus {
    fn default() -> Self {
        Self {
            observed_generation: None,
            conditions: Vec::new(),
            ready: none(),
            ready_members: None,
            replicas: None,
            primary: none(),
            epoch: None,
            policies: None,
            members: Vec::new(),
            read_replicas: None,
            last_failover: None,
            backup: None,
        }
    }
}

impl MysqlClusterStatus {
    /// The pod that takes writes, if one does.
    pub fn primary_name(&self) -> Option<&str> {
        Some(self.primary.as_str()).filter(|name| *name != NONE && !name.is_empty())
    }
}

/// The policies in force.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoliciesStatus {
    /// The module that decides which member leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_selection: Option<PolicyStatus>,
    /// The module that says how many read replicas there should be, and how large servers and volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<PolicyStatus>,
    /// The module that says how mysqld should be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_tuning: Option<PolicyStatus>,
    /// The module that says when backups are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_window: Option<PolicyStatus>,
}

impl PoliciesStatus {
    /// All of them, whatever they decide: first the one that the others do not touch.
    pub fn each(&self) -> impl Iterator<Item = &PolicyStatus> {
        let Self { primary_selection, scaling, config_tuning, backup_window } = self;
        [primary_selection, scaling, config_tuning, backup_window].into_iter().flatten()
    }

    /// Why a module that the spec names is not in force, if one is not.
    pub fn problem(&self) -> Option<&str> {
        self.each().find_map(|policy| policy.problem.as_deref())
    }

    /// Which module is not asked for a while because it kept failing, and why, if one is.
    pub fn breaker(&self) -> Option<&str> {
        self.each().find_map(|policy| policy.breaker.as_deref())
    }

    /// What went wrong when one was last asked, if something did.
    pub fn failed(&self) -> Option<&str> {
        self.each().find_map(|policy| policy.failed.as_deref())
    }
}

/// One module in force.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The name that the module gives itself.
    pub name: String,
    /// The version that the module gives itself.
    pub version: String,
    /// The digest of the module's bytes, as in `sha256:…`.
    pub digest: String,
    /// Where it came from: `embedded`, `ConfigMap NAME key KEY`, the operator's default, or a copy of what was in force
    /// before.
    pub source: String,
    /// The identifier of the key that signed it, if it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Why the module that the spec names is not the one in force, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What went wrong when it was last asked, and who decided instead. Nothing if it answered as it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Why it is not asked for the time being, if it failed too often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// Since when and until when it is not asked, and who decides meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_use: Option<OutOfUseStatus>,
    /// What it said when it was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<AnswerStatus>,
    /// The modules that are asked beside it, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowStatus>,
}

/// A module that is not asked for the time being.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutOfUseStatus {
    /// When it was taken out of use.
    pub since: Time,
    /// The first question from then on is put to it, to see whether it answers again. Later with each time that it does not.
    pub until: Time,
    /// Who decides meanwhile: name and version, and why that one.
    pub instead: String,
}

/// One module that is asked and not followed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// Where it comes from: `embedded`, or `ConfigMap NAME key KEY`.
    pub source: String,
    /// The name and version that the module gives itself, where it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The digest of the module's bytes, where it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why it is not asked, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One answer of a policy and what became of it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerStatus {
    /// When it was asked.
    pub at: Time,
    /// What it said: `promote shop-1`, `hold`.
    pub answer: String,
    /// Why, in the policy's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What Grampus's own check made of it, if it did not simply follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberRole {
    /// Takes writes.
    Primary,
    /// Follows the primary and acknowledges.
    Replica,
    /// Is only read from: it never acknowledges and never leads.
    ReadReplica,
    /// Not part of the cluster yet: being made, cloned or caught up.
    Joining,
    /// Kept out, with what it holds; the message says why.
    Quarantined,
    /// Cannot be seen. Not to be taken for gone.
    Unknown,
}

/// One member as it was when something last changed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The pod.
    pub name: String,
    /// What it does.
    pub role: MemberRole,
    /// Whether it is in good standing: it counts for acknowledged writes.
    pub ready: bool,
    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The zone of that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Which copy of the data it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// Transactions of the primary that it had not executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_transactions: Option<i64>,
    /// Whether it receives from the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving: Option<bool>,
    /// Whether it applies what it received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applying: Option<bool>,
    /// While nobody can lead because too few members answer: the GTID set that it is known to hold, or why none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
    /// What is wrong with it, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far backups go.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupsStatus {
    /// The archive of the binary log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveStatus>,
    /// What is kept, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionStatus>,
    /// The last drill that came to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillStatus>,
    /// When a drill last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
}

/// What was kept and removed when it was last looked, an hour ago at most.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetentionStatus {
    /// How many full backups are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fulls: Option<i32>,
    /// The end of the oldest of them: nothing from before it can be recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Time>,
    /// What kept it from removing what should be, or from looking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What is to become of each backup, the newest first: the newest hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<RetainedStatus>,
    /// From where on the archive of the binary log is kept, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

/// What is to become of what lies in the store.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetainedStatus {
    /// Its directory below `NAMESPACE/CLUSTER/full`.
    pub name: String,
    /// `Keep`, `Remove`, or `Leave` where it is nothing that this cluster may remove.
    pub action: RetentionAction,
    /// Why.
    pub reason: String,
}

/// What is to become of what lies in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetentionAction {
    /// It is kept.
    #[default]
    Keep,
    /// It is removed, or would be.
    Remove,
    /// It is not this cluster's to remove, or not yet.
    Leave,
}

/// What a drill came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DrillResult {
    /// What was restored is what it should be.
    Succeeded,
    /// It could not be restored, or holds something else than it should.
    Failed,
    /// Nothing was found out about the backup.
    Inconclusive,
}

/// What a drill that succeeded has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DrillProof {
    /// Every table has the rows and the checksum that it has in the cluster, after exactly the same transactions.
    Compared,
    /// It was restored, has the transactions that its manifest promises, and every row of it can be read.
    Read,
}

/// One drill.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillStatus {
    /// The MysqlOperation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// What it came to. Nothing while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<DrillResult>,
    /// One sentence about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The MysqlCluster that is, or was, made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where the backup is in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// What was proved, if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<DrillProof>,
    /// How many seconds it took from an empty volume to a cluster that takes writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_to_recover: Option<i64>,
    /// How many tables were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<i64>,
    /// How many rows they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
}

/// The archive of the binary log, as it was when something last changed; while it only grows, at most a minute ago.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveStatus {
    /// The end of the full backup with which it can be replayed. Nothing while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the newest transaction in it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Time>,
    /// The pod from which it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// How many seconds of commits may be missing from it. 0 when the primary has executed nothing that is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
    /// What keeps it from going on, if something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The servers that are only read from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadReplicasStatus {
    /// How many pods there are. Autoscalers go by it.
    pub count: i32,
    /// How many of them receive from a replica in good standing, and apply.
    pub ready: i32,
    /// What selects their pods. Autoscalers go by it.
    pub selector: String,
    /// Each of them as it was when something last changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<MemberStatus>,
}

/// How a primary was replaced.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailoverStatus {
    /// When the loss was noticed.
    pub at: Time,
    /// What gave it away: `mysqld exited with signal 9`.
    pub cause: String,
    /// The pod that led before.
    pub from: String,
    /// The pod that leads since.
    pub to: String,
    /// The epoch that was claimed.
    pub epoch: i64,
    /// From notice to a primary that takes writes, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<i64>,
}

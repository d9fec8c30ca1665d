//! What a policy is asked and what it may answer.
//!
//! These are the host's own words. The engine translates them to and from the published contract, so that a
//! new version of the contract never reaches the code that decides. Nothing here may hold a floating-point
//! number or an unordered collection: the same question must always be the same bytes.

use serde::{Deserialize, Serialize};

/// Why there is something to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The primary is gone.
    Failover,
    /// Somebody asked for another primary; the present one is healthy and still serving.
    Switchover,
}

/// Everything a policy may know when it picks a primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The namespace of the cluster.
    pub namespace: String,
    /// The name of the cluster.
    pub cluster: String,
    /// The epoch whose primary is being chosen.
    pub epoch: u64,
    /// Why.
    pub trigger: Trigger,
    /// Milliseconds since 1970, UTC, on the operator's clock.
    pub now_unix_ms: u64,
    /// A number a policy may use where it wants to choose at random. The same in a replay.
    pub seed: u64,
    /// How long, in milliseconds, there has been no writable primary. 0 for a switchover.
    pub without_primary_ms: u64,
    /// The primary that is being replaced.
    pub former_primary: Option<String>,
    /// k: how many replicas acknowledge a commit.
    pub acks: u32,
    /// Seconds that recent failovers are counted over. None where they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_window_s: Option<u64>,
    /// Failovers within that window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failovers_in_window: Option<u32>,
    /// Every voting member, eligible or not, sorted by name.
    pub candidates: Vec<Candidate>,
    /// Further observations about the cluster as a whole, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<(String, String)>,
}

/// One voting member, as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The pod's name.
    pub name: String,
    /// The number at the end of that name.
    pub ordinal: u32,
    /// `topology.kubernetes.io/zone` of its node; empty where there is none.
    pub zone: String,
    /// The node it runs on; empty while unscheduled.
    pub node: String,
    /// Labels of its pod, sorted by key.
    pub labels: Vec<(String, String)>,
    /// Why it cannot be chosen. Empty means it is eligible.
    pub ineligible: Vec<Ineligible>,
    /// Transactions that some other member has and this one must fetch before it can open.
    pub missing_transactions: u64,
    /// Transactions it has received but not yet executed, which it must execute before it can open.
    pub unapplied_transactions: u64,
    /// Whether Kubernetes says its node is Ready.
    pub node_ready: bool,
    /// Whether its node is closed to new pods.
    pub node_cordoned: bool,
    /// What its node is short of.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub node_pressure: NodePressure,
    /// Its MySQL version, as the server writes it.
    pub version: String,
    /// How fast it catches up.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub catch_up: CatchUp,
    /// What it has to lead with.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub capacity: Capacity,
    /// What it has done and is doing.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub activity: Activity,
    /// Further observations, sorted by name: what a later Grampus knows and this record has no field for.
    pub facts: Vec<(String, String)>,
}

impl Candidate {
    /// Whether a policy may name it.
    pub fn is_eligible(&self) -> bool {
        self.ineligible.is_empty()
    }
}

/// Whether nothing of a record is known, so that it need not be written down.
fn is_unknown<T: Default + PartialEq>(record: &T) -> bool {
    *record == T::default()
}

/// What a node says of itself. What is not known is None.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePressure {
    /// Whether it is short of memory (`MemoryPressure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<bool>,
    /// Whether it is short of room on its disk (`DiskPressure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<bool>,
    /// Whether it is short of process identifiers (`PIDPressure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<bool>,
}

/// How fast a member catches up with what has to be executed before it can open. What was not measured is None.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CatchUp {
    /// Bytes of the missing transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_bytes: Option<u64>,
    /// Bytes of the unapplied transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unapplied_bytes: Option<u64>,
    /// Transactions it received in a second, lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_transactions_per_second: Option<u64>,
    /// Transactions it executed in a second while it had any to execute, lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_transactions_per_second: Option<u64>,
    /// Milliseconds until it has executed what it has received, as its pace foretells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_drain_ms: Option<u64>,
    /// How far it is behind its source, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_lag_s: Option<u64>,
}

/// What a member has to lead with. What is not known is None.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capacity {
    /// Thousandths of a processor that its container may have. None, too, where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_millicores: Option<u64>,
    /// Bytes of memory that its container may have. None, too, where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Its processor limit in thousandths of the former primary's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_to_primary_permille: Option<u64>,
    /// Its memory limit in thousandths of the former primary's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_to_primary_permille: Option<u64>,
    /// Bytes of its buffer pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_pool_bytes: Option<u64>,
    /// Thousandths of its buffer pool that hold data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_pool_warm_permille: Option<u64>,
    /// Bytes of its volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_bytes: Option<u64>,
    /// Bytes that are free on its volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_free_bytes: Option<u64>,
    /// The storage class of its volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// What a member has done and is doing. What is not known is None.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Activity {
    /// Replicas that could acknowledge if it led. With fewer than k, no commit would end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ackers_afterwards: Option<u32>,
    /// Whether it copies another member's data, or lets its own be copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copying: Option<bool>,
    /// Whether it makes a backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_up: Option<bool>,
    /// Seconds since it last led. None, too, for one that never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_led_s: Option<u64>,
    /// How often its lead was lost within the question's failover window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failovers_in_window: Option<u32>,
}

/// One reason why a member cannot be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ineligible {
    /// A word for programs, e.g. `unreachable`. See [`crate::guard`] for the list.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// This member should lead.
    Promote {
        /// Its name.
        candidate: String,
        /// Why, in the policy's words.
        reason: String,
        /// How it saw every candidate, best first. May be empty.
        #[serde(default)]
        ranking: Vec<Ranked>,
    },
    /// Nobody should lead yet.
    Hold {
        /// Why, in the policy's words.
        reason: String,
    },
}

/// A policy's view of one candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ranked {
    /// The candidate's name.
    pub name: String,
    /// Higher is better; only comparable within one answer.
    pub score: i64,
    /// Why, in the policy's words.
    pub reason: String,
}

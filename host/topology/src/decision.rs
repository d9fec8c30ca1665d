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
    /// Every voting member, eligible or not, sorted by name.
    pub candidates: Vec<Candidate>,
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
    /// Its MySQL version, as the server writes it.
    pub version: String,
    /// Further observations, sorted by name: what a later Grampus knows and this record has no field for.
    pub facts: Vec<(String, String)>,
}

impl Candidate {
    /// Whether a policy may name it.
    pub fn is_eligible(&self) -> bool {
        self.ineligible.is_empty()
    }
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

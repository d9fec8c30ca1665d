//! How many read replicas there are, and how large servers and volumes: what a policy is asked and what it may answer.
//!
//! These are the host's own words, as in [`crate::decision`]. How many members vote is no question: they carry
//! durability, and no answer has a word for them. Nothing here may hold a floating-point number or an unordered
//! collection.

mod guard;

use serde::{Deserialize, Serialize};

pub use self::guard::{Because, Granted, Refused, Verdict, guard};
use crate::measured::{Load, Resources};

/// Everything a policy may know when it scales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The namespace of the cluster.
    pub namespace: String,
    /// The name of the cluster.
    pub cluster: String,
    /// Milliseconds since 1970, UTC, on the operator's clock.
    pub now_unix_ms: u64,
    /// A number a policy may use where it wants to choose at random. The same in a replay.
    pub seed: u64,
    /// What there is now.
    pub present: Present,
    /// What the user lets a policy change, and how far.
    pub bounds: Bounds,
    /// Every server, voting members first, each group sorted by name.
    pub servers: Vec<Server>,
    /// Further observations, sorted by name.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
}

/// What there is now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Present {
    /// N: how many members vote.
    pub members: u32,
    /// k: how many replicas acknowledge a commit.
    pub acks: u32,
    /// How many read replicas are wanted now, whether or not all of them serve yet.
    pub read_replicas: u32,
    /// What each server may have.
    pub resources: Resources,
    /// Bytes of each volume, as it is asked for.
    pub volume_bytes: u64,
    /// Seconds since the number of read replicas last changed. None if it never has.
    pub read_replicas_changed_s: Option<u64>,
    /// Seconds since the resources last changed. None if they never have.
    pub resources_changed_s: Option<u64>,
    /// Seconds since the size of the volumes last changed. None if it never has.
    pub volume_changed_s: Option<u64>,
    /// Why the cluster is not as it should be: a member is away, a rollout is under way. None if it is.
    pub unsettled: Option<String>,
}

/// What a policy may change. What has no bounds is not a policy's to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bounds {
    /// How many read replicas there may be.
    pub read_replicas: Option<Range>,
    /// How many read replicas may come or go at once; at least 1 is meant.
    pub read_replicas_step: u32,
    /// Thousandths of a processor that each server may have.
    pub cpu_millicores: Option<Range>,
    /// Bytes of memory that each server may have.
    pub memory_bytes: Option<Range>,
    /// The largest size of a volume, in bytes. It never shrinks, so there is no smallest.
    pub volume_most_bytes: Option<u64>,
    /// Seconds that have to pass after a change before the same is changed again.
    pub cooldown_s: u64,
}

/// From the least to the most, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Range {
    /// Whether a number is within.
    pub fn holds(self, number: u64) -> bool {
        (self.least..=self.most).contains(&number)
    }
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The pod's name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// `topology.kubernetes.io/zone` of its node; empty where there is none.
    pub zone: String,
    /// Whether it serves: a reader that copies, lags or cannot be reached does not.
    pub serving: bool,
    /// What was measured of it.
    #[serde(default)]
    pub load: Load,
}

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The member that leads.
    Primary,
    /// A member that votes and acknowledges.
    Replica,
    /// A server that only reads, and that no promise rests on.
    ReadReplica,
}

/// What a policy says. What it has no wish for stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Why, in the policy's words: for keeping what there is as well.
    pub reason: String,
    /// How many read replicas there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_replicas: Option<Wish<u32>>,
    /// What each server should have. What is None in it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Wish<Resources>>,
    /// Bytes that each volume should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_bytes: Option<Wish<u64>>,
}

/// Something wanted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish<T> {
    /// What is wanted.
    pub value: T,
    /// Why, in the policy's words.
    pub reason: String,
}

impl Answer {
    /// An answer that keeps everything.
    pub fn keep(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// Whether it asks for nothing.
    pub fn keeps(&self) -> bool {
        self.read_replicas.is_none() && self.resources.is_none() && self.volume_bytes.is_none()
    }
}

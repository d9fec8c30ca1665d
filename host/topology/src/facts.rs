//! What an agent knows about its own member.
//!
//! A report holds observations only, each as the server or the disk gave it. It must never hold a judgement
//! that another part could disagree with: whether a member is eligible, errant or behind is decided elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::gtid::GtidSet;
use crate::record::Record;

/// Everything an agent says about its member. Pushed whenever any of it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberReport {
    /// The pod's name.
    pub member: String,
    /// The version of Grampus the agent was built as.
    pub agent_version: String,
    /// The kernel's boot identifier: when it changes, what was not fsynced may be gone.
    pub boot_id: String,
    /// The record the agent last accepted and keeps on disk.
    pub record: Option<Record>,
    /// The epoch in which this data was last opened for writing.
    pub opened_in_epoch: Option<u64>,
    /// Every server_uuid under which this data was ever opened for writing, sorted.
    #[serde(default)]
    pub opened_as: Vec<Uuid>,
    /// What was last cut off the end of its binary log.
    #[serde(default)]
    pub trimmed: Option<Trimmed>,
    /// What is in the data directory.
    pub data: DataState,
    /// Whether this data is known to hold everything it ever acknowledged.
    pub standing: Standing,
    /// What mysqld is doing.
    pub server: ServerState,
    /// The job the agent is busy with, or the last one it ended.
    pub job: Option<Job>,
    /// What keeps its volume from taking writes, if anything does.
    #[serde(default)]
    pub volume: Option<VolumeTrouble>,
    /// Why an option of `spec.config` is not in force, if one is not: mysqld's own words.
    pub config_error: Option<String>,
    /// That its mysqld ended by itself on this data, and has not run well since.
    #[serde(default)]
    pub ends: Option<Ends>,
    /// Copies of another member's data that were begun here one soon after the other, good or bad.
    #[serde(default)]
    pub copies: Option<Copies>,
}

/// What is in a member's data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum DataState {
    /// Nothing: a new volume.
    Empty,
    /// A data directory that is being made and is of no use yet.
    Incomplete,
    /// A complete data directory.
    #[serde(rename_all = "camelCase")]
    Ready {
        /// Which copy of the data this is. A clone gets a new one.
        incarnation: Uuid,
    },
}

impl DataState {
    /// The identifier of a complete data directory.
    pub fn incarnation(self) -> Option<Uuid> {
        match self {
            Self::Ready { incarnation } => Some(incarnation),
            Self::Empty | Self::Incomplete => None,
        }
    }
}

/// Why a member's volume takes no writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "trouble")]
pub enum VolumeTrouble {
    /// A small write does not return.
    #[serde(rename_all = "camelCase")]
    Stalled {
        /// For how long, in milliseconds, rounded to whole seconds so that reports do not differ by it alone.
        for_ms: u64,
    },
    /// A small write fails: the volume is full, read-only or broken.
    Failed {
        /// In the words of the kernel.
        error: String,
    },
    /// Something that a later release has a word for, and this one has not.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for VolumeTrouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled { for_ms } => write!(out, "its volume has not taken a write for {} s", for_ms / 1_000),
            Self::Failed { error } => write!(out, "its volume takes no writes: {error}"),
            Self::Unknown => out.write_str("something is wrong with its volume that this version has no word for"),
        }
    }
}

/// Ends of mysqld that nobody asked for: it gave up or crashed, and was neither told to end nor killed from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ends {
    /// How many came one after the other, with no run of a minute in between.
    pub in_a_row: u32,
    /// How the last one ended: `signal 6`, `exit code 1`.
    pub how: String,
}

/// Copies that were begun at one member, none long after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copies {
    /// How many.
    pub begun: u32,
    /// When the last one was, in milliseconds since 1970, on the clock of the member's machine.
    pub last_unix_ms: u64,
}

/// Whether a member's memory can be relied upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Standing {
    /// It has received a barrier of a primary and has lost nothing since.
    Good,
    /// It may have forgotten something it once acknowledged, and waits for a barrier.
    Unproved {
        /// What happened, e.g. `new data`, `the machine restarted`.
        because: String,
    },
}

/// Transactions that nobody acknowledged, cut off the end of a former primary's binary log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trimmed {
    /// The epoch whose primary does not have them.
    pub epoch: u64,
    /// Which.
    pub transactions: GtidSet,
    /// The file on the member's volume that has them still: a binary log.
    pub saved_as: String,
}

/// What mysqld is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum ServerState {
    /// No process.
    #[serde(rename_all = "camelCase")]
    Stopped {
        /// How the last one ended: `signal 9`, `exit code 1`. None if none ran since the agent started.
        exit: Option<String>,
        /// Everything its binary log and its relay logs prove it had, read while it is stopped. None until read.
        gtids: Option<GtidSet>,
    },
    /// A process that does not answer yet.
    Starting,
    /// A process that answers.
    Running(Box<ServerFacts>),
    /// A process that answered before and does not any more.
    #[serde(rename_all = "camelCase")]
    Unresponsive {
        /// For how long, in milliseconds, rounded to whole seconds so that reports do not differ by it alone.
        for_ms: u64,
    },
}

/// What a running mysqld says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFacts {
    /// The process. With `started_unix_ms` it tells one start from another.
    pub pid: u32,
    /// When the process was started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// `@@server_uuid`.
    pub server_uuid: Uuid,
    /// `@@version`, e.g. `9.7.4`.
    pub version: String,
    /// `@@gtid_executed`.
    pub executed: GtidSet,
    /// `@@gtid_owned`: transactions that are in its binary log, or about to be, and not committed yet. A commit that
    /// waits for acknowledgements is here, with the acknowledgements that it has.
    #[serde(default)]
    pub owned: GtidSet,
    /// `RECEIVED_TRANSACTION_SET`: what its relay logs hold or held. Empty where there is no channel.
    pub received: GtidSet,
    /// Whether application accounts may connect and write: neither `offline_mode` nor `super_read_only`.
    pub open: bool,
    /// `@@offline_mode`.
    pub offline: bool,
    /// `@@super_read_only`.
    pub read_only: bool,
    /// Its replication channel, if it has one.
    pub replication: Option<Replication>,
    /// The source side of semi-synchronous replication.
    pub semi_sync: SemiSync,
}

impl ServerFacts {
    /// Everything that its binary log can hold by now. A barrier that left out the commits that wait would miss those
    /// that are acknowledged a moment later by an acknowledgement given before. What somebody owns under another
    /// server's name may never be committed, and nobody waits for it.
    pub fn logged(&self) -> GtidSet {
        self.executed.union(&self.owned.of_server(self.server_uuid))
    }

    /// Every transaction it has executed or can execute from its relay logs.
    pub fn known(&self) -> GtidSet {
        self.executed.union(&self.received)
    }
}

/// A replication channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replication {
    /// `SOURCE_HOST`: an address of a pod.
    pub source_host: String,
    /// The server it is really connected to. None before the first contact.
    pub source_uuid: Option<Uuid>,
    /// The thread that receives.
    pub receiver: ThreadState,
    /// Its last error; empty if there was none.
    pub receiver_error: String,
    /// The threads that apply.
    pub applier: ThreadState,
    /// Their last error; empty if there was none.
    pub applier_error: String,
    /// Whether this replica acknowledges (`Rpl_semi_sync_replica_status`).
    pub acknowledges: bool,
    /// How long ago, in seconds, the oldest transaction that is being applied was committed on the primary, beyond
    /// `delay_s`; 0 where nothing is being applied. Coarse, and coarser the larger it is. None from an agent that
    /// does not measure it.
    #[serde(default)]
    pub lag_s: Option<u64>,
    /// `SOURCE_DELAY`: how much later than on the primary, in seconds, a transaction is applied on purpose.
    #[serde(default)]
    pub delay_s: u64,
}

impl Replication {
    /// Whether its applier ended on an error.
    pub fn is_broken(&self) -> bool {
        self.applier == ThreadState::Off && !self.applier_error.is_empty()
    }
}

/// A replication thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ThreadState {
    /// Working.
    On,
    /// Not started, or ended by an error.
    Off,
    /// Trying to reach its source.
    Connecting,
}

/// The source side of semi-synchronous replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SemiSync {
    /// `rpl_semi_sync_source_enabled`.
    pub enabled: bool,
    /// `rpl_semi_sync_source_wait_for_replica_count`.
    pub wait_count: u32,
    /// `Rpl_semi_sync_source_clients`: replicas that acknowledge now.
    pub clients: u32,
    /// `Rpl_semi_sync_source_wait_sessions`: commits that wait for an acknowledgement now.
    pub waiting_commits: u32,
}

/// Something an agent does that takes longer than a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// What.
    pub kind: JobKind,
    /// How far.
    pub state: JobState,
}

/// What takes longer than a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobKind {
    /// Making the first data directory of a cluster.
    Initialize,
    /// Copying another member's data.
    Clone,
    /// Something that a later release does, and this one has no word for.
    #[serde(other)]
    Unknown,
}

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum JobState {
    /// Under way.
    #[serde(rename_all = "camelCase")]
    Running {
        /// A stage for people, e.g. `FILE COPY 40 %`.
        stage: String,
    },
    /// Ended well.
    Done,
    /// Ended badly; whatever data there was before is still there.
    Failed {
        /// What went wrong.
        error: String,
    },
    /// A state that a later release has a word for, and this one has not: it may be under way.
    #[serde(other)]
    Unknown,
}

//! What the operator and the agents say to each other: HTTP/2 with mutual TLS, JSON bodies.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /v1/reports` | | an endless stream of [`Heartbeat`], one JSON document a line |
//! | `GET /v1/report` | | one [`Heartbeat`], with the report as it stands |
//! | `POST /v1/commands` | [`Request`] | [`Response`] |
//! | `POST /v1/backup` | [`BackupCall`] | [`BackupAnswer`] |
//! | `POST /v1/archive` | [`ArchiveCall`] | [`ArchiveAnswer`] |
//! | `POST /v1/check` | [`CheckCall`] | [`CheckAnswer`] |
//!
//! Agents are as old as their pods, so a type here may gain optional fields and new commands, and must never
//! lose or change one while a release that sends it is supported. This crate holds no behaviour.
//!
//! # What may be added within a version
//!
//! * *A field*, if whoever does not send it means something: `#[serde(default)]`. Readers pass over fields that they do not
//!   know.
//! * *A command.* An agent that does not know it answers [`Outcome::Refused`].
//! * *A word* for an outcome, a kind or state of a job, or a trouble of a volume. Who does not know it reads `Unknown`.
//!
//! The words of [`topology::record::Phase`], of the states of data, standing and server, and of replication threads are
//! what decisions rest on, and closed: another one is another [`WIRE_VERSION`]. `tests/v1` holds every message of version
//! 1 as it was first released; a test holds today's types against them, in both directions.

mod archive;
mod backup;
mod check;

pub use archive::*;
pub use backup::*;
pub use check::*;

use serde::{Deserialize, Serialize};
use topology::facts::MemberReport;
use topology::gtid::GtidSet;
use topology::record::{Record, StaleRecord};
use topology::signals::Signals;
use uuid::Uuid;

/// The version of everything in this crate. An operator takes no automatic action with an agent of another one.
pub const WIRE_VERSION: u32 = 1;

/// The port on which an agent serves the operator (HTTP/2, mutual TLS).
pub const AGENT_PORT: u16 = 8377;

/// The port on which an agent answers the kubelet's probes (HTTP/1, plain): `/livez`, `/readyz`.
pub const PROBE_PORT: u16 = 8378;

/// The port of mysqld.
pub const MYSQL_PORT: u16 = 3306;

/// How often, in milliseconds, a report stream carries something when nothing changes: long enough to cost
/// nothing with a thousand clusters, short enough to find a dead connection before TCP does.
pub const QUIET_HEARTBEAT_MS: u64 = 10_000;

/// How often, in milliseconds, a line of the report stream has what was measured with it, at most: three heartbeats. Who
/// asks policies by it does so once a minute, and it is longer than everything else that a quiet stream carries.
pub const SIGNALS_EVERY_MS: u64 = 30_000;
/// All that can be relied upon in a line of the report stream of any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of whoever speaks.
    pub wire: u32,
}

/// One line of the report stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// [`WIRE_VERSION`] of the agent.
    pub wire: u32,
    /// What changed. None only says that the agent is alive.
    pub report: Option<Box<MemberReport>>,
    /// What was measured, on some lines. It never makes a line of its own: one that is due anyway takes it along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<Box<Signals>>,
}

/// One command under one claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// [`WIRE_VERSION`] of the operator.
    pub wire: u32,
    /// The record the command is given under. The agent stores it first, or refuses both.
    pub record: Record,
    /// What to do.
    pub command: Command,
}

/// What an operator may tell an agent. Every command is idempotent: given twice, it changes nothing the
/// second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum Command {
    /// Store the record, and nothing else.
    Store,
    /// Make the first data directory of the cluster, start mysqld closed. A job: answered at once. Refused
    /// where there is any data.
    Initialize,
    /// Make the first data directory of the cluster from a backup, start mysqld closed. A job, reported as that of
    /// [`Command::Initialize`]: answered at once. Refused where there is any data.
    Restore {
        /// Which backup.
        backup: Box<BackupSource>,
    },
    /// The same as [`Command::Restore`], going on from the backup over the archive of its cluster's binary log. The path
    /// may be that of a cluster in the store, `NAMESPACE/CLUSTER`, too: the newest backup is chosen from which the target
    /// can be reached. Words of its own, so that an agent that does not know the target refuses.
    Recover {
        /// Which backup, or whose.
        backup: Box<BackupSource>,
        /// How far. None for a backup alone, and for everything there is of a cluster.
        #[serde(default)]
        target: Option<RecoveryTarget>,
    },
    /// Make the first data directory of the cluster from a dump of another server, start mysqld closed. A job, reported as
    /// that of [`Command::Initialize`]: answered at once. Refused where there is any data.
    Import {
        /// Which dump.
        dump: Box<DumpSource>,
    },
    /// Start mysqld closed on the data that is there, if it is not running.
    Start,
    /// Replace the data by a copy of the donor's, then start mysqld closed under a new server_uuid. A job:
    /// answered at once. The old data is kept until the copy is complete.
    Clone {
        /// Whom to copy.
        donor: Endpoint,
    },
    /// Start mysqld closed on the data of a member that led last; before that, cut from the end of its binary log
    /// what `keep` lacks, and give it a new server_uuid. What cannot be cut stays, and shows in the report.
    Trim {
        /// `gtid_executed` of the present primary, read after it had opened.
        keep: GtidSet,
    },
    /// Receive from this source (and start mysqld closed first where it is stopped). Only the receiver is
    /// re-pointed: the applier keeps running and the relay logs stay.
    Follow {
        /// Whom to follow.
        source: Endpoint,
    },
    /// Receive from this source, apply it so much later, and never acknowledge (and start mysqld closed first where it
    /// is stopped). Only a read replica obeys; it obeys no [`Command::Follow`].
    Read {
        /// Whom to receive from.
        source: Endpoint,
        /// How much later than on the primary a transaction is applied, in seconds.
        delay_s: u64,
    },
    /// Receive nothing more, so acknowledge nothing more. A primary that opened is killed instead, and what its
    /// binary log holds is read from disk. Answered when that is so.
    Freeze,
    /// Declare that everything in `barrier` was received, so that this member's memory can be relied upon from
    /// now on. Refused while it was not.
    GrantStanding {
        /// What the primary's binary log could hold, read after this member began to follow it.
        barrier: GtidSet,
    },
    /// Execute everything received so far, fetch what is missing from `source` if there is one, then open:
    /// semi-synchronous replication on with `acks`, then writable. Only the record's primary obeys. Answered
    /// when it is open, or when `deadline_ms` has passed; asking again goes on.
    Promote {
        /// Whoever has transactions that this member lacks.
        source: Option<Endpoint>,
        /// What must be executed before it opens.
        required: GtidSet,
        /// How long to wait, in milliseconds.
        deadline_ms: u64,
    },
    /// Set how many replicas a commit waits for, and remember it on disk. Only the record's primary obeys.
    SetAcks {
        /// k.
        acks: u32,
    },
    /// Let nobody acknowledge whom the stored record does not let: lock the accounts of everybody but its members, less
    /// the one that is leaving, and end their connections. Only the record's primary obeys, and only while it is open.
    /// Answered once no acknowledgement of theirs can come any more. An open primary does the same by itself after each
    /// record that it stores; this says when.
    Lock,
    /// End every commit that waits, without acknowledging it: offline first, then SIGKILL.
    Fence,
    /// Take no more writes and let those under way finish: offline_mode, then super_read_only while the
    /// replicas are still attached. Undone by itself when it does not succeed in time.
    Drain {
        /// How long to try, in milliseconds.
        deadline_ms: u64,
    },
    /// Undo a drain: open again. Only the record's primary obeys, and only while the record is Serving.
    Undrain,
    /// A command that this agent does not know. It is refused, and never given.
    #[serde(other)]
    Unknown,
}

/// Where a member's mysqld is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The pod's name.
    pub member: String,
    /// The pod's address.
    pub host: String,
    /// Its server_uuid: addresses are reused, so whoever connects checks it.
    pub server_uuid: Uuid,
}

/// What came of a command, and how the member stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// What came of it.
    pub outcome: Outcome,
    /// The member, observed after the command.
    pub report: MemberReport,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// It is so.
    Done,
    /// It is under way: a job was started, or the deadline passed before the end.
    Pending {
        /// What it is waiting for.
        waiting_for: String,
    },
    /// The record is older than what this agent has promised.
    Stale {
        /// In which respect.
        stale: StaleRecord,
    },
    /// The command does not fit this member as it stands.
    Refused {
        /// Why, and what would have to be so.
        reason: String,
    },
    /// It was tried and did not work.
    Failed {
        /// What went wrong.
        error: String,
    },
    /// What an agent of a later release says and this operator has no word for.
    #[serde(other)]
    Unknown,
}

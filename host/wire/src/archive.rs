//! Continuous backups, as operator and agent speak of them: `POST /v1/archive`, an [`ArchiveCall`] answered by an
//! [`ArchiveAnswer`].
//!
//! An agent archives its binary log for as long as an operator goes on ordering it, and promises nothing by it: whoever
//! leads or stops meanwhile, it goes on or it ends. An agent that is too old to know of archives answers 404.

use serde::{Deserialize, Serialize};
use topology::gtid::GtidSet;

use crate::StoreAccess;

/// How often an operator orders it anew, in milliseconds. It is also how late a transaction is known to have been executed
/// by the primary.
pub const ARCHIVE_ORDER_EVERY_MS: u64 = 5_000;

/// For how long an order lasts, in milliseconds: some of them may get lost, and an operator may be replaced by another.
pub const ARCHIVE_ORDER_LASTS_MS: u64 = 30_000;

/// A question about the archive, or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveCall {
    /// [`crate::WIRE_VERSION`] of the operator.
    pub wire: u32,
    /// What is asked.
    pub ask: ArchiveAsk,
}

/// What an operator may ask. Each may be asked twice and does nothing the second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum ArchiveAsk {
    /// Say what there is.
    Look {
        /// What the archive covers, if that is to be compared with this member's binary log.
        #[serde(default)]
        covered: Option<GtidSet>,
    },
    /// Archive, until [`ARCHIVE_ORDER_LASTS_MS`] after the last order.
    Keep(Box<ArchiveOrder>),
    /// The same, encrypted. A word of its own, so that an agent that does not know of encryption refuses.
    KeepEncrypted {
        /// The order.
        order: Box<ArchiveOrder>,
        /// For whom: public keys of age, as in `age1…`, at least one.
        recipients: Vec<String>,
    },
    /// Archive no more.
    Stop,
    /// What this agent does not know. It is refused, and never asked.
    #[serde(other)]
    Unknown,
}

/// What to archive, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveOrder {
    /// Where to.
    pub store: StoreAccess,
    /// Where in the store the archive is, without a slash at either end.
    pub path: String,
    /// The identity of the cluster.
    pub cluster_uid: String,
    /// The epoch of the record under which the primary is open. An agent that has stored a higher one refuses.
    pub epoch: u64,
    /// What the primary had executed when the operator last heard of it. Nothing else is archived.
    pub executed: GtidSet,
    /// Whether this member is to archive although it leads: because there is no other, or none whose log goes back far
    /// enough.
    #[serde(default)]
    pub although_primary: bool,
    /// Transactions that no member's log has any more, and that may be told as missing.
    #[serde(default)]
    pub give_up: GtidSet,
}

/// What an agent says about the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveAnswer {
    /// [`crate::WIRE_VERSION`] of the agent.
    pub wire: u32,
    /// The answer to [`ArchiveAsk::Look`]: what the archive does not cover and this member's binary log does not hold any
    /// more. None where that was not asked or cannot be read.
    #[serde(default)]
    pub lacks: Option<GtidSet>,
    /// What it archives, or archived last since it started.
    #[serde(default)]
    pub state: Option<ArchiveState>,
    /// Why the order was not taken up, if it was not.
    #[serde(default)]
    pub refused: Option<String>,
}

/// How far an archive is, as the agent that writes it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveState {
    /// Whether it is being written.
    pub active: bool,
    /// The number of the newest segment; 0 where none is known yet.
    pub sequence: u64,
    /// What the archive covers with it.
    pub covered: GtidSet,
    /// What a full backup has to hold to be led to the end of the archive.
    pub base: GtidSet,
    /// When the newest transaction in it was committed, in microseconds since 1970; None while no segment with one is known.
    #[serde(default)]
    pub last_commit_unix_us: Option<u64>,
    /// What keeps it from going on, if something does.
    #[serde(default)]
    pub problem: Option<String>,
    /// What it cannot archive because the log does not go back far enough.
    #[serde(default)]
    pub lacks: GtidSet,
}

//! Backups, as operator and agent speak of them: `POST /v1/backup`, a [`BackupCall`] answered by a [`BackupAnswer`].
//!
//! They are no commands under a claim: a backup changes nothing about a member, holds nothing up, and goes on or ends
//! by itself whoever leads meanwhile.

use std::fmt;

use serde::{Deserialize, Serialize};
use topology::gtid::GtidSet;

/// A question about backups, or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupCall {
    /// [`crate::WIRE_VERSION`] of the operator.
    pub wire: u32,
    /// What is asked.
    pub ask: BackupAsk,
}

/// What an operator may ask. Each may be asked twice and does nothing the second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum BackupAsk {
    /// Say what there is.
    Look,
    /// Make a backup. One at a time: while another one is being made it is refused.
    Begin(Box<BackupOrder>),
    /// The same, encrypted. A word of its own, so that an agent that does not know of encryption does not take the order up:
    /// it would leave a field out of account, and what it wrote could be read by everybody.
    BeginEncrypted {
        /// The order.
        order: Box<BackupOrder>,
        /// For whom: public keys of age, as in `age1…`, at least one.
        recipients: Vec<String>,
    },
    /// Make a logical backup. A word of its own, so that an agent that knows only the other kind does not make that.
    BeginLogical {
        /// The order.
        order: Box<BackupOrder>,
        /// For whom it is encrypted, if it is: public keys of age, at least one.
        #[serde(default)]
        recipients: Option<Vec<String>>,
    },
    /// End the backup of that identifier, and remove what it left in the store.
    Abort {
        /// [`BackupOrder::id`].
        id: String,
    },
    /// What this agent does not know. It is refused, and never asked.
    #[serde(other)]
    Unknown,
}

/// One backup to be made, and what its manifest has to say that the agent does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupOrder {
    /// What the backup is known by, never used twice.
    pub id: String,
    /// Where to.
    pub store: StoreAccess,
    /// Where in the store, without a slash at either end.
    pub path: String,
    /// The identity of the cluster.
    pub cluster_uid: String,
    /// The voting members.
    pub members: Vec<String>,
    /// The policies in force, by name.
    pub policies: Vec<String>,
    /// How many bytes a second may be sent at most. No limit if not given.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
}

/// What an agent says about backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupAnswer {
    /// [`crate::WIRE_VERSION`] of the agent.
    pub wire: u32,
    /// The backup that is being made, or the last one since the agent started.
    pub job: Option<BackupJob>,
    /// Why the order was not taken up, if it was not.
    #[serde(default)]
    pub refused: Option<String>,
}

/// One backup at one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupJob {
    /// [`BackupOrder::id`].
    pub id: String,
    /// How far it is.
    pub state: BackupState,
}

/// How far a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum BackupState {
    /// Being made.
    #[serde(rename_all = "camelCase")]
    Running {
        /// What is being done, for people: `copying`, `sending`.
        stage: String,
        /// How many bytes of files have been read for the store.
        bytes_done: u64,
        /// How many there are to read; 0 while that is not known.
        bytes_total: u64,
    },
    /// In the store, its manifest included.
    Done(BackupSummary),
    /// Given up. What it had sent was removed, as far as the store answered.
    Failed {
        /// Why, and what to do.
        error: String,
    },
}

/// What a finished backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupSummary {
    /// Every transaction that is surely in it.
    pub gtids: GtidSet,
    /// How large the files are, in bytes.
    pub bytes: u64,
    /// How large the parts in the store are, in bytes.
    pub stored_bytes: u64,
    /// SHA-256 of the manifest, in hexadecimal.
    pub manifest_sha256: String,
    /// When it was begun, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// When its manifest was written, in milliseconds since 1970.
    pub ended_unix_ms: u64,
}

/// A backup that a member makes its first data from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupSource {
    /// Which store.
    pub store: StoreAccess,
    /// Where in the store.
    pub path: String,
    /// SHA-256 of the manifest, in hexadecimal, where it is known from elsewhere than the store.
    #[serde(default)]
    pub manifest_sha256: Option<String>,
    /// What it is opened with if it is encrypted. An agent that does not know of encryption refuses a manifest that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<BackupKeys>,
}

/// A dump of another server that a member makes its first data from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpSource {
    /// Which store.
    pub store: StoreAccess,
    /// The object: SQL, whose name says how it is packed (`.sql`, `.sql.gz`, `.sql.zst`, each with or without `.age`).
    pub object: String,
    /// What it is opened with if it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<BackupKeys>,
}

/// What encrypted backups are opened with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupKeys {
    /// The Secret that they are from, for messages.
    pub secret: String,
    /// Secret keys of age, as `age-keygen` writes them, one a line; empty where the Secret has none.
    pub identities: Sensitive,
}

/// How far a recovery goes beyond a full backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "to")]
pub enum RecoveryTarget {
    /// To the end of the archive of the binary log.
    End,
    /// Everything up to the first transaction that was committed later than this, without it and what follows it.
    Time {
        /// In microseconds since 1970, by the clock of the server that committed first.
        unix_us: u64,
    },
    /// Everything that stands before this transaction in the archive.
    BeforeGtid {
        /// The one transaction.
        gtid: GtidSet,
    },
    /// Everything that stands in the archive before the first transaction that is not in this set.
    WithinGtids {
        /// The set.
        gtids: GtidSet,
    },
}

/// A place for objects, and how to get in. Every path in it is relative to `prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum StoreAccess {
    /// S3, and what speaks its protocol.
    S3 {
        /// The bucket.
        bucket: String,
        /// What every path begins with; empty for the bucket itself.
        prefix: String,
        /// `http://` or `https://` and a host. None for Amazon's own.
        endpoint: Option<String>,
        /// The region, as requests are signed for.
        region: String,
        /// Whether the bucket is in the path rather than in the host name.
        path_style: bool,
        /// The public half of the key.
        access_key_id: String,
        /// The secret half.
        secret_access_key: Sensitive,
    },
    /// Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
        /// What every path begins with.
        prefix: String,
        /// The service account's key, the JSON that Google gives out.
        service_account: Sensitive,
    },
    /// Azure Blob Storage.
    Azure {
        /// The storage account.
        account: String,
        /// The container.
        container: String,
        /// What every path begins with.
        prefix: String,
        /// The account's key.
        access_key: Sensitive,
    },
    /// A directory that is mounted in every member's container.
    Volume {
        /// Where it is mounted.
        path: String,
    },
}

/// A text that must not end up in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive(pub String);

impl fmt::Debug for Sensitive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("\"…\"")
    }
}

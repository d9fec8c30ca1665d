//! How mysqld is set: what a policy is asked and what it may answer.
//!
//! These are the host's own words, as in [`crate::decision`]. Values are texts as in my.cnf, so that the same words
//! mean the same here, in `spec.config` and to mysqld. Nothing here may hold a floating-point number or an unordered
//! collection.

mod guard;
mod tunable;

use serde::{Deserialize, Serialize};

pub use self::guard::{Because, Granted, Refused, Verdict, guard, session_bytes};
pub use self::tunable::{Kind, TUNABLE, Tunable, parse, tunable};
use crate::measured::{Load, Resources};

/// Everything a policy may know when it tunes.
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
    /// The lowest MySQL version of the cluster, as the server writes it.
    pub version: String,
    /// What there is now.
    pub present: Present,
    /// What was measured of the primary.
    #[serde(default)]
    pub load: Load,
    /// What else was measured of the primary, over the same time.
    #[serde(default)]
    pub activity: Activity,
    /// Further observations, sorted by name.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
}

/// What there is now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Present {
    /// What each server may have.
    pub resources: Resources,
    /// Bytes of each volume.
    pub volume_bytes: Option<u64>,
    /// Bytes of memory in a container that are not for mysqld: the agent's.
    pub agent_bytes: u64,
    /// Settings in force at the primary, sorted by name: those of [`TUNABLE`] that its version has.
    pub settings: Vec<Setting>,
    /// Seconds since a setting was last changed by a policy. None if none ever was.
    pub changed_s: Option<u64>,
    /// Seconds that have to pass after a change before the next.
    pub cooldown_s: u64,
    /// Seconds between two backups. None where there are none.
    pub backup_every_s: Option<u64>,
    /// Why the cluster is not as it should be: a member is away, a rollout is under way. None if it is.
    pub unsettled: Option<String>,
}

/// A setting of mysqld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// Its name, with underscores.
    pub name: String,
    /// Its value: a whole number, or `ON` or `OFF`.
    pub value: String,
    /// Whether a person set it in the cluster's spec.
    pub by_person: bool,
}

/// What mysqld did in the window of [`Load`], at the pace of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Activity {
    /// Bytes written to the redo log in an hour (`Innodb_os_log_written`).
    pub redo_written_bytes_per_hour: Option<u64>,
    /// Bytes of redo log that a recovery would have to read, at the end of the window (`log_lsn_checkpoint_age`).
    pub checkpoint_age_bytes: Option<u64>,
    /// Waits for room in the log buffer, in an hour (`Innodb_log_waits`).
    pub log_waits_per_hour: Option<u64>,
    /// Thousandths of the buffer pool that are not written back, at the end of the window.
    pub dirty_pages_permille: Option<u64>,
    /// Thousandths of the buffer pool that hold data, at the end of the window.
    pub buffer_pool_used_permille: Option<u64>,
    /// Waits for a free page, in an hour (`Innodb_buffer_pool_wait_free`).
    pub free_page_waits_per_hour: Option<u64>,
    /// Internal temporary tables made in an hour.
    pub tmp_tables_per_hour: Option<u64>,
    /// Thousandths of these that went to the volume.
    pub tmp_tables_on_disk_permille: Option<u64>,
    /// Tables that were opened because the cache did not have them, in an hour.
    pub table_cache_misses_per_hour: Option<u64>,
    /// Tables that were put out of the cache because it was full, in an hour.
    pub table_cache_overflows_per_hour: Option<u64>,
    /// Threads made for connections, in an hour (`Threads_created`).
    pub threads_created_per_hour: Option<u64>,
    /// Merges of sorts that did not fit their buffer, in an hour (`Sort_merge_passes`).
    pub sort_merge_passes_per_hour: Option<u64>,
    /// Joins without an index, in an hour (`Select_full_join`).
    pub full_joins_per_hour: Option<u64>,
    /// Transactions that did not fit the binary log's cache, in an hour (`Binlog_cache_disk_use`).
    pub binlog_cache_disk_uses_per_hour: Option<u64>,
    /// Connections that ended without being closed, in an hour (`Aborted_clients`).
    pub aborted_clients_per_hour: Option<u64>,
    /// Attempts to connect that failed, in an hour (`Aborted_connects`).
    pub aborted_connects_per_hour: Option<u64>,
    /// Attempts to connect that failed because there were too many, in an hour
    /// (`Connection_errors_max_connections`).
    pub refused_connections_per_hour: Option<u64>,
    /// The most connections at once since mysqld was started (`Max_used_connections`).
    pub connections_peak_since_start: Option<u64>,
    /// Bytes of data and indexes.
    pub data_bytes: Option<u64>,
}

/// What a policy says. No change keeps everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Why, in the policy's words: for keeping what there is as well.
    pub reason: String,
    /// Settings to change, the most wanted first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// A setting that should have another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its name, with underscores.
    pub name: String,
    /// The value it should have.
    pub value: String,
    /// Why, in the policy's words.
    pub reason: String,
}

impl Answer {
    /// An answer that keeps everything.
    pub fn keep(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), changes: Vec::new() }
    }
}

impl Present {
    /// The setting of a name.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

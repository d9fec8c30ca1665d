//! The archive of a cluster's binary log: a chain of segments, each with an entry that says what is in it.
//!
//! A segment's bytes, once decrypted where they are encrypted, and decompressed, are a binary log file by themselves: the magic number, a format description,
//! `Previous_gtids`, then whole transactions as the server sent them, in the order in which they were committed. Its
//! entry is written last and only where there is none of that number: **a segment without an entry does not exist**, and two
//! who write at once cannot fork the chain.
//!
//! Every entry says what the archive covered before it, so that no transaction is in it twice and none is left out in
//! silence: what could not be had any more is named as missing. The format outlives the release that wrote it, like that
//! of [`crate::manifest`]. Pure.

mod plan;

pub use plan::{Plan, follows, plan};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use topology::gtid::GtidSet;
use uuid::Uuid;

use crate::encryption::{self, Encryption};
use crate::error::Error;
use crate::layout;
use crate::manifest::sha256;

/// The format that this release writes where nothing is encrypted. The highest that it reads is
/// [`encryption::FORMAT`].
pub const FORMAT: u32 = 1;

/// The number of a chain's first segment.
pub const FIRST: u64 = 1;

/// What is in one segment, and how its bytes are known to be whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// [`FORMAT`], or [`encryption::FORMAT`], of whoever wrote it.
    pub format: u32,
    /// Its number: one more than that of the segment before, [`FIRST`] for the first.
    pub sequence: u64,
    /// Which of all the clusters that had this name.
    pub cluster_uid: String,
    /// From which member's binary log it was read.
    pub member: String,
    /// The member's server_uuid.
    pub server_uuid: Uuid,
    /// `@@version` of the server.
    pub server_version: String,
    /// What the archive covered before. For the first segment: what its member had executed, which is in no segment, and
    /// which a full backup has to hold.
    pub before: GtidSet,
    /// Exactly the transactions that are in it.
    pub gtids: GtidSet,
    /// Transactions that were purged before anybody could archive them, as a rule none. Only a full backup that holds them
    /// leads on behind it.
    #[serde(default)]
    pub missing: GtidSet,
    /// What a full backup has to hold to be led to the end of this segment: what was there before the first segment or,
    /// where there is a hole, before and in the last one.
    #[serde(default)]
    pub base: GtidSet,
    /// Its bytes: an object below the archive.
    pub object: String,
    /// How many bytes are stored.
    pub size: u64,
    /// The SHA-256 of the stored bytes, in hexadecimal.
    pub sha256: String,
    /// For whom they are encrypted, if they are. Each segment says it for itself: a chain may have both kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How many bytes they are once decrypted and decompressed.
    pub bytes: u64,
    /// How many transactions there are.
    pub transactions: u64,
    /// When the first of them was first committed, in microseconds since 1970; 0 where there is none.
    pub first_commit_unix_us: u64,
    /// When the last of them was.
    pub last_commit_unix_us: u64,
    /// When it was finished.
    pub closed_at: Timestamp,
}

/// What stands behind an entry in its object.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seal {
    sha256: String,
}

/// What is read before anything else.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Entry {
    /// What the archive covers with this segment.
    #[must_use]
    pub fn after(&self) -> GtidSet {
        self.before.union(&self.missing).union(&self.gtids)
    }

    /// Whether whoever has executed this can go on from the beginning of this segment.
    pub fn begins_within(&self, executed: &GtidSet) -> bool {
        self.before.is_subset_of(executed)
    }

    /// The text that is stored: a line of JSON, and a second one with the first one's SHA-256.
    ///
    /// # Errors
    /// It cannot be written as JSON, which no value of this type can cause.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string(self)?;
        let seal = serde_json::to_string(&Seal { sha256: sha256(line.as_bytes()) })?;
        Ok(format!("{line}\n{seal}\n"))
    }

    /// Reads the entry of this number, as it was found in an archive.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is not what was written or contradicts itself, [`Error::Format`] where a later release
    /// wrote it.
    pub fn read(archive: &str, sequence: u64, text: &[u8]) -> Result<Self, Error> {
        let object = layout::log_entry(archive, sequence);
        let damaged = |problem: String| Error::Damaged { object: object.clone(), problem };
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        let [line, seal, []] = lines[..] else {
            return Err(damaged("expected a line with the entry and one with its SHA-256".to_owned()));
        };
        let seal: Seal = serde_json::from_slice(seal).map_err(|why| damaged(why.to_string()))?;
        let found = sha256(line);
        if found != seal.sha256 {
            return Err(damaged(format!("its SHA-256 is {found}, and its second line says {:?}", seal.sha256)));
        }
        let format: Format = serde_json::from_slice(line).map_err(|why| damaged(why.to_string()))?;
        if format.format > encryption::FORMAT {
            return Err(Error::Format { object, found: format.format });
        }
        let entry: Self = serde_json::from_slice(line).map_err(|why| damaged(why.to_string()))?;
        if entry.sequence != sequence {
            return Err(damaged(format!("it says that it is number {}", entry.sequence)));
        }
        entry.check().map_err(damaged)?;
        Ok(entry)
    }

    /// Whether it can be true.
    ///
    /// # Errors
    /// In what it contradicts itself.
    pub fn check(&self) -> Result<(), String> {
        let apart = |one: &GtidSet, other: &GtidSet| one.intersect(other).is_empty();
        if !apart(&self.before, &self.gtids) || !apart(&self.missing, &self.before.union(&self.gtids)) {
            return Err("what was there before, what is in it and what is missing overlap".to_owned());
        }
        if !self.base.is_subset_of(&self.before.union(&self.missing)) {
            return Err("a backup would have to hold more than was there before it".to_owned());
        }
        if self.gtids.count() != self.transactions {
            return Err(format!("it counts {} transactions and names {}", self.transactions, self.gtids.count()));
        }
        if self.sequence < FIRST || !self.object.starts_with("data/") || layout::check_path(&self.object).is_err() {
            return Err(format!("number {} and object {:?} are none of an archive", self.sequence, self.object));
        }
        Ok(())
    }

    /// Whether these are the bytes that were stored.
    ///
    /// # Errors
    /// [`Error::Damaged`], naming the object.
    pub fn holds(&self, archive: &str, stored: &[u8]) -> Result<(), Error> {
        self.is(archive, stored.len() as u64, &sha256(stored))
    }

    /// Whether what is of this size, and has this SHA-256, are the bytes that were stored.
    ///
    /// # Errors
    /// [`Error::Damaged`], naming the object.
    pub fn is(&self, archive: &str, size: u64, sum: &str) -> Result<(), Error> {
        let damaged = |problem: String| Error::Damaged { object: self.data(archive), problem };
        if size != self.size {
            return Err(damaged(format!("it has {size} bytes, expected {}", self.size)));
        }
        if sum != self.sha256 {
            return Err(damaged(format!("its SHA-256 is {sum}, expected {}", self.sha256)));
        }
        Ok(())
    }

    /// The object with its bytes.
    pub fn data(&self, archive: &str) -> String {
        format!("{archive}/{}", self.object)
    }
}

#[cfg(test)]
mod tests;

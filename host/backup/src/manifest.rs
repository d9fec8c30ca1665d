//! The manifest: what a backup holds, and how every part of it is known to be whole.
//!
//! It outlives the release that wrote it: fields may be added and are ignored by those who do not know them, and one
//! that cannot be ignored comes with another [`format`], as encryption does. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use topology::gtid::GtidSet;
use uuid::Uuid;

use crate::encryption::{self, Encryption};
use crate::error::Error;
use crate::layout;

/// The format of a manifest that every release reads: of a copy of data files that is not encrypted.
const FORMAT: u32 = 1;

/// The format of a manifest of a logical backup. It is the highest that this release reads.
const LOGICAL: u32 = 3;

/// The format of a manifest of what was made and encrypted like this: what those who do not know of it cannot restore.
pub const fn format(method: Method, encryption: Option<&Encryption>) -> u32 {
    match method {
        Method::Clone => encryption::format(FORMAT, encryption),
        Method::Logical => LOGICAL,
    }
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`format`] says which.
    pub format: u32,
    /// What the backup is known by.
    pub id: String,
    /// How it was made.
    pub method: Method,
    /// Of which cluster.
    pub cluster: Origin,
    /// Of which member.
    pub member: String,
    /// Its server_uuid.
    pub server_uuid: Uuid,
    /// Who voted when it was made.
    pub members: Vec<String>,
    /// The policies that were in force, by name.
    pub policies: Vec<String>,
    /// The server that wrote the data.
    pub server: Server,
    /// Which transactions it holds.
    pub gtids: Gtids,
    /// When it was begun.
    pub began_at: Timestamp,
    /// When its last part was in the store.
    pub ended_at: Timestamp,
    /// For whom the parts are encrypted, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// What is in the parts.
    pub content: Content,
}

/// How a backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// The parts are a data directory that `CLONE LOCAL DATA DIRECTORY` made.
    Clone,
    /// The parts are a directory with [`layout::DUMP`], which mysqldump wrote.
    Logical,
}

/// A cluster, as Kubernetes knew it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which of all the clusters that had this name.
    pub uid: String,
}

/// The server that wrote the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// `@@version`.
    pub version: String,
    /// Global variables that the data depends on, or that people look for.
    pub settings: BTreeMap<String, String>,
}

/// Which transactions a backup holds: all of `at_least` and none outside of `at_most`. The server goes on while it is
/// copied, and which of those in between were in time shows only once a server runs on the copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gtids {
    /// What was executed before the copy was begun.
    pub at_least: GtidSet,
    /// What was executed, or being committed, when the copy had ended.
    pub at_most: GtidSet,
}

/// What is in the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// How many files there are.
    pub files: u64,
    /// How large they are together, in bytes.
    pub bytes: u64,
    /// How large the parts are together, in bytes.
    pub stored_bytes: u64,
    /// The parts, in order: together a tar archive, compressed with zstd and then, where that is said, encrypted.
    pub parts: Vec<Part>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// The text that is stored, and its SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// It cannot be written as JSON, which no value of this type can cause.
    pub fn text(&self) -> Result<(String, String), serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let sum = sha256(text.as_bytes());
        Ok((text, sum))
    }

    /// Reads a manifest. `sum` is the text of [`layout::MANIFEST_SUM`], and `path` is where both were found.
    ///
    /// # Errors
    /// [`Error::Damaged`] where they do not fit together, [`Error::Format`] where a later release wrote it.
    pub fn read(path: &str, text: &[u8], sum: &str) -> Result<Self, Error> {
        let object = layout::manifest(path);
        let damaged = |problem: String| Error::Damaged { object: object.clone(), problem };
        let (found, expected) = (sha256(text), sum.split_whitespace().next().unwrap_or_default());
        if found != expected {
            return Err(damaged(format!("its SHA-256 is {found}, and {} says {expected:?}", layout::MANIFEST_SUM)));
        }
        let format: Format = serde_json::from_slice(text).map_err(|why| damaged(why.to_string()))?;
        if format.format > LOGICAL {
            return Err(Error::Format { object, found: format.format });
        }
        let manifest: Self = serde_json::from_slice(text).map_err(|why| damaged(why.to_string()))?;
        let stored: u64 = manifest.content.parts.iter().map(|part| part.size).sum();
        if stored != manifest.content.stored_bytes || !manifest.gtids.at_least.is_subset_of(&manifest.gtids.at_most) {
            return Err(damaged("it contradicts itself".to_owned()));
        }
        Ok(manifest)
    }

    /// Whether a server of this version can be started on the data files, and with this `lower_case_table_names`.
    ///
    /// # Errors
    /// What does not fit, and what would.
    pub fn fits(&self, version: &str, lower_case_table_names: u8) -> Result<(), String> {
        if series(&self.server.version) != series(version) {
            return Err(format!(
                "the backup is of MySQL {} and the image has {version}: expected an image of the same series",
                self.server.version
            ));
        }
        let setting = self.server.settings.get("lower_case_table_names").map_or("0", String::as_str);
        if setting != lower_case_table_names.to_string() {
            return Err(format!(
                "the backup was made with lower_case_table_names = {setting}, which is fixed for ever: set \
                 spec.bootstrap.recovery.lowerCaseTableNames to {setting}"
            ));
        }
        Ok(())
    }

    /// Whether a server that says it has executed this can be the one in the backup.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn holds(&self, executed: &GtidSet) -> Result<(), String> {
        let (missing, beyond) = (self.gtids.at_least.subtract(executed), executed.subtract(&self.gtids.at_most));
        if !missing.is_empty() {
            return Err(format!("the restored data lacks {missing}, which its manifest promises"));
        }
        if !beyond.is_empty() {
            return Err(format!("the restored data holds {beyond}, which its manifest does not know"));
        }
        Ok(())
    }
}

/// What is read before anything else.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The first two numbers of a version: data moves freely only within them.
fn series(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;

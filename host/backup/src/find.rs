//! Finds in a store what a recovery begins with and what leads on from there.
//!
//! It decides nothing: what fits is [`crate::recovery`]'s to say. Something damaged on the way is never passed over in
//! silence.

use futures::{StreamExt as _, TryStreamExt as _};
use topology::gtid::GtidSet;
use wire::RecoveryTarget;

use crate::archive::Archive;
use crate::error::Error;
use crate::layout;
use crate::log::{Entry, FIRST};
use crate::manifest::Manifest;
use crate::recovery;
use crate::store::Store;

/// How many entries are read at a time: each is small, and the way to the store is long.
pub(crate) const READ_AT_ONCE: usize = 16;

/// Entries in order, and the one before them, if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The entry before the first of them.
    pub before: Option<Entry>,
    /// From the last that begins within what is executed to the one in which the target lies, or to the newest.
    pub entries: Vec<Entry>,
}

/// The newest backup of a cluster, whose directory in the store this is, from which the target can be reached.
///
/// # Errors
/// [`Error::Missing`] where there is no backup at all, [`Error::Unreachable`] where each holds too much.
pub async fn newest(store: &Store, cluster: &str, target: &RecoveryTarget) -> Result<(String, Manifest), Error> {
    let fulls = layout::fulls(cluster);
    let mut oldest = None;
    for name in recovery::newest_first(store.directories(&fulls).await?) {
        let path = format!("{fulls}/{name}");
        // Without a manifest it was never finished.
        let Some((manifest, _)) = store.manifest(&path).await? else { continue };
        if recovery::may_begin_with(&manifest, target) {
            return Ok((path, manifest));
        }
        oldest = Some(manifest);
    }
    let oldest = oldest.ok_or_else(|| Error::Missing { path: cluster.to_owned() })?;
    Err(Error::Unreachable(format!(
        "the target is before every backup of {cluster}: the oldest ended at {}, and nothing before that can be reached",
        oldest.ended_at
    )))
}

/// The entries that matter for the way from what is executed to the target.
///
/// # Errors
/// Any of [`Error`]; [`Error::Chain`] where a number is missing.
pub async fn entries(archive: &Archive, executed: &GtidSet, target: &RecoveryTarget) -> Result<Found, Error> {
    let Some(newest) = archive.newest(None).await? else { return Ok(Found { before: None, entries: Vec::new() }) };
    let first = beginning(archive, executed, newest.sequence).await?;
    let before = if first > FIRST { archive.entry(first - 1).await? } else { None };
    let numbered = futures::stream::iter(first..=newest.sequence);
    let mut reading = numbered.map(|number| async move { there(archive, number).await }).buffered(READ_AT_ONCE);
    let mut entries = Vec::new();
    while let Some(entry) = reading.try_next().await? {
        let ends = recovery::ends_in(&entry, target);
        entries.push(entry);
        if ends {
            break;
        }
    }
    Ok(Found { before, entries })
}

/// The number of the last segment that begins within what is executed; that of the first there is, if none does. What
/// each covers grows with its number, so half of those that are left are ruled out by each that is read.
pub(crate) async fn beginning(archive: &Archive, executed: &GtidSet, newest: u64) -> Result<u64, Error> {
    let (mut low, mut high) = (FIRST, newest);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        // One that is not there may have been removed with all before it; if not, it is missed on the way.
        let left = archive.entry(middle).await?.is_some_and(|entry| !entry.begins_within(executed));
        if left {
            high = middle - 1;
        } else {
            low = middle;
        }
    }
    Ok(low)
}

pub(crate) async fn there(archive: &Archive, sequence: u64) -> Result<Entry, Error> {
    let object = layout::log_entry(archive.path(), sequence);
    let problem = "it is not there, and later ones are; use a full backup from after it".to_owned();
    archive.entry(sequence).await?.ok_or(Error::Chain { object, problem })
}

#[cfg(test)]
mod tests;

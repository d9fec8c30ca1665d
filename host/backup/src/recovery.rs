//! How far a recovery goes: which full backup it begins with, which segments of the archive follow, and before which
//! transaction it ends. Pure.
//!
//! It must never come to another end than the one that was asked for: what cannot be reached exactly is refused, with
//! what can be.

use jiff::Timestamp;
use topology::gtid::GtidSet;
use wire::RecoveryTarget;

use crate::error::Error;
use crate::keys::Keys;
use crate::log::{self, Entry};
use crate::manifest::Manifest;

/// A way from a backup to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way<'a> {
    /// The segments that hold something new, in order. In the last one is the end, if the target is not all there is.
    pub replay: Vec<&'a Entry>,
    /// What the archive covers before the first of them.
    pub covered: GtidSet,
}

/// Whether the data of a backup, as far as its manifest tells, holds nothing from behind the target.
pub fn may_begin_with(manifest: &Manifest, target: &RecoveryTarget) -> bool {
    match target {
        RecoveryTarget::End => true,
        RecoveryTarget::Time { unix_us } => unix_us_of(manifest.ended_at) <= *unix_us,
        RecoveryTarget::BeforeGtid { gtid } => gtid.intersect(&manifest.gtids.at_most).is_empty(),
        RecoveryTarget::WithinGtids { gtids } => manifest.gtids.at_most.is_subset_of(gtids),
    }
}

/// The names of backups, the one that was begun last first: they begin with the time.
pub fn newest_first(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable_by(|one, other| other.cmp(one));
    names
}

/// Whether the end lies in this segment, as far as its entry tells; the transactions in it tell better.
pub fn ends_in(entry: &Entry, target: &RecoveryTarget) -> bool {
    match target {
        RecoveryTarget::End => false,
        RecoveryTarget::Time { unix_us } => entry.first_commit_unix_us.max(entry.last_commit_unix_us) > *unix_us,
        RecoveryTarget::BeforeGtid { gtid } => gtid.is_subset_of(&entry.gtids),
        RecoveryTarget::WithinGtids { gtids } => !entry.gtids.is_subset_of(gtids),
    }
}

/// Whether a recovery ends before this transaction, which was first committed at that time.
pub fn ends_before(target: &RecoveryTarget, gtid: &str, committed_unix_us: u64) -> bool {
    match target {
        RecoveryTarget::End => false,
        RecoveryTarget::Time { unix_us } => committed_unix_us > *unix_us,
        RecoveryTarget::BeforeGtid { gtid: first } => first.to_string() == gtid,
        // What is no GTID is in no set.
        RecoveryTarget::WithinGtids { gtids } => !gtid.parse::<GtidSet>().is_ok_and(|one| one.is_subset_of(gtids)),
    }
}

/// The way from a backup, whose data has executed `executed`, over the entries of an archive: those that
/// [`crate::find::entries`] found, the target in the last of them if it is in any, with the one before them.
///
/// # Errors
/// [`Error::Unreachable`], with what can be reached; [`Error::Chain`], with the entry over which it does not lead on.
pub fn way<'a>(
    archive: &str,
    manifest: &Manifest,
    executed: &GtidSet,
    before: Option<&Entry>,
    entries: &'a [Entry],
    target: &RecoveryTarget,
) -> Result<Way<'a>, Error> {
    begins_before(manifest, executed, before, target)?;
    let (first, last) = ends_of(archive, manifest, entries)?;
    let plan = log::plan(archive, entries, executed)?;
    ends_within(archive, manifest, last, target)?;
    // What it ends in may be the backup's already, and more than what is wanted of it.
    if ends_in(last, target) && plan.replay.last() != Some(&last) {
        holds_nothing_later(executed, &last.before)?;
    }
    let covered = plan.replay.first().map_or(&first.before, |first| &first.before).clone();
    Ok(Way { replay: plan.replay, covered })
}

/// What can be said against a target before a server runs on the backup, which may take hours to get. `entries` are those
/// from the last that begins within the most that it may hold.
///
/// # Errors
/// As [`way`], whatever the backup turns out to hold.
pub fn check(archive: &str, manifest: &Manifest, entries: &[Entry], target: &RecoveryTarget) -> Result<(), Error> {
    begins_before(manifest, &manifest.gtids.at_least, None, target)?;
    let (_, last) = ends_of(archive, manifest, entries)?;
    log::plan(archive, entries, &manifest.gtids.at_most)?;
    match target {
        // It may stand before these entries.
        RecoveryTarget::BeforeGtid { gtid } if gtid.is_subset_of(&manifest.gtids.at_most) => Ok(()),
        _ => ends_within(archive, manifest, last, target),
    }
}

/// Whether every segment can be opened that is replayed whatever the backup turns out to hold.
///
/// # Errors
/// [`Error::Locked`], naming the segment's bytes.
pub fn opened(archive: &str, manifest: &Manifest, entries: &[Entry], keys: &Keys) -> Result<(), Error> {
    let needed = log::plan(archive, entries, &manifest.gtids.at_most)?.replay;
    needed.into_iter().try_for_each(|entry| keys.open(&entry.data(archive), entry.encryption.as_ref()))
}

fn ends_of<'a>(archive: &str, manifest: &Manifest, entries: &'a [Entry]) -> Result<(&'a Entry, &'a Entry), Error> {
    entries.first().zip(entries.last()).ok_or_else(|| {
        Error::Unreachable(format!(
            "there is no archive of the binary log at {archive}; leave spec.bootstrap.recovery.target out to get the \
             backup alone, as of {}",
            manifest.ended_at
        ))
    })
}

fn ends_within(archive: &str, manifest: &Manifest, last: &Entry, target: &RecoveryTarget) -> Result<(), Error> {
    let is_covered = match target {
        RecoveryTarget::End => true,
        RecoveryTarget::Time { .. } | RecoveryTarget::BeforeGtid { .. } => false,
        RecoveryTarget::WithinGtids { gtids } => gtids.is_subset_of(&last.after()),
    };
    if is_covered || ends_in(last, target) {
        return Ok(());
    }
    Err(Error::Unreachable(beyond(archive, manifest, last, target)))
}

/// What is to be said when the data of a backup turns out to hold what stands behind the end in the archive.
///
/// # Errors
/// [`Error::Unreachable`]: it does.
pub fn holds_nothing_later(executed: &GtidSet, until: &GtidSet) -> Result<(), Error> {
    let later = executed.subtract(until);
    if later.is_empty() {
        return Ok(());
    }
    Err(Error::Unreachable(format!(
        "the backup already holds {later}, which stand behind the target in the archive; use an earlier backup"
    )))
}

fn begins_before(
    manifest: &Manifest,
    executed: &GtidSet,
    before: Option<&Entry>,
    target: &RecoveryTarget,
) -> Result<(), Error> {
    let early = match target {
        RecoveryTarget::End => false,
        RecoveryTarget::Time { unix_us } => {
            // Everything before the first segment that is replayed is in the backup, with its last transaction.
            let held = before.map_or(0, |entry| entry.last_commit_unix_us);
            unix_us_of(manifest.began_at).max(held) > *unix_us
        }
        RecoveryTarget::BeforeGtid { gtid } => gtid.is_subset_of(executed),
        RecoveryTarget::WithinGtids { gtids } => !executed.is_subset_of(gtids),
    };
    if !early {
        return Ok(());
    }
    let what = match target {
        RecoveryTarget::BeforeGtid { gtid } => format!("the backup already holds {gtid}"),
        RecoveryTarget::WithinGtids { gtids } => format!("the backup already holds {}", executed.subtract(gtids)),
        _ => "the target is before the backup".to_owned(),
    };
    Err(Error::Unreachable(format!(
        "{what}: its data is that of {}, and from there on only what came later can be reached; use an earlier backup",
        manifest.ended_at
    )))
}

fn beyond(archive: &str, manifest: &Manifest, last: &Entry, target: &RecoveryTarget) -> String {
    let what = match target {
        RecoveryTarget::BeforeGtid { gtid } => format!("{gtid} is in no segment of the archive {archive}, and "),
        RecoveryTarget::WithinGtids { gtids } => {
            format!("{} are in no segment of the archive {archive}, and ", gtids.subtract(&last.after()))
        }
        _ => String::new(),
    };
    let end = if last.transactions == 0 { unix_us_of(last.closed_at) } else { last.last_commit_unix_us };
    format!(
        "{what}the archive ends at {}, with segment {}: from this backup every moment from {} until then can be reached; \
         use end: true to get everything that was archived",
        time(end),
        last.sequence,
        manifest.ended_at
    )
}

fn time(unix_us: u64) -> String {
    let time = i64::try_from(unix_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    time.map_or_else(|| format!("{unix_us} µs after 1970"), |time| time.to_string())
}

fn unix_us_of(time: Timestamp) -> u64 {
    u64::try_from(time.as_microsecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests;

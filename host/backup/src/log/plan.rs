//! Which segments lead from a backup to the end of an archive. Pure.
//!
//! It must never step over anything: a number that is missing, segments that do not fit together and transactions that
//! nobody has any more end it, with the entry named.

use topology::gtid::GtidSet;

use super::{Entry, FIRST};
use crate::error::Error;
use crate::layout;

/// What is to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The segments that hold something new, in order.
    pub replay: Vec<&'a Entry>,
    /// What will have been executed once all of them are.
    pub end: GtidSet,
}

/// Whether a segment follows another.
///
/// # Errors
/// [`Error::Chain`]: it does not.
pub fn follows(archive: &str, before: &Entry, entry: &Entry) -> Result<(), Error> {
    let next = before.sequence + 1;
    if entry.sequence != next {
        let problem = format!("it is not there, and number {} is; use a full backup from after it", entry.sequence);
        return Err(Error::Chain { object: layout::log_entry(archive, next), problem });
    }
    let broken = |problem| Err(Error::Chain { object: layout::log_entry(archive, entry.sequence), problem });
    if entry.cluster_uid != before.cluster_uid {
        return broken(format!(
            "it is of the cluster {}, and the one before of {}",
            entry.cluster_uid, before.cluster_uid
        ));
    }
    let (covered, said) = (before.after(), &entry.before);
    if covered != *said {
        return broken(format!(
            "it says that the archive covered {said} before it, and the entry before leads to {covered}; use a full \
             backup from after it"
        ));
    }
    Ok(())
}

/// The way on for whoever has executed `executed`, over these entries of an archive: the newest ones, in order, from the
/// last that [begins within](Entry::begins_within) what is executed, or from the first.
///
/// # Errors
/// [`Error::Chain`]: the entry over which it does not lead on.
pub fn plan<'a>(archive: &str, entries: &'a [Entry], executed: &GtidSet) -> Result<Plan<'a>, Error> {
    let mut plan = Plan { replay: Vec::new(), end: executed.clone() };
    let Some(first) = entries.first() else { return Ok(plan) };
    if !first.begins_within(executed) {
        let lacks = first.before.subtract(executed);
        let problem = if first.sequence == FIRST {
            format!("the archive begins there, and the backup lacks {lacks} from before it; use a later full backup")
        } else {
            format!("the backup lacks {lacks} from before it, and the entries before it are not there")
        };
        return Err(Error::Chain { object: layout::log_entry(archive, first.sequence), problem });
    }
    for pair in entries.windows(2) {
        follows(archive, &pair[0], &pair[1])?;
    }
    for entry in entries {
        let lost = entry.missing.subtract(executed);
        if !lost.is_empty() {
            let problem =
                format!("{lost} were purged before they could be archived; use a full backup that holds them");
            return Err(Error::Chain { object: layout::log_entry(archive, entry.sequence), problem });
        }
        if !entry.gtids.is_subset_of(executed) {
            plan.replay.push(entry);
        }
        plan.end = plan.end.union(&entry.gtids);
    }
    Ok(plan)
}

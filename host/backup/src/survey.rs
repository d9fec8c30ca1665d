//! Sees what there is of a cluster in a store, for [`crate::retention`] to judge. It decides nothing, and a store that does
//! not answer is an error and never an empty one.

use futures::{StreamExt as _, TryStreamExt as _};
use topology::gtid::GtidSet;

use crate::archive::Archive;
use crate::error::Error;
use crate::find::{READ_AT_ONCE, beginning, there};
use crate::layout;
use crate::log::Entry;
use crate::manifest::{Manifest, Origin};
use crate::retention::{Lead, Seen, Segments, Sight, Whole};
use crate::store::Store;

/// How many objects of an archive are remembered: there may be hundreds of thousands.
const REMEMBERED: usize = 10_000;

/// Everything that there is, as it was found.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What is to be judged.
    pub sight: Sight,
    /// The names of the first objects of the archive, below it, that belong to segments, with their numbers, in order: as
    /// many as are ever removed at a time.
    pub objects: Vec<(u64, String)>,
}

/// Looks at the backups of a cluster, and at its archive.
///
/// # Errors
/// Any of [`Error`]: what is not known is not judged. [`Error::Chain`] where a number is left out of the archive.
pub async fn survey(store: &Store, own: &Origin) -> Result<Survey, Error> {
    let archive = Archive::at(store.clone(), &layout::log(&own.namespace, &own.name, &own.uid))?;
    let (objects, numbers) = objects(store, &archive).await?;
    let segments = segments(&archive, own, &numbers).await?;
    let below = layout::fulls(&format!("{}/{}", own.namespace, own.name));
    let mut names = store.directories(&below).await?;
    names.sort_unstable();
    let mut fulls = Vec::new();
    for name in names {
        if let Some(seen) = seen(store, &archive, segments.as_ref(), own, &format!("{below}/{name}")).await? {
            fulls.push((name, seen));
        }
    }
    let segments = segments.map(|(segments, _)| segments);
    Ok(Survey { sight: Sight { fulls, segments }, objects })
}

async fn seen(
    store: &Store,
    archive: &Archive,
    segments: Option<&(Segments, Entry)>,
    own: &Origin,
    path: &str,
) -> Result<Option<Seen>, Error> {
    let (manifest, sum) = match store.manifest(path).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let modified = store.listed(path).await?.iter().map(|object| object.modified_unix_us).max();
            return Ok(modified.map(|modified_unix_us| Seen::Unfinished { modified_unix_us }));
        }
        Err(why @ (Error::Damaged { .. } | Error::Format { .. })) => {
            return Ok(Some(Seen::Unreadable(why.to_string())));
        }
        Err(why) => return Err(why),
    };
    let ended_unix_us = u64::try_from(manifest.ended_at.as_microsecond()).unwrap_or(0);
    let lead = match segments {
        Some((segments, newest)) if manifest.cluster == *own => lead(archive, segments, newest, &manifest).await?,
        _ => Lead::default(),
    };
    let (origin, at_least) = (manifest.cluster, manifest.gtids.at_least);
    Ok(Some(Seen::Whole(Box::new(Whole { origin, sum, ended_unix_us, at_least, lead }))))
}

/// The objects of an archive, and the numbers of its entries, both in order.
async fn objects(store: &Store, archive: &Archive) -> Result<(Vec<(u64, String)>, Vec<u64>), Error> {
    let listed = store.listed(archive.path()).await?;
    let mut numbers: Vec<_> = listed.iter().filter_map(|object| layout::log_sequence(&object.name)).collect();
    numbers.sort_unstable();
    let numbered = listed.into_iter().filter_map(|object| {
        let number = layout::log_sequence(&object.name).or_else(|| layout::log_data_sequence(&object.name))?;
        Some((number, object.name))
    });
    let mut objects: Vec<_> = numbered.collect();
    objects.sort_unstable();
    objects.truncate(REMEMBERED);
    Ok((objects, numbers))
}

async fn segments(archive: &Archive, own: &Origin, numbers: &[u64]) -> Result<Option<(Segments, Entry)>, Error> {
    let (Some(first), Some(newest)) = (numbers.first().copied(), numbers.last().copied()) else { return Ok(None) };
    let missing = (first..=newest).zip(numbers).find(|(expected, found)| expected != *found);
    if let Some((missing, found)) = missing {
        let problem = format!("it is not there, and number {found} is");
        return Err(Error::Chain { object: layout::log_entry(archive.path(), missing), problem });
    }
    let entry = there(archive, newest).await?;
    if entry.cluster_uid != own.uid {
        let problem = format!("it is of another cluster, {}", entry.cluster_uid);
        return Err(Error::Chain { object: layout::log_entry(archive.path(), newest), problem });
    }
    let closed = u64::try_from(entry.closed_at.as_microsecond()).unwrap_or(0);
    let closed_unix_us = closed.max(entry.last_commit_unix_us);
    Ok(Some((Segments { first, newest, closed_unix_us }, entry)))
}

async fn lead(archive: &Archive, segments: &Segments, newest: &Entry, manifest: &Manifest) -> Result<Lead, Error> {
    let (at_least, at_most) = (&manifest.gtids.at_least, &manifest.gtids.at_most);
    let surely_from = begins(archive, segments, at_least).await?;
    let perhaps_from = match surely_from {
        Some(from) => Some(from),
        None => begins(archive, segments, at_most).await?,
    };
    let Some(from) = perhaps_from else { return Ok(Lead::default()) };
    let perhaps = leads_to(archive, from, newest, at_most).await?;
    let surely = match surely_from {
        Some(from) => leads_to(archive, from, newest, at_least).await?,
        None => None,
    };
    let held_unix_us = held(archive, segments, from, at_most).await?;
    Ok(Lead { from: Some(from), surely, perhaps, held_unix_us })
}

/// The last segment that begins within what is executed.
async fn begins(archive: &Archive, segments: &Segments, executed: &GtidSet) -> Result<Option<u64>, Error> {
    let number = beginning(archive, executed, segments.newest).await?;
    Ok(archive.entry(number).await?.filter(|entry| entry.begins_within(executed)).map(|entry| entry.sequence))
}

/// The last segment that whoever has executed this is led to from `from`: what one has to hold for that grows with the
/// numbers.
async fn leads_to(archive: &Archive, from: u64, newest: &Entry, executed: &GtidSet) -> Result<Option<u64>, Error> {
    if newest.base.is_subset_of(executed) {
        return Ok(Some(newest.sequence));
    }
    if !there(archive, from).await?.base.is_subset_of(executed) {
        return Ok(None);
    }
    let (mut low, mut high) = (from, newest.sequence);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if there(archive, middle).await?.base.is_subset_of(executed) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Some(low))
}

/// When the last transaction was committed that is before the segment `from`, or in one that a backup holds something of.
async fn held(archive: &Archive, segments: &Segments, from: u64, at_most: &GtidSet) -> Result<u64, Error> {
    let first = from.saturating_sub(1).max(segments.first);
    let numbered = futures::stream::iter(first..=segments.newest);
    let mut reading = numbered.map(|number| there(archive, number)).buffered(READ_AT_ONCE);
    let mut held = 0;
    while let Some(entry) = reading.try_next().await? {
        let beyond = !entry.gtids.is_empty() && entry.gtids.intersect(at_most).is_empty();
        if entry.sequence >= from && beyond {
            break;
        }
        held = held.max(entry.first_commit_unix_us).max(entry.last_commit_unix_us);
    }
    Ok(held)
}

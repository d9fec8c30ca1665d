//! The segments of an archive as relay logs, a round at a time: fetched, compared with their checksums, unpacked, walked,
//! and the last one cut off where the target says.
//!
//! It hands on nothing that the chain does not promise, nothing from behind the target, and no more than the volume has
//! room for.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use backup::Keys;
use backup::archive::Archive;
use backup::log::Entry;
use backup::recovery::{self, Way};
use tokio::sync::mpsc;
use topology::gtid::GtidSet;
use wire::RecoveryTarget;

use crate::backups::check_room;
use crate::binlog::{Item, Walk};

/// How many bytes of relay logs make a round, in which everything is applied before the next begins: enough for the
/// appliers to have something to do, and with one that waits and one that is being filled little for any volume.
const ROUND: u64 = 64 << 20;

/// The base name of the relay logs.
pub const RELAY_LOG: &str = "segment";

/// Relay logs to be applied one after the other.
#[derive(Debug)]
pub struct Round {
    /// From 1.
    pub number: usize,
    /// Their names, in order.
    pub files: Vec<PathBuf>,
    /// How many segments are in this round and in those before.
    pub segments: usize,
    /// What will have been executed at its end.
    pub until: GtidSet,
    bytes: u64,
}

impl Round {
    fn new(number: usize, segments: usize, until: &GtidSet) -> Self {
        Self { number, files: Vec::new(), segments, until: until.clone(), bytes: 0 }
    }

    /// The replication channel that applies it, which its files are named after: letters and digits, because in a file's
    /// name mysqld writes everything else in another way.
    pub fn channel(&self) -> String {
        format!("round{}", self.number)
    }

    fn next_file(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{RELAY_LOG}-{}.{:06}", self.channel(), self.files.len() + 1))
    }
}

/// What there is to fetch, and where to.
pub struct Source<'a> {
    /// From where.
    pub archive: &'a Archive,
    /// What.
    pub way: &'a Way<'a>,
    /// With what it is opened where it is encrypted.
    pub keys: &'a Keys,
    /// How far.
    pub target: &'a RecoveryTarget,
    /// What was executed before.
    pub executed: &'a GtidSet,
    /// An empty directory.
    pub dir: &'a Path,
    /// The volume that it is on.
    pub volume: &'a Path,
}

impl Source<'_> {
    /// Fetches all segments, or those up to the one with the target, as long as somebody takes the rounds.
    ///
    /// # Errors
    /// In words, with the object that is to blame.
    pub async fn fetch(self, rounds: mpsc::Sender<Round>) -> anyhow::Result<()> {
        let mut covered = self.way.covered.clone();
        let mut round = Round::new(1, 0, self.executed);
        // These may end where the archive does.
        let mut ended = matches!(self.target, RecoveryTarget::End | RecoveryTarget::WithinGtids { .. });
        for entry in &self.way.replay {
            let file = round.next_file(self.dir);
            let segment = self.one(entry, &file).await?;
            covered = covered.union(&entry.missing).union(&segment.gtids);
            if segment.ends_here {
                recovery::holds_nothing_later(self.executed, &covered)?;
                ended = true;
            }
            round.until = self.executed.union(&covered);
            round.files.push(file);
            round.segments += 1;
            round.bytes += entry.bytes;
            if segment.ends_here {
                break;
            }
            if round.bytes >= ROUND {
                let next = Round::new(round.number + 1, round.segments, &round.until);
                // Whoever does not take it any more has a better error.
                if rounds.send(std::mem::replace(&mut round, next)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !ended && let Some(last) = self.way.replay.last() {
            let problem = "its entry says that the target is in it, and it is not".to_owned();
            return Err(backup::Error::Damaged { object: last.data(self.archive.path()), problem }.into());
        }
        if !round.files.is_empty() {
            let _ = rounds.send(round).await;
        }
        Ok(())
    }

    async fn one(&self, entry: &Entry, file: &Path) -> anyhow::Result<Segment> {
        self.keys.open(&entry.data(self.archive.path()), entry.encryption.as_ref())?;
        check_room(self.volume, entry.size.saturating_add(entry.bytes))?;
        let stored = self.dir.join("stored");
        self.archive.fetch(entry, &stored).await?;
        let (file, bytes, target) = (file.to_owned(), entry.bytes, self.target.clone());
        let identities = entry.encryption.as_ref().map(|_| self.keys.identities.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            backup::segment::unpack(&stored, identities.as_ref(), &file, bytes)?;
            cut(&file, &target)
        });
        let damaged = |problem: String| backup::Error::Damaged { object: entry.data(self.archive.path()), problem };
        let (held, segment) = unpacked.await?.map_err(|why| damaged(why.to_string()))?;
        if held != entry.gtids {
            return Err(damaged(format!("it holds {held}, and its entry says {}", entry.gtids)).into());
        }
        Ok(segment)
    }
}

/// A segment that is ready to be applied.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    /// The transactions that are left in it.
    gtids: GtidSet,
    /// Whether the target is in it, and the rest was cut off.
    ends_here: bool,
}

/// Cuts a segment off before the transaction at which the recovery ends, if it is in it. With what was in it before.
fn cut(file: &Path, target: &RecoveryTarget) -> io::Result<(GtidSet, Segment)> {
    let mut walk = Walk::open(file)?.ok_or_else(|| io::Error::other("it is no binary log"))?;
    let mut found = Vec::new();
    let mut end = None;
    while let Some(item) = walk.next_item()? {
        let Item::Transaction(transaction) = item else { continue };
        if end.is_none() && recovery::ends_before(target, &transaction.gtid, transaction.committed_unix_us) {
            end = Some((transaction.start, found.len()));
        }
        found.push(transaction.gtid);
    }
    let set = |gtids: &[String]| gtids.join(",").parse::<GtidSet>().map_err(io::Error::other);
    let held = set(&found)?;
    let Some((start, left)) = end else {
        return Ok((held.clone(), Segment { gtids: held, ends_here: false }));
    };
    OpenOptions::new().write(true).open(file)?.set_len(start)?;
    Ok((held, Segment { gtids: set(&found[..left])?, ends_here: true }))
}

/// Makes an empty directory.
///
/// # Errors
/// Whatever the file system says.
pub fn make_empty(dir: &Path) -> anyhow::Result<()> {
    crate::durable::remove_tree(dir)?;
    std::fs::create_dir(dir).with_context(|| format!("{} cannot be made", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::tests::{Log, SERVER};

    fn before(number: u64) -> RecoveryTarget {
        RecoveryTarget::BeforeGtid { gtid: set(&number.to_string()) }
    }

    fn set(numbers: &str) -> GtidSet {
        format!("{SERVER}:{numbers}").parse().unwrap()
    }

    #[test]
    fn a_segment_ends_with_the_last_byte_before_the_target() {
        let mut log = Log::described(false);
        log.row(11);
        let first = log.0.len();
        log.row(12);
        log.row(13);
        for (target, gtids, length) in [
            (before(12), set("11"), first),
            (before(11), GtidSet::new(), 0),
            (before(14), set("11-13"), log.0.len()),
            (RecoveryTarget::End, set("11-13"), log.0.len()),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &log.0).unwrap();
            let (held, segment) = cut(file.path(), &target).unwrap();
            let ends_here = gtids != set("11-13");
            assert_eq!((held, segment), (set("11-13"), Segment { gtids, ends_here }), "{target:?}");
            let left = std::fs::read(file.path()).unwrap();
            assert!(log.0.starts_with(&left) && (length == 0 || left.len() == length), "{target:?}: {}", left.len());
        }
    }

    #[test]
    fn what_is_no_log_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no log at all").unwrap();
        assert!(cut(file.path(), &RecoveryTarget::End).is_err());
    }
}

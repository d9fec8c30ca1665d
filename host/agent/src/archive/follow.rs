//! Follows the files of a binary log as mysqld writes them, transaction by transaction.
//!
//! Files rather than the protocol that replicas speak: their bytes are what is archived, checksums included, where the
//! driver's stream takes compressed transactions apart; nothing is asked of mysqld, and a reader that waits keeps no
//! connection and no file from being purged but its own. It must never take a transaction of which a byte is missing, and
//! never step over one that is not in the archive.

use std::fs::File;
use std::io::{self, Cursor};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use backup::encryption::Recipients;
use mysql_async::binlog::EventType;
use mysql_async::binlog::events::{Event, GtidEvent};
use topology::gtid::GtidSet;
use uuid::Uuid;

use super::events::Head;
use super::segment::{Segment, Transaction};
use crate::binlog::{self, HEADER, Item, MAGIC, SIZE, UNKNOWN_LENGTH, Walk};
use crate::my_cnf::BINLOG;

/// How many bytes are copied, and how many transactions passed over, before whoever waits is answered.
const STRIDE: u64 = 1 << 20;
const STEPS: usize = 10_000;

/// What came of reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is more to read.
    More,
    /// Nothing more may be taken now: it is not written yet, or the primary is not known to have executed it.
    Nothing,
    /// The segment is to be closed: it is full, or what follows is written in another way.
    Close,
}

/// A place in a log.
pub struct Follow {
    datadir: PathBuf,
    number: u64,
    file: File,
    position: u64,
    head: Head,
    /// The transaction that begins here, once it was looked at.
    next: Option<Transaction>,
    /// How many bytes of the transaction that is being copied are left.
    left: u64,
}

impl Follow {
    /// The newest place behind which everything is that `covered` lacks.
    ///
    /// # Errors
    /// The files cannot be read, or do not go back so far.
    pub fn open(datadir: &Path, covered: &GtidSet) -> io::Result<Self> {
        for path in binlog::numbered(datadir, BINLOG)? {
            if previous(&path)?.is_some_and(|previous| previous.is_subset_of(covered)) {
                return Self::at(datadir, &path);
            }
        }
        Err(io::Error::other("the binary log does not go back to where the archive ends"))
    }

    fn at(datadir: &Path, path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let beginning = binlog::beginning(path)?;
        let mut event = vec![0; usize::try_from(beginning).map_err(io::Error::other)? - MAGIC.len()];
        file.read_exact_at(&mut event, MAGIC.len() as u64)?;
        let number = number_of(path).ok_or_else(|| io::Error::other(format!("{} has no number", path.display())))?;
        let (head, datadir) = (Head::new(event)?, datadir.to_owned());
        Ok(Self { datadir, number, file, position: beginning, head, next: None, left: 0 })
    }

    /// An empty segment for what is read next, encrypted if there is somebody to encrypt it for.
    ///
    /// # Errors
    /// The file's head cannot be repeated.
    pub fn segment(&self, covered: &GtidSet, recipients: Option<&Recipients>) -> io::Result<Segment> {
        Segment::begin(&self.head, covered, recipients)
    }

    /// Whether a transaction has been begun and is not whole yet in the segment.
    pub fn is_within(&self) -> bool {
        self.left > 0
    }

    /// Reads on into a segment: what `covered` lacks and `executed` holds.
    ///
    /// # Errors
    /// The files cannot be read, are no log, or were purged before they were read.
    pub fn read(&mut self, covered: &GtidSet, executed: &GtidSet, segment: &mut Segment) -> io::Result<Found> {
        let mut copied = 0;
        for _ in 0..STEPS {
            while self.left > 0 {
                if copied >= STRIDE {
                    return Ok(Found::More);
                }
                copied += self.copy(segment)?;
            }
            let Some(transaction) = self.look()? else {
                match self.advance(covered, segment)? {
                    Some(Found::More) => continue,
                    Some(found) => return Ok(found),
                    None => return Ok(Found::Nothing),
                }
            };
            let gtid = transaction.set()?;
            if gtid.is_subset_of(covered) {
                self.position += transaction.length;
                self.next = None;
                continue;
            }
            let whole = self.file.metadata()?.len() >= self.position + transaction.length;
            if !whole || !gtid.is_subset_of(executed) {
                return Ok(Found::Nothing);
            }
            if segment.is_full() {
                return Ok(Found::Close);
            }
            segment.transaction(&transaction);
            self.left = transaction.length;
            self.next = None;
        }
        Ok(Found::More)
    }

    fn copy(&mut self, segment: &mut Segment) -> io::Result<u64> {
        let size = self.left.min(STRIDE);
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.position)?;
        segment.write(&bytes)?;
        self.position += size;
        self.left -= size;
        Ok(size)
    }

    /// The transaction that begins here; None where the file ends for now.
    fn look(&mut self) -> io::Result<Option<Transaction>> {
        const BETWEEN: [EventType; 3] =
            [EventType::PREVIOUS_GTIDS_EVENT, EventType::ROTATE_EVENT, EventType::STOP_EVENT];
        if self.next.is_some() {
            return Ok(self.next.clone());
        }
        loop {
            let length = self.file.metadata()?.len();
            if length < self.position + HEADER as u64 {
                return Ok(None);
            }
            let mut header = [0; HEADER];
            self.file.read_exact_at(&mut header, self.position)?;
            let (kind, size) = (header[4], u64::from(binlog::size_of_event(&header[SIZE])));
            if size < HEADER as u64 {
                return Err(self.strange(&format!("an event of {size} bytes")));
            }
            if length < self.position + size {
                return Ok(None);
            }
            if kind == EventType::GTID_EVENT as u8 || kind == EventType::GTID_TAGGED_LOG_EVENT as u8 {
                self.next = Some(self.transaction(size)?);
                return Ok(self.next.clone());
            }
            if !BETWEEN.iter().any(|between| *between as u8 == kind) {
                return Err(self.strange(&format!("an event of type {kind} outside of a transaction")));
            }
            self.position += size;
        }
    }

    fn transaction(&self, size: u64) -> io::Result<Transaction> {
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.position)?;
        let event = Event::read(&self.head.format, Cursor::new(bytes))?;
        let event: GtidEvent = event.read_event()?;
        if event.tx_length() == UNKNOWN_LENGTH {
            return Err(self.strange("a transaction without a length"));
        }
        Ok(Transaction {
            server: Uuid::from_bytes(event.sid()),
            tag: event.tag().map(ToString::to_string).unwrap_or_default(),
            number: event.gno(),
            length: event.tx_length(),
            committed_unix_us: event.original_commit_timestamp(),
        })
    }

    /// Goes on to the next file, if there is one: this one is finished then.
    fn advance(&mut self, covered: &GtidSet, segment: &Segment) -> io::Result<Option<Found>> {
        let mut next = None;
        let mut present = false;
        for path in binlog::numbered(&self.datadir, BINLOG)? {
            match number_of(&path) {
                Some(number) if number > self.number => next = Some(path),
                Some(number) => present |= number == self.number,
                None => {}
            }
        }
        let Some(next) = next else {
            if !present {
                return Err(self.strange("it was removed, and no newer one is there"));
            }
            return Ok(None);
        };
        // It may have grown between the look at it and the look at the directory.
        if self.look()?.is_some() {
            return Ok(Some(Found::More));
        }
        let Some(previous) = previous(&next)? else { return Ok(None) };
        let lacks = previous.subtract(covered).subtract(&segment.gtids()?);
        if !lacks.is_empty() {
            return Err(io::Error::other(format!("{lacks} were purged from the binary log before they were read")));
        }
        let next = Self::at(&self.datadir, &next)?;
        let alike = next.head.reads_like(&self.head);
        *self = next;
        Ok(Some(if alike { Found::More } else { Found::Close }))
    }

    fn strange(&self, what: &str) -> io::Error {
        let why = format!("{BINLOG}.{:06} at {}: {what}", self.number, self.position);
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

/// What a file says was in those before it. None while it has not begun.
fn previous(path: &Path) -> io::Result<Option<GtidSet>> {
    let Some(mut walk) = Walk::open(path)? else { return Ok(None) };
    Ok(match walk.next_item()? {
        Some(Item::Previous(previous)) => Some(previous),
        Some(Item::Transaction(_)) | None => None,
    })
}

fn number_of(path: &Path) -> Option<u64> {
    path.extension()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests;

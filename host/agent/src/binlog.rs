//! Reads from the logs of a stopped mysqld which transactions they hold, and where: the `Previous_gtids` at the head of the
//! newest file stand for every file before it, so only that one is walked.
//!
//! It must never count a transaction whose last byte is missing: after a SIGKILL the end of a file may be torn,
//! and mysqld will cut it off. It must never load event bodies it does not need, however large a file is.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use mysql_async::binlog::events::{Event, FormatDescriptionEvent, GtidEvent, PreviousGtidsEvent, QueryEvent};
use mysql_async::binlog::{BinlogVersion, EventType};
use topology::gtid::GtidSet;
use uuid::Uuid;

/// The four bytes with which every binary log begins.
pub(crate) const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

/// The bytes of an event's common header, of which the fifth is its type.
pub(crate) const HEADER: usize = 19;

/// Where in that header the event's size stands, lowest byte first.
pub(crate) const SIZE: std::ops::Range<usize> = 9..13;

/// The bit of a format description's flags that says that the file is still being written: mysqld clears it when it
/// closes the file in an orderly way.
pub(crate) const IN_USE: u8 = 1;

/// How long a statement event may be that can be `BEGIN`: what comes before the statement is tens of bytes.
const BEGIN_AT_MOST: u64 = 1 << 10;

/// `TRANSACTION_LENGTH` is always set by servers from 8.0.2 on; the supported series begin at 8.0.
pub(crate) const UNKNOWN_LENGTH: u64 = 0;

/// What the binary log and the relay logs prove the server had.
///
/// # Errors
/// A log that cannot be read or is not one. A torn end is no error.
pub fn known_transactions(datadir: &Path, binlog: &str, relay_log: &str) -> io::Result<GtidSet> {
    let executed = newest(datadir, binlog)?.map(|path| transactions(&path)).transpose()?.unwrap_or_default();
    let received = newest(datadir, relay_log)?.map(|path| transactions(&path)).transpose()?.unwrap_or_default();
    Ok(executed.union(&received))
}

/// The file with the highest number that begins with a whole `Previous_gtids` event; a crash may leave a newer
/// one that has none yet.
///
/// # Errors
/// A file that cannot be read or is no log.
pub fn newest(datadir: &Path, base: &str) -> io::Result<Option<PathBuf>> {
    for path in numbered(datadir, base)? {
        if Walk::open(&path)?.is_some_and(|mut walk| walk.has_previous()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The files of a log, the highest number first.
///
/// # Errors
/// The directory cannot be read.
pub fn numbered(datadir: &Path, base: &str) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(datadir)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix(base)?.strip_prefix('.')?.parse().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// How many bytes at the head of a log say how to read the rest: the magic number and the format description.
///
/// # Errors
/// A file that cannot be read.
pub fn beginning(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut head = [0; MAGIC.len() + HEADER];
    file.read_exact(&mut head)?;
    let header = &head[MAGIC.len()..];
    Ok(MAGIC.len() as u64 + u64::from(size_of_event(&header[SIZE])))
}

pub(crate) fn size_of_event(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |size, byte| (size << 8) | u32::from(*byte))
}

fn transactions(path: &Path) -> io::Result<GtidSet> {
    let Some(mut walk) = Walk::open(path)? else { return Ok(GtidSet::new()) };
    let mut set = GtidSet::new();
    let mut found = Vec::new();
    while let Some(item) = walk.next_item()? {
        match item {
            Item::Previous(previous) => set = set.union(&previous),
            Item::Transaction(transaction) => found.push(transaction.gtid),
        }
    }
    let text = found.join(",");
    let own: GtidSet = text.parse().map_err(io::Error::other)?;
    Ok(set.union(&own))
}

/// What matters in a log.
pub enum Item {
    /// Everything in the files before.
    Previous(GtidSet),
    /// A transaction of which every byte is there.
    Transaction(Transaction),
}

/// A transaction as a log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its GTID.
    pub gtid: String,
    /// The server that committed it first.
    pub server: Uuid,
    /// Where in the file it begins, in bytes.
    pub start: u64,
    /// When that server committed it, by its clock, in microseconds since 1970.
    pub committed_unix_us: u64,
    /// Whether it is `BEGIN`, changes of rows, and an engine's commit: what InnoDB rolls back when the log does not
    /// hold it. Statements that change definitions, XA and engines without transactions are not.
    pub plain: bool,
}

/// A transaction that has begun.
struct Begun {
    transaction: Transaction,
    missing: u64,
}

/// A walk over the events of one file.
pub struct Walk {
    file: BufReader<File>,
    position: u64,
    length: u64,
    format: FormatDescriptionEvent<'static>,
    in_use: bool,
    begun: Option<Begun>,
}

impl Walk {
    /// None for a file that is too short to have begun.
    ///
    /// # Errors
    /// A file that cannot be read or is no plain log.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut file = BufReader::with_capacity(64 << 10, file);
        let mut magic = [0; 4];
        if length < magic.len() as u64 {
            return Ok(None);
        }
        file.read_exact(&mut magic)?;
        if magic != MAGIC {
            let why = format!(
                "{} is not a plain binary log: encrypted logs cannot be read while mysqld is stopped",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let format = FormatDescriptionEvent::new(BinlogVersion::Version4);
        Ok(Some(Self { file, position: magic.len() as u64, length, format, in_use: false, begun: None }))
    }

    fn has_previous(&mut self) -> bool {
        matches!(self.next_item(), Ok(Some(Item::Previous(_))))
    }

    /// Whether the file was never closed in an orderly way, as far as the walk has come: after its beginning it knows.
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// The next thing that matters; None at the end, torn or not.
    ///
    /// # Errors
    /// An event that cannot be read.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        loop {
            let mut header = [0; HEADER];
            if self.length - self.position < HEADER as u64 {
                return Ok(None);
            }
            self.file.read_exact(&mut header)?;
            let size = u64::from(size_of_event(&header[SIZE]));
            if size < HEADER as u64 || self.position + size > self.length {
                return Ok(None);
            }
            let item = self.event(&header, size)?;
            self.position += size;
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    fn event(&mut self, header: &[u8; HEADER], size: u64) -> io::Result<Option<Item>> {
        let kind = header[4];
        if kind == EventType::FORMAT_DESCRIPTION_EVENT as u8 {
            self.in_use = header[17] & IN_USE != 0;
            let event = self.body(header, size)?;
            let format: FormatDescriptionEvent<'_> = event.read_event()?;
            self.format = format.into_owned().with_footer(event.footer());
            // A relay log gets one when the receiver reconnects: what had begun is sent again from the start.
            self.begun = None;
            return Ok(None);
        }
        if kind == EventType::PREVIOUS_GTIDS_EVENT as u8 {
            let event = self.body(header, size)?;
            return Ok(Some(Item::Previous(previous(&event.read_event()?)?)));
        }
        if kind == EventType::GTID_EVENT as u8 || kind == EventType::GTID_TAGGED_LOG_EVENT as u8 {
            let event = self.body(header, size)?;
            return self.begin(&event.read_event()?, size);
        }
        let plain = if kind == EventType::QUERY_EVENT as u8 && self.begun.is_some() && size <= BEGIN_AT_MOST {
            let event = self.body(header, size)?;
            let statement: QueryEvent<'_> = event.read_event()?;
            Plain::opens_if(statement.query_raw() == b"BEGIN")
        } else {
            self.file.seek_relative((size - HEADER as u64).cast_signed())?;
            Plain::of(kind)
        };
        Ok(self.go_on(size, plain))
    }

    fn begin(&mut self, event: &GtidEvent, size: u64) -> io::Result<Option<Item>> {
        if event.tx_length() == UNKNOWN_LENGTH {
            return Err(io::Error::other(
                "a transaction without a length: it was written by a server older than 8.0.2",
            ));
        }
        let tag = event.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        let server = Uuid::from_bytes(event.sid());
        let gtid = format!("{server}{tag}:{}", event.gno());
        let committed_unix_us = event.original_commit_timestamp();
        let transaction = Transaction { gtid, server, start: self.position, committed_unix_us, plain: true };
        self.begun = Some(Begun { transaction, missing: event.tx_length() });
        Ok(self.go_on(size, Plain::Within))
    }

    /// Takes an event into the transaction that has begun, if one has.
    fn go_on(&mut self, size: u64, plain: Plain) -> Option<Item> {
        let mut begun = self.begun.take()?;
        begun.missing = begun.missing.saturating_sub(size);
        let ends = begun.missing == 0;
        begun.transaction.plain &= match plain {
            Plain::Within => !ends,
            Plain::Ends => ends,
            Plain::Never => false,
        };
        if ends {
            return Some(Item::Transaction(begun.transaction));
        }
        self.begun = Some(begun);
        None
    }

    fn body(&mut self, header: &[u8; HEADER], size: u64) -> io::Result<Event> {
        let mut bytes = header.to_vec();
        (&mut self.file).take(size - HEADER as u64).read_to_end(&mut bytes)?;
        Event::read(&self.format, Cursor::new(bytes))
    }
}

/// Where in a plain transaction an event may stand.
enum Plain {
    /// Anywhere but at its end.
    Within,
    /// At its end, and only there.
    Ends,
    /// Nowhere.
    Never,
}

impl Plain {
    fn opens_if(is_begin: bool) -> Self {
        if is_begin { Self::Within } else { Self::Never }
    }

    fn of(kind: u8) -> Self {
        const ROWS: [EventType; 6] = [
            EventType::TABLE_MAP_EVENT,
            EventType::ROWS_QUERY_EVENT,
            EventType::WRITE_ROWS_EVENT,
            EventType::UPDATE_ROWS_EVENT,
            EventType::DELETE_ROWS_EVENT,
            EventType::PARTIAL_UPDATE_ROWS_EVENT,
        ];
        match kind {
            kind if kind == EventType::XID_EVENT as u8 => Self::Ends,
            kind if ROWS.iter().any(|rows| *rows as u8 == kind) => Self::Within,
            _ => Self::Never,
        }
    }
}

pub(crate) fn previous(event: &PreviousGtidsEvent<'_>) -> io::Result<GtidSet> {
    let mut text = String::new();
    for server in event.sids() {
        let tag = server.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        for interval in server.intervals() {
            // The format's end is exclusive.
            let (first, last) = (interval.start(), interval.end() - 1);
            text.push_str(&format!("{}{tag}:{first}-{last},", Uuid::from_bytes(server.uuid())));
        }
    }
    text.parse().map_err(io::Error::other)
}

#[cfg(test)]
pub mod tests;

//! Reads from the logs of a stopped mysqld which transactions they hold: the `Previous_gtids` at the head of the
//! newest file stand for every file before it, so only that one is walked.
//!
//! It must never count a transaction whose last byte is missing: after a SIGKILL the end of a file may be torn,
//! and mysqld will cut it off. It must never load event bodies it does not need, however large a file is.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use mysql_async::binlog::events::{Event, FormatDescriptionEvent, GtidEvent, PreviousGtidsEvent};
use mysql_async::binlog::{BinlogVersion, EventType};
use topology::gtid::GtidSet;
use uuid::Uuid;

/// The four bytes with which every binary log begins.
const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

/// The bytes of an event's common header, of which the fifth is its type and the tenth to thirteenth its size.
const HEADER: usize = 19;

/// `TRANSACTION_LENGTH` is always set by servers from 8.0.2 on; the supported series begin at 8.0.
const UNKNOWN_LENGTH: u64 = 0;

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
fn newest(datadir: &Path, base: &str) -> io::Result<Option<PathBuf>> {
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
    for (_, path) in files {
        if Walk::open(&path)?.is_some_and(|mut walk| walk.has_previous()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn transactions(path: &Path) -> io::Result<GtidSet> {
    let Some(mut walk) = Walk::open(path)? else { return Ok(GtidSet::new()) };
    let mut set = GtidSet::new();
    let mut found = Vec::new();
    while let Some(item) = walk.next_item()? {
        match item {
            Item::Previous(previous) => set = set.union(&previous),
            Item::Transaction(gtid) => found.push(gtid),
        }
    }
    let text = found.join(",");
    let own: GtidSet = text.parse().map_err(io::Error::other)?;
    Ok(set.union(&own))
}

/// What matters in a log.
enum Item {
    /// Everything in the files before.
    Previous(GtidSet),
    /// A transaction of which every byte is there.
    Transaction(String),
}

/// A transaction that has begun.
struct Begun {
    gtid: String,
    missing: u64,
}

/// A walk over the events of one file.
struct Walk {
    file: BufReader<File>,
    position: u64,
    length: u64,
    format: FormatDescriptionEvent<'static>,
    begun: Option<Begun>,
}

impl Walk {
    /// None for a file that is too short to have begun.
    fn open(path: &Path) -> io::Result<Option<Self>> {
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
        Ok(Some(Self { file, position: magic.len() as u64, length, format, begun: None }))
    }

    fn has_previous(&mut self) -> bool {
        matches!(self.next_item(), Ok(Some(Item::Previous(_))))
    }

    /// The next thing that matters; None at the end, torn or not.
    fn next_item(&mut self) -> io::Result<Option<Item>> {
        loop {
            let mut header = [0; HEADER];
            if self.length - self.position < HEADER as u64 {
                return Ok(None);
            }
            self.file.read_exact(&mut header)?;
            let size = u64::from(u32::from_le_bytes([header[9], header[10], header[11], header[12]]));
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
        self.file.seek_relative((size - HEADER as u64).cast_signed())?;
        Ok(self.go_on(size))
    }

    fn begin(&mut self, event: &GtidEvent, size: u64) -> io::Result<Option<Item>> {
        if event.tx_length() == UNKNOWN_LENGTH {
            return Err(io::Error::other(
                "a transaction without a length: it was written by a server older than 8.0.2",
            ));
        }
        let tag = event.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        let gtid = format!("{}{tag}:{}", Uuid::from_bytes(event.sid()), event.gno());
        self.begun = Some(Begun { gtid, missing: event.tx_length() });
        Ok(self.go_on(size))
    }

    /// Takes an event into the transaction that has begun, if one has.
    fn go_on(&mut self, size: u64) -> Option<Item> {
        let mut begun = self.begun.take()?;
        begun.missing = begun.missing.saturating_sub(size);
        if begun.missing == 0 {
            return Some(Item::Transaction(begun.gtid));
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

fn previous(event: &PreviousGtidsEvent<'_>) -> io::Result<GtidSet> {
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
mod tests {
    use super::*;

    /// Builds logs by hand: the format is small, and a torn end cannot be had from a healthy server.
    struct Log(Vec<u8>);

    const SERVER: &str = "11111111-2222-3333-4444-555555555555";

    impl Log {
        fn new() -> Self {
            let mut log = Self(MAGIC.to_vec());
            log.event(EventType::PREVIOUS_GTIDS_EVENT as u8, &Self::previous(1, 11));
            log
        }

        fn previous(first: u64, end: u64) -> Vec<u8> {
            let mut body = 1_u64.to_le_bytes().to_vec();
            body.extend(SERVER.parse::<Uuid>().unwrap().as_bytes());
            body.extend(1_u64.to_le_bytes());
            body.extend(first.to_le_bytes());
            body.extend(end.to_le_bytes());
            body
        }

        fn event(&mut self, kind: u8, body: &[u8]) {
            let size = u32::try_from(HEADER + body.len()).unwrap();
            self.0.extend([0; 4]);
            self.0.push(kind);
            self.0.extend(1_u32.to_le_bytes());
            self.0.extend(size.to_le_bytes());
            self.0.extend([0; 6]);
            self.0.extend(body);
        }

        /// A GTID event that announces `rest` bytes after itself.
        fn gtid(&mut self, gno: u64, rest: u64) {
            let mut body = vec![0];
            body.extend(SERVER.parse::<Uuid>().unwrap().as_bytes());
            body.extend(gno.to_le_bytes());
            body.push(2);
            body.extend([0; 16]);
            body.extend([0; 7]);
            body.push(u8::try_from(rest + 73).unwrap());
            body.extend([0; 4]);
            self.event(EventType::GTID_EVENT as u8, &body);
        }

        fn read(&self, cut: usize) -> String {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("binlog.000001"), &self.0[..self.0.len() - cut]).unwrap();
            known_transactions(dir.path(), "binlog", "relay").unwrap().to_string()
        }
    }

    #[test]
    fn a_transaction_without_its_last_byte_does_not_count() {
        let mut log = Log::new();
        log.gtid(11, 19 + 8);
        log.event(EventType::XID_EVENT as u8, &[0; 8]);
        log.gtid(12, 19 + 8);
        log.event(EventType::XID_EVENT as u8, &[0; 8]);
        assert_eq!(log.read(0), format!("{SERVER}:1-12"));
        assert_eq!(log.read(1), format!("{SERVER}:1-11"));
        assert_eq!(log.read(27), format!("{SERVER}:1-11"), "the GTID alone is not the transaction");
        assert_eq!(log.read(40), format!("{SERVER}:1-11"), "nor is half of it");
    }

    #[test]
    fn what_a_reconnecting_receiver_gets_again_counts_once_it_is_whole() {
        let mut log = Log::new();
        log.gtid(11, 19 + 8);
        log.gtid(11, 19 + 8);
        assert_eq!(log.read(0), format!("{SERVER}:1-10"));
        log.event(EventType::XID_EVENT as u8, &[0; 8]);
        assert_eq!(log.read(0), format!("{SERVER}:1-11"));
    }

    #[test]
    fn a_newest_file_that_has_not_begun_stands_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("binlog.000001"), Log::new().0).unwrap();
        std::fs::write(dir.path().join("binlog.000002"), &MAGIC[..]).unwrap();
        let known = known_transactions(dir.path(), "binlog", "relay").unwrap();
        assert_eq!(known.to_string(), format!("{SERVER}:1-10"));
    }

    #[test]
    fn no_logs_hold_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(known_transactions(dir.path(), "binlog", "relay").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_binary_log_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("binlog.000001"), b"encrypted").unwrap();
        assert!(known_transactions(dir.path(), "binlog", "relay").is_err());
    }
}

//! Events of a binary log that are made rather than copied: the head that makes a segment a log by itself. Pure.

use std::io::{self, Cursor};

use mysql_async::binlog::events::{Event, FormatDescriptionEvent};
use mysql_async::binlog::{BinlogChecksumAlg, BinlogVersion, EventType};
use topology::gtid::GtidSet;

use crate::binlog::{HEADER, IN_USE, MAGIC, SIZE};

/// Where in a header its flags stand.
const FLAGS: usize = 17;

/// The bit of an event's flags that lets a reader pass over it who does not know it; mysqld sets it on `Previous_gtids`.
const IGNORABLE: u8 = 0x80;

/// The bytes of a checksum.
const CHECKSUM: usize = 4;

/// Where in a format description the time stands at which mysqld was started, behind its version number and its version:
/// nothing but that differs from file to file of one server.
const STARTED: std::ops::Range<usize> = HEADER + 2 + 50..HEADER + 2 + 50 + 4;

/// How the events of a file are written, as the file says at its head.
#[derive(Debug, Clone)]
pub struct Head {
    event: Vec<u8>,
    /// The same, for whoever reads events.
    pub format: FormatDescriptionEvent<'static>,
}

impl Head {
    /// Takes a format description, as it stands in a file.
    ///
    /// # Errors
    /// It is none.
    pub fn new(mut event: Vec<u8>) -> io::Result<Self> {
        if event.len() < STARTED.end || event[4] != EventType::FORMAT_DESCRIPTION_EVENT as u8 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the log does not begin with a format description"));
        }
        // What is archived is complete. The checksum never counts this bit.
        event[FLAGS] &= !IN_USE;
        let read = Event::read(&FormatDescriptionEvent::new(BinlogVersion::Version4), Cursor::new(&event))?;
        let format: FormatDescriptionEvent<'_> = read.read_event()?;
        let format = format.into_owned().with_footer(read.footer());
        Ok(Self { event, format })
    }

    /// Whether events behind this head read like those behind the other.
    pub fn reads_like(&self, other: &Self) -> bool {
        let body = |head: &Self| {
            let end = head.event.len().saturating_sub(CHECKSUM).max(STARTED.end);
            [&head.event[HEADER..STARTED.start], &head.event[STARTED.end..end]].concat()
        };
        body(self) == body(other)
    }

    /// How a log begins whose transactions come after `previous`.
    ///
    /// # Errors
    /// The head names a checksum that nobody knows.
    pub fn begin(&self, previous: &GtidSet) -> io::Result<Vec<u8>> {
        let mut log = [&MAGIC[..], &self.event].concat();
        let body = previous_gtids(previous);
        let algorithm = self.format.footer().get_checksum_alg().map_err(io::Error::other)?;
        let checked = algorithm == Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
        let size = HEADER + body.len() + if checked { CHECKSUM } else { 0 };
        let number = |number: usize| u32::try_from(number).map(u32::to_le_bytes).map_err(io::Error::other);
        let mut event = self.event[..HEADER].to_vec();
        event[4] = EventType::PREVIOUS_GTIDS_EVENT as u8;
        event[SIZE].copy_from_slice(&number(size)?);
        event[SIZE.end..FLAGS].copy_from_slice(&number(log.len() + size)?);
        event[FLAGS] = IGNORABLE;
        event.extend(body);
        event.resize(size, 0);
        // Writing it fills in the checksum.
        Event::read(&self.format, Cursor::new(event))?.write(BinlogVersion::Version4, &mut log)?;
        Ok(log)
    }
}

/// The body of a `Previous_gtids` event. Sets with tags are written in another way, as servers do that know tags.
fn previous_gtids(set: &GtidSet) -> Vec<u8> {
    let tagged = set.runs().any(|(_, tag, _)| !tag.is_empty());
    let count = set.runs().count() as u64;
    let mut body = if tagged { 1 << 56 | count << 8 | 1 } else { count }.to_le_bytes().to_vec();
    for (server, tag, runs) in set.runs() {
        body.extend(server.as_bytes());
        if tagged {
            // A number of variable length: seven bits of it, above one that says that there is one byte. Tags have at
            // most 32 letters.
            body.push((tag.len() as u8) << 1);
            body.extend(tag.as_bytes());
        }
        body.extend((runs.len() as u64).to_le_bytes());
        for (first, last) in runs {
            body.extend(first.to_le_bytes());
            // The format's end is exclusive.
            body.extend((last + 1).to_le_bytes());
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use mysql_async::binlog::events::PreviousGtidsEvent;

    use super::*;
    use crate::binlog::tests::{Log, SERVER};
    use crate::binlog::{previous, size_of_event};

    fn head() -> Head {
        let log = Log::described(true).0;
        let size = size_of_event(&log[MAGIC.len()..][SIZE]) as usize;
        Head::new(log[MAGIC.len()..MAGIC.len() + size].to_vec()).unwrap()
    }

    #[test]
    fn a_segment_begins_like_a_log_that_was_closed_in_an_orderly_way() {
        let head = head();
        for text in ["", &format!("{SERVER}:1-9:12"), &format!("{SERVER}:1-9:shop_1:3-4:7,{SERVER}:z:1")] {
            let set: GtidSet = text.parse().unwrap();
            let log = head.begin(&set).unwrap();
            let event = &log[MAGIC.len() + head.event.len()..];
            assert_eq!(size_of_event(&event[SIZE]) as usize, event.len());
            assert_eq!(event[5..9], head.event[5..9], "the number of the server");
            let read = Event::read(&head.format, Cursor::new(event)).unwrap();
            let read: PreviousGtidsEvent<'_> = read.read_event().unwrap();
            assert_eq!(previous(&read).unwrap(), set, "{text:?}");
        }
        assert_eq!(head.event[FLAGS] & IN_USE, 0);
    }

    #[test]
    fn only_the_time_of_a_start_may_differ() {
        let (one, mut started, mut newer) = (head(), head(), head());
        started.event[STARTED.start] ^= 1;
        newer.event[HEADER + 4] ^= 1;
        assert!(one.reads_like(&started) && !one.reads_like(&newer));
    }
}

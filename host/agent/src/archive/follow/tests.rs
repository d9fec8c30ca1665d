//! Logs made by hand, growing while they are read.

use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::archive::segment::Contents;
use crate::binlog::tests::{Log, SERVER};

fn range(last: u64) -> GtidSet {
    format!("{SERVER}:1-{last}").parse().unwrap()
}

/// The directory of a server whose first file begins behind transaction 10.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.path().join(format!("{BINLOG}.{number:06}"))
    }

    fn write(&self, number: u64, log: &Log) {
        std::fs::write(self.path(number), &log.0).unwrap();
    }

    fn open(&self, covered: u64) -> io::Result<Follow> {
        Follow::open(self.0.path(), &range(covered))
    }
}

/// A file with these transactions.
fn log(after: u64, last: u64) -> Log {
    let mut log = Log::after(after, true);
    (after + 1..=last).for_each(|number| log.row(number));
    log
}

/// Reads for as long as there is something, into a new segment.
fn read(follow: &mut Follow, covered: u64, executed: u64) -> io::Result<(Vec<u8>, Contents, Found)> {
    let mut segment = follow.segment(&range(covered), None)?;
    loop {
        match follow.read(&range(covered), &range(executed), &mut segment)? {
            Found::More => {}
            found => {
                let (bytes, contents) = segment.finish()?;
                return Ok((zstd::decode_all(&bytes[..])?, contents, found));
            }
        }
    }
}

fn taken(follow: &mut Follow, covered: u64, executed: u64) -> String {
    let (_, contents, _) = read(follow, covered, executed).unwrap();
    assert_eq!(contents.gtids.count(), contents.transactions);
    contents.gtids.to_string()
}

#[test]
fn a_segment_is_a_log_with_the_same_bytes_in_it() {
    let files = Files::new();
    files.write(1, &log(10, 14));
    let mut follow = files.open(11).unwrap();
    let (bytes, contents, found) = read(&mut follow, 11, 13).unwrap();
    assert_eq!((contents.gtids.to_string(), found), (format!("{SERVER}:12-13"), Found::Nothing));
    assert_eq!(contents.bytes, bytes.len() as u64);
    let mut expected = Log::after(11, false);
    (12..=13).for_each(|number| expected.row(number));
    let both = (&bytes[bytes.len() - 300..], &expected.0[expected.0.len() - 300..]);
    assert_eq!(both.0, both.1);
    let copy = Files::new();
    std::fs::write(copy.path(1), &bytes).unwrap();
    let known = binlog::known_transactions(copy.0.path(), BINLOG, "relay").unwrap();
    assert_eq!(known, range(13), "what was there before is said at its head");
}

#[test]
fn what_the_primary_has_not_executed_waits_and_is_taken_when_it_has() {
    let files = Files::new();
    files.write(1, &log(10, 14));
    let mut follow = files.open(10).unwrap();
    assert_eq!(taken(&mut follow, 10, 10), "");
    assert_eq!(taken(&mut follow, 10, 12), format!("{SERVER}:11-12"));
    assert_eq!(taken(&mut follow, 12, 12), "");
    assert_eq!(taken(&mut follow, 12, 20), format!("{SERVER}:13-14"));
}

#[test]
fn a_transaction_is_taken_once_its_last_byte_is_there() {
    let files = Files::new();
    let whole = log(10, 12);
    let without_last = log(10, 11).0.len();
    let mut follow = None;
    for length in without_last..=whole.0.len() {
        std::fs::write(files.path(1), &whole.0[..length]).unwrap();
        let follow = follow.get_or_insert_with(|| files.open(11).unwrap());
        let expected = if length == whole.0.len() { format!("{SERVER}:12") } else { String::new() };
        assert_eq!(taken(follow, 11, 20), expected, "{length}");
    }
}

#[test]
fn it_goes_on_in_the_next_file_and_with_the_newest_that_will_do() {
    let files = Files::new();
    files.write(1, &log(10, 12));
    let mut follow = files.open(10).unwrap();
    assert_eq!(taken(&mut follow, 10, 20), format!("{SERVER}:11-12"));
    files.write(2, &log(12, 13));
    assert_eq!(taken(&mut follow, 12, 20), format!("{SERVER}:13"));
    files.write(3, &log(13, 15));
    std::fs::remove_file(files.path(1)).unwrap();
    assert_eq!(taken(&mut follow, 13, 20), format!("{SERVER}:14-15"));
    assert_eq!(files.open(14).unwrap().number, 3);
    assert_eq!(files.open(12).unwrap().number, 2);
    assert!(files.open(11).is_err(), "the file that begins behind 11 is gone");
}

#[test]
fn what_was_purged_under_the_reader_is_an_error_and_nothing_is_stepped_over() {
    let files = Files::new();
    files.write(1, &log(10, 12));
    let mut follow = files.open(10).unwrap();
    files.write(3, &log(14, 15));
    let why = read(&mut follow, 10, 20).unwrap_err().to_string();
    assert!(why.contains(&format!("{SERVER}:13-14 were purged")), "{why}");
    let mut follow = files.open(10).unwrap();
    std::fs::remove_file(files.path(1)).unwrap();
    std::fs::remove_file(files.path(3)).unwrap();
    assert!(read(&mut follow, 10, 20).unwrap_err().to_string().contains("it was removed"));
}

#[test]
fn what_is_written_in_another_way_is_another_segment() {
    let files = Files::new();
    files.write(1, &log(10, 11));
    let mut other = log(11, 12);
    // The server's version in the format description.
    other.0[MAGIC.len() + HEADER + 2 + 4] = b'1';
    files.write(2, &other);
    let mut follow = files.open(10).unwrap();
    let (_, contents, found) = read(&mut follow, 10, 20).unwrap();
    assert_eq!((contents.gtids, found), (range(11).subtract(&range(10)), Found::Close));
    assert_eq!(taken(&mut follow, 11, 20), format!("{SERVER}:12"));
}

#[test]
fn what_is_no_transaction_is_not_passed_over_in_silence() {
    let files = Files::new();
    let mut strange = log(10, 11);
    strange.event(EventType::INCIDENT_EVENT as u8, &[1, 0, 0]);
    files.write(1, &strange);
    let why = read(&mut files.open(10).unwrap(), 10, 20).unwrap_err().to_string();
    assert!(why.contains("an event of type 26 outside of a transaction"), "{why}");
}

proptest! {
    /// However the log is cut into files, whatever is seen of it when, and wherever a reader begins anew: each transaction
    /// is taken once, in order.
    #[test]
    fn every_transaction_is_taken_once_and_in_order(
        files in prop::collection::vec(0..4_u64, 1..5),
        looks in prop::collection::vec((0..20_u64, any::<bool>()), 1..8),
    ) {
        let directory = Files::new();
        let mut last = 10;
        for (number, transactions) in files.iter().enumerate() {
            directory.write(number as u64 + 1, &log(last, last + transactions));
            last += transactions;
        }
        let (mut covered, mut follow) = (10, directory.open(10).unwrap());
        for (executed, anew) in looks.into_iter().chain([(20, false)]) {
            if anew {
                follow = directory.open(covered).unwrap();
            }
            let (_, contents, _) = read(&mut follow, covered, 10 + executed).unwrap();
            let expected = last.min(10 + executed).max(covered);
            prop_assert_eq!(contents.gtids, range(expected).subtract(&range(covered)));
            covered = expected;
        }
        prop_assert_eq!(covered, last.min(30));
    }
}

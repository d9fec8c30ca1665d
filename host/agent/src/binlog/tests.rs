//! Logs made by hand: the format is small, and a torn end cannot be had from a healthy server.

use super::*;

/// A log that is being written.
pub struct Log(pub Vec<u8>);

pub const SERVER: &str = "11111111-2222-3333-4444-555555555555";

impl Log {
    pub fn new() -> Self {
        let mut log = Self(MAGIC.to_vec());
        log.event(EventType::PREVIOUS_GTIDS_EVENT as u8, &Self::previous(1, 11));
        log
    }

    /// A log that says how it is to be read, and whether it is still being written.
    pub fn described(in_use: bool) -> Self {
        Self::after(10, in_use)
    }

    /// The same, where the files before hold so many transactions.
    pub fn after(last: u64, in_use: bool) -> Self {
        let mut log = Self(MAGIC.to_vec());
        let mut body = 4_u16.to_le_bytes().to_vec();
        body.extend(format!("{:\0<50}", "8.0.26").into_bytes());
        body.extend([0; 4]);
        body.push(HEADER as u8);
        body.extend([0; EventType::ENUM_END_EVENT as usize - 1]);
        // No checksums: the algorithm, and the place of one.
        body.extend([0; 5]);
        log.event(EventType::FORMAT_DESCRIPTION_EVENT as u8, &body);
        log.0[MAGIC.len() + 17] = u8::from(in_use);
        log.event(EventType::PREVIOUS_GTIDS_EVENT as u8, &Self::previous(1, last + 1));
        log
    }

    /// A transaction that changes rows.
    pub fn row(&mut self, gno: u64) {
        self.statement(gno, "BEGIN", EventType::XID_EVENT);
    }

    /// A transaction that begins with a statement and ends with an event.
    pub fn statement(&mut self, gno: u64, statement: &str, end: EventType) {
        let mut body = [0; 13].to_vec();
        // No schema, and the zero byte that ends its name.
        body.push(0);
        body.extend(statement.as_bytes());
        self.gtid(gno, (HEADER + body.len()) as u64 + 2 * (HEADER as u64 + 14));
        self.event(EventType::QUERY_EVENT as u8, &body);
        self.event(EventType::WRITE_ROWS_EVENT as u8, &[0; 14]);
        self.event(end as u8, &[0; 14]);
    }

    fn previous(first: u64, end: u64) -> Vec<u8> {
        let mut body = 1_u64.to_le_bytes().to_vec();
        body.extend(SERVER.parse::<Uuid>().unwrap().as_bytes());
        body.extend(1_u64.to_le_bytes());
        body.extend(first.to_le_bytes());
        body.extend(end.to_le_bytes());
        body
    }

    pub fn event(&mut self, kind: u8, body: &[u8]) {
        let size = u32::try_from(HEADER + body.len()).unwrap();
        self.0.extend([0; 4]);
        self.0.push(kind);
        self.0.extend(1_u32.to_le_bytes());
        self.0.extend(size.to_le_bytes());
        self.0.extend([0; 6]);
        self.0.extend(body);
    }

    /// A GTID event that announces `rest` bytes after itself.
    pub fn gtid(&mut self, gno: u64, rest: u64) {
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

//! A segment that is being filled: compressed, and encrypted where that is asked for, as it grows, and never held whole.
//! Pure.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use backup::cipher::Encrypting;
use backup::encryption::Recipients;
use topology::gtid::GtidSet;
use uuid::Uuid;

use super::events::Head;

/// How hard to compress: the level that zstd itself takes.
const LEVEL: i32 = 3;

/// When a segment is large enough, in bytes before they are compressed: a chain of a busy day is some thousand segments,
/// and one fits into memory wherever it is read.
const FULL: u64 = 16 << 20;

/// What a log says of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The server that committed it first.
    pub server: Uuid,
    /// Its tag; empty where there is none.
    pub tag: String,
    /// Its number.
    pub number: u64,
    /// How many bytes it has, its first event included.
    pub length: u64,
    /// When it was first committed, in microseconds since 1970.
    pub committed_unix_us: u64,
}

impl Transaction {
    /// The set that holds only this one.
    ///
    /// # Errors
    /// A number that no server gives.
    pub fn set(&self) -> io::Result<GtidSet> {
        Run::of(self).text().parse().map_err(io::Error::other)
    }
}

/// Transactions of one origin that follow one another.
#[derive(Debug, Clone)]
struct Run {
    server: Uuid,
    tag: String,
    first: u64,
    last: u64,
}

impl Run {
    fn of(transaction: &Transaction) -> Self {
        let Transaction { server, tag, number, .. } = transaction;
        Self { server: *server, tag: tag.clone(), first: *number, last: *number }
    }

    fn goes_on_with(&self, transaction: &Transaction) -> bool {
        self.last + 1 == transaction.number && self.server == transaction.server && self.tag == transaction.tag
    }

    fn text(&self) -> String {
        let tag = if self.tag.is_empty() { String::new() } else { format!(":{}", self.tag) };
        format!("{}{tag}:{}-{}", self.server, self.first, self.last)
    }
}

/// A segment that is being filled.
pub struct Segment {
    encoder: zstd::Encoder<'static, Encrypting<Outlet>>,
    outlet: Outlet,
    bytes: u64,
    runs: Vec<Run>,
    contents: Contents,
}

/// What is in a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The transactions.
    pub gtids: GtidSet,
    /// How many there are.
    pub transactions: u64,
    /// How many bytes they have with the head, before they are compressed.
    pub bytes: u64,
    /// When the first was committed, in microseconds since 1970.
    pub first_commit_unix_us: u64,
    /// When the last was.
    pub last_commit_unix_us: u64,
}

impl Segment {
    /// One without a transaction, which comes after `previous`.
    ///
    /// # Errors
    /// The head cannot be repeated.
    pub fn begin(head: &Head, previous: &GtidSet, recipients: Option<&Recipients>) -> io::Result<Self> {
        let outlet = Outlet::default();
        let mut encoder = zstd::Encoder::new(Encrypting::new(outlet.clone(), recipients)?, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut segment = Self { encoder, outlet, bytes: 0, runs: Vec::new(), contents: Contents::default() };
        segment.write(&head.begin(previous)?)?;
        Ok(segment)
    }

    /// A transaction begins, whose bytes follow.
    pub fn transaction(&mut self, transaction: &Transaction) {
        let contents = &mut self.contents;
        if contents.transactions == 0 {
            contents.first_commit_unix_us = transaction.committed_unix_us;
        }
        contents.transactions += 1;
        contents.last_commit_unix_us = transaction.committed_unix_us;
        match self.runs.last_mut() {
            Some(run) if run.goes_on_with(transaction) => run.last = transaction.number,
            _ => self.runs.push(Run::of(transaction)),
        }
    }

    /// Bytes of it.
    ///
    /// # Errors
    /// They cannot be compressed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.encoder.write_all(bytes)
    }

    /// How many transactions are in it.
    pub fn transactions(&self) -> u64 {
        self.contents.transactions
    }

    /// Whether no further transaction belongs into it.
    pub fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    /// The transactions that are in it.
    ///
    /// # Errors
    /// A number that no server gives.
    pub fn gtids(&self) -> io::Result<GtidSet> {
        let runs: Vec<_> = self.runs.iter().map(Run::text).collect();
        runs.join(",").parse().map_err(io::Error::other)
    }

    /// What is ready to be stored since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        self.outlet.take()
    }

    /// Ends it: what is ready to be stored since the last time, and what is in it.
    ///
    /// # Errors
    /// It cannot be compressed.
    pub fn finish(self) -> io::Result<(Vec<u8>, Contents)> {
        let gtids = self.gtids()?;
        let contents = Contents { gtids, bytes: self.bytes, ..self.contents };
        let outlet = self.encoder.finish()?.finish()?;
        Ok((outlet.take(), contents))
    }
}

/// Where the layers lead to: what encrypts does not let anybody reach what is behind it.
#[derive(Clone, Default)]
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Outlet {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

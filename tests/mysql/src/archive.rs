//! An archive of a member's binary log, cut by the test from the files that a real mysqld wrote. It must share no code with
//! whoever reads it but the format.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use backup::archive::{Appended, Archive};
use backup::log::{Entry, FORMAT};
use backup::manifest::sha256;
use backup::store::Patience;
use backup::{Store, layout};
use mysql_async::binlog::events::{Event, FormatDescriptionEvent, GtidEvent};
use mysql_async::binlog::{BinlogVersion, EventType};
use serde_json::json;
use topology::gtid::GtidSet;
use uuid::Uuid;
use wire::StoreAccess;

use crate::Member;

/// What a log begins with.
const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

/// The length of an event's header.
const HEADER: usize = 19;

/// A transaction as a log holds it.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its GTID.
    pub gtid: String,
    /// When it was first committed, in microseconds since 1970.
    pub committed_unix_us: u64,
    /// Its events.
    pub bytes: Vec<u8>,
}

/// The binary log of a member, without what separates its files.
#[derive(Debug, Clone, Default)]
pub struct BinaryLog {
    /// What the first file begins with: how to read it, and what was before.
    pub head: Vec<u8>,
    /// Every transaction, in order.
    pub transactions: Vec<Transaction>,
}

/// Reads all binary logs of a member.
///
/// # Errors
/// There are none.
pub fn read(member: &Member) -> anyhow::Result<BinaryLog> {
    let mut log = BinaryLog::default();
    for path in files(&member.volume().join("mysql"))? {
        one(&std::fs::read(&path)?, &mut log).with_context(|| path.display().to_string())?;
    }
    ensure!(!log.transactions.is_empty(), "{} has logged nothing", member.name);
    Ok(log)
}

fn files(datadir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let index = std::fs::read_to_string(datadir.join("binlog.index"))?;
    Ok(index.lines().map(|name| datadir.join(name)).collect())
}

fn one(file: &[u8], log: &mut BinaryLog) -> anyhow::Result<()> {
    ensure!(file.starts_with(&MAGIC), "no binary log");
    let mut format = FormatDescriptionEvent::new(BinlogVersion::Version4);
    let (mut head, mut rest) = (MAGIC.to_vec(), &file[MAGIC.len()..]);
    while rest.len() >= HEADER {
        let size = u32::from_le_bytes(rest[9..13].try_into()?) as usize;
        let (bytes, after) = rest.split_at_checked(size).context("a torn event")?;
        let kind = bytes[4];
        let read = || Event::read(&format, Cursor::new(bytes));
        if kind == EventType::FORMAT_DESCRIPTION_EVENT as u8 {
            head.extend(bytes);
            let event = read()?;
            format = event.read_event::<FormatDescriptionEvent<'_>>()?.into_owned().with_footer(event.footer());
        } else if kind == EventType::PREVIOUS_GTIDS_EVENT as u8 {
            head.extend(bytes);
        } else if kind == EventType::GTID_EVENT as u8 || kind == EventType::GTID_TAGGED_LOG_EVENT as u8 {
            let event: GtidEvent = read()?.read_event()?;
            let tag = event.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
            let gtid = format!("{}{tag}:{}", Uuid::from_bytes(event.sid()), event.gno());
            let committed_unix_us = event.original_commit_timestamp();
            log.transactions.push(Transaction { gtid, committed_unix_us, bytes: bytes.to_vec() });
        } else if kind != EventType::ROTATE_EVENT as u8 && kind != EventType::STOP_EVENT as u8 {
            log.transactions.last_mut().context("an event before any transaction")?.bytes.extend(bytes);
        }
        rest = after;
    }
    if log.head.is_empty() {
        log.head = head;
    }
    Ok(())
}

/// The transactions as a set.
///
/// # Errors
/// They are none.
pub fn set(transactions: &[Transaction]) -> anyhow::Result<GtidSet> {
    let gtids: Vec<_> = transactions.iter().map(|transaction| transaction.gtid.as_str()).collect();
    Ok(gtids.join(",").parse()?)
}

/// Writes an archive of the log, so many transactions in each segment, for the cluster `test/shop` of this identity.
///
/// # Errors
/// The store does not take it.
pub async fn write(
    access: &StoreAccess,
    uid: &str,
    member: &Member,
    log: &BinaryLog,
    transactions: usize,
) -> anyhow::Result<Vec<Entry>> {
    let archive = Archive::at(Store::open(access, Patience::default())?, &layout::log("test", "shop", uid))?;
    let server = member.facts().await?;
    let (mut entries, mut before) = (Vec::new(), GtidSet::new());
    for (number, chunk) in log.transactions.chunks(transactions).enumerate() {
        let mut bytes = log.head.clone();
        chunk.iter().for_each(|transaction| bytes.extend(&transaction.bytes));
        let stored = zstd::encode_all(&bytes[..], 0)?;
        let sequence = number as u64 + 1;
        let entry = json!({
            "format": FORMAT, "sequence": sequence, "clusterUid": uid, "member": member.name,
            "serverUuid": server.server_uuid, "serverVersion": server.version, "before": before, "gtids": set(chunk)?,
            "object": layout::log_data(sequence, &member.name, "4be0643f"), "size": stored.len(),
            "sha256": sha256(&stored), "bytes": bytes.len(), "transactions": chunk.len(),
            "firstCommitUnixUs": chunk[0].committed_unix_us,
            "lastCommitUnixUs": chunk[chunk.len() - 1].committed_unix_us, "closedAt": "2026-11-27T14:50:00Z",
        });
        let entry: Entry = serde_json::from_value(entry)?;
        ensure!(archive.append(&entry, stored.into()).await? == Appended::Yes, "somebody else writes it");
        before = entry.after();
        entries.push(entry);
    }
    Ok(entries)
}

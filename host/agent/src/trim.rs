//! Cuts from the end of a former primary's binary log what nobody acknowledged.
//!
//! Such transactions are in the log and only prepared in InnoDB: after a SIGKILL, a log that does not hold them makes
//! InnoDB roll them back when it starts. Once mysqld has been started, or closed in an orderly way, they are
//! committed, and nothing here may touch them any more. It must never cut a transaction that the present primary
//! has, nor one that did not come from this very server, and never without saving what it cuts.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use topology::gtid::GtidSet;
use uuid::Uuid;

use crate::binlog::{self, Item, Transaction, Walk};
use crate::durable;

/// How many cut tails are kept; the oldest goes first. One is a few kilobytes: the commits that were under way.
const KEPT: usize = 16;

/// What the newest binary log holds beyond what is to be kept.
#[derive(Debug, PartialEq, Eq)]
pub enum Excess {
    /// Nothing.
    None,
    /// A tail that can be cut.
    Tail(Tail),
    /// Something that must not be cut, and why.
    Unfit(String),
}

/// The end of a binary log, from one transaction on.
#[derive(Debug, PartialEq, Eq)]
pub struct Tail {
    /// The log.
    pub file: PathBuf,
    /// Where the tail begins, in bytes.
    pub position: u64,
    /// The transactions in it.
    pub transactions: GtidSet,
}

/// Looks for transactions that `keep` lacks, in the log of a stopped mysqld that committed under the server_uuids
/// `own`.
///
/// # Errors
/// A log that cannot be read.
pub fn excess(datadir: &Path, base: &str, keep: &GtidSet, own: &[Uuid]) -> io::Result<Excess> {
    let Some(file) = binlog::newest(datadir, base)? else { return Ok(Excess::None) };
    let Some(mut walk) = Walk::open(&file)? else { return Ok(Excess::None) };
    let mut tail: Vec<Transaction> = Vec::new();
    while let Some(item) = walk.next_item()? {
        match item {
            Item::Previous(previous) if !previous.is_subset_of(keep) => {
                let lacking = previous.subtract(keep);
                return Ok(Excess::Unfit(format!("{lacking} is in an older binary log")));
            }
            Item::Previous(_) => {}
            Item::Transaction(transaction) => {
                let kept = gtid_set(&transaction.gtid)?.is_subset_of(keep);
                match (kept, tail.is_empty()) {
                    (true, true) => {}
                    (true, false) => {
                        let why = format!("{} is to be kept and comes after {}", transaction.gtid, tail[0].gtid);
                        return Ok(Excess::Unfit(why));
                    }
                    (false, _) => tail.push(transaction),
                }
            }
        }
    }
    let Some(first) = tail.first() else { return Ok(Excess::None) };
    if binlog::numbered(datadir, base)?.first() != Some(&file) {
        return Ok(Excess::Unfit(format!("{} is in an older binary log", first.gtid)));
    }
    if !walk.is_in_use() {
        return Ok(Excess::Unfit(format!("mysqld closed its log in an orderly way, so {} is committed", first.gtid)));
    }
    let unfit = |transaction: &&Transaction| !transaction.plain || !own.contains(&transaction.server);
    if let Some(unfit) = tail.iter().find(unfit) {
        let why = if unfit.plain { "did not come from this server" } else { "is no plain change of rows" };
        return Ok(Excess::Unfit(format!("{} {why}", unfit.gtid)));
    }
    let position = first.start;
    let gtids: Vec<_> = tail.iter().map(|transaction| transaction.gtid.as_str()).collect();
    Ok(Excess::Tail(Tail { position, transactions: gtid_set(&gtids.join(","))?, file }))
}

/// Saves a tail as a binary log of its own in `saved`, then cuts it off.
///
/// # Errors
/// Whatever the file system says. Unless it was saved, nothing is cut.
pub fn cut(tail: &Tail, saved: &Path) -> io::Result<PathBuf> {
    let copy = save(tail, saved)?;
    let log = File::options().write(true).open(&tail.file)?;
    log.set_len(tail.position)?;
    log.sync_all()?;
    Ok(copy)
}

/// The copy begins as the log does, so that `mysqlbinlog` reads it.
fn save(tail: &Tail, saved: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(saved)?;
    let mut log = File::open(&tail.file)?;
    let mut beginning = Vec::new();
    (&mut log).take(binlog::beginning(&tail.file)?).read_to_end(&mut beginning)?;
    log.seek(SeekFrom::Start(tail.position))?;
    let name = tail.file.file_name().unwrap_or_default().to_string_lossy();
    let path = saved.join(format!("{name}-{}", tail.position));
    let temporary = path.with_extension("tmp");
    let mut copy = File::create(&temporary)?;
    copy.write_all(&beginning)?;
    io::copy(&mut log, &mut copy)?;
    copy.sync_all()?;
    durable::rename(&temporary, &path)?;
    forget_oldest(saved)?;
    Ok(path)
}

fn forget_oldest(saved: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(saved)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort_unstable();
    let surplus = files.len().saturating_sub(KEPT);
    files.iter().take(surplus).try_for_each(|(_, path)| std::fs::remove_file(path))
}

fn gtid_set(text: &str) -> io::Result<GtidSet> {
    text.parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests;

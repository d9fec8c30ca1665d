//! Reads and extends the archive of a binary log in a store.
//!
//! It must never write over an entry or over bytes that one names, and never take an object for what it should be without
//! its checksum.

use bytes::Bytes;
use topology::gtid::GtidSet;

use crate::error::Error;
use crate::layout;
use crate::log::{Entry, FIRST};
use crate::store::{Store, Upload};

/// The largest entry that is read: its GTID sets are those of a cluster with a long history.
const LARGEST_ENTRY: u64 = 16 << 20;

/// One archive.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Store,
    path: String,
}

/// What came of writing an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is in the chain.
    Yes,
    /// Somebody else's is, under the same number: this one.
    Taken(Box<Entry>),
}

impl Archive {
    /// The archive at this path, which [`layout::log`] made.
    ///
    /// # Errors
    /// [`Error::Access`]: it is no path.
    pub fn at(store: Store, path: &str) -> Result<Self, Error> {
        layout::check_path(path).map_err(Error::Access)?;
        Ok(Self { store, path: path.to_owned() })
    }

    /// Where it lies.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The newest entry; None where there is none at all. `known` is a number that is surely there, if one is known: only
    /// what is behind it is listed.
    ///
    /// # Errors
    /// Any of [`Error`]
    pub async fn newest(&self, known: Option<u64>) -> Result<Option<Entry>, Error> {
        // '!' sorts before every digit.
        let after = known.map_or_else(|| "!".to_owned(), |known| format!("{known:012}.json"));
        let names = self.store.names(&self.path, &after).await?;
        let newest = names.iter().filter_map(|name| layout::log_sequence(name)).max().or(known);
        match newest {
            Some(sequence) => self.entry(sequence).await,
            None => Ok(None),
        }
    }

    /// The entry of this number; None where there is none.
    ///
    /// # Errors
    /// Any of [`Error`]
    pub async fn entry(&self, sequence: u64) -> Result<Option<Entry>, Error> {
        match self.store.get(&layout::log_entry(&self.path, sequence), LARGEST_ENTRY).await {
            Ok(text) => Entry::read(&self.path, sequence, &text).map(Some),
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// The newest entries in order, from the last that begins within what is executed, or from the first there is: what
    /// [`crate::log::plan`] judges.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::Chain`] where a number is missing.
    pub async fn back_to(&self, executed: &GtidSet) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut next = self.newest(None).await?;
        while let Some(entry) = next.take() {
            let (sequence, reached) = (entry.sequence, entry.begins_within(executed));
            entries.push(entry);
            if reached || sequence <= FIRST {
                break;
            }
            let before = self.entry(sequence - 1).await?;
            let object = layout::log_entry(&self.path, sequence - 1);
            let problem = format!("it is not there, and number {sequence} is; use a full backup from after it");
            next = Some(before.ok_or(Error::Chain { object, problem })?);
        }
        entries.reverse();
        Ok(entries)
    }

    /// Puts the stored bytes of a segment, exactly as they were written, into a file, whatever their size.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::Damaged`] names the object, and what is in the file is of no use then.
    pub async fn fetch(&self, entry: &Entry, into: &std::path::Path) -> Result<(), Error> {
        let object = entry.data(&self.path);
        let file = tokio::fs::File::create(into).await;
        let mut file = file.map_err(|why| Error::file(format!("making {}", into.display()), why))?;
        match self.store.download(&object, entry.size, &mut file).await {
            Ok((size, sum)) => entry.is(&self.path, size, &sum),
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => {
                Err(Error::Damaged { object, problem: "it is not there".to_owned() })
            }
            Err(why) => Err(why),
        }
    }

    /// The stored bytes of a segment, exactly as they were written.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::Damaged`] names the object.
    pub async fn data(&self, entry: &Entry) -> Result<Bytes, Error> {
        let object = entry.data(&self.path);
        let stored = match self.store.get(&object, entry.size).await {
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => {
                return Err(Error::Damaged { object, problem: "it is not there".to_owned() });
            }
            other => other?,
        };
        entry.holds(&self.path, &stored)?;
        Ok(stored)
    }

    /// Extends the chain: the bytes first, then the entry, if nobody else wrote one of that number. Bytes that come to
    /// nothing are left where they are: nothing names them.
    ///
    /// # Errors
    /// Any of [`Error`]; it may be in the chain then, and whoever goes on reads the newest entry first.
    pub async fn append(&self, entry: &Entry, stored: Bytes) -> Result<Appended, Error> {
        entry.holds(&self.path, &stored)?;
        self.store.put(&entry.data(&self.path), stored).await?;
        self.commit(entry).await
    }

    /// Begins the bytes of a segment whose size is not known yet: an object below the archive.
    ///
    /// # Errors
    /// [`Error::Access`]: it is no name.
    pub fn begin(&self, object: &str) -> Result<Upload, Error> {
        self.store.begin(&format!("{}/{object}", self.path))
    }

    /// Writes the entry of bytes that are in the store, if nobody else wrote one of that number.
    ///
    /// # Errors
    /// As [`Archive::append`].
    pub async fn commit(&self, entry: &Entry) -> Result<Appended, Error> {
        entry.check().map_err(Error::Access)?;
        let text = entry.text().map_err(|why| Error::file("an entry", std::io::Error::other(why)))?;
        let object = layout::log_entry(&self.path, entry.sequence);
        if self.store.create(&object, Bytes::from(text)).await? {
            return Ok(Appended::Yes);
        }
        // The answer to one's own request may have been lost, and the request repeated.
        match self.entry(entry.sequence).await? {
            Some(there) if there == *entry => Ok(Appended::Yes),
            Some(there) => Ok(Appended::Taken(Box::new(there))),
            None => Err(Error::Damaged { object, problem: "it was there and is gone".to_owned() }),
        }
    }
}

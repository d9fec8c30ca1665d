//! Why a backup could not be made or used.

use std::time::Duration;

/// Why a backup could not be made or used. Every one names the object it is about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The way to the store cannot be used as it is described.
    #[error("the store cannot be used: {0}")]
    Access(String),
    /// The store did not do what was asked, however often.
    #[error("{what}: {source}")]
    Store {
        /// What was asked, with the object.
        what: String,
        /// In the store's words.
        source: object_store::Error,
    },
    /// The store took too long over one object.
    #[error("{what}: no answer within {} s", .within.as_secs())]
    Late {
        /// What was asked, with the object.
        what: String,
        /// For how long it was waited.
        within: Duration,
    },
    /// There is no such backup: it has no manifest.
    #[error("there is no backup at {path}: it has no manifest.json; name another one")]
    Missing {
        /// Where it was looked for.
        path: String,
    },
    /// There is no such object.
    #[error("there is no object {object} in the store; name another")]
    Absent {
        /// Which.
        object: String,
    },
    /// An object is whole and cannot be taken.
    #[error("{object} cannot be taken: {problem}")]
    Unfit {
        /// Which.
        object: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// An object is not what was written.
    #[error("{object} is damaged: {problem}; nothing was taken from it, use another backup")]
    Damaged {
        /// Which.
        object: String,
        /// How that shows.
        problem: String,
    },
    /// It is encrypted, and cannot be opened with what there is.
    #[error("{object} is encrypted for {recipients}, and {problem}")]
    Locked {
        /// The backup, or the segment's bytes.
        object: String,
        /// The public keys for which it is.
        recipients: String,
        /// What was tried, and what would help. Never a secret key.
        problem: String,
    },
    /// The archive of the binary log does not lead on over this entry.
    #[error("the archive cannot be followed over {object}: {problem}")]
    Chain {
        /// The entry that is missing or does not fit.
        object: String,
        /// In what way, and what would help.
        problem: String,
    },
    /// A recovery cannot end where it was asked to.
    #[error("the target cannot be reached: {0}")]
    Unreachable(String),
    /// A later release wrote it in a way that cannot be ignored.
    #[error("{object} is of format {found}, which this release does not know; use a later release")]
    Format {
        /// Which.
        object: String,
        /// Its format.
        found: u32,
    },
    /// A file could not be read or written.
    #[error("{what}: {source}")]
    File {
        /// What was done.
        what: String,
        /// In the kernel's words.
        source: std::io::Error,
    },
    /// Somebody ended it.
    #[error("it was aborted")]
    Aborted,
}

impl Error {
    /// A failure of the file system.
    pub fn file(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::File { what: what.into(), source }
    }
}

//! What a backup is, where it lies, and how a data directory becomes one and comes back.
//!
//! A backup is a manifest and the parts that it names. The parts, one after the other, are a tar archive of a data
//! directory, compressed with zstd, and encrypted with age where that is asked for ([`encryption`]); each is an object of its own, so that nothing is ever half-written in the store,
//! memory is bounded whatever the size, and every part is checked before a byte of it is used. The manifest is
//! written last: **a backup without a manifest does not exist**.
//!
//! Beside the backups lies an archive of the binary log, a chain of segments: [`log`].
//!
//! [`manifest`], [`layout`], [`choose`], [`steps`], [`log`], [`appoint`], [`full`], [`recovery_point`], [`recovery`],
//! [`retention`], [`drill`], [`encryption`], [`keys`], [`cipher`] and [`pace`] are pure; [`store`], [`archive`],
//! [`mod@write`], [`read`], [`dump`], [`find`], [`segment`], [`survey`] and [`sweep`] touch the world and decide nothing. This crate
//! knows neither Kubernetes nor mysqld.

pub mod appoint;
pub mod archive;
pub mod choose;
pub mod cipher;
pub mod drill;
pub mod dump;
pub mod encryption;
pub mod error;
pub mod find;
pub mod full;
pub mod keys;
pub mod layout;
pub mod log;
pub mod manifest;
pub mod pace;
mod pack;
pub mod progress;
pub mod read;
pub mod recovery;
pub mod recovery_point;
pub mod retention;
pub mod segment;
pub mod steps;
pub mod store;
pub mod survey;
pub mod sweep;
mod unpack;
pub mod write;

pub use error::Error;
pub use keys::Keys;
pub use manifest::Manifest;
pub use progress::Progress;
pub use store::Store;

//! A backup becomes a directory.
//!
//! Every part is read whole and its checksum compared before a byte of it is unpacked, and the directory counts only
//! once the last part was right: until then it must be a scratch directory that nobody takes for data.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::keys::Keys;
use crate::layout;
use crate::manifest::{Manifest, Part, sha256};
use crate::progress::Progress;
use crate::store::Store;
use crate::unpack::unpack;

/// How many parts are fetched at a time.
const FETCHED_AT_ONCE: usize = 2;

/// The manifest of the backup at `path`, and its SHA-256.
///
/// # Errors
/// [`Error::Missing`] where there is none, [`Error::Damaged`] where it is not the one that `expected_sum` names.
pub async fn manifest(store: &Store, path: &str, expected_sum: Option<&str>) -> Result<Manifest, Error> {
    layout::check_path(path).map_err(Error::Access)?;
    let (manifest, sum) = store.manifest(path).await?.ok_or_else(|| Error::Missing { path: path.to_owned() })?;
    match expected_sum {
        Some(expected) if expected != sum => Err(Error::Damaged {
            object: layout::manifest(path),
            problem: format!("its SHA-256 is {sum}, and whoever named this backup expected {expected}"),
        }),
        _ => Ok(manifest),
    }
}

/// Fills `into`, which must not exist, with what the backup holds. Progress is in bytes of the store.
///
/// # Errors
/// Any of [`Error`]; what `into` holds is then of no use to anybody. [`Error::Locked`] before anything is fetched.
pub async fn read(
    store: &Store,
    path: &str,
    manifest: &Manifest,
    keys: &Keys,
    into: &Path,
    progress: &Arc<Progress>,
    abort: &CancellationToken,
) -> Result<(), Error> {
    keys.open(path, manifest.encryption.as_ref())?;
    progress.expect(manifest.content.stored_bytes);
    let (sender, receiver) = mpsc::channel(1);
    let unpacking = {
        let (into, identities) = (into.to_owned(), manifest.encryption.as_ref().map(|_| keys.identities.clone()));
        tokio::task::spawn_blocking(move || unpack(receiver, identities.as_ref(), &into))
    };
    let fetched = tokio::select! {
        fetched = fetch(store, path, &manifest.content.parts, sender, progress) => fetched,
        () = abort.cancelled() => Err(Error::Aborted),
    };
    let unpacked = unpacking.await.map_err(|why| Error::file("unpacking", std::io::Error::other(why)))?;
    fetched?;
    let contents = unpacked.map_err(|why| Error::file(format!("unpacking {path} into {}", into.display()), why))?;
    let promised = (manifest.content.files, manifest.content.bytes);
    if (contents.files, contents.bytes) != promised {
        let problem = format!("its parts hold {contents:?}, and it promises {promised:?} files and bytes");
        return Err(Error::Damaged { object: layout::manifest(path), problem });
    }
    Ok(())
}

async fn fetch(
    store: &Store,
    path: &str,
    parts: &[Part],
    sender: mpsc::Sender<Bytes>,
    progress: &Progress,
) -> Result<(), Error> {
    let mut left = parts.iter().enumerate();
    let mut under_way: FuturesOrdered<BoxFuture<'_, Result<Bytes, Error>>> = FuturesOrdered::new();
    loop {
        while under_way.len() < FETCHED_AT_ONCE
            && let Some((number, part)) = left.next()
        {
            under_way.push_back(checked(store, layout::part(path, number), part).boxed());
        }
        let Some(bytes) = under_way.next().await else { return Ok(()) };
        let bytes = bytes?;
        progress.add(bytes.len() as u64);
        // Whoever unpacks has a better error than this one.
        if sender.send(bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// One part, exactly as it was written.
async fn checked(store: &Store, object: String, part: &Part) -> Result<Bytes, Error> {
    let bytes = match store.get(&object, part.size).await {
        Ok(bytes) => bytes,
        Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => {
            return Err(Error::Damaged { object, problem: "it is not there".to_owned() });
        }
        Err(why) => return Err(why),
    };
    if bytes.len() as u64 != part.size {
        let problem = format!("it has {} bytes, expected {}", bytes.len(), part.size);
        return Err(Error::Damaged { object, problem });
    }
    let sum = sha256(&bytes);
    if sum != part.sha256 {
        let problem = format!("its SHA-256 is {sum}, expected {}", part.sha256);
        return Err(Error::Damaged { object, problem });
    }
    Ok(bytes)
}

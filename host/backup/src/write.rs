//! A directory becomes a backup.
//!
//! The manifest is written last, and only after every part was taken by the store. What an attempt left that came to
//! nothing is removed, as far as the store answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::encryption::Recipients;
use crate::error::Error;
use crate::layout;
use crate::manifest::{Content, Manifest, Part};
use crate::pace::Bucket;
use crate::pack::{self, Packed};
use crate::progress::Progress;
use crate::store::Store;

/// The size of a part in bytes. With one that is filled, one that waits and two that are sent it is 32 MiB of memory,
/// and a terabyte is 130,000 objects.
pub const PART: usize = 8 << 20;

/// How many parts are sent at a time.
const SENT_AT_ONCE: usize = 2;

/// How long whatever an attempt left may take to be removed: nobody waits for that, and a copy of the data does.
const CLEANING: Duration = Duration::from_secs(15);

/// How a directory is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner<'a> {
    /// The size of a part in bytes.
    pub part: usize,
    /// How many bytes a second are sent at most, on average. None for no limit.
    pub bytes_per_second: Option<u64>,
    /// For whom it is encrypted. None for whoever reads the store.
    pub recipients: Option<&'a Recipients>,
}

impl Default for Manner<'_> {
    fn default() -> Self {
        Self { part: PART, bytes_per_second: None, recipients: None }
    }
}

/// Writes a backup of `dir` at `path`. `manifest` is made from what was sent, once everything was.
///
/// # Errors
/// Any of [`Error`]; there is no backup then.
pub async fn write(
    store: &Store,
    path: &str,
    dir: &Path,
    manner: Manner<'_>,
    progress: &Arc<Progress>,
    abort: &CancellationToken,
    manifest: impl FnOnce(Content) -> Manifest,
) -> Result<(Manifest, String), Error> {
    layout::check_path(path).map_err(Error::Access)?;
    let written = tokio::select! {
        written = clean_and_send(store, path, dir, manner, progress, manifest) => written,
        () = abort.cancelled() => Err(Error::Aborted),
    };
    if written.is_err() {
        // A store that is gone keeps it until the next attempt, or for a person; without a manifest it is no backup.
        let _ = tokio::time::timeout(CLEANING, store.remove_unfinished(path)).await;
    }
    written
}

async fn clean_and_send(
    store: &Store,
    path: &str,
    dir: &Path,
    manner: Manner<'_>,
    progress: &Arc<Progress>,
    manifest: impl FnOnce(Content) -> Manifest,
) -> Result<(Manifest, String), Error> {
    store.remove_unfinished(path).await?;
    let (sender, receiver) = mpsc::channel(1);
    let packing = {
        let (dir, progress, recipients) = (dir.to_owned(), Arc::clone(progress), manner.recipients.cloned());
        tokio::task::spawn_blocking(move || {
            progress.expect(pack::measure(&dir)?.bytes);
            pack::pack(&dir, manner.part, recipients.as_ref(), sender, &progress)
        })
    };
    // What was not packed is not sent; if sending fails the receiver goes, and packing ends by itself.
    let sent = send(store, path, Bucket::new(manner.bytes_per_second), receiver).await;
    let packed = packing.await.map_err(|why| Error::file("packing", std::io::Error::other(why)))?;
    let parts = sent?;
    let contents = packed.map_err(|why| Error::file(format!("packing {}", dir.display()), why))?;
    let stored_bytes = parts.iter().map(|part| part.size).sum();
    let manifest = manifest(Content { files: contents.files, bytes: contents.bytes, stored_bytes, parts });
    let (text, sum) = manifest.text().map_err(|why| Error::file("the manifest", std::io::Error::other(why)))?;
    store.put(&layout::manifest_sum(path), Bytes::from(format!("{sum}  {}\n", layout::MANIFEST))).await?;
    store.put(&layout::manifest(path), Bytes::from(text)).await?;
    Ok((manifest, sum))
}

async fn send(
    store: &Store,
    path: &str,
    mut bucket: Bucket,
    mut packed: mpsc::Receiver<Packed>,
) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut under_way: FuturesUnordered<BoxFuture<'_, Result<(), Error>>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            next = packed.recv(), if under_way.len() < SENT_AT_ONCE => {
                let Some(Packed { part, bytes }) = next else { break };
                let (object, not_before) = (layout::part(path, parts.len()), bucket.take(Instant::now(), part.size));
                parts.push(part);
                let put = async move {
                    tokio::time::sleep_until(not_before).await;
                    store.put(&object, bytes).await
                };
                under_way.push(put.boxed());
            }
            Some(done) = under_way.next() => done?,
        }
    }
    while let Some(done) = under_way.next().await {
        done?;
    }
    Ok(parts)
}

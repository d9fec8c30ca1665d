//! Takes objects out of a store.
//!
//! Three things are ever removed: a backup, of which its manifest goes first, so that what is left in between is no
//! backup; what has no manifest; and the beginning of an archive. It must never remove an object that this crate did not
//! name, nor decide what is to go: that is [`crate::retention`]'s.

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;

use super::{Store, path};
use crate::error::Error;
use crate::layout;

/// An object, as a list of them tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name below the path that was listed.
    pub name: String,
    /// When it was written, in microseconds since 1970.
    pub modified_unix_us: u64,
}

impl Store {
    /// Every object below a path, however deep, in no order.
    ///
    /// # Errors
    /// [`Error::Store`] once patience has ended.
    pub async fn listed(&self, below: &str) -> Result<Vec<Listed>, Error> {
        let prefix = path(below)?;
        let listed = self.inner.list(Some(&prefix)).try_filter_map(|meta| {
            let parts = meta.location.prefix_match(&prefix).map(|parts| parts.collect::<Vec<_>>());
            let listed = parts.map(|parts| Listed {
                name: parts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/"),
                modified_unix_us: u64::try_from(meta.last_modified.timestamp_micros()).unwrap_or(0),
            });
            std::future::ready(Ok(listed))
        });
        self.in_time(|| format!("listing {below}"), listed.try_collect()).await
    }

    /// Removes a backup whose manifest has this SHA-256, and says how many objects that were. Once its manifest is gone
    /// there is no such backup, whatever becomes of the rest: [`Store::remove_unfinished`] removes that as well.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Damaged`] where another manifest is there than the one that was judged.
    pub async fn remove_full(&self, at: &str, sum: &str) -> Result<usize, Error> {
        let manifest = layout::manifest(at);
        let there = self.manifest(at).await?;
        if let Some((_, found)) = &there {
            if found != sum {
                let problem = format!("its SHA-256 is {found}, and it was {sum} a moment ago");
                return Err(Error::Damaged { object: manifest, problem });
            }
            self.remove(&[manifest]).await?;
        }
        Ok(usize::from(there.is_some()) + self.remove_unfinished(at).await?)
    }

    /// Removes what a backup that was never finished left, or one whose manifest was removed, and says how many objects
    /// that were. Where there is a manifest nothing is removed, and nothing ever that no backup consists of.
    ///
    /// # Errors
    /// [`Error::Store`]
    pub async fn remove_unfinished(&self, at: &str) -> Result<usize, Error> {
        let manifest = path(&layout::manifest(at))?;
        match self.inner.head(&manifest).await {
            Ok(_) => return Ok(0),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(Error::Store { what: format!("removing what is unfinished at {at}"), source }),
        }
        let found = self.listed(at).await?;
        // What lists show may be of a moment ago: a manifest that has come meanwhile is not touched.
        let ours =
            found.into_iter().filter(|object| layout::is_of_full(&object.name) && object.name != layout::MANIFEST);
        let ours: Vec<_> = ours.map(|object| format!("{at}/{}", object.name)).collect();
        self.remove(&ours).await?;
        Ok(ours.len())
    }

    /// Removes objects, in no order. One that is not there is removed.
    pub(crate) async fn remove(&self, objects: &[String]) -> Result<(), Error> {
        let paths = objects.iter().map(|object| path(object)).collect::<Result<Vec<_>, _>>()?;
        let what =
            || format!("removing {} objects, {} first", objects.len(), objects.first().map_or("", String::as_str));
        // As many requests as there are thousands of objects, and each has its own limits.
        let removing = self.inner.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        let removed: Vec<_> = removing.collect().await;
        for removed in removed {
            match removed {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(Error::Store { what: what(), source }),
            }
        }
        Ok(())
    }
}

//! A place for objects: S3 and what speaks its protocol, Google Cloud Storage, Azure, or a directory.
//!
//! It must never overwrite what belongs to a backup that has a manifest, nor delete anything of it before the manifest: a
//! backup is there as a whole or not at all.

mod remove;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::buffered::BufWriter;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode,
    PutPayload, RetryConfig,
};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use wire::StoreAccess;

use crate::error::Error;
use crate::layout;
use crate::manifest::Manifest;
use crate::write::PART;
pub use remove::Listed;

/// How long a connection may take. A store is rarely on the other side of the world.
const CONNECT: Duration = Duration::from_secs(10);

/// The largest manifest that is read: a backup of a terabyte has 130,000 parts of about 110 bytes each.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// How patient to be with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For how long an object is tried again while the store fails.
    pub retry: Duration,
    /// How long one request may take.
    pub request: Duration,
}

impl Default for Patience {
    /// Restarts of a store and hiccups of a network are over in three minutes, or a person has to look; a part of
    /// [`crate::write::PART`] takes two minutes at half a megabit a second.
    fn default() -> Self {
        Self { retry: Duration::from_secs(180), request: Duration::from_secs(120) }
    }
}

/// An object that was looked at.
#[derive(Debug, Clone)]
pub struct Found {
    meta: ObjectMeta,
}

impl Found {
    /// How large it is, in bytes.
    pub fn size(&self) -> u64 {
        self.meta.size
    }
}

/// A place for objects.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    patience: Patience,
}

impl Store {
    /// Makes a client. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// [`Error::Access`] where the description is of no use.
    pub fn open(access: &StoreAccess, patience: Patience) -> Result<Self, Error> {
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(10),
                base: 2.0,
            },
            // Only time is a limit.
            max_retries: usize::MAX,
            retry_timeout: patience.retry,
        };
        let made: Result<(Arc<dyn ObjectStore>, &str), object_store::Error> = match access {
            StoreAccess::S3 { bucket, prefix, endpoint, region, path_style, access_key_id, secret_access_key } => {
                let plain = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
                let mut builder = AmazonS3Builder::new()
                    .with_bucket_name(bucket)
                    .with_region(region)
                    .with_access_key_id(access_key_id)
                    .with_secret_access_key(&secret_access_key.0)
                    .with_virtual_hosted_style_request(!path_style)
                    .with_client_options(client(patience, plain)?)
                    .with_retry(retry);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                builder.build().map(|store| (Arc::new(store) as Arc<dyn ObjectStore>, prefix.as_str()))
            }
            StoreAccess::Gcs { bucket, prefix, service_account } => GoogleCloudStorageBuilder::new()
                .with_bucket_name(bucket)
                .with_service_account_key(&service_account.0)
                .with_client_options(client(patience, false)?)
                .with_retry(retry)
                .build()
                .map(|store| (Arc::new(store) as Arc<dyn ObjectStore>, prefix.as_str())),
            StoreAccess::Azure { account, container, prefix, access_key } => MicrosoftAzureBuilder::new()
                .with_account(account)
                .with_container_name(container)
                .with_access_key(&access_key.0)
                .with_client_options(client(patience, false)?)
                .with_retry(retry)
                .build()
                .map(|store| (Arc::new(store) as Arc<dyn ObjectStore>, prefix.as_str())),
            StoreAccess::Volume { path } => LocalFileSystem::new_with_prefix(path)
                .map(|store| (Arc::new(store.with_fsync(true)) as Arc<dyn ObjectStore>, "")),
        };
        let (store, prefix) = made.map_err(|why| Error::Access(why.to_string()))?;
        let inner = if prefix.is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self { inner, patience })
    }

    /// A store that is gone with its last copy.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self { inner: Arc::new(object_store::memory::InMemory::new()), patience: Patience::default() }
    }

    /// Writes an object whole, trying again while the store fails.
    ///
    /// # Errors
    /// [`Error::Store`] once patience has ended.
    pub async fn put(&self, object: &str, bytes: Bytes) -> Result<(), Error> {
        let what = || format!("writing {object}");
        let path = path(object)?;
        let put = self.inner.put(&path, PutPayload::from_bytes(bytes));
        self.in_time(what, put).await.map(drop)
    }

    /// Writes an object whole unless there is one of that name, and says whether it did. Where an answer got lost, what is
    /// there may be one's own: whoever hears `false` reads it.
    ///
    /// # Errors
    /// [`Error::Store`] once patience has ended.
    pub async fn create(&self, object: &str, bytes: Bytes) -> Result<bool, Error> {
        let path = path(object)?;
        let payload = PutPayload::from_bytes(bytes);
        let put = async {
            match self.inner.put_opts(&path, payload, PutMode::Create.into()).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                Err(why) => Err(why),
            }
        };
        self.in_time(|| format!("creating {object}"), put).await
    }

    /// Begins an object whose size is not known yet.
    ///
    /// # Errors
    /// [`Error::Access`]: it is no name.
    pub fn begin(&self, object: &str) -> Result<Upload, Error> {
        let inner = Arc::clone(&self.inner);
        let writer = BufWriter::with_capacity(inner, path(object)?, PART).with_max_concurrency(1);
        let (store, object) = (self.clone(), object.to_owned());
        Ok(Upload { writer, store, object, sum: Sha256::new(), size: 0 })
    }

    /// The names of the objects directly below a path, without the path, that sort behind `after`; in no order.
    ///
    /// # Errors
    /// [`Error::Store`] once patience has ended.
    pub async fn names(&self, below: &str, after: &str) -> Result<Vec<String>, Error> {
        let prefix = path(below)?;
        let after = path(&format!("{below}/{after}"))?;
        let listed = async {
            let found = self.inner.list_with_offset(Some(&prefix), &after);
            let direct = found.try_filter_map(|meta| {
                let name = meta.location.prefix_match(&prefix).map(|parts| parts.collect::<Vec<_>>());
                let name = name.filter(|parts| parts.len() == 1).map(|parts| parts[0].as_ref().to_owned());
                std::future::ready(Ok(name))
            });
            direct.try_collect().await
        };
        self.in_time(|| format!("listing {below}"), listed).await
    }

    /// The names of what is a directory directly below a path, in no order.
    ///
    /// # Errors
    /// [`Error::Store`] once patience has ended.
    pub async fn directories(&self, below: &str) -> Result<Vec<String>, Error> {
        let prefix = path(below)?;
        let listed = self.in_time(|| format!("listing {below}"), self.inner.list_with_delimiter(Some(&prefix))).await?;
        let names = listed.common_prefixes.iter().filter_map(|found| found.filename().map(str::to_owned));
        Ok(names.collect())
    }

    /// Reads an object that is at most so large.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Damaged`] where it is larger.
    pub async fn get(&self, object: &str, most: u64) -> Result<Bytes, Error> {
        let path = path(object)?;
        let read = async {
            let found = self.inner.get(&path).await?;
            let size = found.meta.size;
            if size > most {
                return Ok(Err(size));
            }
            found.bytes().await.map(Ok)
        };
        let read = self.in_time(|| format!("reading {object}"), read).await?;
        read.map_err(|size| Error::Damaged {
            object: object.to_owned(),
            problem: format!("it has {size} bytes, expected at most {most}"),
        })
    }

    /// Looks at an object that may be of any size, to read pieces of it.
    ///
    /// # Errors
    /// [`Error::Absent`]; [`Error::Store`] once patience has ended.
    pub async fn look(&self, object: &str) -> Result<Found, Error> {
        let path = path(object)?;
        match self.in_time(|| format!("looking at {object}"), self.inner.head(&path)).await {
            Ok(meta) => Ok(Found { meta }),
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => {
                Err(Error::Absent { object: object.to_owned() })
            }
            Err(why) => Err(why),
        }
    }

    /// Reads so many bytes of an object, which must still be the one that was looked at.
    ///
    /// # Errors
    /// [`Error::Store`], also where another one was put in its place.
    pub async fn piece(&self, found: &Found, range: Range<u64>) -> Result<Bytes, Error> {
        let options = GetOptions::new().with_range(Some(range)).with_if_match(found.meta.e_tag.clone());
        let read = async { self.inner.get_opts(&found.meta.location, options.clone()).await?.bytes().await };
        self.in_time(|| format!("reading {}", found.meta.location), read).await
    }

    /// Reads an object that is at most so large into a file, a piece at a time, and says its size and its SHA-256 in
    /// hexadecimal.
    ///
    /// # Errors
    /// As [`Store::get`], and [`Error::File`].
    pub async fn download(&self, object: &str, most: u64, into: &mut File) -> Result<(u64, String), Error> {
        let (path, what) = (path(object)?, || format!("reading {object}"));
        let mut pieces = self.in_time(what, self.inner.get(&path)).await?.into_stream();
        let (mut size, mut sum) = (0, Sha256::new());
        while let Some(piece) = self.in_time(what, pieces.try_next()).await? {
            size += piece.len() as u64;
            if size > most {
                let problem = format!("it has {size} bytes or more, expected at most {most}");
                return Err(Error::Damaged { object: object.to_owned(), problem });
            }
            sum.update(&piece);
            into.write_all(&piece).await.map_err(|why| Error::file(what(), why))?;
        }
        into.flush().await.map_err(|why| Error::file(what(), why))?;
        Ok((size, hex::encode(sum.finalize())))
    }

    /// The manifest of the backup at this path. None where there is no such backup.
    ///
    /// # Errors
    /// [`Error::Store`], and whatever [`Manifest::read`] finds.
    pub async fn manifest(&self, at: &str) -> Result<Option<(Manifest, String)>, Error> {
        let text = match self.get(&layout::manifest(at), LARGEST_MANIFEST).await {
            Ok(text) => text,
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => return Ok(None),
            Err(why) => return Err(why),
        };
        let sum = match self.get(&layout::manifest_sum(at), 1024).await {
            Ok(sum) => sum,
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => Bytes::new(),
            Err(why) => return Err(why),
        };
        let manifest = Manifest::read(at, &text, &String::from_utf8_lossy(&sum))?;
        Ok(Some((manifest, crate::manifest::sha256(&text))))
    }

    /// A request with its retries. The client's own limits end it as a rule; a directory has none.
    async fn in_time<T>(
        &self,
        what: impl Fn() -> String,
        request: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, Error> {
        let within = self.patience.retry + self.patience.request;
        match tokio::time::timeout(within, request).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(source)) => Err(Error::Store { what: what(), source }),
            Err(_) => Err(Error::Late { what: what(), within }),
        }
    }
}

/// An object that is being written: whole if it is small, in parts of [`PART`] if it is not, so that memory is bounded
/// whatever its size. Until it is finished there is no such object.
pub struct Upload {
    writer: BufWriter,
    store: Store,
    object: String,
    sum: Sha256,
    size: u64,
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`Error::Store`] once patience has ended.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.sum.update(&bytes);
        self.size += bytes.len() as u64;
        let what = || format!("writing {}", self.object);
        self.store.in_time(what, self.writer.put(bytes)).await
    }

    /// Makes the object exist, and says its size and its SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// [`Error::Store`] once patience has ended.
    pub async fn finish(mut self) -> Result<(u64, String), Error> {
        let what = || format!("writing {}", self.object);
        let generic = |why| object_store::Error::Generic { store: "upload", source: Box::new(why) };
        let shut = async { self.writer.shutdown().await.map_err(generic) };
        self.store.in_time(what, shut).await?;
        Ok((self.size, hex::encode(self.sum.finalize())))
    }

    /// Gives up what was sent in parts, as far as the store answers.
    pub async fn abort(mut self) {
        let _ = self.store.in_time(|| format!("giving up {}", self.object), self.writer.abort()).await;
    }
}

fn path(object: &str) -> Result<Path, Error> {
    Path::parse(object).map_err(|why| Error::Access(why.to_string()))
}

/// Any MySQL image will do for the agent, and many have no certificates of authorities: the client is not even made
/// without one, though it speaks no TLS.
fn client(patience: Patience, plain: bool) -> Result<ClientOptions, Error> {
    let mut options = ClientOptions::new()
        .with_allow_http(plain)
        .with_connect_timeout(CONNECT.min(patience.request))
        .with_timeout(patience.request);
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let root = Certificate::from_der(root).map_err(|why| Error::Access(why.to_string()))?;
        options = options.with_root_certificate(root);
    }
    Ok(options)
}

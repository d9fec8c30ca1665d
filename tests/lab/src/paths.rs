//! Where the lab keeps its files. Only the cache directory is written to, and only the part below
//! `state()` is ever deleted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// What names the directory of the built programs: setup.sh computes the same from the same files,
/// in the same order.
const MODULES: [&[u8]; 6] = [
    include_bytes!("../go/coredns/go.mod"),
    include_bytes!("../go/etcd/go.mod"),
    include_bytes!("../go/kubernetes/go.mod"),
    include_bytes!("../go/coredns/go.sum"),
    include_bytes!("../go/etcd/go.sum"),
    include_bytes!("../go/kubernetes/go.sum"),
];

/// The directories the lab works in.
#[derive(Clone, Debug)]
pub struct Paths {
    cache: PathBuf,
}

impl Paths {
    /// `$GRAMPUS_CACHE`, or `$HOME/.cache/grampus`.
    pub fn from_environment() -> Result<Self> {
        let cache = match std::env::var_os("GRAMPUS_CACHE") {
            Some(cache) => PathBuf::from(cache),
            None => {
                let home =
                    std::env::var_os("HOME").context("neither GRAMPUS_CACHE nor HOME is set: set one of them")?;
                PathBuf::from(home).join(".cache/grampus")
            }
        };
        // Mounts and namespaces are made from other working directories than the caller's.
        let cache = std::path::absolute(&cache).with_context(|| format!("cannot make {} absolute", cache.display()))?;
        Ok(Self { cache })
    }

    /// The cache itself.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Everything that belongs to the running lab and goes with it.
    pub fn state(&self) -> PathBuf {
        self.cache.join("lab")
    }

    /// The files of one machine of the lab.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.state().join(name)
    }

    /// Held while the lab is changed; beside the state, because `down` deletes that.
    pub fn lock(&self) -> PathBuf {
        self.cache.join("lab.lock")
    }

    /// Where `kubectl` plugins and other programs for people go; first in the lab's PATH.
    pub fn plugins(&self) -> PathBuf {
        self.cache.join("bin")
    }

    /// The Kubernetes programs built from the pinned modules.
    pub fn programs(&self) -> PathBuf {
        let mut hash = Sha256::new();
        for file in MODULES {
            hash.update(file);
        }
        self.cache.join("bin-k8s").join(&hex::encode(hash.finalize())[..16])
    }

    /// The S3 server that backups are tested against, built from the pinned module.
    pub fn s3_server(&self) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(include_bytes!("../go/versitygw/go.mod"));
        hash.update(include_bytes!("../go/versitygw/go.sum"));
        self.cache.join("bin-s3").join(&hex::encode(hash.finalize())[..16]).join("versitygw")
    }

    /// The image setup.sh packs, with tag `grampus.dev/lab/mysql:9.7`.
    pub fn mysql_image(&self) -> PathBuf {
        self.cache.join("images/mysql-9.7.tar")
    }

    /// MySQL's programs, as setup.sh unpacked them for this computer.
    pub fn mysql(&self) -> PathBuf {
        self.cache.join("mysql/bin")
    }

    /// What people's and tests' clients use.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state().join("kubeconfig")
    }
}

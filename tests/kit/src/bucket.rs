//! A bucket on a real S3 server that the pods of the lab reach, and what lies in it: read as plain files, because nobody
//! who could be wrong is asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lab::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use serde_json::{Value, json};
use topology::gtid::GtidSet;

use crate::Cluster;

const NAME: &str = "grampus";
const PORT: u16 = 7480;
const SECRET: &str = "backups";

/// A bucket, for as long as somebody holds it.
#[derive(Debug)]
pub struct Bucket {
    server: S3Server,
}

impl Bucket {
    /// Serves one from a directory in the lab's network, and writes the Secret with its keys beside the cluster.
    ///
    /// # Errors
    /// The server does not start, or the Secret cannot be written.
    pub async fn serve(cluster: &Cluster, root: &Path) -> Result<Self> {
        let address = SocketAddr::new(cluster.env().lab.client_address()?, PORT);
        let server = S3Server::start(root, NAME, address)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET },
            "stringData": { "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY },
        });
        let secrets: Api<Secret> = cluster.api();
        secrets.patch(SECRET, &PatchParams::apply("grampus-tests").force(), &Patch::Apply(&secret)).await?;
        Ok(Self { server })
    }

    /// The store, as a spec names it.
    pub fn store(&self) -> Value {
        json!({ "s3": { "bucket": NAME, "endpoint": self.server.endpoint(), "credentialsSecret": SECRET } })
    }

    /// The directory with its objects.
    pub fn root(&self) -> PathBuf {
        self.server.root().join(NAME)
    }

    /// The names of the full backups of this cluster.
    ///
    /// # Errors
    /// One has a name that is none.
    pub fn fulls(&self, cluster: &Cluster) -> Result<Vec<String>> {
        let found = std::fs::read_dir(self.of(cluster).join("full")).into_iter().flatten().flatten();
        let whole = found.filter(|full| full.path().join("manifest.json").exists());
        whole
            .map(|full| full.file_name().into_string().map_err(|name| anyhow!("{} is no name", name.display())))
            .collect()
    }

    /// The transactions that are in the archive of this cluster's binary log.
    ///
    /// # Errors
    /// An entry is not what it should be.
    pub fn archived(&self, cluster: &Cluster) -> Result<GtidSet> {
        let mut held = GtidSet::new();
        for archive in std::fs::read_dir(self.of(cluster).join("log")).into_iter().flatten().flatten() {
            for entry in std::fs::read_dir(archive.path())?.flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "json") {
                    let text = std::fs::read_to_string(entry.path())?;
                    let entry: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
                    held = held.union(&entry["gtids"].as_str().context("GTIDs")?.parse()?);
                }
            }
        }
        Ok(held)
    }

    fn of(&self, cluster: &Cluster) -> PathBuf {
        self.root().join(&cluster.namespace).join(&cluster.name)
    }
}

//! From a store in a spec to a way into it: Secrets are read here, at the moment they are needed, and kept nowhere.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use objects::api::{BackupPhase, BackupStore, MysqlBackup, Recovery};
use objects::validate::{Target, recovery_target};
use wire::{BackupSource, Command, RecoveryTarget, Sensitive, StoreAccess};

use crate::Context;
use crate::cache::ClusterKey;

/// The region in which requests are signed where none is named; servers other than Amazon's rarely look at it.
const REGION: &str = "us-east-1";

/// The way into a store.
///
/// # Errors
/// The store names no place, or its Secret cannot be read or lacks a key.
pub async fn access(client: &Client, namespace: &str, store: &BackupStore) -> anyhow::Result<StoreAccess> {
    let name = store.credentials_secret().context("the store names none of s3, gcs and azure")?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = secrets.get_opt(name).await.with_context(|| format!("reading Secret {name}"))?;
    let data = secret.with_context(|| format!("there is no Secret {name} in namespace {namespace}; create it"))?.data;
    let key = |key: &str| {
        let value = data.as_ref().and_then(|data| data.get(key));
        let value = value.with_context(|| format!("Secret {name} has no key {key}; add it"))?;
        let text = std::str::from_utf8(&value.0).with_context(|| format!("Secret {name}, key {key}: is no text"))?;
        Ok::<_, anyhow::Error>(text.trim().to_owned())
    };
    let prefix = |prefix: &Option<String>| prefix.as_deref().unwrap_or_default().trim_matches('/').to_owned();
    Ok(match store {
        BackupStore { s3: Some(s3), .. } => StoreAccess::S3 {
            bucket: s3.bucket.clone(),
            prefix: prefix(&s3.prefix),
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone().unwrap_or_else(|| REGION.to_owned()),
            path_style: s3.endpoint.is_some(),
            access_key_id: key("accessKeyId")?,
            secret_access_key: Sensitive(key("secretAccessKey")?),
        },
        BackupStore { gcs: Some(gcs), .. } => StoreAccess::Gcs {
            bucket: gcs.bucket.clone(),
            prefix: prefix(&gcs.prefix),
            service_account: Sensitive(key("serviceAccount.json")?),
        },
        BackupStore { azure: Some(azure), .. } => StoreAccess::Azure {
            account: azure.account.clone(),
            container: azure.container.clone(),
            prefix: prefix(&azure.prefix),
            access_key: Sensitive(key("accountKey")?),
        },
        BackupStore { s3: None, gcs: None, azure: None } => bail!("the store names none of s3, gcs and azure"),
    })
}

fn target(target: &objects::api::RecoveryTarget) -> anyhow::Result<RecoveryTarget> {
    Ok(match recovery_target(target).map_err(|problem| anyhow::anyhow!("{problem}"))? {
        Target::End => RecoveryTarget::End,
        Target::Time(time) => RecoveryTarget::Time { unix_us: u64::try_from(time.as_microsecond()).unwrap_or(0) },
        Target::BeforeGtid(gtid) => RecoveryTarget::BeforeGtid { gtid },
    })
}

/// The backup that a cluster's first data comes from, as its spec names it.
#[derive(Clone)]
pub struct Source {
    client: Client,
    namespace: String,
    recovery: Recovery,
}

impl Source {
    /// None for a cluster that begins empty.
    pub fn of(context: &Arc<Context>, key: &ClusterKey) -> Option<Self> {
        let recovery = context.cache.cluster(key)?.spec.bootstrap.as_ref()?.recovery.clone()?;
        Some(Self { client: context.client.clone(), namespace: key.namespace.clone(), recovery })
    }

    /// What the first member is told: where the backup is, how to get at it, and how far to go on from it.
    ///
    /// # Errors
    /// There is no such backup, no way into its store, or no such target.
    pub async fn command(&self) -> anyhow::Result<Command> {
        let target = self.recovery.target.as_ref().map(target).transpose()?;
        let (store, path, manifest_sha256) = self.place().await?;
        let store = access(&self.client, &self.namespace, &store).await?;
        let backup = Box::new(BackupSource { store, path, manifest_sha256 });
        // An older agent knows how to take up a backup, and no more.
        let alone = target.is_none() && backup::layout::is_full(&backup.path);
        Ok(if alone { Command::Restore { backup } } else { Command::Recover { backup, target } })
    }

    async fn place(&self) -> anyhow::Result<(BackupStore, String, Option<String>)> {
        let Recovery { backup, store, path, .. } = &self.recovery;
        if let (Some(store), Some(path)) = (store, path) {
            return Ok((store.clone(), path.clone(), None));
        }
        let name =
            backup.as_deref().context("spec.bootstrap.recovery: names neither a backup nor a store and a path")?;
        let backups: Api<MysqlBackup> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = backups.get_opt(name).await.with_context(|| format!("reading MysqlBackup {name}"))?;
        let found = found.with_context(|| {
            format!(
                "there is no MysqlBackup {name} in namespace {}; name another, or the store and the path",
                self.namespace
            )
        })?;
        let status = found.status.unwrap_or_default();
        match (status.phase, status.store, status.path) {
            (Some(BackupPhase::Succeeded), Some(store), Some(path)) => Ok((store, path, status.manifest_sha256)),
            _ => bail!("MysqlBackup {name} has not succeeded; wait for it, or name another"),
        }
    }
}

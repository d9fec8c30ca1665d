//! From a store in a spec to a way into it, and from the names of keys to the keys: Secrets are read here, at the moment
//! they are needed, and kept nowhere. No word of them but their keys' names may be in an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use backup::encryption::Recipients;
use backup::keys::Identities;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use objects::api::{Backup, BackupEncryption, BackupPhase, BackupStore, MysqlBackup, Recovery};
use objects::validate::{Target, recovery_target};
use wire::{BackupKeys, BackupSource, Command, DumpSource, RecoveryTarget, Sensitive, StoreAccess};

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
    let secret = Contents::of(client, namespace, name).await?;
    let key = |key: &str| secret.text(key)?.with_context(|| format!("Secret {name} has no key {key}; add it"));
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

/// What is in a Secret.
struct Contents {
    name: String,
    data: BTreeMap<String, ByteString>,
}

impl Contents {
    async fn of(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = secrets.get_opt(name).await.with_context(|| format!("reading Secret {name}"))?;
        let secret =
            secret.with_context(|| format!("there is no Secret {name} in namespace {namespace}; create it"))?;
        Ok(Self { name: name.to_owned(), data: secret.data.unwrap_or_default() })
    }

    fn text(&self, key: &str) -> anyhow::Result<Option<String>> {
        let Some(value) = self.data.get(key) else { return Ok(None) };
        let text = std::str::from_utf8(&value.0);
        let text = text.with_context(|| format!("Secret {}, key {key}: is no text", self.name))?;
        Ok(Some(text.trim().to_owned()))
    }

    /// For whom backups are encrypted.
    fn recipients(&self) -> anyhow::Result<Recipients> {
        let name = &self.name;
        let text = self.text("recipients")?.with_context(|| {
            format!("Secret {name} has no key recipients; add it, with a public key of age, age1…, in each line")
        })?;
        Recipients::parse(&text).map_err(|why| anyhow::anyhow!("Secret {name}, key recipients: {why}"))
    }

    /// What backups are opened with. None is no error yet: whether one is needed shows when the backup is read.
    fn keys(&self) -> anyhow::Result<BackupKeys> {
        let (secret, text) = (self.name.clone(), self.text("identities")?.unwrap_or_default());
        Identities::parse(&text).map_err(|why| anyhow::anyhow!("Secret {secret}, key identities: {why}"))?;
        Ok(BackupKeys { secret, identities: Sensitive(text) })
    }

    /// Fails if there is nothing that a backup could be opened with.
    fn openable(&self) -> anyhow::Result<()> {
        let name = &self.name;
        if self.keys()?.identities.0.is_empty() {
            bail!("Secret {name} has no key identities, without which nothing is opened that was encrypted; add it");
        }
        Ok(())
    }
}

/// For whom backups are encrypted. None where the spec does not ask for it; and **never where it does**.
///
/// # Errors
/// The Secret cannot be read, lacks the key or has no public keys in it.
pub async fn recipients(client: &Client, namespace: &str, backup: &Backup) -> anyhow::Result<Option<Recipients>> {
    let Some(BackupEncryption { keys_secret }) = &backup.encryption else { return Ok(None) };
    let read = async { Contents::of(client, namespace, keys_secret).await?.recipients() };
    read.await.context("spec.backup.encryption.keysSecret").map(Some)
}

/// Whether this Kubernetes can open again what it encrypts: whoever only makes backups needs no secret key.
///
/// # Errors
/// The Secret cannot be read, or has no secret keys in it.
pub async fn can_open(client: &Client, namespace: &str, backup: &Backup) -> anyhow::Result<()> {
    let Some(BackupEncryption { keys_secret }) = &backup.encryption else { return Ok(()) };
    let read = async { Contents::of(client, namespace, keys_secret).await?.openable() };
    read.await.context("spec.backup.encryption.keysSecret")
}

async fn keys(client: &Client, namespace: &str, recovery: &Recovery) -> anyhow::Result<Option<BackupKeys>> {
    let Some(BackupEncryption { keys_secret }) = &recovery.encryption else { return Ok(None) };
    let read = async { Contents::of(client, namespace, keys_secret).await?.keys() };
    read.await.context("spec.bootstrap.recovery.encryption.keysSecret").map(Some)
}

fn target(target: &objects::api::RecoveryTarget) -> anyhow::Result<RecoveryTarget> {
    Ok(match recovery_target(target).map_err(|problem| anyhow::anyhow!("{problem}"))? {
        Target::End => RecoveryTarget::End,
        Target::Time(time) => RecoveryTarget::Time { unix_us: u64::try_from(time.as_microsecond()).unwrap_or(0) },
        Target::BeforeGtid(gtid) => RecoveryTarget::BeforeGtid { gtid },
        Target::WithinGtids(gtids) => RecoveryTarget::WithinGtids { gtids },
    })
}

/// The backup, or the dump, that a cluster's first data comes from, as its spec names it.
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
        let keys = keys(&self.client, &self.namespace, &self.recovery).await?;
        if let (Some(store), Some(object)) = (&self.recovery.store, &self.recovery.dump) {
            let store = access(&self.client, &self.namespace, store).await?;
            return Ok(Command::Import { dump: Box::new(DumpSource { store, object: object.clone(), keys }) });
        }
        let target = self.recovery.target.as_ref().map(target).transpose()?;
        let (store, path, manifest_sha256) = self.place().await?;
        let store = access(&self.client, &self.namespace, &store).await?;
        let backup = Box::new(BackupSource { store, path, manifest_sha256, keys });
        // An older agent knows how to take up a backup, and no more.
        let alone = target.is_none() && backup::layout::is_full(&backup.path);
        Ok(if alone { Command::Restore { backup } } else { Command::Recover { backup, target } })
    }

    async fn place(&self) -> anyhow::Result<(BackupStore, String, Option<String>)> {
        let Recovery { backup, store, path, .. } = &self.recovery;
        if let (Some(store), Some(path)) = (store, path) {
            return Ok((store.clone(), path.clone(), None));
        }
        let name = backup
            .as_deref()
            .context("spec.bootstrap.recovery: names neither a backup, nor a store and a path or a dump")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET_KEY: &str = "AGE-SECRET-KEY-1";

    fn secret(data: &[(&str, &str)]) -> Contents {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Contents { name: "backup-keys".to_owned(), data: data.collect() }
    }

    #[test]
    fn a_secret_that_is_of_no_use_is_named_with_the_key_and_the_line_and_without_what_stands_there() {
        let told = |data: &[(&str, &str)]| format!("{:#}", secret(data).recipients().unwrap_err());
        assert!(told(&[("identities", SECRET_KEY)]).contains("Secret backup-keys has no key recipients; add it"));
        let swapped = told(&[("recipients", "# ours\nAGE-SECRET-KEY-1QQQSECRET")]);
        assert!(swapped.contains("backup-keys, key recipients: line 2 is a secret key"), "{swapped}");
        let spoiled = secret(&[("identities", "AGE-SECRET-KEY-1QQQSECRET")]).keys().unwrap_err();
        let spoiled = format!("{spoiled:#}");
        assert!(spoiled.contains("backup-keys, key identities: line 1"), "{spoiled}");
        assert!(!swapped.contains("QQQ") && !spoiled.contains("QQQ"));
    }

    #[test]
    fn who_makes_backups_needs_no_secret_key_and_who_restores_may_not_need_one() {
        let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
        let recipients = secret(&[("recipients", recipient)]).recipients().unwrap();
        assert_eq!(recipients.texts(), [recipient]);
        let keys = secret(&[("recipients", recipient)]).keys().unwrap();
        assert_eq!((keys.secret.as_str(), keys.identities.0.as_str()), ("backup-keys", ""));
        let locked = secret(&[("recipients", recipient)]).openable().unwrap_err().to_string();
        assert!(locked.contains("backup-keys has no key identities"), "{locked}");
    }
}

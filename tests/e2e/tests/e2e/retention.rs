//! Backups that are encrypted, of which the newest is kept, and opened by its key.

use age::secrecy::ExposeSecret as _;
use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, TOLD, WHOLE, world};
use k8s_openapi::api::core::v1::Secret;
use kit::{Bucket, Cluster};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use objects::api::{BackupPhase, MysqlBackup};
use serde_json::json;

use crate::event;

/// The Secret with the keys of backups.
pub const KEYS: &str = "backup-keys";

/// Both halves of a key, as a Secret that a spec names.
pub async fn keys(cluster: &Cluster) -> Result<String> {
    let identity = age::x25519::Identity::generate();
    let public = identity.to_public().to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": KEYS },
        "stringData": { "recipients": public, "identities": identity.to_string().expose_secret() },
    });
    let secrets: Api<Secret> = cluster.api();
    secrets.patch(KEYS, &PatchParams::apply("grampus-tests").force(), &Patch::Apply(&secret)).await?;
    Ok(public)
}

fn plugin(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = cluster.env().plugin(&[arguments, &["-n", NAMESPACE]].concat())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// Makes a backup, and says the name of its MysqlBackup.
async fn made(cluster: &Cluster, before: &[String]) -> Result<String> {
    plugin(cluster, &["backup", &cluster.name])?;
    let backups: Api<MysqlBackup> = cluster.api();
    let names = backups.list(&Default::default()).await?.items.into_iter().map(|backup| backup.name_any());
    names.filter(|name| name.starts_with(&cluster.name)).find(|name| !before.contains(name)).context("a MysqlBackup")
}

#[test]
fn a_backup_that_is_kept_no_longer_goes_and_the_one_that_stays_is_opened_by_its_key() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = Bucket::serve(&cluster, dir.path()).await?;
        let public = keys(&cluster).await?;
        let backups: Api<MysqlBackup> = cluster.api();
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        let backup = json!({
            "store": bucket.store(), "encryption": { "keysSecret": KEYS }, "bandwidth": "200Mi",
            "retention": { "fulls": 1, "dryRun": true },
        });
        cluster.patch_spec(json!({ "backup": backup })).await?;
        let database = cluster.application().await?.database.context("a database")?;
        let primary = cluster.member(&cluster.primary().await?).await?;
        let table = format!("`{database}`.kept");
        primary
            .run(&[&format!("DROP TABLE IF EXISTS {table}"), &format!("CREATE TABLE {table} (k BIGINT PRIMARY KEY)")])
            .await?;
        let older = made(&cluster, &[]).await?;
        primary.run(&[&format!("INSERT INTO {table} VALUES (1), (2), (3)")]).await?;
        let newer = made(&cluster, std::slice::from_ref(&older)).await?;

        // Nothing is removed by what only says what would be.
        let would = || async {
            let plan = plugin(&cluster, &["backups", &cluster.name, "--retention"])?;
            Ok((plan.matches("would remove").count() == 1 && plan.contains("it is the newest")).then_some(()))
        };
        cluster.wait_for("the plan", WHOLE, would).await?;
        ensure!(bucket.fulls(&cluster)?.len() == 2, "{:?}", bucket.fulls(&cluster)?);
        cluster.patch_spec(json!({ "backup": { "retention": { "dryRun": false } } })).await?;
        event(&cluster, "BackupsRemoved", "removed 1 full backups").await?;
        let told = || async {
            let phase = backups.get(&older).await?.status.and_then(|status| status.phase);
            Ok((phase == Some(BackupPhase::Removed)).then_some(()))
        };
        cluster.wait_for("the MysqlBackup to say so", TOLD, told).await?;
        let kept = backups.get(&newer).await?.status.context("a status")?;
        let path = kept.path.context("a path")?;
        ensure!(bucket.fulls(&cluster)? == [path.rsplit('/').next().unwrap_or_default()], "another one is left");
        let manifest = std::fs::read_to_string(bucket.root().join(&path).join("manifest.json"))?;
        ensure!(manifest.contains(&public), "it is for nobody: {manifest}");

        let restored = cluster.beside(&format!("{}-kept", cluster.name));
        restored.remove().await?;
        plugin(&cluster, &["restore", &newer, &restored.name, "--replicas", "1"])?;
        restored.wait_serving(1, WHOLE).await?;
        let rows: i64 =
            restored.member(&restored.primary().await?).await?.ask(&format!("SELECT COUNT(*) FROM {table}")).await?;
        ensure!(rows == 3, "{rows} rows came back");
        restored.remove().await?;

        cluster.patch_spec(json!({ "backup": null })).await?;
        let withdrawn = || async {
            let status = cluster.status().await?;
            Ok(status.backup.is_none_or(|backup| backup.retention.is_none()).then_some(()))
        };
        cluster.wait_for("nothing more is told of it", TOLD, withdrawn).await?;
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        primary.run(&[&format!("DROP TABLE {table}")]).await
    });
}

//! A drill proves the newest backup by restoring it beside the cluster, and finds one that is broken.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, TOLD, WHOLE, world};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kit::{Bucket, Cluster};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use objects::api::{BackupPhase, DrillProof, DrillResult, MysqlBackup, MysqlCluster, MysqlOperation, labels};
use objects::conditions::{BACKUPS_CURRENT, BACKUPS_VERIFIED};
use serde_json::json;

use crate::policies::counter;
use crate::retention::{KEYS, keys};
use crate::{rows_go_on, under_load};

/// Asks for a drill as people do. Says whether it succeeded, and everything that was said.
fn drill(cluster: &Cluster) -> Result<(bool, String)> {
    let asked = cluster.env().plugin(&["drill", &cluster.name, "-n", NAMESPACE, "--timeout", "4m"])?;
    let said = [&asked.stderr[..], &asked.stdout[..]].concat();
    Ok((asked.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// Nothing is left of the throw-away clusters, nor of their volumes.
async fn nothing_is_left(cluster: &Cluster) -> Result<()> {
    let gone = cluster.wait_for("nothing to be left of the drill", WHOLE, || async {
        let drills = ListParams::default().labels(labels::DRILL);
        let clusters = cluster.api::<MysqlCluster>().list(&drills).await?.items.len();
        let claims = cluster.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?.items;
        let prefix = format!("{}-drill-", cluster.name);
        let of_drills = |claim: &&PersistentVolumeClaim| {
            let of = claim.metadata.labels.as_ref().and_then(|labels| labels.get(labels::CLUSTER));
            of.is_some_and(|of| of.starts_with(&prefix))
        };
        Ok((clusters == 0 && claims.iter().filter(of_drills).count() == 0).then_some(()))
    });
    gone.await
}

#[test]
fn a_drill_proves_the_newest_backup_and_finds_one_that_is_broken() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = Bucket::serve(&cluster, dir.path()).await?;
        let (backups, operations): (Api<MysqlBackup>, Api<MysqlOperation>) = (cluster.api(), cluster.api());
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        keys(&cluster).await?;
        let encryption = json!({ "keysSecret": KEYS });
        cluster
            .patch_spec(json!({ "backup": { "store": bucket.store(), "continuous": true, "encryption": encryption } }))
            .await?;
        let mut writer = under_load(&cluster).await?;
        cluster.wait_condition(BACKUPS_CURRENT, "True", WHOLE).await?;
        rows_go_on(&cluster, &mut writer).await?;
        let record = cluster.record().await?;

        let began = Instant::now();
        let (succeeded, said) = drill(&cluster)?;
        ensure!(succeeded && said.contains("rows are what they are on"), "{said}");
        let took = began.elapsed();
        cluster.wait_condition(BACKUPS_VERIFIED, "True", TOLD).await?;
        let told = cluster.status().await?.backup.context("status.backup")?;
        let proved = told.drill.context("status.backup.drill")?;
        ensure!(
            proved.result == Some(DrillResult::Succeeded) && proved.proof == Some(DrillProof::Compared),
            "{proved:?}"
        );
        ensure!(
            proved.tables >= Some(1) && proved.rows >= Some(100) && proved.seconds_to_recover > Some(0),
            "{proved:?}"
        );
        let path = proved.backup.clone().context("the path of the backup")?;
        let listed = backups.list(&ListParams::default()).await?.items;
        let backup = listed
            .iter()
            .filter_map(|backup| backup.status.as_ref())
            .find(|status| status.path.as_ref() == Some(&path));
        let backup = backup.context("the MysqlBackup that was restored")?;
        ensure!(backup.phase == Some(BackupPhase::Succeeded) && backup.verified_at == told.verified_at, "{backup:?}");
        for metric in ["grampus_backup_drill_seconds{", "grampus_backup_drill_last_success_timestamp_seconds{"] {
            let lines = counter(&cluster, metric).await?;
            ensure!(lines.contains(&format!("cluster=\"{}\"", cluster.name)), "{metric}: {lines}");
        }
        nothing_is_left(&cluster).await?;
        rows_go_on(&cluster, &mut writer).await?;
        ensure!(cluster.record().await? == record, "a drill changed something about the cluster");
        let ledger = writer.stop().await?;
        println!(
            "a drill under writes took {} ms; {}; {} rows acknowledged meanwhile and before",
            took.as_millis(),
            proved.message.unwrap_or_default(),
            ledger.acknowledged()
        );

        let part = bucket.root().join(&path).join("parts/000000");
        let mut bytes = std::fs::read(&part)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&part, bytes)?;
        let (succeeded, said) = drill(&cluster)?;
        ensure!(!succeeded && said.contains("parts/000000 is damaged"), "{said}");
        let failed = cluster.wait_condition(BACKUPS_VERIFIED, "False", TOLD).await?;
        ensure!(failed.reason == "DrillFailed" && failed.message.contains("parts/000000"), "{failed:?}");
        let kept = cluster.status().await?.backup.context("status.backup")?;
        ensure!(kept.verified_at == told.verified_at, "when one last succeeded is still known: {kept:?}");
        nothing_is_left(&cluster).await?;

        cluster.patch_spec(json!({ "backup": null })).await?;
        operations.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        let withdrawn = cluster.wait_for("nothing more is told of drills", TOLD, || async {
            Ok(cluster.condition(BACKUPS_VERIFIED).await?.is_none().then_some(()))
        });
        withdrawn.await
    });
}

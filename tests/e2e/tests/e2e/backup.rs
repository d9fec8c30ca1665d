//! A cluster that is gone with its volumes comes back from the store alone.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, WHOLE, spec, world};
use kit::{Bucket, Cluster, Ledger};
use kube::Api;
use kube::api::DeleteParams;
use objects::api::{BackupPhase, MysqlBackup};
use serde_json::json;
use topology::gtid::GtidSet;

use crate::under_load;

/// What every member has executed holds this.
async fn all_have(cluster: &Cluster, gtids: &str) -> Result<()> {
    for member in cluster.members().await? {
        let late: i64 = member.ask(&format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtids}', 30)")).await?;
        ensure!(late == 0, "{} does not catch up", member.name);
    }
    Ok(())
}

/// The only backup of the cluster, which the command has just made.
async fn made(cluster: &Cluster) -> Result<MysqlBackup> {
    let backups: Api<MysqlBackup> = cluster.api();
    let found = backups.list(&Default::default()).await?.items;
    found.into_iter().find(|backup| backup.spec.cluster == cluster.name).context("a MysqlBackup")
}

#[test]
fn a_cluster_that_is_deleted_with_its_volumes_comes_back_from_the_store_alone() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = Bucket::serve(&cluster, dir.path()).await?;
        let store = bucket.store();
        let backups: Api<MysqlBackup> = cluster.api();
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        cluster.patch_spec(json!({ "backup": { "store": store } })).await?;
        let writer = under_load(&cluster).await?;

        // Everything that is acknowledged by now has to be in the backup.
        let acknowledged_by = Ledger::moment(writer.began(), tokio::time::Instant::now());
        let primary = cluster.member(&cluster.primary().await?).await?;
        let before: String = primary.ask("SELECT @@GLOBAL.gtid_executed").await?;
        all_have(&cluster, &before.replace(char::is_whitespace, "")).await?;
        let began = Instant::now();
        let asked = cluster.env().plugin(&["backup", &cluster.name, "-n", NAMESPACE])?;
        let took = began.elapsed();
        ensure!(asked.status.success(), "{}{}", String::from_utf8_lossy(&asked.stderr), String::from_utf8_lossy(&asked.stdout));
        let status = made(&cluster).await?.status.context("a status")?;
        ensure!(status.phase == Some(BackupPhase::Succeeded), "{status:?}");
        ensure!(status.member.as_ref() != Some(&primary.name), "it was taken from the primary");
        let (gtids, path) = (status.gtids.context("GTIDs")?, status.path.context("a path")?);
        ensure!(before.parse::<GtidSet>()?.is_subset_of(&gtids.parse()?), "{gtids} lacks some of {before}");
        let listed = cluster.env().plugin(&["backups", &cluster.name, "-n", NAMESPACE])?;
        ensure!(String::from_utf8_lossy(&listed.stdout).contains("Succeeded"), "{listed:?}");

        let ledger = writer.stop().await?;
        let database = cluster.application().await?.database.context("a database")?;
        let written = primary.rows(&database, &ledger.table).await?;
        let promised = ledger.acknowledged_by(acknowledged_by);
        ensure!(promised.len() >= 100 && promised.iter().all(|key| written.contains_key(key)));
        cluster.remove().await?;
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;

        let began = Instant::now();
        let mut again = spec();
        again["bootstrap"] = json!({ "recovery": { "store": store, "path": path } });
        cluster.apply(again).await?;
        cluster.wait_serving(3, WHOLE).await?;
        let whole = began.elapsed();
        for member in cluster.members().await? {
            let found = member.rows(&database, &ledger.table).await?;
            let missing = promised.iter().filter(|key| !found.contains_key(key)).count();
            ensure!(missing == 0, "{} lacks {missing} of {} rows", member.name, promised.len());
            let other = found.iter().filter(|(key, row)| written.get(key) != Some(row)).count();
            ensure!(other == 0, "{} has {other} rows that were never written", member.name);
        }
        println!(
            "a backup of {} took {} ms; a cluster made from it was whole after {} ms; {} rows promised and there, {} written",
            status.size.unwrap_or_default(),
            took.as_millis(),
            whole.as_millis(),
            promised.len(),
            written.len()
        );
        // It is a cluster like any other.
        crate::nothing_is_lost(&cluster, under_load(&cluster).await?, "restored").await
    });
}

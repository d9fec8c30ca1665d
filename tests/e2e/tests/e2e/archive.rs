//! The archive of a cluster's binary log, over the loss of its primary.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use backup::archive::Archive;
use backup::log::{Entry, plan};
use backup::store::Patience;
use backup::{Store, layout};
use e2e::{FAILOVER, TOLD, WHOLE, world};
use kit::{Bucket, Cluster};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use objects::api::{ArchiveStatus, BackupPhase, MysqlBackup};
use objects::conditions::BACKUPS_CURRENT;
use serde_json::json;
use topology::gtid::GtidSet;
use wire::StoreAccess;

use crate::policies::counter;
use crate::{rows_go_on, under_load};

/// What is promised: a minute.
const PROMISED: Duration = Duration::from_secs(60);

/// How long a status has to stand still while nobody writes: longer than it is written at most while somebody does.
const SILENT: Duration = Duration::from_secs(65);

/// The archive of a cluster, read as plain files.
async fn archive(cluster: &Cluster, bucket: &Bucket) -> Result<Archive> {
    let uid = cluster.object().await?.uid().context("a uid")?;
    let access = StoreAccess::Volume { path: bucket.root().display().to_string() };
    let patience = Patience { retry: Duration::from_secs(2), request: Duration::from_secs(5) };
    Ok(Archive::at(Store::open(&access, patience)?, &layout::log(e2e::NAMESPACE, &cluster.name, &uid))?)
}

async fn told(cluster: &Cluster) -> Result<Option<ArchiveStatus>> {
    Ok(cluster.status().await?.backup.and_then(|backup| backup.archive))
}

/// What the full backup that was made for the archive surely holds.
async fn base(cluster: &Cluster) -> Result<GtidSet> {
    let backups: Api<MysqlBackup> = cluster.api();
    let found = backups.list(&Default::default()).await?.items;
    let ours = |backup: &&MysqlBackup| backup.name_any().starts_with(&format!("{}-archive-", cluster.name));
    let status = found.iter().find(ours).context("a full backup is made by itself")?.status.clone().unwrap_or_default();
    ensure!(status.phase == Some(BackupPhase::Succeeded), "{status:?}");
    Ok(status.gtids.context("GTIDs")?.parse()?)
}

#[test]
fn an_archive_goes_on_over_the_loss_of_a_primary_and_has_everything_acknowledged_within_a_minute() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = Bucket::serve(&cluster, dir.path()).await?;
        let backups: Api<MysqlBackup> = cluster.api();
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        cluster.patch_spec(json!({ "backup": { "store": bucket.store(), "continuous": true } })).await?;
        let mut writer = under_load(&cluster).await?;
        cluster.wait_condition(BACKUPS_CURRENT, "True", WHOLE).await?;
        let first = told(&cluster).await?.context("status.backup.archive")?;
        let former = cluster.primary().await?;
        ensure!(first.since.is_some() && first.member.as_ref() != Some(&former), "{first:?}");

        cluster.kill_mysqld(&former).await?;
        rows_go_on(&cluster, &mut writer).await?;
        let moved = cluster.wait_for("another primary", FAILOVER, || async {
            Ok(Some(cluster.primary().await?).filter(|primary| *primary != former))
        });
        let primary = moved.await?;
        cluster.wait_serving(3, WHOLE).await?;
        rows_go_on(&cluster, &mut writer).await?;
        let ledger = writer.stop().await?;
        let executed: String = cluster.member(&primary).await?.ask("SELECT @@GLOBAL.gtid_executed").await?;
        let executed: GtidSet = executed.replace(char::is_whitespace, "").parse()?;

        let (archive, began) = (archive(&cluster, &bucket).await?, Instant::now());
        let whole = cluster.wait_for("an archive with everything", PROMISED, || async {
            let newest = archive.newest(None).await?;
            Ok(newest.filter(|entry| executed.is_subset_of(&entry.after())))
        });
        whole.await?;
        let took = began.elapsed();
        let base = base(&cluster).await?;
        let entries = archive.back_to(&base).await?;
        ensure!(executed.is_subset_of(&plan(archive.path(), &entries, &base)?.end), "a backup is not led to the end");
        let all = archive.back_to(&GtidSet::new()).await?;
        let mut found = all[0].before.clone();
        for entry in &all {
            ensure!(entry.missing.is_empty() && entry.gtids.intersect(&found).is_empty(), "{entry:?}");
            archive.data(entry).await?;
            found = found.union(&entry.gtids);
        }
        ensure!(found == executed, "{} are too much in the archive", found.subtract(&executed));
        let point = || async {
            let lines = counter(&cluster, "grampus_backup_recovery_point_seconds{").await?;
            let ours = lines.lines().find(|line| line.contains(&format!("cluster=\"{}\"", cluster.name)));
            Ok(ours.is_some_and(|line| line.ends_with("} 0")).then_some(()))
        };
        cluster.wait_for("a recovery point of nothing", TOLD, point).await?;
        println!(
            "{} rows acknowledged over the loss of {former}, all archived {} ms after the last, in {} segments from {:?}",
            ledger.acknowledged(),
            took.as_millis(),
            all.len(),
            all.iter().map(|entry: &Entry| &entry.member).collect::<std::collections::BTreeSet<_>>()
        );

        // Nobody writes, so nothing is told.
        cluster.wait_condition(BACKUPS_CURRENT, "True", TOLD).await?;
        let still = cluster.wait_for("a status that stands still", WHOLE, || async {
            let before = cluster.object().await?.resource_version();
            tokio::time::sleep(SILENT).await;
            Ok((cluster.object().await?.resource_version() == before).then_some(()))
        });
        still.await?;

        cluster.patch_spec(json!({ "backup": null })).await?;
        let withdrawn = cluster.wait_for("nothing more is told of it", TOLD, || async {
            let gone = told(&cluster).await?.is_none() && cluster.condition(BACKUPS_CURRENT).await?.is_none();
            Ok(gone.then_some(()))
        });
        withdrawn.await?;
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        Ok(())
    });
}

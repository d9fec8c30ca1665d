//! A table that somebody dropped, in a cluster that is gone with its volumes, comes back from the store alone.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, WHOLE, spec, world};
use kit::{Cluster, Ledger, Member};
use kube::Api;
use kube::api::DeleteParams;
use mysql_async::prelude::Queryable;
use objects::api::MysqlBackup;
use serde_json::{Value, json};
use topology::gtid::GtidSet;

use crate::backup::{BUCKET, rows, store};
use crate::under_load;

/// The transaction that dropped a table, as docs/disaster-recovery.md says how to find it.
async fn dropped(primary: &Member, table: &str) -> Result<String> {
    let mut conn = primary.login.connect().await?;
    let logs: Vec<(String, u64, String)> = conn.query("SHOW BINARY LOGS").await?;
    for (log, _, _) in logs.iter().rev() {
        let events: Vec<(String, u64, String, u32, u64, String)> =
            conn.query(format!("SHOW BINLOG EVENTS IN '{log}'")).await?;
        let at = events.iter().position(|event| event.5.contains("DROP TABLE") && event.5.contains(table));
        if let Some(above) = at.and_then(|at| events[..at].iter().rfind(|event| event.2.to_lowercase() == "gtid")) {
            return above.5.split('\'').nth(1).map(str::to_owned).context("a GTID");
        }
    }
    anyhow::bail!("nobody dropped {table}")
}

/// What the archive of a cluster holds: read from the bucket, as nobody else is asked.
fn archived(bucket: &Path, cluster: &Cluster) -> Result<GtidSet> {
    let archives = bucket.join(NAMESPACE).join(&cluster.name).join("log");
    let mut held = GtidSet::new();
    for archive in std::fs::read_dir(archives).into_iter().flatten().flatten() {
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

/// Whether there is a full backup in the bucket.
fn has_full(bucket: &Path, cluster: &Cluster) -> bool {
    let fulls = std::fs::read_dir(bucket.join(NAMESPACE).join(&cluster.name).join("full"));
    fulls.into_iter().flatten().flatten().any(|full| full.path().join("manifest.json").exists())
}

#[test]
fn a_dropped_table_comes_back_from_the_store_alone_with_everything_before_it() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = dir.path().join(BUCKET);
        let (_server, store) = store(&cluster, dir.path()).await?;
        let backups: Api<MysqlBackup> = cluster.api();
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        cluster.patch_spec(json!({ "backup": { "store": store, "continuous": true } })).await?;
        let mut writer = under_load(&cluster).await?;
        let full = || async { Ok(has_full(&bucket, &cluster).then_some(())) };
        cluster.wait_for("a full backup", WHOLE, full).await?;
        crate::rows_go_on(&cluster, &mut writer).await?;

        let database = cluster.application().await?.database.context("a database")?;
        let primary = cluster.member(&cluster.primary().await?).await?;
        let copy = format!("CREATE TABLE `{database}`.precious (PRIMARY KEY (k)) SELECT * FROM `{database}`.{}", writer.table());
        primary.run(&[&copy]).await?;
        let precious = rows(&primary, &database, "precious").await?;
        let acknowledged_by = Ledger::moment(writer.began(), tokio::time::Instant::now());
        primary.run(&[&format!("DROP TABLE `{database}`.precious"), &format!("CREATE TABLE `{database}`.afterwards (k INT)")]).await?;
        let mistake = dropped(&primary, "precious").await?;
        crate::rows_go_on(&cluster, &mut writer).await?;
        let set: GtidSet = mistake.parse()?;
        let there = || async { Ok(set.is_subset_of(&archived(&bucket, &cluster)?).then_some(())) };
        cluster.wait_for("the mistake to be archived", WHOLE, there).await?;
        let ledger = writer.stop().await?;
        let written = rows(&primary, &database, &ledger.table).await?;
        let promised = ledger.acknowledged_by(acknowledged_by);
        ensure!(!precious.is_empty() && promised.len() >= 100);
        cluster.remove().await?;
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;

        let began = Instant::now();
        let mut again = spec();
        let path = format!("{NAMESPACE}/{}", cluster.name);
        again["bootstrap"] = json!({ "recovery": { "store": store, "path": path, "target": { "beforeGtid": mistake } } });
        cluster.apply(again).await?;
        cluster.wait_serving(3, WHOLE).await?;
        let whole = began.elapsed();
        for member in cluster.members().await? {
            ensure!(rows(&member, &database, "precious").await? == precious, "{} has other rows", member.name);
            let found = rows(&member, &database, &ledger.table).await?;
            let missing = promised.iter().filter(|key| !found.contains_key(key)).count();
            ensure!(missing == 0, "{} lacks {missing} of {} rows", member.name, promised.len());
            let other = found.iter().filter(|(key, row)| written.get(key) != Some(row)).count();
            ensure!(other == 0, "{} has {other} rows that were never written", member.name);
            let executed: String = member.ask("SELECT @@GLOBAL.gtid_executed").await?;
            ensure!(!set.is_subset_of(&executed.parse()?), "{} has executed the mistake", member.name);
            let later: u64 = member
                .ask(&format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{database}' AND table_name = 'afterwards'"))
                .await?;
            ensure!(later == 0, "{} has what came after the mistake", member.name);
        }
        println!(
            "recovered to just before a DROP TABLE, from the store alone, after {} ms; {} rows promised and there, {} written",
            whole.as_millis(),
            promised.len(),
            written.len()
        );
        crate::nothing_is_lost(&cluster, under_load(&cluster).await?, "recovered").await
    });
}

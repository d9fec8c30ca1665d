//! A table that somebody dropped, in a cluster that is gone with its volumes, comes back from the store alone.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, WHOLE, spec, world};
use kit::{Bucket, Ledger};
use kube::Api;
use kube::api::DeleteParams;
use mysql_async::prelude::Queryable as _;
use objects::api::MysqlBackup;
use serde_json::json;
use topology::gtid::GtidSet;

use crate::runbook::Runbook;
use crate::under_load;

/// Headings of the runbook.
const IN_PLACE: &str = "The recovered data shall take the place of what is there";
const GONE: &str = "The cluster is gone, with its volumes";

#[test]
fn a_dropped_table_comes_back_from_the_store_alone_with_everything_before_it() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = Bucket::serve(&cluster, dir.path()).await?;
        let store = bucket.store();
        let backups: Api<MysqlBackup> = cluster.api();
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        cluster.patch_spec(json!({ "backup": { "store": store, "continuous": true } })).await?;
        let mut writer = under_load(&cluster).await?;
        let full = || async { Ok((!bucket.fulls(&cluster)?.is_empty()).then_some(())) };
        cluster.wait_for("a full backup", WHOLE, full).await?;
        crate::rows_go_on(&cluster, &mut writer).await?;

        let database = cluster.application().await?.database.context("a database")?;
        let primary = cluster.member(&cluster.primary().await?).await?;
        let copy = format!("CREATE TABLE `{database}`.precious (PRIMARY KEY (k)) SELECT * FROM `{database}`.{}", writer.table());
        primary.run(&[&copy]).await?;
        let precious = primary.rows(&database, "precious").await?;
        let acknowledged_by = Ledger::moment(writer.began(), tokio::time::Instant::now());
        primary.run(&[&format!("DROP TABLE `{database}`.precious"), &format!("CREATE TABLE `{database}`.afterwards (k INT)")]).await?;
        let mistake = primary.dropped("precious").await?;
        crate::rows_go_on(&cluster, &mut writer).await?;
        let set: GtidSet = mistake.parse()?;
        let there = || async { Ok(set.is_subset_of(&bucket.archived(&cluster)?).then_some(())) };
        cluster.wait_for("the mistake to be archived", WHOLE, there).await?;
        let ledger = writer.stop().await?;
        let written = primary.rows(&database, &ledger.table).await?;
        let promised = ledger.acknowledged_by(acknowledged_by);
        ensure!(!precious.is_empty() && promised.len() >= 100);
        let runbook = Runbook::read(&cluster, &mistake, dir.path())?;

        // A cluster from just before the mistake, beside the one that runs.
        let beside = cluster.beside(&format!("{}-before", cluster.name));
        beside.remove().await?;
        runbook.type_in("Somebody dropped a table", "--before-gtid", &["--replicas", "1"])?;
        beside.wait_serving(1, WHOLE).await?;
        let only = beside.member(&beside.primary().await?).await?;
        ensure!(only.rows(&database, "precious").await? == precious, "other rows than there were");
        beside.remove().await?;

        // It takes the place of the one that runs, and gives it back.
        let login = cluster.application().await?;
        runbook.type_in(IN_PLACE, "--in-place", &[])?;
        cluster.wait_serving(3, WHOLE).await?;
        for member in cluster.members().await? {
            ensure!(member.rows(&database, "precious").await? == precious, "{} has other rows", member.name);
            ensure!(!member.has_table(&database, "afterwards").await?, "{} has what came after the mistake", member.name);
        }
        let again = cluster.application().await?;
        ensure!((&again.user, &again.password) == (&login.user, &login.password), "applications need another password");
        let found: Option<usize> = again.connect().await?.query_first("SELECT COUNT(*) FROM precious").await?;
        ensure!(found == Some(precious.len()), "applications find {found:?} rows");
        runbook.type_in(IN_PLACE, "delete mysqlcluster", &[])?;
        runbook.type_in(IN_PLACE, "previous", &[])?;
        cluster.wait_serving(3, WHOLE).await?;
        for member in cluster.members().await? {
            ensure!(member.rows(&database, &ledger.table).await? == written, "{} does not have what it had", member.name);
            ensure!(member.has_table(&database, "afterwards").await?, "{} is not what it was", member.name);
        }

        // The cluster and its volumes are gone, and so are the MysqlBackups.
        runbook.type_in(GONE, "delete", &[])?;
        backups.delete_collection(&DeleteParams::default(), &Default::default()).await?;
        let began = Instant::now();
        let mut again = spec();
        again["bootstrap"] = runbook.spec(GONE)?["bootstrap"].take();
        let recovery = &mut again["bootstrap"]["recovery"];
        ensure!(recovery["path"] == format!("{NAMESPACE}/{}", cluster.name), "{recovery}");
        (recovery["store"], recovery["target"]) = (store, json!({ "beforeGtid": mistake }));
        cluster.apply(again).await?;
        runbook.type_in(GONE, "wait", &[])?;
        cluster.wait_serving(3, WHOLE).await?;
        runbook.type_in("Did it work?", "status", &[])?;
        let whole = began.elapsed();
        for member in cluster.members().await? {
            ensure!(member.rows(&database, "precious").await? == precious, "{} has other rows", member.name);
            let found = member.rows(&database, &ledger.table).await?;
            let missing = promised.iter().filter(|key| !found.contains_key(key)).count();
            ensure!(missing == 0, "{} lacks {missing} of {} rows", member.name, promised.len());
            let other = found.iter().filter(|(key, row)| written.get(key) != Some(row)).count();
            ensure!(other == 0, "{} has {other} rows that were never written", member.name);
            let executed: String = member.ask("SELECT @@GLOBAL.gtid_executed").await?;
            ensure!(!set.is_subset_of(&executed.parse()?), "{} has executed the mistake", member.name);
            ensure!(!member.has_table(&database, "afterwards").await?, "{} has what came after the mistake", member.name);
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

//! A cluster that is gone with its volumes comes back from the store alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, WHOLE, spec, world};
use k8s_openapi::api::core::v1::Secret;
use kit::{Cluster, Ledger, Member};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use lab::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use mysql_async::prelude::Queryable;
use objects::api::{BackupPhase, MysqlBackup};
use serde_json::{Value, json};
use topology::gtid::GtidSet;

use crate::under_load;

pub const BUCKET: &str = "grampus";
const PORT: u16 = 7480;
const SECRET: &str = "backups";

/// A bucket on a server in the lab's network, and the store as a spec names it.
pub async fn store(cluster: &Cluster, dir: &std::path::Path) -> Result<(S3Server, Value)> {
    let address = SocketAddr::new(cluster.env().lab.client_address()?, PORT);
    let server = S3Server::start(dir, BUCKET, address)?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET },
        "stringData": { "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY },
    });
    let secrets: Api<Secret> = cluster.api();
    secrets.patch(SECRET, &PatchParams::apply("grampus-tests").force(), &Patch::Apply(&secret)).await?;
    let store = json!({ "s3": { "bucket": BUCKET, "endpoint": server.endpoint(), "credentialsSecret": SECRET } });
    Ok((server, store))
}

/// Every row of a table: its key, and everything in it as one text.
pub async fn rows(member: &Member, database: &str, table: &str) -> Result<BTreeMap<u64, String>> {
    let mut conn = member.login.connect().await?;
    let rows: Vec<mysql_async::Row> = conn.query(format!("SELECT * FROM `{database}`.{table}")).await?;
    let key = |row: &mysql_async::Row| row.get::<u64, _>("k").context("a key");
    let rows = rows.iter().map(|row| Ok((key(row)?, format!("{:?}", row.clone().unwrap()))));
    let rows = rows.collect();
    let _ = conn.disconnect().await;
    rows
}

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
        let (_server, store) = store(&cluster, dir.path()).await?;
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
        let written = rows(&primary, &database, &ledger.table).await?;
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
            let found = rows(&member, &database, &ledger.table).await?;
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

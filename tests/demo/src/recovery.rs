//! What happens in the demo of backups, in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kit::{Bucket, Cluster, Environment, Ledger, Load, Rows, Writer};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use objects::api::MysqlBackup;
use objects::conditions::{BACKUPS_CURRENT, PRIMARY_AVAILABLE};
use serde_json::{Value, json};
use topology::gtid::GtidSet;

use crate::stage::{Stage, seconds};

const NAMESPACE: &str = "default";
const NAME: &str = "shop";

/// The table that somebody drops.
const PRECIOUS: &str = "orders";

/// How long three members may take to come up on a busy computer, with data or without.
const COMING_UP: Duration = Duration::from_secs(240);
/// How long a full backup of next to nothing may take, or the archive to hold what was written.
const ARCHIVED: Duration = Duration::from_secs(120);
/// How long so many rows may take.
const WRITING: Duration = Duration::from_secs(60);
/// How many rows are written at each turn.
const ROWS: u64 = 500;

/// What was there before the mistake.
struct Before {
    /// The transaction that dropped the table.
    mistake: String,
    database: String,
    /// The table that was dropped.
    precious: Rows,
    /// What the writers wrote, and when the mistake was made.
    ledger: Ledger,
    until: Duration,
    /// The rows of the writers as they were in the end.
    written: Rows,
}

/// Plays all of it.
pub async fn play(stage: &Stage, env: &Arc<Environment>) -> Result<()> {
    let cluster = Cluster::named(env, NAMESPACE, NAME);
    let directory = tempfile::tempdir()?;
    let bucket = archived(stage, &cluster, directory.path()).await?;
    let before = mistaken(stage, &cluster, &bucket).await?;
    deleted(stage, &cluster).await?;
    recovered(stage, &cluster, &bucket, &before).await?;
    stage.chapter("Look around");
    for command in [
        "./lab kubectl get myc,pods",
        "./lab kubectl grampus status shop",
        "less docs/disaster-recovery.md     # what was typed here, and what else there is",
        "make demo-down                     # removes every trace",
    ] {
        stage.command(command);
    }
    stage.finished();
    Ok(())
}

fn spec() -> Value {
    json!({
        "replicas": 3,
        "storage": { "size": "1Gi" },
        "resources": { "requests": { "cpu": "100m", "memory": "1Gi" }, "limits": { "memory": "2Gi" } },
    })
}

async fn apply(stage: &Stage, cluster: &Cluster, spec: Value) -> Result<()> {
    let manifest = json!({
        "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster", "metadata": { "name": NAME }, "spec": spec,
    });
    stage.command("kubectl apply -f shop.yaml");
    stage.quote(&serde_saphyr::to_string(&manifest)?);
    cluster.apply(spec).await
}

async fn archived(stage: &Stage, cluster: &Cluster, directory: &std::path::Path) -> Result<Bucket> {
    stage.chapter("A cluster whose every commit is archived");
    let step = stage.steps.begin("making room: removing what an earlier demo left");
    cluster.remove().await?;
    forget_backups(cluster).await?;
    step.done();
    let bucket = Bucket::serve(cluster, directory).await?;
    stage.say("A real S3 server has been started beside the lab, with an empty bucket.");
    let mut spec = spec();
    spec["backup"] = json!({ "store": bucket.store(), "continuous": true });
    apply(stage, cluster, spec).await?;
    let step = stage.steps.begin("three members");
    cluster.wait_serving(3, COMING_UP).await?;
    step.done();
    let step = stage.steps.begin("a first full backup, by itself, and the archive of the binary log");
    let current = cluster.wait_condition(BACKUPS_CURRENT, "True", ARCHIVED).await?;
    step.done_with(&current.message);
    stage.command("kubectl get mysqlbackups");
    stage.quote(&cluster.env().kubectl(&["-n", NAMESPACE, "get", "mysqlbackups"])?);
    Ok(bucket)
}

async fn mistaken(stage: &Stage, cluster: &Cluster, bucket: &Bucket) -> Result<Before> {
    stage.chapter("Applications write, and somebody drops a table");
    let database = cluster.application().await?.database.context("the application has no database")?;
    let primary = cluster.member(&cluster.primary().await?).await?;
    let step = stage.steps.begin("four writers send rows to the Service shop-primary");
    let mut writer = Writer::start(cluster, Load::default()).await?;
    writer.wait_rows(ROWS, WRITING).await?;
    let copy =
        format!("CREATE TABLE `{database}`.{PRECIOUS} (PRIMARY KEY (k)) SELECT * FROM `{database}`.{}", writer.table());
    primary.run(&[&copy]).await?;
    let precious = primary.rows(&database, PRECIOUS).await?;
    writer.wait_rows(ROWS, WRITING).await?;
    step.done_with(&format!("{} rows acknowledged", writer.acknowledged()));
    let until = Ledger::moment(writer.began(), tokio::time::Instant::now());
    stage.command(&format!("mysql -e 'DROP TABLE {PRECIOUS}'     # {} rows", precious.len()));
    primary.run(&[&format!("DROP TABLE `{database}`.{PRECIOUS}")]).await?;
    let step = stage.steps.begin("nobody notices: the writers go on");
    writer.wait_rows(ROWS, WRITING).await?;
    let ledger = writer.stop().await?;
    step.done_with(&format!("{} rows acknowledged", ledger.acknowledged()));
    stage.command("mysql -e 'SHOW BINLOG EVENTS IN …'     # as docs/disaster-recovery.md says");
    let mistake = primary.dropped(PRECIOUS).await?;
    stage.fact("the mistake", &mistake);
    let written = primary.rows(&database, &ledger.table).await?;
    let set: GtidSet = mistake.parse()?;
    let step = stage.steps.begin("a few seconds later it is in the archive, as everything before it");
    let there = || async { Ok(set.is_subset_of(&bucket.archived(cluster)?).then_some(())) };
    cluster.wait_for("the mistake to be archived", ARCHIVED, there).await?;
    step.done();
    Ok(Before { mistake, database, precious, ledger, until, written })
}

async fn deleted(stage: &Stage, cluster: &Cluster) -> Result<()> {
    stage.chapter("And then all is lost: the cluster, its volumes, its Secrets");
    stage.command("kubectl delete mysqlcluster shop");
    stage.command("kubectl delete pvc,secrets -l grampus.dev/cluster=shop");
    stage.command("kubectl delete mysqlbackups --all");
    let step = stage.steps.begin("deleting");
    cluster.remove().await?;
    forget_backups(cluster).await?;
    step.done_with("only the bucket is left");
    Ok(())
}

async fn recovered(stage: &Stage, cluster: &Cluster, bucket: &Bucket, before: &Before) -> Result<()> {
    stage.chapter("Everything comes back from the store alone, to just before the mistake");
    let path = format!("{NAMESPACE}/{NAME}");
    let target = json!({ "beforeGtid": before.mistake });
    let mut spec = spec();
    spec["bootstrap"] = json!({ "recovery": { "store": bucket.store(), "path": path, "target": target } });
    let began = Instant::now();
    apply(stage, cluster, spec).await?;
    let step = stage.steps.begin("recovering");
    let waiting = cluster.wait_serving(3, COMING_UP);
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            came = &mut waiting => { came?; break }
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
        if let Ok(Some(condition)) = cluster.condition(PRIMARY_AVAILABLE).await {
            step.tell(&condition.message);
        }
    }
    step.done();
    stage.fact("three members after", &seconds(began.elapsed()));
    let promised = before.ledger.acknowledged_by(before.until);
    ensure!(!promised.is_empty() && !before.precious.is_empty(), "nothing was written, so nothing is shown");
    let mistake: GtidSet = before.mistake.parse()?;
    let mut table = Vec::new();
    for member in cluster.members().await? {
        let name = &member.name;
        let precious = member.rows(&before.database, PRECIOUS).await?;
        ensure!(precious == before.precious, "{name} has other rows in {PRECIOUS} than there were");
        let found = member.rows(&before.database, &before.ledger.table).await?;
        let missing = promised.iter().filter(|key| !found.contains_key(key)).count();
        ensure!(missing == 0, "{name} lacks {missing} of {} rows", promised.len());
        let other = found.iter().filter(|(key, row)| before.written.get(key) != Some(row)).count();
        ensure!(other == 0, "{name} has {other} rows that nobody wrote");
        let executed: String = member.ask("SELECT @@GLOBAL.gtid_executed").await?;
        let executed: GtidSet = executed.replace(char::is_whitespace, "").parse()?;
        ensure!(!mistake.is_subset_of(&executed), "{name} has executed the mistake");
        table.push(vec![name.clone(), precious.len().to_string(), promised.len().to_string(), "0".to_owned()]);
    }
    stage.table(&["member", PRECIOUS, "acknowledged before the mistake", "missing"], &table);
    stage.held(&format!("every row of {PRECIOUS} is back as it was, on every member"));
    stage.held("no row that was acknowledged before the mistake is missing, and none is there that nobody wrote");
    stage.held("nobody has executed the mistake, nor anything behind it");
    Ok(())
}

/// Deletes the MysqlBackups of the cluster: what they tell of stays in the store.
async fn forget_backups(cluster: &Cluster) -> Result<()> {
    let backups: Api<MysqlBackup> = cluster.api();
    for backup in backups.list(&ListParams::default()).await?.items {
        if backup.spec.cluster == NAME {
            backups.delete(&kube::ResourceExt::name_any(&backup), &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

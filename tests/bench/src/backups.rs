//! What a full backup, its recovery and the replay of an archive take and cost, by turns with what people have without
//! Grampus, of the same data on the same computer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kit::{Bucket, Cluster, Load, Member, Plain, Steps, Writer, eventually};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use objects::api::{BackupPhase, MysqlBackup, MysqlBackupStatus};
use serde_json::{Value, json};
use tokio::time::sleep;
use topology::gtid::GtidSet;

use crate::dump::Tools;
use crate::failover::WHOLE;
use crate::figures::{Amount, Ratio, Report};
use crate::rest::mib;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Amounts {
    /// How many times each is done, by turns.
    pub times: usize,
    /// How much data there is, in MiB on a member's volume.
    pub mebibytes: u64,
}

/// The table with the data: sysbench's, which others are measured with.
const TABLE: &str = "sbtest1";
const COLUMNS: &str =
    "(id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k))";
const ROW: &str = "FLOOR(RAND() * 1e6), LEFT(HEX(RANDOM_BYTES(60)), 120), LEFT(HEX(RANDOM_BYTES(30)), 60)";

/// The table whose changes are replayed, in transactions of so many rows each, by so many at the same time.
const LOGGED: &str = "sbtest2";
const ROWS_LOGGED: u32 = 100;
const LOGGERS: u32 = 16;

/// How much of a binary log one of those rows is, roughly.
const ROW_BYTES: u32 = 200;

/// How much data there is for each part of binary log that is replayed.
const DATA_PER_LOG: u64 = 8;

/// The load beside which a backup is made, and for how long it is counted without one.
const LOAD: Load = Load { writers: 16, rest: Duration::ZERO };
const BEFORE: Duration = Duration::from_secs(20);

/// How often an agent's memory is looked at.
const SAMPLE: Duration = Duration::from_millis(100);

/// How long a backup of all of it may take, or a recovery.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// How mysqlds have to be set up that are as safe as a member of Grampus, and apply as fast.
const OPTIONS: &str = "--sync-binlog=1 --innodb-flush-log-at-trx-commit=1 --skip-name-resolve=ON \
    --max-allowed-packet=64M --replica-parallel-workers=16";

/// A full backup.
struct Backup {
    took: Duration,
    /// The most that an agent had of its own meanwhile.
    memory_mib: f64,
    status: MysqlBackupStatus,
}

/// The cluster whose data is backed up, and what that is done with.
struct Bench<'a> {
    cluster: &'a Cluster,
    bucket: &'a Bucket,
    tools: &'a Tools,
    database: &'a str,
}

/// Fills a cluster, backs it up, recovers it, and does the same with mysqldump.
pub async fn measure(
    steps: &Steps,
    cluster: &Cluster,
    plain: &Cluster,
    amounts: Amounts,
    report: &mut Report,
) -> Result<()> {
    if amounts.times == 0 {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let bucket = Bucket::serve(cluster, directory.path()).await?;
    let tools = Tools::of(cluster.env().lab.mysql_programs())?;
    cluster.remove().await?;
    forget(cluster).await?;
    let step = steps.begin(&format!("a cluster of three with {} MiB of data", amounts.mebibytes));
    // Members that come later copy it, which is faster than to apply every row.
    cluster.apply(spec(1, json!({ "backup": { "store": bucket.store() } }))).await?;
    cluster.wait_serving(1, WHOLE).await?;
    let database = cluster.application().await?.database.context("the application has no database")?;
    fill(cluster, &database, amounts.mebibytes, &step).await?;
    cluster.patch_spec(json!({ "replicas": 3 })).await?;
    cluster.wait_serving(3, PATIENCE).await?;
    step.done();
    let bench = Bench { cluster, bucket: &bucket, tools: &tools, database: &database };
    let path = bench.backups(steps, amounts, report).await?;
    bench.under_load(steps, amounts.times, report).await?;
    let by_hand = Plain::raise_with(plain, &by_hand(cluster).await?, &crate::resources()).await?;
    let recovered = async {
        bench.recoveries(steps, amounts.times, &path, &by_hand, report).await?;
        bench.replays(steps, amounts, &by_hand, report).await
    };
    let recovered = recovered.await;
    by_hand.remove().await?;
    cluster.remove().await?;
    recovered
}

fn spec(replicas: u32, more: Value) -> Value {
    let mut spec = json!({ "replicas": replicas, "storage": { "size": "8Gi" }, "resources": crate::resources() });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

/// What the size of a Grampus pod makes of mysqld, so that the other one is as large.
async fn by_hand(cluster: &Cluster) -> Result<String> {
    Ok(format!("{OPTIONS} {}", crate::throughput::sized(cluster).await?))
}

async fn forget(cluster: &Cluster) -> Result<()> {
    let backups: Api<MysqlBackup> = cluster.api();
    backups.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    Ok(())
}

async fn fill(cluster: &Cluster, database: &str, mebibytes: u64, step: &kit::Step) -> Result<()> {
    let only = cluster.member(&cluster.primary().await?).await?;
    only.run(&[&format!("CREATE TABLE `{database}`.{TABLE} {COLUMNS}")]).await?;
    let more = format!(
        "INSERT INTO `{database}`.{TABLE} (k, c, pad) WITH RECURSIVE n (i) AS \
         (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT {ROW} FROM n AS a JOIN n AS b ON b.i <= 50"
    );
    let size = format!(
        "SELECT FILE_SIZE DIV 1048576 FROM information_schema.INNODB_TABLESPACES WHERE NAME = '{database}/{TABLE}'"
    );
    loop {
        let there: u64 = only.ask(&size).await?;
        step.tell(&format!("filling: {there} of {mebibytes} MiB"));
        if there >= mebibytes {
            break;
        }
        only.run(&[&more]).await?;
    }
    // Nobody needs what was logged of it: later members copy.
    only.run(&["FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW()"]).await
}

impl Bench<'_> {
    /// Full backups and dumps of a cluster at rest. Where the last backup is.
    async fn backups(&self, steps: &Steps, amounts: Amounts, report: &mut Report) -> Result<String> {
        let Amounts { times, mebibytes } = amounts;
        let step = steps.begin(&format!("backing {mebibytes} MiB up"));
        let (mut ours, mut theirs, mut memory, mut last) = (Vec::new(), Vec::new(), 0.0_f64, None);
        for number in 1..=times {
            step.tell(&format!("{number} of {times}"));
            let backup = self.backup(&format!("rest-{number}")).await?;
            ours.push(backup.took);
            memory = memory.max(backup.memory_mib);
            let replica = backup.status.member.clone().context("who made the backup")?;
            let replica = self.cluster.member(&replica).await?;
            theirs.push(self.tools.dump(&replica.login, self.database).await?);
            last = Some(backup.status);
        }
        let last = last.context("no backup was made")?;
        step.done();
        report.ratio(quotients("backup of the cluster at rest, mysqldump | zstd ÷ Grampus", &theirs, &ours));
        report.add(&format!("{mebibytes} MiB: backup asked for → succeeded"), ours);
        report.add(&format!("{mebibytes} MiB: mysqldump | zstd -3 -T0"), theirs);
        let stored = last.stored_bytes.unwrap_or_default() as f64 / 1_048_576.0;
        let dumped = self.tools.dumped()? as f64 / 1_048_576.0;
        report.amount(Amount {
            what: "  in the store".to_owned(),
            value: format!("{stored:.0} MiB; the dump {dumped:.0} MiB"),
        });
        report.amount(Amount {
            what: "  an agent's own memory meanwhile, at most".to_owned(),
            value: format!("{memory:.1} MiB"),
        });
        last.path.context("where the backup is")
    }

    /// What writers feel of a backup.
    async fn under_load(&self, steps: &Steps, times: usize, report: &mut Report) -> Result<()> {
        let step = steps.begin("backups under load");
        let mut writer = Writer::start(self.cluster, LOAD).await?;
        writer.wait_rows(1_000, WHOLE).await?;
        let (mut ratios, mut memory) = (Vec::new(), 0.0_f64);
        for number in 1..=times {
            step.tell(&format!("{number} of {times}"));
            let (began, before) = (Instant::now(), writer.acknowledged());
            sleep(BEFORE).await;
            let without = (writer.acknowledged() - before) as f64 / began.elapsed().as_secs_f64();
            let (began, before) = (Instant::now(), writer.acknowledged());
            let backup = self.backup(&format!("load-{number}")).await?;
            let with = (writer.acknowledged() - before) as f64 / began.elapsed().as_secs_f64();
            memory = memory.max(backup.memory_mib);
            ratios.push(with / without);
        }
        writer.stop().await?.check(self.cluster).await?.hold()?;
        step.done();
        report.ratio(Ratio::of("rows a second of 16 writers, during a backup ÷ before it", ratios));
        report.amount(Amount {
            what: "  an agent's own memory meanwhile, at most".to_owned(),
            value: format!("{memory:.1} MiB"),
        });
        Ok(())
    }

    /// Recoveries of one member, and loads of the dump.
    async fn recoveries(
        &self,
        steps: &Steps,
        times: usize,
        path: &str,
        by_hand: &Plain,
        report: &mut Report,
    ) -> Result<()> {
        let step = steps.begin("recovering it");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for number in 1..=times {
            step.tell(&format!("{number} of {times}"));
            ours.push(self.recover(path).await?);
            empty(&by_hand.members[0], self.database).await?;
            theirs.push(self.tools.load(&by_hand.members[0].login, self.database).await?);
        }
        step.done();
        report.ratio(quotients("recovery, zstd | mysql into a server that runs ÷ Grampus", &theirs, &ours));
        report.add("recovery: a cluster of one applied → it serves", ours);
        report.add("recovery: zstd -d | mysql", theirs);
        Ok(())
    }

    /// Replays of a binary log.
    async fn replays(&self, steps: &Steps, amounts: Amounts, by_hand: &Plain, report: &mut Report) -> Result<()> {
        let mebibytes = amounts.mebibytes / DATA_PER_LOG;
        let step = steps.begin(&format!("replaying {mebibytes} MiB of binary log"));
        self.cluster.patch_spec(json!({ "backup": { "store": self.bucket.store(), "continuous": true } })).await?;
        let full = self.backup("log").await?.status.path.context("where the backup is")?;
        let executed = self.log(mebibytes, &step).await?;
        let archived = || async { Ok(executed.is_subset_of(&self.bucket.archived(self.cluster)?).then_some(())) };
        self.cluster.wait_for("the log to be archived", PATIENCE, archived).await?;
        let everything = format!("{}/{}", self.cluster.namespace, self.cluster.name);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for number in 1..=amounts.times {
            step.tell(&format!("{number} of {}", amounts.times));
            let bare = self.recover(&full).await?;
            ours.push(self.recover(&everything).await?.saturating_sub(bare));
            empty(&by_hand.members[0], self.database).await?;
            by_hand.members[0].run(&["RESET BINARY LOGS AND GTIDS"]).await?;
            theirs.push(self.tools.replay(&by_hand.members[0].login).await?);
        }
        step.done();
        report.ratio(quotients("replay of a binary log, mysqlbinlog | mysql ÷ Grampus", &theirs, &ours));
        report.add(&format!("{mebibytes} MiB of binary log: by Grampus, over a recovery without it"), ours);
        report.add(&format!("{mebibytes} MiB of binary log: mysql, of what mysqlbinlog had written"), theirs);
        Ok(())
    }

    /// Writes a binary log of that size, and has it fetched. Everything that was executed in the end.
    async fn log(&self, mebibytes: u64, step: &kit::Step) -> Result<GtidSet> {
        let primary = self.cluster.member(&self.cluster.primary().await?).await?;
        let table = format!("`{}`.{LOGGED}", self.database);
        primary.run(&["FLUSH BINARY LOGS"]).await?;
        let newest = "SELECT LOCAL->>'$.binary_log_file' FROM performance_schema.log_status";
        let file: String = primary.ask(newest).await?;
        primary.run(&[&format!("CREATE TABLE {table} {COLUMNS}")]).await?;
        let more = format!(
            "INSERT INTO {table} (k, c, pad) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < {ROWS_LOGGED}) SELECT {ROW} FROM n"
        );
        let statements = vec![more.as_str(); 100];
        let written = format!("SELECT COUNT(*) * {ROW_BYTES} DIV 1048576 FROM {table}");
        loop {
            let there: u64 = primary.ask(&written).await?;
            step.tell(&format!("writing: {there} of {mebibytes} MiB"));
            if there >= mebibytes {
                break;
            }
            try_join_all((0..LOGGERS).map(|_| primary.run(&statements))).await?;
        }
        self.tools.fetch_log(&primary.login, &file, self.database).await?;
        let executed: String = primary.ask("SELECT @@GLOBAL.gtid_executed").await?;
        Ok(executed.replace(char::is_whitespace, "").parse()?)
    }

    /// Makes a full backup, and looks at the agents meanwhile.
    async fn backup(&self, name: &str) -> Result<Backup> {
        let backups: Api<MysqlBackup> = self.cluster.api();
        let asked = json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlBackup",
            "metadata": { "name": format!("{}-{name}", self.cluster.name) }, "spec": { "cluster": self.cluster.name },
        });
        let asked: MysqlBackup = serde_json::from_value(asked)?;
        let name = asked.name_any();
        let agents: Vec<_> = self.cluster.fingerprints().await?.into_iter().map(|found| found.first).collect();
        let began = Instant::now();
        backups.create(&PostParams::default(), &asked).await?;
        let (mut memory_mib, mut status) = (0.0_f64, None);
        let what = format!("the backup {name}");
        let done = eventually(&what, PATIENCE, || async {
            let found = backups.get(&name).await?.status.unwrap_or_default();
            Ok(matches!(found.phase, Some(BackupPhase::Succeeded | BackupPhase::Failed)).then_some(found))
        });
        tokio::pin!(done);
        while status.is_none() {
            tokio::select! {
                found = &mut done => status = Some(found?),
                () = sleep(SAMPLE) => {
                    for agent in &agents {
                        memory_mib = memory_mib.max(mib(*agent, "RssAnon:")?);
                    }
                }
            }
        }
        let status = status.unwrap_or_default();
        let message = status.message.clone().unwrap_or_default();
        ensure!(status.phase == Some(BackupPhase::Succeeded), "{name}: {message}");
        Ok(Backup { took: began.elapsed(), memory_mib, status })
    }

    /// Makes a cluster of one member from there, and removes it. How long it took until it served.
    async fn recover(&self, path: &str) -> Result<Duration> {
        let recovered = self.cluster.beside("recovered");
        recovered.remove().await?;
        let bootstrap = json!({ "recovery": { "store": self.bucket.store(), "path": path } });
        let began = Instant::now();
        recovered.apply(spec(1, json!({ "bootstrap": bootstrap }))).await?;
        recovered.wait_serving(1, PATIENCE).await?;
        let took = began.elapsed();
        recovered.remove().await?;
        Ok(took)
    }
}

/// A server by hand, with nothing in its database and little in its binary log.
async fn empty(member: &Member, database: &str) -> Result<()> {
    let statements = [format!("DROP DATABASE IF EXISTS `{database}`"), format!("CREATE DATABASE `{database}`")];
    member.run(&[&statements[0], &statements[1], "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW()"]).await
}

fn quotients(what: &str, theirs: &[Duration], ours: &[Duration]) -> Ratio {
    Ratio::of(what, theirs.iter().zip(ours).map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64()).collect())
}

//! What another server holds becomes the first data of a cluster, by way of a dump.

use std::path::Path;

use mysql_async::prelude::Queryable;
use mysql_tests::cluster::ended;
use mysql_tests::member::program;
use mysql_tests::{Cluster, Member};
use tokio::process::Command as Program;
use topology::facts::{DataState, JobKind, JobState};
use topology::gtid::GtidSet;
use topology::record::Phase;
use wire::{BackupAsk, BackupOrder, Command, DumpSource, Outcome, RecoveryTarget, StoreAccess};

use crate::Result;
use crate::backups::{made_as, ordered};
use crate::recovery::{empty, opened, recover_with, rows};

/// Where a logical backup lies.
const LOGICAL: &str = "test/shop/logical/20261128T050000Z-4be0643f-shop-0";

/// What a dump has besides tables, and characters that a client could take for something else.
const MORE: [&str; 5] = [
    "CREATE VIEW shop.seen AS SELECT id FROM shop.t",
    "CREATE PROCEDURE shop.twice() BEGIN UPDATE shop.t SET v = v * 2; SELECT 'a;b'; END",
    "CREATE TABLE shop.texts (id INT PRIMARY KEY, words TEXT CHARACTER SET utf8mb4, bytes LONGBLOB)",
    "CREATE TRIGGER shop.noted BEFORE INSERT ON shop.texts FOR EACH ROW SET NEW.words = CONCAT(NEW.words, '!')",
    "INSERT INTO shop.texts VALUES (1, '海豚 \\\\! \\n USE `mysql`', REPEAT(X'00FF0A5C27', 300000))",
];

async fn dump(member: &Member, more: &[&str]) -> Result<Vec<u8>> {
    let password = std::fs::read_to_string(member.dir().join("secrets/root-password"))?;
    let login = member.dir().join("dump.cnf");
    std::fs::write(&login, format!("[client]\nuser=root\npassword=\"{password}\"\nhost={}\n", member.ip))?;
    let dumped = Program::new(program("mysqldump")?)
        .arg(format!("--defaults-file={}", login.display()))
        .args(["--protocol=TCP", "--single-transaction", "--routines", "--events", "--triggers"])
        .args(more)
        .output()
        .await?;
    anyhow::ensure!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    Ok(dumped.stdout)
}

async fn import(cluster: &Cluster, store: &Path, object: &str) -> Result<JobState> {
    let store = StoreAccess::Volume { path: store.display().to_string() };
    let dump = Box::new(DumpSource { store, object: object.to_owned(), keys: None });
    let record = cluster.record(1, Phase::Promoting, 0, 0);
    let begun = cluster.member(0).command(&record, Command::Import { dump }).await?;
    anyhow::ensure!(matches!(begun.outcome, Outcome::Pending { .. }), "{:?}", begun.outcome);
    let report = cluster.member(0).wait("it has been imported", |report| ended(report, JobKind::Initialize)).await?;
    Ok(report.job.expect("a job").state)
}

fn failure(state: JobState) -> String {
    match state {
        JobState::Failed { error } => error,
        other => panic!("{other:?}"),
    }
}

/// Everything that is compared of the texts.
async fn texts(member: &Member) -> Result<Vec<(i32, String, String)>> {
    Ok(member.client("root").await?.query("SELECT id, words, SHA2(bytes, 256) FROM shop.texts").await?)
}

/// Everything that is compared of what a server holds.
type Held = (Vec<(u32, u32)>, Vec<(i32, String, String)>);

async fn held(member: &Member) -> Result<Held> {
    Ok((rows(member).await?, texts(member).await?))
}

/// Another server, and what it holds.
async fn other_server() -> Result<(Cluster, Held)> {
    let (other, _) = Cluster::serving(1, 0).await?;
    let source = other.member(0);
    let mut root = source.client("root").await?;
    for statement in MORE {
        root.query_drop(statement).await?;
    }
    source.client("app").await?.query_drop("INSERT INTO t VALUES (1, 10), (2, 20)").await?;
    let there = held(source).await?;
    Ok((other, there))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_another_server_becomes_the_first_data_of_a_cluster() -> Result {
    let (other, there) = other_server().await?;
    let (source, store) = (other.member(0), tempfile::tempdir()?);
    let executed = source.executed().await?;
    let good = dump(source, &["--databases", "shop"]).await?;
    let everything = dump(source, &["--all-databases"]).await?;
    other.stop().await?;

    std::fs::create_dir(store.path().join("dumps"))?;
    let write = |name: &str, bytes: &[u8]| std::fs::write(store.path().join(name), bytes);
    write("dumps/shop.sql.zst", &zstd::encode_all(&good[..], 1)?)?;
    write("short.sql", &good[..good.len() / 2])?;
    write("everything.sql", &everything)?;
    write("wrong.sql", b"CREATE DATABASE shop;\nINSERT INTO shop.nowhere VALUES (1);\nCREATE DATABASE later;\n")?;

    let mut cluster = empty().await?;
    for (object, words) in [
        ("none.sql", "there is no object none.sql"),
        ("dumps", "has to end in .sql"),
        ("short.sql", "short.sql"),
        ("everything.sql", "--databases"),
        ("wrong.sql", "at line 2: Table 'shop.nowhere' doesn't exist"),
    ] {
        let error = failure(import(&cluster, store.path(), object).await?);
        assert!(error.contains(words) && error.contains(object), "{object}: {error}");
        assert_eq!(cluster.member(0).report().await?.data, DataState::Empty, "nothing is left of {object}");
    }
    assert_eq!(import(&cluster, store.path(), "dumps/shop.sql.zst").await?, JobState::Done);
    assert_eq!(opened(&mut cluster).await?, executed, "it knows what the other server had executed");
    let member = cluster.member(0);
    assert_eq!(held(member).await?, there);
    let mut root = member.client("root").await?;
    let seen: Vec<u32> = root.query("SELECT id FROM shop.seen ORDER BY id").await?;
    assert_eq!(seen, [1, 2]);
    root.query_drop("CALL shop.twice()").await?;
    root.query_drop("INSERT INTO shop.texts VALUES (2, 'b', '')").await?;
    let noted: Option<String> = root.query_first("SELECT words FROM shop.texts WHERE id = 2").await?;
    assert_eq!(noted.as_deref(), Some("b!"));
    member.client("app").await?.query_drop("INSERT INTO t VALUES (3, 30)").await?;
    let accounts: Vec<String> =
        root.query("SELECT user FROM mysql.user WHERE user LIKE 'grampus-%' ORDER BY user").await?;
    let (fresh, _) = Cluster::serving(1, 0).await?;
    let mut fresh_root = fresh.member(0).client("root").await?;
    let wanted: Vec<String> =
        fresh_root.query("SELECT user FROM mysql.user WHERE user LIKE 'grampus-%' ORDER BY user").await?;
    assert_eq!(accounts, wanted, "every account of Grampus is there");
    drop((root, fresh_root));
    fresh.stop().await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logical_backup_has_the_databases_of_applications_and_nothing_of_the_cluster_it_came_from() -> Result {
    let (other, there) = other_server().await?;
    let (source, bucket) = (other.member(0), tempfile::tempdir()?);
    let store = StoreAccess::Volume { path: bucket.path().display().to_string() };
    let order = BackupOrder { path: LOGICAL.to_owned(), ..*ordered("one", store.clone()) };
    let summary = made_as(source, BackupAsk::BeginLogical { order: Box::new(order), recipients: None }).await?;
    assert_eq!(summary.gtids, source.executed().await?);
    assert!(!source.volume().join("mysql.backup").exists(), "nothing is left of it on the volume");
    let manifest = std::fs::read_to_string(bucket.path().join(LOGICAL).join("manifest.json"))?;
    assert!(manifest.contains(r#""format": 3"#) && manifest.contains(r#""method": "Logical""#), "{manifest}");
    other.stop().await?;

    let mut cluster = empty().await?;
    let going_on = recover_with(&cluster, &store, LOGICAL, Some(RecoveryTarget::End), None).await?;
    assert!(failure(going_on).contains("logical backup"));
    assert_eq!(recover_with(&cluster, &store, LOGICAL, None, None).await?, JobState::Done);
    assert_eq!(opened(&mut cluster).await?, GtidSet::new(), "a history of its own");
    let member = cluster.member(0);
    assert_eq!(held(member).await?, there);
    assert!(!member.volume().join("mysql.replay").exists(), "nothing is left of the statements");
    member.client("root").await?.query_drop("CALL shop.twice()").await?;
    member.client("app").await?.query_drop("INSERT INTO t VALUES (3, 30)").await?;
    cluster.stop().await
}

//! Recovery over the archive of a binary log: everything up to where it was asked to end, and nothing of what follows.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backup::log::Entry;
use lab::s3::S3Server;
use mysql_async::prelude::Queryable;
use mysql_tests::archive::{self, Transaction};
use mysql_tests::cluster::{ended, promote};
use mysql_tests::member::{facts, program};
use mysql_tests::{Cluster, Member};
use topology::facts::{DataState, JobKind, JobState};
use topology::gtid::GtidSet;
use topology::record::Phase;
use wire::{BackupKeys, BackupSource, Command, Outcome, RecoveryTarget, StoreAccess};

use crate::backups::{BUCKET, PATH, access, made};
use crate::{Result, measured};

/// As in the manifests that the tests' orders make.
const UID: &str = "uid";

/// How many transactions a segment has: enough segments that a target is in the middle of one in the middle of them.
const SEGMENT: usize = 25;

/// A cluster's history in a store: a backup in the middle of it, writes, and a mistake.
struct History {
    store: StoreAccess,
    entries: Vec<Entry>,
    /// Every row before the mistake.
    rows: Vec<(u32, u32)>,
    /// What was executed before the mistake.
    before: GtidSet,
    /// A moment between everything that is wanted and the mistake, in microseconds since 1970.
    moment_unix_us: u64,
    /// The mistake.
    mistake: String,
    /// What was executed at the end.
    end: GtidSet,
}

pub async fn rows(member: &Member) -> Result<Vec<(u32, u32)>> {
    Ok(member.client("root").await?.query("SELECT id, v FROM shop.t ORDER BY id").await?)
}

async fn write(member: &Member, ids: std::ops::Range<u32>) -> Result {
    let writers = (0..4).map(|writer| {
        let ids = ids.clone().filter(move |id| id % 4 == writer);
        async move {
            let mut app = member.client("app").await?;
            for id in ids {
                app.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
            }
            anyhow::Ok(())
        }
    });
    futures::future::try_join_all(writers).await?;
    member.client("app").await?.query_drop(format!("UPDATE t SET v = v + 1 WHERE id < {}", ids.end)).await?;
    Ok(())
}

async fn has_executed(member: &Member, gtids: &GtidSet) -> Result {
    member.wait("it has that", |report| facts(report).is_ok_and(|facts| gtids.is_subset_of(&facts.executed))).await?;
    Ok(())
}

/// Makes the history. What is archived is what the replica logged, as it is in life: by another server than the one that
/// committed first.
async fn history(store: StoreAccess) -> Result<History> {
    let (cluster, _) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let mut root = primary.client("root").await?;
    write(primary, 0..40).await?;
    has_executed(replica, &primary.executed().await?).await?;
    made(replica, store.clone()).await?;
    write(primary, 100..140).await?;
    replica.client("root").await?.query_drop("FLUSH BINARY LOGS").await?;
    if facts(&primary.report().await?)?.version.starts_with("9.") {
        root.query_drop("SET gtid_next = 'AUTOMATIC:nightly'").await?;
        root.query_drop("INSERT INTO shop.t VALUES (200, 7)").await?;
        root.query_drop("SET gtid_next = 'AUTOMATIC'").await?;
    }
    write(primary, 300..340).await?;
    // A new cluster's passwords are its own, whatever is replayed.
    root.query_drop("ALTER USER app@'%' IDENTIFIED BY 'the old one''s'").await?;
    let rows = rows(primary).await?;
    let moment: f64 = root.query_first("SELECT UNIX_TIMESTAMP(NOW(6))").await?.expect("a moment");
    // The mistake has to be later than that by any clock that counts microseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    root.query_drop("DROP TABLE shop.t").await?;
    root.query_drop("CREATE TABLE shop.afterwards (id INT PRIMARY KEY)").await?;
    for id in 0..30 {
        root.query_drop(format!("INSERT INTO shop.afterwards VALUES ({id})")).await?;
    }
    let end = primary.executed().await?;
    has_executed(replica, &end).await?;
    let log = archive::read(replica)?;
    assert_eq!(archive::set(&log.transactions)?, end, "the whole history is in the log");
    let entries = archive::write(&store, UID, replica, &log, SEGMENT).await?;
    cluster.stop().await?;
    let moment_unix_us = (moment * 1e6) as u64 + 1;
    let is_mistake = |one: &Transaction| one.bytes.windows(10).any(|text| text == b"DROP TABLE");
    let at = log.transactions.iter().position(is_mistake).expect("it is in the log");
    let (before, mistake) = (archive::set(&log.transactions[..at])?, log.transactions[at].gtid.clone());
    assert!(log.transactions[at - 1].committed_unix_us <= moment_unix_us);
    assert!(log.transactions[at].committed_unix_us > moment_unix_us);
    Ok(History { store, entries, rows, before, moment_unix_us, mistake, end })
}

impl History {
    /// The number of the segment in which the mistake is.
    fn fatal(&self) -> u64 {
        let mistake: GtidSet = self.mistake.parse().expect("a GTID");
        let entry = self.entries.iter().find(|entry| mistake.is_subset_of(&entry.gtids));
        entry.expect("the mistake was archived").sequence
    }

    fn time(&self) -> RecoveryTarget {
        RecoveryTarget::Time { unix_us: self.moment_unix_us }
    }

    fn before_mistake(&self) -> RecoveryTarget {
        RecoveryTarget::BeforeGtid { gtid: self.mistake.parse().expect("a GTID") }
    }
}

/// A cluster with one empty member: the one whose server_id is that of the old primary.
pub async fn empty() -> Result<Cluster> {
    let mut cluster = Cluster::new().await?;
    cluster.add_empty().await?;
    std::fs::write(cluster.member(0).dir().join("secrets/admin-password"), "another cluster's")?;
    Ok(cluster)
}

async fn recover(
    cluster: &Cluster,
    store: &StoreAccess,
    path: &str,
    target: Option<RecoveryTarget>,
) -> Result<JobState> {
    recover_with(cluster, store, path, target, None).await
}

pub async fn recover_with(
    cluster: &Cluster,
    store: &StoreAccess,
    path: &str,
    target: Option<RecoveryTarget>,
    keys: Option<BackupKeys>,
) -> Result<JobState> {
    let backup = Box::new(BackupSource { store: store.clone(), path: path.to_owned(), manifest_sha256: None, keys });
    let record = cluster.record(1, Phase::Promoting, 0, 0);
    let begun = cluster.member(0).command(&record, Command::Recover { backup, target }).await?;
    anyhow::ensure!(matches!(begun.outcome, Outcome::Pending { .. }), "{:?}", begun.outcome);
    let report = cluster.member(0).wait("it has been recovered", |report| ended(report, JobKind::Initialize)).await?;
    Ok(report.job.expect("a job").state)
}

/// What the recovered member has executed, once it is open.
pub async fn opened(cluster: &mut Cluster) -> Result<GtidSet> {
    let report = cluster.member(0).wait("it runs", |report| facts(report).is_ok()).await?;
    let executed = facts(&report)?.executed.clone();
    cluster.member_mut(0).incarnation = report.data.incarnation().expect("data");
    let record = cluster.record(1, Phase::Promoting, 0, 0);
    cluster.member(0).done(&record, promote(None, &GtidSet::new())).await?;
    Ok(executed)
}

async fn tables(member: &Member) -> Result<Vec<String>> {
    Ok(member.client("root").await?.query("SHOW TABLES FROM shop").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_before_a_mistake_comes_back_and_nothing_of_it() -> Result {
    let bucket = tempfile::tempdir()?;
    let server = S3Server::start(bucket.path(), BUCKET, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)?;
    let history = history(access(server.endpoint().trim_start_matches("http://").parse()?)).await?;
    assert!(history.fatal() > 3 && history.fatal() < history.entries.len() as u64, "{:?}", history.fatal());
    let within = RecoveryTarget::WithinGtids { gtids: history.before.clone() };
    for (path, target) in [("test/shop", history.before_mistake()), (PATH, history.time()), ("test/shop", within)] {
        let mut cluster = empty().await?;
        let since = Instant::now();
        assert_eq!(recover(&cluster, &history.store, path, Some(target.clone())).await?, JobState::Done);
        measured("recovery to before a mistake", since);
        assert_eq!(opened(&mut cluster).await?, history.before, "{path}, {target:?}");
        assert_eq!(rows(cluster.member(0)).await?, history.rows, "{path}, {target:?}");
        assert_eq!(tables(cluster.member(0)).await?, ["t"]);
        assert!(!cluster.member(0).volume().join("mysql.replay").exists(), "nothing is left of the segments");
        // By this cluster's password, though one of the old one's was replayed.
        cluster.member(0).client("app").await?.query_drop("INSERT INTO t VALUES (9000, 0)").await?;
        cluster.stop().await?;
    }
    let mut cluster = empty().await?;
    assert_eq!(recover(&cluster, &history.store, "test/shop", None).await?, JobState::Done);
    assert_eq!(opened(&mut cluster).await?, history.end, "without a target it is everything there is of a cluster");
    assert_eq!(tables(cluster.member(0)).await?, ["afterwards"]);
    cluster.stop().await?;
    // A backup that is named alone is what it always was.
    let mut cluster = empty().await?;
    assert_eq!(recover(&cluster, &history.store, PATH, None).await?, JobState::Done);
    assert!(opened(&mut cluster).await?.is_subset_of(&history.before));
    assert_eq!(rows(cluster.member(0)).await?, (0..40).map(|id| (id, 1)).collect::<Vec<_>>());
    cluster.stop().await
}

/// Where the objects of a store in a directory are.
fn file(root: &Path, object: &str) -> PathBuf {
    root.join("test/shop/log").join(UID).join(object)
}

/// That the runbook's way to the mistake leads to it: a segment is a binary log like any other.
fn a_segment_shows_the_mistake(history: &History, root: &Path) -> Result {
    let entry = &history.entries[history.fatal() as usize - 1];
    let log = root.join("segment");
    std::fs::write(&log, zstd::decode_all(&std::fs::read(file(root, &entry.object))?[..])?)?;
    let mut mysqlbinlog = std::process::Command::new(program("mysqlbinlog")?);
    let shown = mysqlbinlog.args(["--no-defaults", "-v", "--base64-output=decode-rows"]).arg(&log).output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let (before, _) = shown.split_once("DROP TABLE").expect("the statement");
    let above = before.rsplit("GTID_NEXT= '").next().unwrap_or_default();
    anyhow::ensure!(above.starts_with(&history.mistake), "{above}");
    anyhow::ensure!(before.contains("original_commit_timestamp="), "{before}");
    Ok(std::fs::remove_file(log)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_an_archive_is_named_and_leaves_an_empty_volume() -> Result {
    let root = tempfile::tempdir()?;
    let history = history(StoreAccess::Volume { path: root.path().display().to_string() }).await?;
    a_segment_shows_the_mistake(&history, root.path())?;
    let mut cluster = empty().await?;
    let refused = async |cluster: &Cluster, target: RecoveryTarget, words: &[&str]| {
        let state = recover(cluster, &history.store, "test/shop", Some(target)).await?;
        let JobState::Failed { error } = state else { anyhow::bail!("{words:?}: {state:?}") };
        anyhow::ensure!(words.iter().all(|word| error.contains(word)), "{error}");
        let member = cluster.member(0);
        anyhow::ensure!(member.report().await?.data == DataState::Empty, "{error}");
        anyhow::ensure!(!member.volume().join("mysql.replay").exists() && !member.volume().join("mysql.new").exists());
        Ok(())
    };
    let fatal = &history.entries[history.fatal() as usize - 1];
    let (data, number) = (file(root.path(), &fatal.object), format!("{:012}", fatal.sequence));
    let entry = file(root.path(), &format!("{number}.json"));

    let whole = std::fs::read(&data)?;
    let mut spoiled = whole.clone();
    spoiled[whole.len() / 2] ^= 1;
    std::fs::write(&data, spoiled)?;
    refused(&cluster, history.before_mistake(), &[&fatal.object, "is damaged", "SHA-256"]).await?;
    std::fs::remove_file(&data)?;
    refused(&cluster, history.before_mistake(), &[&fatal.object, "it is not there"]).await?;
    std::fs::write(&data, whole)?;

    let said = std::fs::read(&entry)?;
    std::fs::remove_file(&entry)?;
    refused(&cluster, RecoveryTarget::End, &[&number, "it is not there"]).await?;
    let lost = &fatal.gtids;
    let hole = Entry { missing: lost.clone(), gtids: GtidSet::new(), transactions: 0, ..fatal.clone() };
    std::fs::write(&entry, hole.text()?)?;
    refused(&cluster, RecoveryTarget::End, &[&number, "purged before they could be archived", &lost.to_string()])
        .await?;
    // An entry that is whole and does not tell the truth about its bytes.
    let other = history.entries[fatal.sequence as usize - 2].clone();
    let lie =
        Entry { object: other.object, size: other.size, sha256: other.sha256, bytes: other.bytes, ..fatal.clone() };
    std::fs::write(&entry, lie.text()?)?;
    refused(&cluster, RecoveryTarget::End, &[&lie.object, "its entry says", &fatal.gtids.to_string()]).await?;
    std::fs::write(&entry, said)?;

    let late = RecoveryTarget::Time { unix_us: u64::try_from(i64::MAX).unwrap_or(0) / 1_000 };
    let last = history.entries.last().expect("entries").sequence.to_string();
    refused(&cluster, late, &["the archive ends at", &format!("segment {last}"), "end: true"]).await?;
    let early = RecoveryTarget::Time { unix_us: 1_000_000 };
    refused(&cluster, early, &["before every backup of test/shop"]).await?;
    let never = RecoveryTarget::BeforeGtid { gtid: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1".parse()? };
    refused(&cluster, never, &["is in no segment", "end: true"]).await?;

    // Nothing was wrong with the member: once there is nothing wrong with the archive it is recovered.
    assert_eq!(recover(&cluster, &history.store, "test/shop", Some(history.time())).await?, JobState::Done);
    assert_eq!(opened(&mut cluster).await?, history.before);
    assert_eq!(rows(cluster.member(0)).await?, history.rows);
    cluster.stop().await
}

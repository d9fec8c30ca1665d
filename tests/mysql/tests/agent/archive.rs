//! The archive of a real binary log in a real S3 server: over failovers, purges and a store that is gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backup::archive::Archive;
use backup::log::{Entry, FIRST, plan};
use backup::store::Patience;
use backup::{Store, layout};
use lab::s3::S3Server;
use mysql_async::prelude::Queryable;
use mysql_tests::member::{PATIENCE, Surroundings, program};
use mysql_tests::{Cluster, Member};
use tokio::task::JoinHandle;
use topology::gtid::GtidSet;
use wire::{ArchiveAnswer, ArchiveAsk, ArchiveCall, ArchiveOrder, ArchiveState, Command, StoreAccess, WIRE_VERSION};

use crate::backups::{BUCKET, access, nowhere};
use crate::tails::leave_a_tail;
use crate::{Result, ids, measured};

pub const UID: &str = "0b7f4f0e";

pub fn surroundings() -> Surroundings {
    Surroundings { archive_after_ms: Some(300), ..Surroundings::default() }
}

fn path() -> String {
    layout::log("test", "shop", UID)
}

pub fn order(store: &StoreAccess, epoch: u64, executed: GtidSet) -> ArchiveOrder {
    ArchiveOrder {
        store: store.clone(),
        path: path(),
        cluster_uid: UID.to_owned(),
        epoch,
        executed,
        although_primary: false,
        give_up: GtidSet::new(),
    }
}

async fn ask(member: &Member, ask: ArchiveAsk) -> Result<ArchiveAnswer> {
    Ok(member.connect().await?.archive(&ArchiveCall { wire: WIRE_VERSION, ask }).await?)
}

/// Orders again and again, as an operator does, until what the agent says is as wanted.
async fn keep(
    member: &Member,
    primary: &Member,
    order: ArchiveOrder,
    what: &str,
    wanted: impl Fn(&ArchiveState) -> bool,
) -> Result<ArchiveState> {
    keep_as(member, primary, (order, ArchiveAsk::Keep), what, wanted).await
}

/// The same in other words.
pub async fn keep_as(
    member: &Member,
    primary: &Member,
    (order, word): (ArchiveOrder, impl Fn(Box<ArchiveOrder>) -> ArchiveAsk),
    what: &str,
    wanted: impl Fn(&ArchiveState) -> bool,
) -> Result<ArchiveState> {
    let until = Instant::now() + PATIENCE;
    loop {
        let order = ArchiveOrder { executed: primary.executed().await?, ..order.clone() };
        let answer = ask(member, word(Box::new(order))).await?;
        anyhow::ensure!(answer.refused.is_none(), "{answer:?}");
        match answer.state {
            Some(state) if wanted(&state) => return Ok(state),
            state => anyhow::ensure!(Instant::now() < until, "waited in vain until {what}; last: {state:#?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every entry in order, and the chain that they are.
pub async fn chain(store: &StoreAccess) -> Result<Vec<Entry>> {
    let patience = Patience { retry: Duration::from_secs(2), request: Duration::from_secs(2) };
    let archive = Archive::at(Store::open(store, patience)?, &path())?;
    let entries = archive.back_to(&GtidSet::new()).await?;
    assert_eq!(entries.first().map(|entry| entry.sequence), Some(FIRST));
    Ok(entries)
}

/// What `mysqlbinlog` finds in a segment, checksums verified: a judge that shares no line with whoever wrote it.
fn transactions(bucket: &Path, entry: &Entry) -> Result<GtidSet> {
    let stored = std::fs::read(bucket.join(BUCKET).join(entry.data(&path())))?;
    entry.holds(&path(), &stored)?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), zstd::decode_all(&stored[..])?)?;
    let read = std::process::Command::new(program("mysqlbinlog")?)
        .args(["--verify-binlog-checksum", "--base64-output=DECODE-ROWS"])
        .arg(file.path())
        .output()?;
    anyhow::ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let named = text.lines().filter_map(|line| line.strip_prefix("SET @@SESSION.GTID_NEXT= '"));
    let named: Vec<_> = named.filter_map(|rest| rest.split('\'').next()).filter(|name| *name != "AUTOMATIC").collect();
    let found: GtidSet = named.join(",").parse()?;
    anyhow::ensure!(found.count() == named.len() as u64, "a transaction is twice in {}", entry.object);
    Ok(found)
}

/// Inserts rows one after the other until told to stop, each to its end. Says how many.
pub async fn writer(member: &Member, first: u32) -> Result<(Arc<AtomicBool>, JoinHandle<Result<u32>>)> {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, mut app) = (Arc::clone(&stop), member.client("app").await?);
    let writing = tokio::spawn(async move {
        let mut id = first;
        while !stopped.load(Ordering::SeqCst) {
            app.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
            id += 1;
        }
        Ok(id - first)
    });
    Ok((stop, writing))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_follows_a_failover_without_a_hole_and_without_anything_twice() -> Result {
    let bucket = tempfile::tempdir()?;
    let server = S3Server::start(bucket.path(), BUCKET, nowhere()?)?;
    let store = access(server.endpoint().trim_start_matches("http://").parse()?);
    let (cluster, record) = Cluster::serving_in(surroundings(), 2, 1).await?;
    let (former, replica) = (cluster.member(0), cluster.member(1));

    // Only a replica archives, and only by an order that is not of the past.
    let leads = ask(former, ArchiveAsk::Keep(Box::new(order(&store, 1, GtidSet::new())))).await?;
    assert!(leads.refused.is_some_and(|why| why.contains("leads")));
    let past = ask(replica, ArchiveAsk::Keep(Box::new(order(&store, 0, GtidSet::new())))).await?;
    assert!(past.refused.is_some_and(|why| why.contains("epoch")));
    assert_eq!(ask(replica, ArchiveAsk::Look { covered: None }).await?.state, None);

    let (stop, writing) = writer(former, 1_000).await?;
    keep(replica, former, order(&store, 1, GtidSet::new()), "some segments", |state| state.sequence >= 4).await?;
    stop.store(true, Ordering::SeqCst);
    let mut written = writing.await??;

    // The primary dies while a commit waits, whose transaction nobody may archive.
    let (serving, tail) = leave_a_tail(&cluster, &record, "INSERT INTO t VALUES (7, 0)").await?;
    let refused = ask(replica, ArchiveAsk::Keep(Box::new(order(&store, 2, GtidSet::new())))).await?;
    assert!(refused.refused.is_some_and(|why| why.contains("leads")));

    // Nobody else is there, so the new primary goes on itself for as long as it has to.
    let (stop, writing) = writer(replica, 1_000 + written).await?;
    let alone_order = ArchiveOrder { although_primary: true, ..order(&store, 2, GtidSet::new()) };
    let before = chain(&store).await?.len() as u64;
    keep(replica, replica, alone_order.clone(), "it goes on", |state| state.sequence >= before + 2).await?;

    // The former primary comes back and takes over, while the other has not been told yet.
    former.done(&serving, Command::Trim { keep: replica.executed().await? }).await?;
    cluster.follow_in_good_standing(0, 1, &serving).await?;
    let before = chain(&store).await?.len() as u64;
    keep(former, replica, order(&store, 2, GtidSet::new()), "both write", |state| state.sequence >= before + 4).await?;
    stop.store(true, Ordering::SeqCst);
    written += writing.await??;
    let executed = replica.executed().await?;
    ask(replica, ArchiveAsk::Stop).await?;
    let whole = |state: &ArchiveState| executed.is_subset_of(&state.covered);
    let state = keep(former, replica, order(&store, 2, GtidSet::new()), "everything is there", whole).await?;
    assert_eq!(state.covered, executed, "and nothing else");

    let entries = chain(&store).await?;
    let members: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.member.as_str()).collect();
    assert_eq!(members.len(), 2, "both have archived");
    let mut found = entries[0].before.clone();
    for entry in &entries {
        let there = transactions(bucket.path(), entry)?;
        assert_eq!(there, entry.gtids, "{}", entry.object);
        assert!(there.intersect(&found).is_empty(), "{} are twice in the archive", there.intersect(&found));
        assert!(entry.missing.is_empty());
        found = found.union(&there);
    }
    assert_eq!(found, executed);
    let led = plan(&path(), &entries, &state.base)?;
    assert_eq!(led.end, executed, "a backup that holds the base is led to the end");
    eprintln!("measured: {written} rows in {} segments", entries.len());
    assert_eq!(ids(former).await?.len(), written as usize);
    assert!(entries.iter().all(|entry| entry.after().intersect(&tail).is_empty()), "nor what was cut off");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_is_told_and_given_up_only_when_that_is_ordered() -> Result {
    let bucket = tempfile::tempdir()?;
    let server = S3Server::start(bucket.path(), BUCKET, nowhere()?)?;
    let store = access(server.endpoint().trim_start_matches("http://").parse()?);
    let (cluster, _) = Cluster::serving_in(surroundings(), 1, 0).await?;
    let member = cluster.member(0);
    let alone = ArchiveOrder { although_primary: true, ..order(&store, 1, GtidSet::new()) };
    let mut app = member.client("app").await?;
    app.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    let executed = member.executed().await?;
    let whole = |state: &ArchiveState| executed.is_subset_of(&state.covered);
    let begun = keep(member, member, alone.clone(), "it is archived", whole).await?;
    ask(member, ArchiveAsk::Stop).await?;

    app.query_drop("INSERT INTO t VALUES (2, 0)").await?;
    let lost = member.executed().await?.subtract(&executed);
    let mut root = member.client("root").await?;
    root.query_drop("FLUSH BINARY LOGS").await?;
    let row: Option<mysql_async::Row> = root.query_first("SHOW BINARY LOG STATUS").await?;
    let newest: String = row.and_then(|row| row.get(0)).ok_or_else(|| anyhow::anyhow!("no binary log"))?;
    root.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await?;
    app.query_drop("INSERT INTO t VALUES (3, 0)").await?;

    let looked = ask(member, ArchiveAsk::Look { covered: Some(begun.covered.clone()) }).await?;
    assert_eq!(looked.lacks, Some(lost.clone()));
    let stuck = |state: &ArchiveState| !state.lacks.is_empty() && state.problem.is_some();
    let state = keep(member, member, alone.clone(), "the hole is told", stuck).await?;
    assert_eq!((state.lacks, state.sequence), (lost.clone(), begun.sequence), "and nothing is stepped over");

    let all = member.executed().await?;
    let order = ArchiveOrder { give_up: lost.clone(), ..alone };
    let state = keep(member, member, order, "it goes on", |state| all.is_subset_of(&state.covered)).await?;
    assert_eq!(state.problem, None);
    let entries = chain(&store).await?;
    let holes: Vec<_> = entries.iter().filter(|entry| !entry.missing.is_empty()).collect();
    assert_eq!(holes.len(), 1);
    assert_eq!(holes[0].missing, lost);
    assert!(plan(&path(), &entries, &begun.base).is_err(), "nobody is led over it");
    assert!(lost.is_subset_of(&state.base), "but by a backup from after it");
    assert_eq!(plan(&path(), &entries, &state.base)?.end, all);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_costs_the_database_nothing_and_the_archive_catches_up() -> Result {
    let bucket = tempfile::tempdir()?;
    let address = nowhere()?;
    let store = access(address);
    let (cluster, _) = Cluster::serving_in(surroundings(), 2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let mut app = primary.client("app").await?;
    let order = order(&store, 1, GtidSet::new());
    keep(replica, primary, order.clone(), "it is told", |state| state.problem.is_some()).await?;
    let since = Instant::now();
    for id in 0..200 {
        app.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
    }
    measured("200 commits while the store is gone", since);
    let server = S3Server::start(bucket.path(), BUCKET, address)?;
    let executed = primary.executed().await?;
    let whole = |state: &ArchiveState| executed.is_subset_of(&state.covered);
    keep(replica, primary, order.clone(), "it catches up", whole).await?;

    drop(server);
    // A transaction larger than a segment, and rows after it.
    app.query_drop("CREATE TABLE big (id INT PRIMARY KEY AUTO_INCREMENT, v MEDIUMBLOB)").await?;
    let grow = "INSERT INTO big (v) SELECT RANDOM_BYTES(1024) FROM t AS a, t AS b WHERE a.id < 150";
    app.query_drop(grow).await?;
    app.query_drop("INSERT INTO t VALUES (1000, 0)").await?;
    let executed = primary.executed().await?;
    keep(replica, primary, order.clone(), "it is told again", |state| state.problem.is_some()).await?;
    let _server = S3Server::start(bucket.path(), BUCKET, address)?;
    let since = Instant::now();
    let whole = |state: &ArchiveState| executed.is_subset_of(&state.covered) && state.problem.is_none();
    keep(replica, primary, order, "it catches up again", whole).await?;
    measured("30 MiB of backlog", since);
    for entry in chain(&store).await? {
        assert_eq!(transactions(bucket.path(), &entry)?, entry.gtids, "{}", entry.object);
    }
    cluster.stop().await
}

//! What tables hold, as an agent finds it out on a real mysqld: at a moment that is known exactly, whatever is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_tests::member::{PATIENCE, facts};
use mysql_tests::{Cluster, Member};
use topology::gtid::GtidSet;
use wire::{CheckAnswer, CheckAsk, CheckCall, CheckJob, CheckOrder, CheckState, TableSum, WIRE_VERSION};

use crate::{Result, measured};

async fn ask(member: &Member, ask: CheckAsk) -> Result<CheckAnswer> {
    Ok(member.connect().await?.check(&CheckCall { wire: WIRE_VERSION, ask }).await?)
}

fn order(id: &str, at_least: GtidSet) -> CheckAsk {
    CheckAsk::Begin(Box::new(CheckOrder { id: id.to_owned(), at_least }))
}

/// How often a check is looked at. Each look is a connection.
const LOOK: Duration = Duration::from_millis(50);

/// How many write while checks are made, and how long each rests after a row: not so often that a replica falls behind on
/// any computer.
const WRITERS: u32 = 4;
const REST: Duration = Duration::from_millis(3);

/// The rows of a transaction that takes a replica so long that it is always at one of them: it never rests then.
const BULK: u64 = 1_000;

/// Looks until the check is as wanted.
async fn wait(member: &Member, what: &str, wanted: impl Fn(&CheckJob) -> bool) -> Result<CheckJob> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask(member, CheckAsk::Look { tables: true }).await?.job {
            Some(job) if wanted(&job) => return Ok(job),
            job => anyhow::ensure!(Instant::now() < until, "waited in vain until {what}; last: {job:?}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn checked(member: &Member, id: &str, at_least: GtidSet) -> Result<CheckJob> {
    let refused = ask(member, order(id, at_least)).await?.refused;
    anyhow::ensure!(refused.is_none(), "{refused:?}");
    wait(member, "it is checked", |job| !matches!(job.state, CheckState::Running { .. })).await
}

fn tables(job: &CheckJob) -> Result<BTreeMap<&str, &TableSum>> {
    let CheckState::Done { tables, .. } = &job.state else { anyhow::bail!("{job:?}") };
    Ok(tables.iter().map(|table| (table.table.as_str(), table)).collect())
}

/// A column of every kind that could be taken for something else.
const COLUMNS: &str = "id INT, a VARCHAR(20), b VARCHAR(20), n DECIMAL(20,3), f FLOAT, d DOUBLE, j JSON, large LONGBLOB, \
    at TIMESTAMP(6) NULL, day DATE, took TIME(3), y YEAR, bits BIT(5), e ENUM('x', 'y'), l VARCHAR(9) CHARACTER SET latin1, \
    twice INT AS (id * 2) VIRTUAL, hidden INT INVISIBLE";

const NAMES: &str = "id, a, b, n, f, d, j, large, at, day, took, y, bits, e, l, hidden";

/// What is done to a copy, and whether it is to be seen.
const CHANGES: [(&str, bool); 20] = [
    ("UPDATE {} SET a = a", false),
    ("UPDATE {} SET a = 'One' WHERE id = 1", true),
    ("UPDATE {} SET a = 'two ' WHERE id = 2", true),
    ("UPDATE {} SET a = '' WHERE id = 3", true),
    ("UPDATE {} SET a = b, b = 'two' WHERE id = 2", true),
    ("UPDATE {} SET a = 'on', b = 'euno' WHERE id = 1", true),
    ("UPDATE {} SET n = n + 0.001 WHERE id = 1", true),
    // The text of this number is that of the other.
    ("UPDATE {} SET f = 0.10000001 WHERE id = 1", true),
    ("UPDATE {} SET d = 0.30000000000000004 WHERE id = 1", true),
    ("UPDATE {} SET j = JSON_SET(j, '$.a[1]', '2') WHERE id = 1", true),
    ("UPDATE {} SET large = INSERT(large, 200000, 1, 'y') WHERE id = 1", true),
    ("UPDATE {} SET at = at + INTERVAL 1 MICROSECOND WHERE id = 1", true),
    ("UPDATE {} SET took = -took WHERE id = 1", true),
    ("UPDATE {} SET bits = b'00101' WHERE id = 1", true),
    ("UPDATE {} SET e = 'y' WHERE id = 1", true),
    ("UPDATE {} SET l = 'caf\u{e8}' WHERE id = 1", true),
    ("UPDATE {} SET hidden = 8 WHERE id = 1", true),
    ("DELETE FROM {} WHERE id = 3", true),
    ("INSERT INTO {} (id) VALUES (9), (9)", true),
    ("ALTER TABLE {} MODIFY twice INT AS (id * 3) VIRTUAL", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_equal_is_equal_and_what_differs_by_a_byte_is_not() -> Result {
    let (cluster, _) = Cluster::serving(1, 0).await?;
    let member = cluster.member(0);
    let mut root = member.client("root").await?;
    root.query_drop("USE shop").await?;
    root.query_drop(format!("CREATE TABLE base ({COLUMNS})")).await?;
    root.query_drop(format!(
        "INSERT INTO base ({NAMES}) VALUES (1, 'one', 'uno', 12345678901234567.125, 0.1, 0.3, '{{\"a\": [1, 2]}}', \
         REPEAT('x', 300000), '2026-11-01 01:30:00.000001', '2026-11-27', '12:00:00.5', 2026, b'00100', 'x', 'caf\u{e9}', 7), \
         (2, 'two', 'due', 1, -0.0, 1e300, 'null', '', NULL, NULL, NULL, NULL, NULL, NULL, '', NULL), \
         (3, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    ))
    .await?;
    // Without a key rows are where they were put.
    root.query_drop(format!("CREATE TABLE backwards ({COLUMNS})")).await?;
    root.query_drop(format!("INSERT INTO backwards ({NAMES}) SELECT {NAMES} FROM base ORDER BY id DESC")).await?;
    for (number, (change, _)) in CHANGES.iter().enumerate() {
        root.query_drop(format!("CREATE TABLE c{number} ({COLUMNS})")).await?;
        root.query_drop(format!("INSERT INTO c{number} ({NAMES}) SELECT {NAMES} FROM base")).await?;
        root.query_drop(change.replace("{}", &format!("c{number}"))).await?;
    }
    let job = checked(member, "one", member.executed().await?).await?;
    let found = tables(&job)?;
    assert_eq!(job.gtids, Some(member.executed().await?));
    let base = found["shop.base"];
    assert_eq!(base.rows, 3);
    assert_eq!(found["shop.backwards"].sum, base.sum, "the order of rows is no matter");
    for (number, (change, is_seen)) in CHANGES.iter().enumerate() {
        assert_eq!(found[format!("shop.c{number}").as_str()].sum != base.sum, *is_seen, "{change}");
    }
    assert!(found.keys().all(|name| name.starts_with("shop.")), "{found:?}");
    let again = checked(member, "two", GtidSet::new()).await?;
    assert_eq!(again.state, job.state);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_of_exactly_the_moment_that_it_names_whatever_is_written() -> Result {
    let (cluster, _) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    let (stopped, mut bulk) = (Arc::clone(&stop), primary.client("app").await?);
    bulk.query_drop("CREATE TABLE u (id INT PRIMARY KEY AUTO_INCREMENT, v INT)").await?;
    let begun = primary.executed().await?;
    writers.push(tokio::spawn(async move {
        while !stopped.load(Ordering::SeqCst) {
            let rows = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BULK})");
            bulk.query_drop(format!("INSERT INTO u (v) {rows} SELECT i FROM n")).await?;
        }
        anyhow::Ok(())
    }));
    for writer in 0..WRITERS {
        let (stop, mut app) = (Arc::clone(&stop), primary.client("app").await?);
        writers.push(tokio::spawn(async move {
            let mut id = writer;
            while !stop.load(Ordering::SeqCst) {
                app.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
                id += WRITERS;
                tokio::time::sleep(REST).await;
            }
            anyhow::Ok(())
        }));
    }
    let mut moments = Vec::new();
    for round in 0..8 {
        let at_least = primary.executed().await?;
        let since = Instant::now();
        let job = checked(replica, &round.to_string(), at_least.clone()).await?;
        let Some(gtids) = job.gtids.clone() else { anyhow::bail!("no moment in round {round}: {:?}", job.state) };
        assert!(at_least.is_subset_of(&gtids));
        // Every transaction wrote one row, or many.
        let found = tables(&job)?;
        let (rows, bulk) = (found["shop.t"].rows, found["shop.u"].rows);
        assert_eq!(rows + bulk / BULK, gtids.subtract(&begun).count(), "round {round}: {gtids}");
        assert_eq!(bulk % BULK, 0, "half a transaction");
        moments.push(rows);
        measured(&format!("check of {rows} rows under writes"), since);
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await??;
    }
    assert!(moments.is_sorted() && moments.first() < moments.last(), "somebody wrote all the time: {moments:?}");
    let end = primary.executed().await?;
    replica.wait("nothing was left behind", |report| facts(report).is_ok_and(|facts| facts.executed == end)).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_gives_way_and_is_begun_once() -> Result {
    let (cluster, _) = Cluster::serving(1, 0).await?;
    let member = cluster.member(0);
    let mut root = member.client("root").await?;
    root.query_drop("SET SESSION cte_max_recursion_depth = 5000").await?;
    root.query_drop(
        "INSERT INTO shop.t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, i FROM n",
    )
    .await?;
    // To read it takes many seconds.
    let slow = "ADD COLUMN slow CHAR(128) AS (SHA2(REPEAT(CHAR(id % 26 + 65), 3000000), 512)) VIRTUAL";
    root.query_drop(format!("ALTER TABLE shop.t {slow}")).await?;
    ask(member, order("one", GtidSet::new())).await?;
    wait(member, "it reads", |job| job.gtids.is_some()).await?;
    assert_eq!(ask(member, order("one", GtidSet::new())).await?.refused, None, "the same again is no other");
    let refused = ask(member, order("two", GtidSet::new())).await?.refused;
    assert!(refused.is_some_and(|why| why.contains("one is under way")), "one at a time");
    let since = Instant::now();
    root.query_drop("ALTER TABLE shop.t ADD COLUMN w INT").await?;
    measured("a change of a definition that a check was in the way of", since);
    let job = wait(member, "it has ended", |job| !matches!(job.state, CheckState::Running { .. })).await?;
    assert!(matches!(&job.state, CheckState::Failed { error, .. } if error.contains("definition")), "{job:?}");
    // And whoever is told to end ends.
    ask(member, order("two", GtidSet::new())).await?;
    wait(member, "it reads", |job| job.id == "two" && job.gtids.is_some()).await?;
    ask(member, CheckAsk::Stop { id: "two".to_owned() }).await?;
    let job = wait(member, "it has ended", |job| !matches!(job.state, CheckState::Running { .. })).await?;
    assert!(matches!(&job.state, CheckState::Failed { error, .. } if error.contains("ended")), "{job:?}");
    // A table that somebody keeps locked is named, and not waited for.
    root.query_drop("ALTER TABLE shop.t DROP COLUMN slow").await?;
    root.query_drop("LOCK TABLES shop.t WRITE").await?;
    let job = checked(member, "three", GtidSet::new()).await?;
    assert!(matches!(&job.state, CheckState::Failed { table: Some(table), .. } if table == "shop.t"), "{job:?}");
    root.query_drop("UNLOCK TABLES").await?;
    let job = checked(member, "four", GtidSet::new()).await?;
    assert!(tables(&job)?["shop.t"].rows == 3_000);
    cluster.stop().await
}

//! Read replicas, each beside real members: what they receive, when they apply it, and what they never do.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_tests::cluster::{choose, ended, promote};
use mysql_tests::member::facts;
use mysql_tests::{Cluster, Member};
use topology::facts::{JobKind, JobState, MemberReport, Replication, ThreadState};
use topology::gtid::GtidSet;
use topology::record::{self, Phase, Record};
use wire::{Command, Outcome};

use crate::{Result, ids};

/// Gives the first reader a copy of a member's data.
async fn copy(cluster: &Cluster, donor: usize, record: &Record) -> Result {
    let (reader, donor) = (cluster.reader(0), cluster.member(donor).endpoint().await?);
    let begun = reader.command(record, Command::Clone { donor }).await?;
    assert!(matches!(begun.outcome, Outcome::Pending { .. }), "{:?}", begun.outcome);
    let report = reader.wait("the copy is made", |report| ended(report, JobKind::Clone)).await?;
    assert_eq!(report.job.as_ref().map(|job| &job.state), Some(&JobState::Done));
    Ok(())
}

/// Makes the first reader read from a member.
async fn read(cluster: &Cluster, source: usize, record: &Record, delay_s: u64) -> Result {
    let (reader, source) = (cluster.reader(0), cluster.member(source).endpoint().await?);
    let until = Instant::now() + mysql_tests::member::PATIENCE;
    loop {
        let response = reader.command(record, Command::Read { source: source.clone(), delay_s }).await?;
        match response.outcome {
            Outcome::Done => return Ok(()),
            Outcome::Pending { .. } if Instant::now() < until => {}
            other => anyhow::bail!("the reader does not read from {}: {other:?}", source.member),
        }
    }
}

fn channel(report: &MemberReport) -> Option<&Replication> {
    facts(report).ok()?.replication.as_ref()
}

async fn has_all_of(reader: &Member, primary: &Member) -> Result<MemberReport> {
    let executed = primary.executed().await?;
    let has = |report: &MemberReport| facts(report).is_ok_and(|facts| executed.is_subset_of(&facts.executed));
    reader.wait("the reader has what the primary has", has).await
}

async fn insert(primary: &Member, id: u32) -> Result {
    primary.client("app").await?.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_replica_outlives_a_failover_and_takes_no_part_in_it() -> Result {
    let (mut cluster, record) = Cluster::serving(3, 1).await?;
    cluster.add_reader().await?;
    insert(cluster.member(0), 1).await?;
    copy(&cluster, 1, &record).await?;
    read(&cluster, 1, &record, 0).await?;
    insert(cluster.member(0), 2).await?;
    let (primary, reader) = (cluster.member(0), cluster.reader(0));
    let report = has_all_of(reader, primary).await?;
    let seen = channel(&report).expect("a channel");
    assert_eq!((seen.source_host.as_str(), seen.acknowledges), (cluster.member(1).ip.to_string().as_str(), false));
    let rows: Vec<u32> = reader.client("app").await?.query("SELECT id FROM t ORDER BY id").await?;
    assert_eq!(rows, [1, 2], "applications may read there");
    assert_eq!(reader.probe("/readyz").await?.0, 200);

    takes_no_part(&cluster, &record, report.data.incarnation().expect("data")).await?;
    lags_for_a_while(primary, reader).await?;
    let record = lead_elsewhere(&cluster, &record).await?;
    read(&cluster, 2, &record, 0).await?;
    insert(cluster.member(1), 4).await?;
    let after = has_all_of(reader, cluster.member(1)).await?;
    assert_eq!(after.data, report.data, "nothing was copied");
    assert_eq!(ids(reader).await?, [1, 2, 3, 4]);
    logs_that_are_gone_are_told(&cluster, &record).await?;
    cluster.stop().await
}

/// Even a record that names it as a member in good standing, or as the primary, does not make it one.
async fn takes_no_part(cluster: &Cluster, record: &Record, incarnation: uuid::Uuid) -> Result {
    let reader = cluster.reader(0);
    let mut wrong = record.clone();
    wrong.members.push(record::Member { name: reader.name.clone(), incarnation });
    let source = cluster.member(0).endpoint().await?;
    let leading = Record { primary: reader.name.clone(), ..wrong.clone() };
    for (record, command) in [
        (&wrong, Command::Follow { source: source.clone() }),
        (&wrong, Command::GrantStanding { barrier: GtidSet::new() }),
        (&wrong, Command::Read { source, delay_s: 0 }),
        (&leading, promote(None, &GtidSet::new())),
        (&leading, Command::SetAcks { acks: 0 }),
        (&leading, Command::Undrain),
        (&leading, Command::Initialize),
    ] {
        let said = format!("{command:?}");
        let outcome = reader.command(record, command).await?.outcome;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{said}: {outcome:?}");
    }
    reader.done(record, Command::Store).await?;
    let report = reader.observed().await?;
    assert!(!facts(&report)?.open && channel(&report).is_some_and(|seen| seen.receiver == ThreadState::On));
    let (id, acknowledges): (u32, u8) = reader
        .client("root")
        .await?
        .query_first("SELECT @@server_id, @@rpl_semi_sync_replica_enabled")
        .await?
        .expect("a row");
    assert_eq!((id, acknowledges), (2_000, 0));
    let clients = cluster.member(0).facts().await?.semi_sync.clients;
    assert_eq!(clients, 2, "the two replicas, and nobody else");
    let told =
        cluster.member(1).command(record, Command::Read { source: cluster.member(0).endpoint().await?, delay_s: 0 });
    assert!(matches!(told.await?.outcome, Outcome::Refused { .. }), "a member does not read along");
    Ok(())
}

/// A transaction that cannot be applied yet is late by the time since its commit.
async fn lags_for_a_while(primary: &Member, reader: &Member) -> Result {
    let mut lock = reader.client("root").await?;
    lock.query_drop("LOCK TABLES shop.t READ").await?;
    insert(primary, 3).await?;
    reader.wait("it lags", |report| channel(report).is_some_and(|seen| seen.lag_s >= Some(2))).await?;
    lock.query_drop("UNLOCK TABLES").await?;
    let report = reader.wait("it does not", |report| channel(report).is_some_and(|seen| seen.lag_s == Some(0))).await?;
    assert_eq!(channel(&report).map(|seen| seen.delay_s), Some(0));
    Ok(())
}

/// The first member is lost, the second leads, the third follows it.
async fn lead_elsewhere(cluster: &Cluster, record: &Record) -> Result<Record> {
    let (next, sibling) = (cluster.member(1), cluster.member(2));
    let claimed = record.claimed(None);
    cluster.member(0).done(&claimed, Command::Fence).await?;
    next.done(&claimed, Command::Freeze).await?;
    sibling.done(&claimed, Command::Freeze).await?;
    let known = next.facts().await?.known().union(&sibling.facts().await?.known());
    let chosen = choose(&claimed, next, &next.endpoint().await?, &known);
    let source = Some(sibling.endpoint().await?);
    next.done(&chosen, promote(source, &known)).await?;
    sibling.follow(&chosen, next).await?;
    let serving = Record { phase: Phase::Serving, ..chosen };
    for member in [next, sibling] {
        member.done(&serving, Command::Store).await?;
    }
    Ok(serving)
}

/// A reader that was away for too long is told so in words that the operator knows.
async fn logs_that_are_gone_are_told(cluster: &Cluster, record: &Record) -> Result {
    let (source, reader) = (cluster.member(2), cluster.reader(0));
    reader.done(record, Command::Freeze).await?;
    insert(cluster.member(1), 5).await?;
    has_all_of(source, cluster.member(1)).await?;
    let mut root = source.client("root").await?;
    root.query_drop("FLUSH BINARY LOGS").await?;
    root.query_drop("PURGE BINARY LOGS BEFORE '2100-01-01'").await?;
    reader.command(record, Command::Read { source: source.endpoint().await?, delay_s: 0 }).await?;
    let gone = |report: &MemberReport| {
        channel(report)
            .is_some_and(|seen| seen.receiver == ThreadState::Off && seen.receiver_error.contains("error 1236"))
    };
    reader.wait("what it needs is gone", gone).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_replica_that_is_late_on_purpose_stays_late_whatever_happens() -> Result {
    const LATE: u64 = 3_600;
    let (mut cluster, record) = Cluster::serving(3, 1).await?;
    cluster.add_reader().await?;
    copy(&cluster, 1, &record).await?;
    read(&cluster, 1, &record, LATE).await?;
    let (primary, reader) = (cluster.member(0), cluster.reader(0));
    insert(primary, 1).await?;
    let committed = primary.executed().await?;
    is_late(reader, &committed, LATE).await?;

    reader.kill_mysqld().await?;
    reader.wait("it is dead", |report| facts(report).is_err()).await?;
    is_late(reader, &committed, LATE).await?;
    read(&cluster, 2, &record, LATE).await?;
    is_late(reader, &committed, LATE).await?;
    assert!(ids(reader).await?.is_empty(), "an hour is not over");

    read(&cluster, 2, &record, 0).await?;
    has_all_of(reader, primary).await?;
    assert_eq!(ids(reader).await?, [1]);
    cluster.stop().await
}

/// It has received what was committed, and not applied it, though everything runs.
async fn is_late(reader: &Member, committed: &GtidSet, by: u64) -> Result {
    let waits = |report: &MemberReport| {
        let runs = channel(report)
            .is_some_and(|seen| (seen.receiver, seen.applier, seen.delay_s) == (ThreadState::On, ThreadState::On, by));
        runs && facts(report).is_ok_and(|facts| committed.is_subset_of(&facts.known()))
    };
    reader.wait("it has received and waits", waits).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let report = reader.report().await?;
    assert!(!committed.is_subset_of(&facts(&report)?.executed), "it is early: {report:#?}");
    assert_eq!(channel(&report).and_then(|seen| seen.lag_s), Some(0), "it is as late as it should be and no later");
    Ok(())
}

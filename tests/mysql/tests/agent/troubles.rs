//! Replicas that cannot go on with their data, broken as real ones break: what the agent says, what is concluded from it,
//! and that a copy mends it. Last, a control: what becomes of an acknowledged row where too few members are frozen.

use std::io::{Seek, SeekFrom, Write};

use mysql_async::prelude::Queryable;
use mysql_tests::cluster::{acknowledges, choose, ended, promote};
use mysql_tests::member::facts;
use mysql_tests::{Cluster, Member};
use topology::assess::assess;
use topology::facts::{JobKind, JobState, MemberReport, ServerState, ThreadState};
use topology::leads::EndedLeads;
use topology::plan::{Order, Step};
use topology::quorum::quorum;
use topology::readers::Readers;
use topology::record::{self, Record};
use topology::snapshot::{Desired, MemberView, Pace, PodFacts, Probe, Snapshot};
use topology::trouble::{Trouble, trouble};
use wire::{Command, Outcome};

use crate::{Result, ids, offline_gtids};

/// Longer than any trouble has to last, and no moment in which what failed is tried again.
const LASTS_MS: u64 = 15_000;

/// What an operator would see of three members.
async fn snapshot(cluster: &Cluster, record: &Record) -> Result<Snapshot> {
    let mut members = Vec::new();
    for index in 0..3 {
        let member = cluster.member(index);
        let pod = PodFacts { ip: member.ip.to_string(), node_ready: true, ..PodFacts::default() };
        let probe = Probe::Known { report: Box::new(member.report().await?), age_ms: 0, connected_ms: 60_000 };
        members.push(MemberView {
            signals: None,
            name: member.name.clone(),
            ordinal: index as u32,
            pod: Some(pod),
            probe,
            available: true,
            trouble_ms: LASTS_MS,
            other_version: None,
        });
    }
    Ok(Snapshot {
        namespace: "test".to_owned(),
        cluster: "shop".to_owned(),
        now_unix_ms: 0,
        record: Some(record.clone()),
        record_unchanged_ms: 5_000,
        record_is_ours: true,
        desired: Desired { replicas: 3, acks: record.acks },
        members,
        readers: Readers::default(),
        switchover: None,
        rebuild: None,
        accept_loss: None,
        contradicted_ms: 0,
        restart: None,
        pace: Pace::default(),
        without_primary_ms: 0,
        change_barrier: None,
        drain_failed_ms: None,
        ended_leads: EndedLeads::default(),
    })
}

/// What is wrong with the second member, by its own report.
async fn shown(cluster: &Cluster, record: &Record) -> Result<Option<Trouble>> {
    let snapshot = snapshot(cluster, record).await?;
    Ok(snapshot.member("shop-1").and_then(|member| trouble(&snapshot, member)))
}

/// Has done what an operator concludes: the second member is copied from the third, and votes again.
async fn copied_anew(cluster: &mut Cluster, record: &Record) -> Result<Record> {
    let primary = cluster.member(0).executed().await?;
    let has = |report: &MemberReport| facts(report).is_ok_and(|facts| primary.is_subset_of(&facts.executed));
    cluster.member(2).wait("the other replica has everything", has).await?;
    let steps = assess(&snapshot(cluster, record).await?).steps;
    let copy = Step::Command { member: "shop-1".to_owned(), order: Order::Clone { donor: "shop-2".to_owned() } };
    assert!(steps.contains(&copy), "{steps:#?}");

    let (broken, donor) = (cluster.member(1), cluster.member(2).endpoint().await?);
    let before = broken.report().await?;
    let begun = broken.command(record, Command::Clone { donor }).await?;
    assert!(matches!(begun.outcome, Outcome::Pending { .. }), "{:?}", begun.outcome);
    let replaced =
        |report: &MemberReport| ended(report, JobKind::Clone) && report.data != before.data && facts(report).is_ok();
    let report = broken.wait("the copy is in place", replaced).await?;
    assert_eq!(report.job.as_ref().map(|job| &job.state), Some(&JobState::Done));
    assert_eq!(report.copies.map(|copies| copies.begun), Some(1), "counted, so that a next one can be put off");
    assert_eq!(report.ends, None, "of the former data");
    let incarnation = report.data.incarnation().expect("complete data");
    cluster.member_mut(1).incarnation = incarnation;
    let mut next = Record { generation: record.generation + 1, ..record.clone() };
    next.members[1] = record::Member { name: "shop-1".to_owned(), incarnation };
    cluster.member(0).done(&next, Command::Store).await?;
    cluster.follow_in_good_standing(1, 0, &next).await?;
    insert(cluster.member(0), 99).await?;
    let executed = cluster.member(0).executed().await?;
    let whole = |report: &MemberReport| facts(report).is_ok_and(|facts| executed.is_subset_of(&facts.executed));
    cluster.member(1).wait("it has everything", whole).await?;
    assert_eq!(ids(cluster.member(1)).await?, ids(cluster.member(0)).await?);
    assert_eq!(shown(cluster, &next).await?, None);
    Ok(next)
}

async fn insert(primary: &Member, id: u32) -> Result {
    primary.client("app").await?.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
    Ok(())
}

fn applier(report: &MemberReport) -> Option<ThreadState> {
    facts(report).ok()?.replication.as_ref().map(|channel| channel.applier)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_there_already_stops_an_applier_and_a_copy_mends_it() -> Result {
    let (mut cluster, record) = Cluster::serving(3, 1).await?;
    let mut root = cluster.member(1).client("root").await?;
    for statement in [
        "SET GLOBAL super_read_only = OFF",
        "SET sql_log_bin = 0",
        "INSERT INTO shop.t VALUES (7, 1)",
        "SET GLOBAL super_read_only = ON",
    ] {
        root.query_drop(statement).await?;
    }
    insert(cluster.member(0), 7).await?;
    let stopped = |report: &MemberReport| applier(report) == Some(ThreadState::Off);
    let report = cluster.member(1).wait("its applier stops", stopped).await?;
    assert!(acknowledges(&report), "it goes on acknowledging what it receives: {report:#?}");
    let found = shown(&cluster, &record).await?;
    let Some(Trouble::Applier { error }) = &found else { panic!("{found:?}") };
    assert!(error.starts_with("1062: ") && error.contains("Duplicate entry '7'"), "{error}");
    // Told to follow again, as an operator does at first, it meets the same row.
    let source = cluster.member(0).endpoint().await?;
    cluster.member(1).command(&record, Command::Follow { source }).await?;
    cluster.member(1).wait("its applier stops again", stopped).await?;
    copied_anew(&mut cluster, &record).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_are_purged_end_a_receiver_and_a_copy_mends_it() -> Result {
    let (mut cluster, record) = Cluster::serving(3, 1).await?;
    let mut replica = cluster.member(1).client("root").await?;
    replica.query_drop("STOP REPLICA IO_THREAD").await?;
    insert(cluster.member(0), 1).await?;
    let executed = cluster.member(0).executed().await?;
    let has = |report: &MemberReport| facts(report).is_ok_and(|facts| executed.is_subset_of(&facts.executed));
    cluster.member(2).wait("the other replica has it", has).await?;
    let mut primary = cluster.member(0).client("root").await?;
    primary.query_drop("FLUSH BINARY LOGS").await?;
    insert(cluster.member(0), 2).await?;
    let logs: Vec<(String, u64, String)> = primary.query("SHOW BINARY LOGS").await?;
    let newest = &logs.last().expect("a log").0;
    primary.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await?;
    replica.query_drop("START REPLICA IO_THREAD").await?;
    let ended = |report: &MemberReport| {
        let channel = facts(report).ok().and_then(|facts| facts.replication.as_ref());
        channel.is_some_and(|channel| channel.receiver == ThreadState::Off && !channel.receiver_error.is_empty())
    };
    cluster.member(1).wait("its receiver ends", ended).await?;
    let found = shown(&cluster, &record).await?;
    assert!(matches!(found, Some(Trouble::Purged { .. })), "{found:?}");
    copied_anew(&mut cluster, &record).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn data_on_which_mysqld_does_not_start_is_told_and_a_copy_mends_it() -> Result {
    let (mut cluster, record) = Cluster::serving(3, 1).await?;
    insert(cluster.member(0), 1).await?;
    let executed = cluster.member(0).executed().await?;
    let has = |report: &MemberReport| facts(report).is_ok_and(|facts| executed.is_subset_of(&facts.executed));
    cluster.member(1).wait("it has everything", has).await?;
    cluster.member_mut(1).stop().await?;
    for file in ["mysql.ibd", "ibdata1"] {
        let path = cluster.member(1).volume().join("mysql").join(file);
        let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[0xA5; 256 << 10])?;
    }
    cluster.member_mut(1).start().await?;
    let gave_up = |report: &MemberReport| {
        let ends = report.ends.as_ref().is_some_and(|ends| ends.in_a_row >= 3);
        ends && matches!(report.server, ServerState::Stopped { .. }) && offline_gtids(report).is_some()
    };
    let report = cluster.member(1).wait("its mysqld ends again and again", gave_up).await?;
    assert!(executed.is_subset_of(offline_gtids(&report).expect("read")), "its logs can still be read");
    let found = shown(&cluster, &record).await?;
    assert!(matches!(found, Some(Trouble::Ends { .. }) | None), "None while it tries once more: {found:?}");
    cluster.member(1).wait("it is down again", gave_up).await?;
    copied_anew(&mut cluster, &record).await?;
    cluster.stop().await
}

/// The control: one member fewer than are needed is frozen, and it is not the one that holds the row. What is lost then
/// must be seen to be lost, and what keeps an operator from doing so is the count alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_of_too_few_loses_an_acknowledged_row_and_is_refused_for_it() -> Result {
    let (cluster, record) = Cluster::serving(3, 1).await?;
    let (primary, behind, holder) = (cluster.member(0), cluster.member(1), cluster.member(2));
    behind.client("root").await?.query_drop("STOP REPLICA IO_THREAD").await?;
    insert(primary, 1).await?;
    let acknowledged = primary.executed().await?;
    let claimed = record.claimed(None);
    behind.done(&claimed, Command::Freeze).await?;
    primary.done(&claimed, Command::Fence).await?;

    let few = quorum(&snapshot(&cluster, &claimed).await?, &claimed);
    // The fenced primary has stored the claim too, and alone it would do: take its logs for unread.
    let mut cut_off = snapshot(&cluster, &claimed).await?;
    cut_off.members[0].probe = Probe::Unreachable { for_ms: 1_000, tried_ms: 0, error: "gone".to_owned() };
    assert!(few.is_ok_and(|quorum| quorum.counts_former_primary), "its log has the row");
    let refused = quorum(&cut_off, &claimed).expect_err("one replica of two");
    assert_eq!((refused.needed, refused.counted), (2, vec!["shop-1".to_owned()]));

    let known = behind.facts().await?.known();
    let wrong = Record { acks: 0, ..choose(&claimed, behind, &behind.endpoint().await?, &known) };
    behind.done(&wrong, promote(None, &known)).await?;
    assert!(
        !acknowledged.is_subset_of(&behind.executed().await?),
        "the row came from nowhere: this control shows nothing"
    );
    assert!(ids(behind).await?.is_empty(), "a client heard OK for 1, and whoever looks for it sees that it is gone");
    let held = facts(&holder.report().await?)?.known();
    assert!(acknowledged.is_subset_of(&held), "the member that was not asked has it");
    cluster.stop().await
}

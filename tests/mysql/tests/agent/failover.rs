//! From nothing to a failover, and whatever a change of primary is made of: freezing, draining, catching up, opening.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_tests::Cluster;
use mysql_tests::cluster::{acknowledges, choose, ended, promote};
use mysql_tests::member::facts;
use topology::facts::{JobKind, JobState, MemberReport, ServerState, Standing, ThreadState};
use topology::gtid::GtidSet;
use topology::record::{Phase, Record};
use wire::{Command, Outcome};

use crate::{Result, ids, measured, offline_gtids, primary_endpoint, receiver, waiting_insert};

/// From nothing to a failover: what was acknowledged is there afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_and_fails_over_without_losing_what_it_acknowledged() -> Result {
    let mut cluster = Cluster::new().await?;
    cluster.add_empty().await?;
    let since = Instant::now();
    let report = cluster.initialize(0).await?;
    measured("initialize", since);
    let made = facts(&report)?;
    assert!(made.offline && made.read_only && !made.open, "the first start is closed");
    assert!(made.executed.is_empty(), "the history begins with the first transaction of a user");
    assert_eq!(report.standing, Standing::Good);

    let record = cluster.record(1, Phase::Promoting, 0, 0);
    let since = Instant::now();
    let report = cluster.member(0).done(&record, promote(None, &GtidSet::new())).await?;
    measured("open the first primary", since);
    assert!(facts(&report)?.open);
    assert_eq!(report.opened_in_epoch, Some(1));
    assert_eq!(cluster.member(0).probe("/readyz").await?.0, 200);
    let mut app = cluster.member(0).client("app").await?;
    app.query_drop("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await?;
    app.query_drop("INSERT INTO t VALUES (1, 0)").await?;

    let record = clone_second(&mut cluster, &record).await?;
    app.query_drop("INSERT INTO t VALUES (2, 0)").await?;
    fail_over(&cluster, &record).await?;
    cluster.stop().await
}

/// Clones the first member to an empty second one, which then acknowledges.
async fn clone_second(cluster: &mut Cluster, record: &Record) -> Result<Record> {
    let donor = cluster.member(0).endpoint().await?;
    let record =
        Record { generation: 1, primary_server_uuid: Some(donor.server_uuid), phase: Phase::Serving, ..record.clone() };
    cluster.add_empty().await?;
    let since = Instant::now();
    let begun = cluster.member(1).command(&record, Command::Clone { donor: donor.clone() }).await?;
    assert!(matches!(begun.outcome, Outcome::Pending { .. }), "{:?}", begun.outcome);
    let report = cluster.member(1).wait("the copy is made", |report| ended(report, JobKind::Clone)).await?;
    measured("clone", since);
    assert_eq!(report.job.as_ref().map(|job| &job.state), Some(&JobState::Done));
    assert!(matches!(report.standing, Standing::Unproved { .. }), "a copy has proved nothing");
    let copy = facts(&report)?;
    assert!(copy.offline && copy.read_only);
    assert_ne!(copy.server_uuid, donor.server_uuid);
    assert_eq!(copy.executed, cluster.member(0).executed().await?);
    let incarnation = report.data.incarnation().expect("complete data");
    cluster.member_mut(1).incarnation = incarnation;

    let mut record = record;
    record.generation = 2;
    record.members = cluster.record(1, Phase::Serving, 0, 0).members;
    // First the primary, which lets it in as one who votes.
    cluster.member(0).done(&record, Command::Store).await?;
    let report = cluster.member(1).follow(&record, cluster.member(0)).await?;
    assert!(!acknowledges(&report), "without standing it must not acknowledge");
    cluster.follow_in_good_standing(1, 0, &record).await?;
    record.generation = 3;
    record.acks = 1;
    cluster.member(0).done(&record, Command::SetAcks { acks: 1 }).await?;
    cluster.member(1).done(&record, Command::Store).await?;
    let primary = cluster.member(0).facts().await?;
    assert!(primary.semi_sync.enabled && primary.semi_sync.wait_count == 1);
    assert_eq!(cluster.member(1).probe("/readyz").await?.0, 200);
    Ok(record)
}

/// Kills the primary and promotes the replica, with a commit waiting that nobody acknowledged.
async fn fail_over(cluster: &Cluster, record: &Record) -> Result {
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let executed = primary.executed().await?;
    let pid = primary.facts().await?.pid;
    let exited = |report: &MemberReport| matches!(&report.server, ServerState::Stopped { exit: Some(exit), .. } if exit == "signal 9");
    // The stream is open before the kill, as the operator's is.
    let reported = async { primary.wait("its exit is reported", exited).await.map(|_| Instant::now()) };
    let killed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        primary.kill_mysqld().await.map(|()| Instant::now())
    };
    let (reported, killed) = tokio::try_join!(reported, killed)?;
    eprintln!("measured: exit reported: {} ms", reported.saturating_duration_since(killed).as_millis());
    let report = primary.wait("its logs are read", |report| offline_gtids(report).is_some()).await?;
    assert!(
        executed.is_subset_of(offline_gtids(&report).expect("just seen")),
        "the binary log holds what was executed"
    );
    replica.wait("the lost source is seen", |report| receiver(report) != Some(ThreadState::On)).await?;

    let claimed = record.claimed(None);
    let since = Instant::now();
    let report = replica.done(&claimed, Command::Freeze).await?;
    measured("freeze", since);
    assert_eq!(receiver(&report), Some(ThreadState::Off));
    let known = facts(&report)?.known();
    assert!(executed.is_subset_of(&known), "every acknowledged transaction is on the replica");

    let chosen = Record { acks: 0, ..choose(&claimed, replica, &replica.endpoint().await?, &known) };
    let since = Instant::now();
    let report = replica.done(&chosen, promote(None, &known)).await?;
    measured("promote", since);
    assert!(facts(&report)?.open && facts(&report)?.replication.is_none());
    assert_eq!(report.opened_in_epoch, Some(2));
    assert_eq!(ids(replica).await?, [1, 2]);
    replica.client("app").await?.query_drop("INSERT INTO t VALUES (3, 0)").await?;

    // The former primary waits for the operator: it is not restarted by itself, and starts closed when told to.
    assert!(matches!(primary.report().await?.server, ServerState::Stopped { .. }));
    let report = primary.done(&chosen, Command::Start).await?;
    let restarted = facts(&report)?;
    assert!(restarted.offline && restarted.read_only && restarted.pid != pid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_kills_a_primary_with_waiting_commits_and_reads_its_log() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let claimed = record.claimed(None);
    replica.done(&claimed, Command::Freeze).await?;
    let executed = primary.executed().await?;
    let insert = waiting_insert(primary, 7).await?;

    let since = Instant::now();
    let report = primary.done(&claimed, Command::Freeze).await?;
    measured("freeze of a primary with a waiting commit", since);
    assert!(insert.await?.is_err(), "nobody acknowledged it, so nobody may hear OK");
    let known = offline_gtids(&report).expect("stopped and read");
    assert_eq!(known.subtract(&executed).count(), 1, "the tail is in the binary log: {known} after {executed}");
    assert!(executed.is_subset_of(known));

    // Reopened in place under a later claim: the restart commits the tail.
    let chosen = Record { acks: 0, ..choose(&claimed, primary, &primary_endpoint(&record, primary), known) };
    let known = known.clone();
    primary.done(&chosen, promote(None, &known)).await?;
    assert_eq!(ids(primary).await?, [7]);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_the_agent_with_a_waiting_commit_gives_its_client_no_ok() -> Result {
    let (mut cluster, record) = Cluster::serving(2, 1).await?;
    cluster.member(1).done(&record.claimed(None), Command::Freeze).await?;
    let insert = waiting_insert(cluster.member(0), 1).await?;
    let since = Instant::now();
    cluster.member_mut(0).stop().await?;
    measured("end with a waiting commit", since);
    assert!(insert.await?.is_err());
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_cannot_end_is_taken_back_and_a_drained_primary_changes_sides_alive() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let mut root = replica.client("root").await?;
    root.query_drop("STOP REPLICA IO_THREAD").await?;
    let insert = waiting_insert(primary, 1).await?;

    let drained = primary.command(&record, Command::Drain { deadline_ms: 500 }).await?;
    assert!(matches!(drained.outcome, Outcome::Failed { .. }), "{:?}", drained.outcome);
    let open = facts(&drained.report)?;
    assert!(open.open && open.semi_sync.enabled, "taken back: {open:?}");
    assert_eq!(open.semi_sync.waiting_commits, 1, "the commit waits on, unacknowledged");
    assert!(insert.await?.is_err(), "offline_mode cut its client off");

    root.query_drop("START REPLICA IO_THREAD").await?;
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (2, 0)").await?;
    let since = Instant::now();
    let report = primary.done(&record, Command::Drain { deadline_ms: 10_000 }).await?;
    measured("drain", since);
    let pid = facts(&report)?.pid;
    assert!(!facts(&report)?.open);
    primary.done(&record, Command::Undrain).await?;
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (3, 0)").await?;
    primary.done(&record, Command::Drain { deadline_ms: 10_000 }).await?;

    let claimed = record.claimed(None);
    let frozen = primary.done(&claimed, Command::Freeze).await?;
    assert_eq!(facts(&frozen)?.pid, pid, "a drained primary need not be killed");
    let known = facts(&replica.done(&claimed, Command::Freeze).await?)?.known();
    let chosen = choose(&claimed, replica, &replica.endpoint().await?, &known);
    replica.done(&chosen, promote(None, &known)).await?;
    let report = primary.follow(&chosen, replica).await?;
    assert_eq!(facts(&report)?.pid, pid);
    replica.client("app").await?.query_drop("INSERT INTO t VALUES (4, 0)").await?;
    assert_eq!(ids(replica).await?, [1, 2, 3, 4], "the old primary acknowledges as a replica");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_survives_a_new_source_and_a_restart_and_is_executed_before_opening() -> Result {
    let (mut cluster, record) = Cluster::serving(3, 1).await?;
    let mut app = cluster.member(0).client("app").await?;
    app.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    let before = cluster.member(0).executed().await?;
    let has = |report: &MemberReport| facts(report).is_ok_and(|facts| before.is_subset_of(&facts.executed));
    cluster.member(1).wait("the row is applied", has).await?;

    // An open transaction keeps the applier of the second member from changing the table: what comes now is
    // received, not executed.
    let mut lock = cluster.member(1).client("root").await?;
    lock.query_drop("START TRANSACTION").await?;
    lock.query_drop("SELECT * FROM shop.t").await?;
    app.query_drop("ALTER TABLE t ADD COLUMN w INT").await?;
    app.query_drop("UPDATE t SET v = 1 WHERE id = 1").await?;
    let all = cluster.member(0).executed().await?;
    let received =
        |report: &MemberReport| facts(report).is_ok_and(|facts| all.is_subset_of(&facts.received.union(&before)));
    cluster.member(1).wait("the update is received", received).await?;
    let held = cluster.member(1).facts().await?;
    assert!(!all.is_subset_of(&held.executed), "the lock holds the applier");

    let claimed = record.claimed(None);
    for index in [1, 2] {
        cluster.member(index).done(&claimed, Command::Freeze).await?;
    }
    let third = cluster.member(2).endpoint().await?;
    let chosen = choose(&claimed, cluster.member(2), &third, &all);
    cluster
        .member(2)
        .wait("the third has it all", |report| facts(report).is_ok_and(|facts| all.is_subset_of(&facts.known())))
        .await?;
    cluster.member(2).done(&chosen, promote(None, &all)).await?;
    let report = cluster.member(1).follow(&chosen, cluster.member(2)).await?;
    let kept = facts(&report)?;
    assert_eq!(kept.replication.as_ref().map(|channel| channel.receiver), Some(ThreadState::On));
    assert!(held.received.is_subset_of(&kept.received) && !all.is_subset_of(&kept.executed), "{kept:?}");

    let again = chosen.claimed(None);
    cluster.member(1).done(&again, Command::Freeze).await?;
    drop(lock);
    cluster.member(1).kill_mysqld().await?;
    cluster.member_mut(1).stop().await?;
    cluster.member_mut(1).start().await?;
    let report = cluster.member(1).wait("it restarts by itself, a replica", |report| facts(report).is_ok()).await?;
    assert!(all.is_subset_of(&facts(&report)?.known()));
    assert!(facts(&report)?.offline && receiver(&report) == Some(ThreadState::Off), "closed, and frozen as before");
    let second = cluster.member(1);
    let chosen = Record { acks: 0, ..choose(&again, second, &second.endpoint().await?, &all) };
    second.done(&chosen, promote(None, &all)).await?;
    let value: Option<u32> = second.client("root").await?.query_first("SELECT v FROM shop.t WHERE id = 1").await?;
    assert_eq!(value, Some(1));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_fetches_what_it_lacks_before_it_opens_and_gives_up_for_a_later_claim() -> Result {
    let (cluster, record) = Cluster::serving(3, 1).await?;
    let (primary, ahead, behind) = (cluster.member(0), cluster.member(1), cluster.member(2));
    behind.client("root").await?.query_drop("STOP REPLICA IO_THREAD").await?;
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    let all = primary.executed().await?;

    let claimed = record.claimed(None);
    let fenced = primary.done(&claimed, Command::Fence).await?;
    assert!(all.is_subset_of(offline_gtids(&fenced).expect("read")));
    for member in [ahead, behind] {
        member.done(&claimed, Command::Freeze).await?;
    }
    let chosen = Record { acks: 0, ..choose(&claimed, behind, &behind.endpoint().await?, &all) };
    let alone = behind.command(&chosen, promote(None, &all)).await?;
    assert!(matches!(alone.outcome, Outcome::Refused { .. }), "{:?}", alone.outcome);

    // Somebody else's transaction can never come: the promotion waits, until a later claim ends it at once.
    let never: GtidSet = format!("{all},00000000-0000-0000-0000-00000000000a:1").parse()?;
    let source = Some(ahead.endpoint().await?);
    let waiting = promote(source.clone(), &never);
    let (given_up, stored) = tokio::join!(behind.command(&chosen, waiting), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let since = Instant::now();
        let frozen = behind.done(&chosen.claimed(None), Command::Freeze).await;
        measured("freeze during a promotion", since);
        frozen
    });
    let given_up = given_up?.outcome;
    assert!(matches!(given_up, Outcome::Stale { .. }), "{given_up:?}");
    let report = stored?;
    assert!(!facts(&report)?.open && receiver(&report) == Some(ThreadState::Off));

    let again = chosen.claimed(None);
    let chosen = Record { acks: 0, ..choose(&again, behind, &behind.endpoint().await?, &all) };
    behind.done(&chosen, promote(source, &all)).await?;
    assert_eq!(ids(behind).await?, [1]);
    cluster.stop().await
}

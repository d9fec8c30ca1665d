//! What the agent promises, each against a real mysqld. A test that passes with the behaviour broken is a defect.

#[path = "agent/locks.rs"]
mod locks;
#[path = "agent/readers.rs"]
mod readers;
#[path = "agent/signals.rs"]
mod signals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_tests::cluster::{acknowledges, choose, ended, promote};
use mysql_tests::member::{facts, program};
use mysql_tests::{Cluster, Member};
use tokio::task::JoinHandle;
use topology::facts::{DataState, JobKind, JobState, MemberReport, ServerState, Standing, ThreadState, VolumeTrouble};
use topology::gtid::GtidSet;
use topology::record::{GivenUp, Phase, Record};
use wire::{Command, Endpoint, Outcome};

#[path = "agent/alone.rs"]
mod alone;

type Result<T = ()> = anyhow::Result<T>;

/// Starts an insert as an application and leaves it waiting for an acknowledgement.
async fn waiting_insert(primary: &Member, id: u32) -> Result<Waiting> {
    waiting_statement(primary, format!("INSERT INTO t VALUES ({id}, 0)")).await
}

/// What became of a statement that waits.
type Waiting = JoinHandle<std::result::Result<(), mysql_async::Error>>;

async fn waiting_statement(primary: &Member, statement: impl Into<String>) -> Result<Waiting> {
    let (mut app, statement) = (primary.client("app").await?, statement.into());
    let insert = tokio::spawn(async move { app.query_drop(statement).await });
    primary
        .wait("a commit waits", |report| facts(report).is_ok_and(|facts| facts.semi_sync.waiting_commits == 1))
        .await?;
    Ok(insert)
}

async fn ids(member: &Member) -> Result<Vec<u32>> {
    Ok(member.client("root").await?.query("SELECT id FROM shop.t ORDER BY id").await?)
}

fn offline_gtids(report: &MemberReport) -> Option<&GtidSet> {
    match &report.server {
        ServerState::Stopped { gtids, .. } => gtids.as_ref(),
        _ => None,
    }
}

fn receiver(report: &MemberReport) -> Option<ThreadState> {
    facts(report).ok()?.replication.as_ref().map(|channel| channel.receiver)
}

/// One line of a measured figure, for whoever runs the tests with `--nocapture`.
fn measured(what: &str, since: Instant) {
    eprintln!("measured: {what}: {} ms", since.elapsed().as_millis());
}

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
async fn a_record_from_the_past_is_refused_and_what_is_promised_survives_the_agent() -> Result {
    let (mut cluster, record) = Cluster::serving(1, 0).await?;
    let later = record.claimed(None);
    cluster.member(0).done(&later, Command::Store).await?;
    for command in [Command::Store, Command::Undrain, Command::Freeze] {
        let response = cluster.member(0).command(&record, command).await?;
        assert!(matches!(response.outcome, Outcome::Stale { .. }), "{:?}", response.outcome);
    }
    assert!(facts(&cluster.member(0).report().await?)?.open, "a refused freeze changes nothing");
    let back = Record { primary_since_epoch: 0, epoch: 9, ..record.clone() };
    assert!(matches!(cluster.member(0).command(&back, Command::Store).await?.outcome, Outcome::Stale { .. }));

    cluster.member_mut(0).stop().await?;
    cluster.member_mut(0).start().await?;
    let report = cluster.member(0).report().await?;
    assert_eq!(report.record.as_ref(), Some(&later));
    assert_eq!(report.opened_in_epoch, Some(1));
    assert_eq!(report.standing, Standing::Good);
    let refused = cluster.member(0).command(&later, promote(None, &GtidSet::new())).await?;
    assert!(matches!(refused.outcome, Outcome::Refused { .. }), "nobody opens while Freezing: {:?}", refused.outcome);
    cluster.stop().await
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
async fn a_killed_primary_comes_back_without_what_nobody_acknowledged_and_without_a_copy() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (former, primary) = (cluster.member(0), cluster.member(1));
    former.client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    let (chosen, tail) = leave_a_tail(&cluster, &record, "INSERT INTO t VALUES (7, 0)").await?;
    let (data, server) = (former.report().await?.data, record.primary_server_uuid);

    let since = Instant::now();
    let report = former.done(&chosen, Command::Trim { keep: primary.executed().await? }).await?;
    measured("trim and start", since);
    let facts = facts(&report)?;
    assert!(!facts.open && facts.executed.is_subset_of(&primary.executed().await?), "{}", facts.executed);
    assert_eq!(report.data, data, "the same copy of the data");
    assert_ne!(Some(facts.server_uuid), server, "its numbers may be issued again, so its name may not");
    assert_eq!(report.opened_as, server.as_slice(), "and the old name is remembered");
    let trimmed = report.trimmed.expect("what was cut is reported");
    assert_eq!(trimmed.transactions, tail);
    let saved = std::process::Command::new(program("mysqlbinlog")?).args(["-v", &trimmed.saved_as]).output()?;
    let saved = String::from_utf8_lossy(&saved.stdout).into_owned();
    assert!(saved.contains("@1=7"), "the row that was cut can be read: {saved}");

    cluster.follow_in_good_standing(0, 1, &chosen).await?;
    assert!(former.facts().await?.offline, "whoever still takes it for the primary reads nothing here");
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (8, 0)").await?;
    let executed = primary.executed().await?;
    former.wait("it catches up", |report| executed_is(report, &executed)).await?;
    assert_eq!(ids(former).await?, [1, 8], "the row that nobody acknowledged is rolled back");
    former.wait("it may be read from", |report| self::facts(report).is_ok_and(|facts| !facts.offline)).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_no_change_of_rows_or_was_committed_by_a_start_is_not_cut() -> Result {
    for committed in [false, true] {
        let (cluster, record) = Cluster::serving(2, 1).await?;
        let (former, primary) = (cluster.member(0), cluster.member(1));
        let statement = if committed { "INSERT INTO t VALUES (7, 0)" } else { "ALTER TABLE t ADD COLUMN w INT" };
        let (chosen, tail) = leave_a_tail(&cluster, &record, statement).await?;
        if committed {
            former.done(&chosen, Command::Start).await?;
            former.kill_mysqld().await?;
            former.wait("it is dead", |report| matches!(report.server, ServerState::Stopped { .. })).await?;
        }
        let report = former.done(&chosen, Command::Trim { keep: primary.executed().await? }).await?;
        assert_eq!(report.trimmed, None);
        assert!(tail.is_subset_of(&facts(&report)?.executed), "it is there for the operator to see");
        cluster.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_not_cut_off_and_its_server_gets_another_name() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (former, primary) = (cluster.member(0), cluster.member(1));
    let (chosen, tail) = leave_a_tail(&cluster, &record, "INSERT INTO t VALUES (7, 0)").await?;
    let server = record.primary_server_uuid.expect("a served record");
    let given_up = GivenUp { epoch: chosen.epoch, servers: vec![server], members: vec![former.name.clone()] };
    let chosen = Record { generation: chosen.generation + 1, given_up: vec![given_up], ..chosen };
    let report = former.done(&chosen, Command::Trim { keep: primary.executed().await? }).await?;
    assert_eq!(report.trimmed, None);
    let facts = facts(&report)?;
    assert!(!facts.open && tail.is_subset_of(&facts.executed), "a client may have heard OK: {}", facts.executed);
    assert_ne!(facts.server_uuid, server, "others may know the numbers that it would issue next");
    assert_eq!(ids(former).await?, [7], "whoever wants it back can read it");
    cluster.stop().await
}

/// Kills the first member's mysqld while a statement waits for an acknowledgement, and opens the second. Returns the
/// record, which is Serving, and what only the first one has.
async fn leave_a_tail(cluster: &Cluster, record: &Record, statement: &'static str) -> Result<(Record, GtidSet)> {
    let (former, primary) = (cluster.member(0), cluster.member(1));
    let claimed = record.claimed(None);
    primary.done(&claimed, Command::Freeze).await?;
    let executed = former.executed().await?;
    let waiting = waiting_statement(former, statement).await?;
    let report = former.done(&claimed, Command::Freeze).await?;
    assert!(waiting.await?.is_err(), "nobody acknowledged it, so nobody may hear OK");
    let tail = offline_gtids(&report).expect("stopped and read").subtract(&executed);
    assert_eq!(tail.count(), 1);
    let known = primary.facts().await?.known();
    let chosen = Record { acks: 0, ..choose(&claimed, primary, &primary.endpoint().await?, &known) };
    primary.done(&chosen, promote(None, &known)).await?;
    let serving = Record { phase: Phase::Serving, base: primary.executed().await?, ..chosen };
    primary.done(&serving, Command::Store).await?;
    Ok((serving, tail))
}

fn executed_is(report: &MemberReport, wanted: &GtidSet) -> bool {
    facts(report).is_ok_and(|facts| facts.executed == *wanted)
}

fn primary_endpoint(record: &Record, member: &Member) -> Endpoint {
    let server_uuid = record.primary_server_uuid.expect("a served record");
    Endpoint { member: member.name.clone(), host: member.ip.to_string(), server_uuid }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_comes_back_by_itself_and_a_new_boot_of_the_machine_ends_its_standing() -> Result {
    let (mut cluster, record) = Cluster::serving(2, 1).await?;
    let pid = cluster.member(1).facts().await?.pid;
    cluster.member(1).kill_mysqld().await?;
    let back = |report: &MemberReport| acknowledges(report) && facts(report).is_ok_and(|facts| facts.pid != pid);
    cluster.member(1).wait("it follows and acknowledges again", back).await?;
    cluster.member(0).client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;

    cluster.member_mut(1).stop().await?;
    std::fs::write(cluster.member(1).dir().join("boot-id"), "second boot\n")?;
    cluster.member_mut(1).start().await?;
    let receives = |report: &MemberReport| receiver(report) == Some(ThreadState::On);
    let report = cluster.member(1).wait("it follows", receives).await?;
    assert_eq!(report.standing, Standing::Unproved { because: "the machine restarted".to_owned() });
    assert!(!acknowledges(&report));
    assert_eq!(cluster.member(1).probe("/readyz").await?.0, 503);
    let never: GtidSet = "00000000-0000-0000-0000-00000000000a:1".parse()?;
    let refused = cluster.member(1).command(&record, Command::GrantStanding { barrier: never }).await?;
    assert!(matches!(refused.outcome, Outcome::Refused { .. }));
    cluster.follow_in_good_standing(1, 0, &record).await?;

    let leaving = Record { generation: record.generation + 1, leaving: Some("shop-1".to_owned()), ..record.clone() };
    cluster.member(1).done(&leaving, Command::Store).await?;
    cluster.member(1).wait("a leaving member does not acknowledge", |report| !acknowledges(report)).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_option_is_reported_and_does_not_keep_mysqld_down() -> Result {
    let mut cluster = Cluster::new().await?;
    cluster.add_placed().await?;
    let record = cluster.record(1, Phase::Promoting, 0, 0);
    let options = cluster.member(0).dir().join("user.cnf");
    std::fs::write(&options, "max_connections = 77\nsync_binlog = 0\n")?;
    let report = cluster.member(0).done(&record, Command::Start).await?;
    assert_eq!(report.config_error, None);
    let variables = "SELECT CONCAT(@@max_connections, ' ', @@sync_binlog, ' ', @@replica_parallel_workers)";
    let set: Option<String> = cluster.member(0).client("root").await?.query_first(variables).await?;
    assert_eq!(set.as_deref(), Some("77 1 16"), "the user's part is in force, except for what safety rests on");
    cluster.member_mut(0).stop().await?;

    std::fs::write(&options, "innodb_log_files_in_group = 3\n")?;
    cluster.member_mut(0).start().await?;
    let report = cluster.member(0).done(&record, Command::Start).await?;
    assert!(facts(&report).is_ok());
    let error = report.config_error.expect("reported");
    assert!(error.contains("innodb_log_files_in_group"), "in mysqld's own words: {error}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_never_made_over_data_and_a_failed_copy_leaves_the_old() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let refused = cluster.member(0).command(&record, Command::Initialize).await?;
    assert!(matches!(refused.outcome, Outcome::Refused { .. }));
    let refused =
        cluster.member(0).command(&record, Command::Clone { donor: cluster.member(1).endpoint().await? }).await?;
    assert!(matches!(refused.outcome, Outcome::Refused { .. }));

    let replica = cluster.member(1);
    let before = replica.report().await?;
    let stranger = Endpoint { server_uuid: uuid::Uuid::new_v4(), ..cluster.member(0).endpoint().await? };
    replica.command(&record, Command::Clone { donor: stranger.clone() }).await?;
    let report = replica.wait("the copy failed", |report| ended(report, JobKind::Clone)).await?;
    assert!(matches!(report.job.as_ref().map(|job| &job.state), Some(JobState::Failed { .. })), "{:?}", report.job);
    assert_eq!(report.data, before.data);
    assert!(matches!(report.data, DataState::Ready { .. }));

    let followed = replica.command(&record, Command::Follow { source: stranger }).await?;
    assert!(matches!(followed.outcome, Outcome::Failed { .. }), "{:?}", followed.outcome);
    assert_eq!(receiver(&replica.observed().await?), Some(ThreadState::Off), "a stranger is left at once");

    // A rebuild of good data: a new copy, a new identity, and the old one is gone once the new one answers.
    let donor = cluster.member(0).endpoint().await?;
    replica.command(&record, Command::Clone { donor }).await?;
    let rebuilt = |report: &MemberReport| {
        ended(report, JobKind::Clone) && report.data.incarnation() != before.data.incarnation() && facts(report).is_ok()
    };
    let report = replica.wait("it is rebuilt", rebuilt).await?;
    assert!(matches!(report.standing, Standing::Unproved { .. }));
    let old = replica.volume().join("mysql.old");
    let until = Instant::now() + Duration::from_secs(10);
    while old.exists() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!old.exists());

    // What a copy holds is proved by its binary log alone, although its history was written by another server.
    let executed = replica.executed().await?;
    assert!(!executed.is_empty());
    replica.kill_mysqld().await?;
    let report = replica.wait("its logs are read", |report| offline_gtids(report).is_some()).await?;
    assert_eq!(offline_gtids(&report), Some(&executed));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_is_let_in() -> Result {
    let mut cluster = Cluster::new().await?;
    cluster.add_empty().await?;
    let somebody = cluster.authority.issue("shop-1", &[])?;
    let authority = cluster.authority.pem();
    let tls = wire_client::tls_config(authority.as_bytes(), somebody.certificate.as_bytes(), somebody.key.as_bytes())?;
    let refused = async { anyhow::Ok(cluster.member(0).connect_with(Arc::clone(&tls)).await?.report().await?) };
    assert!(refused.await.is_err());
    assert_eq!(cluster.member(0).report().await?.data, DataState::Empty);
    assert_eq!(cluster.member(0).probe("/livez").await?.0, 200);
    assert_eq!(cluster.member(0).probe("/readyz").await?.0, 503);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_reported_and_a_freeze_does_not_wait_for_it() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let replica = cluster.member(1);
    // What it has received and not executed yet is in its logs too.
    let known = cluster.member(0).executed().await?;
    replica.wait("it has everything", |report| facts(report).is_ok_and(|facts| facts.known() == known)).await?;
    replica.signal_mysqld(nix::sys::signal::Signal::SIGSTOP).await?;
    let silent = |report: &MemberReport| matches!(report.server, ServerState::Unresponsive { .. });
    replica.wait("its silence is reported", silent).await?;
    let since = Instant::now();
    let report = replica.done(&record.claimed(None), Command::Freeze).await?;
    measured("freeze of a server that hangs", since);
    assert_eq!(offline_gtids(&report), Some(&known), "killed, and its logs read: {:?}", report.server);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_waits_for_a_dead_machine_is_stopped_and_its_server_lives() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let replica = cluster.member(1);
    let pid = replica.facts().await?.pid;
    let (_machine, host) = dead_machine().await?;
    let dead = Endpoint { host, ..primary_endpoint(&record, cluster.member(0)) };
    replica.command(&record, Command::Follow { source: dead }).await?;
    let since = Instant::now();
    let report = replica.done(&record.claimed(None), Command::Freeze).await?;
    measured("freeze of a receiver that connects", since);
    assert_eq!(receiver(&report), Some(ThreadState::Off));
    assert_eq!(facts(&report)?.pid, pid, "mysqld was killed for it");
    cluster.stop().await
}

/// What a connection sees of a machine without power: no answer, and no refusal either. A listener whose queue is
/// full drops whatever comes.
async fn dead_machine() -> Result<(Vec<tokio::task::JoinHandle<()>>, String)> {
    let address = std::net::SocketAddr::from(([127, 77, 0, 1], 3306));
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(address)?;
    let listener = socket.listen(1)?;
    let mut kept = vec![tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(listener);
    })];
    for _ in 0..4 {
        kept.push(tokio::spawn(async move {
            let stream = tokio::net::TcpStream::connect(address).await;
            std::future::pending::<()>().await;
            drop(stream);
        }));
    }
    let full = || async {
        let one_more = tokio::net::TcpStream::connect(address);
        tokio::time::timeout(Duration::from_millis(200), one_more).await.is_err()
    };
    while !full().await {}
    Ok((kept, address.ip().to_string()))
}

/// What an agent and its questions cost while nothing happens. No assertion: it is a figure, and run by hand.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for 20 s: cargo test -p mysql-tests -- --ignored --nocapture at_rest"]
async fn at_rest() -> Result {
    let (cluster, _) = Cluster::serving(2, 1).await?;
    let pids = [std::process::id(), cluster.member(0).facts().await?.pid, cluster.member(1).facts().await?.pid];
    let before = pids.map(cpu_seconds);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let used = pids.map(cpu_seconds);
    for (what, index) in [("two agents", 0), ("the primary's mysqld", 1), ("the replica's mysqld", 2)] {
        eprintln!("measured: {what}: {:.2} % of a core", (used[index] - before[index]) / 20.0 * 100.0);
    }
    cluster.stop().await
}

/// User and system time of a process, in seconds: fields 14 and 15 of its stat, in hundredths.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    let ticks: f64 =
        after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_takes_no_writes_is_told_of_for_as_long_as_it_does_not() -> Result {
    let mut cluster = Cluster::new().await?;
    let mounted = cluster.add_mounted().await?;
    let member = cluster.member(0);
    mounted.freeze()?;
    let stalled = |report: &MemberReport| matches!(report.volume, Some(VolumeTrouble::Stalled { for_ms: 1_000.. }));
    member.wait("its volume stands still", stalled).await?;
    mounted.thaw()?;
    member.wait("its volume goes on", |report| report.volume.is_none()).await?;
    let filler = mounted.fill()?;
    let full = |report: &MemberReport| match &report.volume {
        Some(VolumeTrouble::Failed { error }) => error.contains("full") || error.contains("No space"),
        Some(VolumeTrouble::Stalled { .. }) | None => false,
    };
    member.wait("its volume is full", full).await?;
    std::fs::remove_file(filler)?;
    member.wait("there is room again", |report| report.volume.is_none()).await?;
    cluster.stop().await
}

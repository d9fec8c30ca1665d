//! What the agent promises, each against a real mysqld. A test that passes with the behaviour broken is a defect.

#[path = "agent/alone.rs"]
mod alone;
#[path = "agent/archive.rs"]
mod archive;
#[path = "agent/backups.rs"]
mod backups;
#[path = "agent/certificates.rs"]
mod certificates;
#[path = "agent/checks.rs"]
mod checks;
#[path = "agent/encryption.rs"]
mod encryption;
#[path = "agent/failover.rs"]
mod failover;
#[path = "agent/hangs.rs"]
mod hangs;
#[path = "agent/imports.rs"]
mod imports;
#[path = "agent/locks.rs"]
mod locks;
#[path = "agent/readers.rs"]
mod readers;
#[path = "agent/recovery.rs"]
mod recovery;
#[path = "agent/signals.rs"]
mod signals;
#[path = "agent/tails.rs"]
mod tails;
#[path = "agent/troubles.rs"]
mod troubles;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_tests::cluster::{acknowledges, choose, ended, promote};
use mysql_tests::member::facts;
use mysql_tests::{Cluster, Member};
use tokio::task::JoinHandle;
use topology::facts::{DataState, JobKind, JobState, MemberReport, ServerState, Standing, ThreadState};
use topology::gtid::GtidSet;
use topology::record::{Phase, Record};
use wire::{Command, Endpoint, Outcome};

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

fn executed_is(report: &MemberReport, wanted: &GtidSet) -> bool {
    facts(report).is_ok_and(|facts| facts.executed == *wanted)
}

/// One line of a measured figure, for whoever runs the tests with `--nocapture`.
fn measured(what: &str, since: Instant) {
    eprintln!("measured: {what}: {} ms", since.elapsed().as_millis());
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

fn primary_endpoint(record: &Record, member: &Member) -> Endpoint {
    let server_uuid = record.primary_server_uuid.expect("a served record");
    Endpoint { member: member.name.clone(), host: member.ip.to_string(), server_uuid }
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

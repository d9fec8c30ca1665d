//! Backups of real members into a real S3 server, and what another cluster makes of them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lab::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use mysql_async::prelude::Queryable;
use mysql_tests::cluster::{ended, promote};
use mysql_tests::member::{PATIENCE, facts};
use mysql_tests::{Cluster, Member};
use topology::facts::{DataState, JobKind, JobState, MemberReport};
use topology::gtid::GtidSet;
use topology::record::Phase;
use wire::{
    BackupAnswer, BackupAsk, BackupCall, BackupOrder, BackupSource, BackupState, BackupSummary, Command, Outcome,
    Sensitive, StoreAccess, WIRE_VERSION,
};

use crate::{Result, ids, measured};

pub const BUCKET: &str = "shop";
pub const PATH: &str = "test/shop/full/20261127T135000Z-4be0643f-shop-1";

/// An address of this computer where nobody listens.
pub fn nowhere() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

pub fn access(address: SocketAddr) -> StoreAccess {
    StoreAccess::S3 {
        bucket: BUCKET.to_owned(),
        prefix: String::new(),
        endpoint: Some(format!("http://{address}")),
        region: "us-east-1".to_owned(),
        path_style: true,
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: Sensitive(SECRET_KEY.to_owned()),
    }
}

pub fn ordered(id: &str, store: StoreAccess) -> Box<BackupOrder> {
    Box::new(BackupOrder {
        id: id.to_owned(),
        store,
        path: PATH.to_owned(),
        cluster_uid: "uid".to_owned(),
        members: vec!["shop-0".to_owned(), "shop-1".to_owned()],
        policies: Vec::new(),
        bytes_per_second: None,
    })
}

fn order(id: &str, store: StoreAccess) -> BackupAsk {
    BackupAsk::Begin(ordered(id, store))
}

pub async fn ask(member: &Member, ask: BackupAsk) -> Result<BackupAnswer> {
    Ok(member.connect().await?.backup(&BackupCall { wire: WIRE_VERSION, ask }).await?)
}

/// Looks until the state is as wanted.
async fn wait(member: &Member, what: &str, wanted: impl Fn(&BackupState) -> bool) -> Result<BackupState> {
    let until = Instant::now() + PATIENCE;
    loop {
        let state = ask(member, BackupAsk::Look).await?.job.map(|job| job.state);
        match state {
            Some(state) if wanted(&state) => return Ok(state),
            state if Instant::now() > until => anyhow::bail!("waited in vain until {what}; last: {state:?}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub async fn made(member: &Member, store: StoreAccess) -> Result<BackupSummary> {
    made_as(member, order("one", store)).await
}

pub async fn made_as(member: &Member, order: BackupAsk) -> Result<BackupSummary> {
    ask(member, order).await?;
    match wait(member, "the backup is made", |state| !matches!(state, BackupState::Running { .. })).await? {
        BackupState::Done(summary) => Ok(summary),
        other => anyhow::bail!("{other:?}"),
    }
}

fn copy_of(member: &Member) -> PathBuf {
    member.volume().join("mysql.backup")
}

/// Makes the first data of a cluster's only member from the backup.
async fn restore(cluster: &Cluster, source: BackupSource) -> Result<JobState> {
    let record = cluster.record(1, Phase::Promoting, 0, 0);
    let begun = cluster.member(0).command(&record, Command::Restore { backup: Box::new(source) }).await?;
    anyhow::ensure!(matches!(begun.outcome, Outcome::Pending { .. }), "{:?}", begun.outcome);
    let report = cluster.member(0).wait("it has been restored", |report| ended(report, JobKind::Initialize)).await?;
    Ok(report.job.expect("a job").state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_replica_under_load_becomes_another_cluster() -> Result {
    let bucket = tempfile::tempdir()?;
    let server = S3Server::start(bucket.path(), BUCKET, nowhere()?)?;
    let store = access(server.endpoint().trim_start_matches("http://").parse()?);
    let (cluster, _) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let mut app = primary.client("app").await?;
    for id in 0..50 {
        app.query_drop(format!("INSERT INTO t VALUES ({id}, {id})")).await?;
    }
    let before = primary.executed().await?;
    replica.wait("it has that", |report| facts(report).is_ok_and(|facts| before.is_subset_of(&facts.executed))).await?;
    let writing = tokio::spawn(async move {
        let mut id = 1_000;
        while app.query_drop(format!("INSERT INTO t VALUES ({id}, {id})")).await.is_ok() && id < 100_000 {
            id += 1;
        }
    });
    let since = Instant::now();
    let summary = made(replica, store.clone()).await?;
    measured("full backup", since);
    writing.abort();
    assert!(before.is_subset_of(&summary.gtids), "{} lacks some of {before}", summary.gtids);
    assert!(!copy_of(replica).exists(), "the copy is removed");
    let again = ask(replica, order("one", store.clone())).await?;
    assert!(matches!(again.job.map(|job| job.state), Some(BackupState::Done(_))), "asking again makes no other");
    let (old_uuid, written) = (replica.facts().await?.server_uuid, ids(replica).await?);
    cluster.stop().await?;

    let mut other = Cluster::new().await?;
    other.add_empty().await?;
    let member = other.member(0);
    std::fs::write(member.dir().join("secrets/admin-password"), "another cluster's")?;
    let source = BackupSource {
        store,
        path: PATH.to_owned(),
        manifest_sha256: Some(summary.manifest_sha256.clone()),
        keys: None,
    };
    let since = Instant::now();
    assert_eq!(restore(&other, source).await?, JobState::Done);
    measured("restore", since);
    let no_channel = |report: &MemberReport| facts(report).is_ok_and(|facts| facts.replication.is_none());
    let report = member.wait("it has no source", no_channel).await?;
    let restored = facts(&report)?;
    assert!(restored.offline && restored.read_only, "{restored:?}");
    assert!(restored.server_uuid != old_uuid && summary.gtids.is_subset_of(&restored.executed));
    let incarnation = report.data.incarnation().expect("data");
    other.member_mut(0).incarnation = incarnation;
    let record = other.record(1, Phase::Promoting, 0, 0);
    other.member(0).done(&record, promote(None, &GtidSet::new())).await?;
    let found = ids(other.member(0)).await?;
    assert!((0..50).all(|id| found.contains(&id)), "what was committed before is there");
    assert!(found.iter().all(|id| written.contains(id)), "and nothing that never was");
    other.member(0).client("app").await?.query_drop("INSERT INTO t VALUES (500, 0)").await?;
    other.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_leaves_an_empty_volume_and_names_the_object() -> Result {
    let bucket = tempfile::tempdir()?;
    let server = S3Server::start(bucket.path(), BUCKET, nowhere()?)?;
    let store = access(server.endpoint().trim_start_matches("http://").parse()?);
    let (cluster, _) = Cluster::serving(1, 0).await?;
    made(cluster.member(0), store.clone()).await?;
    cluster.stop().await?;
    let part = bucket.path().join(BUCKET).join(PATH).join("parts/000000");
    let mut bytes = std::fs::read(&part)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, bytes)?;

    let mut other = Cluster::new().await?;
    other.add_empty().await?;
    let source = BackupSource { store, path: PATH.to_owned(), manifest_sha256: None, keys: None };
    let JobState::Failed { error } = restore(&other, source).await? else { panic!("it should fail") };
    assert!(error.contains("parts/000000 is damaged"), "{error}");
    assert_eq!(other.member(0).report().await?.data, DataState::Empty);
    other.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_to_a_store_that_is_gone_holds_nothing_up_and_can_be_ended() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let pid = replica.facts().await?.pid;
    ask(replica, order("one", access(nowhere()?))).await?;
    let sending = |state: &BackupState| matches!(state, BackupState::Running { stage, .. } if stage == "sending");
    wait(replica, "it is to be sent", sending).await?;
    assert!(copy_of(replica).exists());
    let refused = ask(replica, order("two", access(nowhere()?))).await?.refused;
    assert!(refused.is_some_and(|why| why.contains("one is being made")), "one at a time");
    // Commands go on, and so do commits.
    replica.follow(&record, primary).await?;
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    ask(replica, BackupAsk::Abort { id: "one".to_owned() }).await?;
    let ended = wait(replica, "it has ended", |state| !matches!(state, BackupState::Running { .. })).await?;
    assert!(matches!(&ended, BackupState::Failed { error } if error.contains("aborted")), "{ended:?}");
    assert!(!copy_of(replica).exists(), "the copy is removed");
    assert_eq!(replica.facts().await?.pid, pid);
    cluster.stop().await
}

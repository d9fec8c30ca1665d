//! What an agent does with nobody to tell it: no test here opens a report stream to the primary or gives it a command
//! while it is meant to be alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use mysql_tests::certificates::Authority;
use mysql_tests::member::{ApiServer, PATIENCE, Surroundings, run_apart};
use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

/// For how many seconds these primaries wait for an operator: less than outside of tests.
const REOPEN_AFTER_S: u64 = 4;

/// Longer than a primary waits for an operator, with time for more that it must not do.
const LONG: Duration = Duration::from_secs(REOPEN_AFTER_S + 4);

fn beside(api_server: Option<ApiServer>) -> Surroundings {
    Surroundings { api_server, reopen_after_s: Some(REOPEN_AFTER_S), ..Surroundings::default() }
}

/// Nobody listens where the API server should be.
fn out_of_reach() -> Surroundings {
    beside(Some(ApiServer { address: ([127, 0, 0, 1], 9).into(), ca: PathBuf::from("/nonexistent") }))
}

/// Nobody has told the agent where the API server is, and so nobody fences itself.
fn unknown() -> Surroundings {
    beside(None)
}

/// Waits without being heard of: this is no report stream.
async fn silently(member: &Member, what: &str, wanted: impl Fn(&MemberReport) -> bool) -> Result<MemberReport> {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = member.report().await?;
        if wanted(&report) {
            return Ok(report);
        }
        anyhow::ensure!(Instant::now() < until, "{}: waited in vain until {what}: {report:#?}", member.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_open(report: &MemberReport) -> bool {
    facts(report).is_ok_and(|facts| facts.open)
}

fn is_stopped(report: &MemberReport) -> bool {
    matches!(report.server, ServerState::Stopped { .. })
}

fn waits_closed(report: &MemberReport) -> bool {
    facts(report).is_ok_and(|facts| facts.offline && facts.read_only && facts.semi_sync.enabled)
}

async fn beats(member: &Member) -> Result<u64> {
    let beats: Option<u64> = member.client("root").await?.query_first("SELECT beats FROM grampus.heartbeat").await?;
    Ok(beats.unwrap_or(0))
}

/// Cuts a replica off its source, as a broken link would, or lets it back.
async fn receive(replica: &Member, on: bool) -> Result {
    let verb = if on { "START" } else { "STOP" };
    Ok(replica.client("root").await?.query_drop(format!("{verb} REPLICA IO_THREAD")).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_primary_writes_nothing_with_an_operator_and_stays_open_without_anybody() -> Result {
    let (cluster, _) = Cluster::serving_in(out_of_reach(), 3, 1).await?;
    let primary = cluster.member(0);
    let mut operator = primary.connect().await?.reports().await?;
    let listening = tokio::spawn(async move { while operator.next().await.is_some() {} });
    // What was begun before it listened may still be under way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, beaten) = (primary.executed().await?, beats(primary).await?);
    let pid = primary.facts().await?.pid;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(primary.executed().await?, before, "with an operator there nothing is written");
    assert!(!listening.is_finished(), "the stream ended");
    listening.abort();

    // Nobody writes, so only heartbeats show that the replicas are alive.
    tokio::time::sleep(LONG).await;
    let more = beats(primary).await? - beaten;
    assert!((1..=4).contains(&more), "{more} heartbeats");
    let mut app = primary.client("app").await?;
    app.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    let after = primary.report().await?;
    assert!(is_open(&after) && facts(&after)?.pid == pid, "{after:#?}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_cut_off_from_everything_fences_itself_and_opens_when_its_replicas_are_back() -> Result {
    let (cluster, _) = Cluster::serving_in(out_of_reach(), 2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    receive(replica, false).await?;
    let insert = waiting_insert(primary, 7).await?;
    let since = Instant::now();
    let report = silently(primary, "it has fenced itself", is_stopped).await?;
    measured("self-fence", since);
    assert!(insert.await?.is_err(), "nobody acknowledged it, so nobody may hear OK");
    assert_eq!(exit(&report), Some("signal 9"));

    // While nobody could acknowledge, a start would only commit what can still be cut off.
    tokio::time::sleep(LONG).await;
    assert!(is_stopped(&primary.report().await?), "nobody asks for it");
    receive(replica, true).await?;
    silently(primary, "it is open again", is_open).await?;
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (8, 0)").await?;
    let all = primary.executed().await?;
    silently(replica, "it has everything", |report| executed_is(report, &all)).await?;
    assert_eq!(ids(replica).await?, [1, 7, 8]);
    cluster.stop().await
}

fn exit(report: &MemberReport) -> Option<&str> {
    match &report.server {
        ServerState::Stopped { exit, .. } => exit.as_deref(),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_reaches_the_api_server_waits_for_its_replicas() -> Result {
    let authority = Authority::new()?;
    let dir = tempfile::tempdir()?;
    authority.write(dir.path(), &authority.issue("kube-apiserver", &["127.0.0.1".to_owned()])?)?;
    // With the authority at hand its certificate is checked; without it any will do.
    let with = waits_beside_an_api_server(dir.path(), dir.path().join("ca.crt"));
    let without = waits_beside_an_api_server(dir.path(), PathBuf::from("/nonexistent"));
    tokio::try_join!(with, without).map(drop)
}

async fn waits_beside_an_api_server(tls: &std::path::Path, ca: PathBuf) -> Result {
    let (address, asked) = refusing_api_server(tls)?;
    let (cluster, _) = Cluster::serving_in(beside(Some(ApiServer { address, ca })), 2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    receive(replica, false).await?;
    let insert = waiting_insert(primary, 7).await?;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(asked.load(Ordering::SeqCst) > 0, "the API server was never asked");
    assert_eq!(facts(&primary.report().await?)?.semi_sync.waiting_commits, 1, "the commit waits on");
    receive(replica, true).await?;
    insert.await??;
    assert_eq!(beats(primary).await?, 0, "with the API server in reach there is no heartbeat either");
    cluster.stop().await
}

/// An API server that knows nobody: it counts whom it has answered 401.
fn refusing_api_server(tls: &std::path::Path) -> Result<(SocketAddr, Arc<AtomicUsize>)> {
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(tls.join("tls.crt"))?.collect();
    let key = PrivateKeyDer::from_pem_file(tls.join("tls.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain?, key)?);
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let (address, asked) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = || -> anyhow::Result<()> {
                let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&config))?, stream?);
                let _ = stream.read(&mut [0; 1024])?;
                stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")?;
                Ok(stream.flush()?)
            };
            if answer().is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    Ok((address, asked))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_opens_again_by_itself_and_so_does_one_whose_container_restarts() -> Result {
    let (mut cluster, record) = Cluster::serving_in(unknown(), 3, 1).await?;
    cluster.member(0).client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    // In the log and acknowledged by nobody: it may be there afterwards, and then on every member.
    for replica in [1, 2] {
        receive(cluster.member(replica), false).await?;
    }
    let waiting = waiting_insert(cluster.member(0), 2).await?;
    let killed = cluster.member(0).facts().await?.pid;
    let since = Instant::now();
    cluster.member(0).kill_mysqld().await?;
    assert!(waiting.await?.is_err());
    for replica in [1, 2] {
        receive(cluster.member(replica), true).await?;
    }
    let other = |report: &MemberReport| is_open(report) && facts(report).is_ok_and(|facts| facts.pid != killed);
    let report = silently(cluster.member(0), "it is open again", other).await?;
    measured("reopening", since);
    assert!(since.elapsed() >= Duration::from_secs(REOPEN_AFTER_S - 1), "it waits for an operator first");
    assert_eq!(report.record.as_ref(), Some(&record), "under the record it had");
    assert!(facts(&report)?.semi_sync.enabled && facts(&report)?.semi_sync.wait_count == 1);
    assert_eq!(beats(cluster.member(0)).await?, 1, "a heartbeat was acknowledged first");
    cluster.member(0).client("app").await?.query_drop("INSERT INTO t VALUES (3, 0)").await?;

    cluster.member_mut(0).stop().await?;
    cluster.member_mut(0).start().await?;
    silently(cluster.member(0), "it is open again", is_open).await?;
    cluster.member(0).client("app").await?.query_drop("INSERT INTO t VALUES (4, 0)").await?;
    let all = cluster.member(0).executed().await?;
    for member in [0, 1, 2] {
        let member = cluster.member(member);
        silently(member, "it has everything", |report| executed_is(report, &all)).await?;
        assert_eq!(ids(member).await?, [1, 2, 3, 4]);
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_opens_again_by_itself() -> Result {
    let (cluster, _) = Cluster::serving_in(unknown(), 1, 0).await?;
    let only = cluster.member(0);
    only.client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    only.kill_mysqld().await?;
    silently(only, "it is dead", is_stopped).await?;
    silently(only, "it is open again", is_open).await?;
    assert_eq!(ids(only).await?, [1]);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_replaced_is_not_even_started_and_its_tail_can_still_be_cut() -> Result {
    let (cluster, record) = Cluster::serving_in(unknown(), 3, 1).await?;
    let (former, chosen, third) = (cluster.member(0), cluster.member(1), cluster.member(2));
    receive(chosen, false).await?;
    receive(third, false).await?;
    let waiting = waiting_insert(former, 7).await?;
    former.kill_mysqld().await?;
    assert!(waiting.await?.is_err());
    // A failover of which the former primary hears nothing.
    let claimed = record.claimed(None);
    let known = facts(&chosen.done(&claimed, Command::Freeze).await?)?.known();
    third.done(&claimed, Command::Freeze).await?;
    let promoting = choose(&claimed, chosen, &chosen.endpoint().await?, &known);
    chosen.done(&promoting, promote(None, &known)).await?;
    third.follow(&promoting, chosen).await?;
    chosen.client("app").await?.query_drop("INSERT INTO t VALUES (8, 0)").await?;

    tokio::time::sleep(LONG).await;
    assert!(is_stopped(&former.report().await?), "it was started though nobody asks for it");
    let serving = Record { phase: Phase::Serving, base: chosen.executed().await?, ..promoting };
    let report = former.done(&serving, Command::Trim { keep: chosen.executed().await? }).await?;
    assert!(report.trimmed.is_some_and(|trimmed| trimmed.transactions.count() == 1));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_acknowledgements_it_stays_closed_and_whoever_appears_ends_the_attempt() -> Result {
    let (cluster, record) = Cluster::serving_in(unknown(), 2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    // It will receive again under its own name, and acknowledge no more.
    replica.client("root").await?.query_drop("SET GLOBAL rpl_semi_sync_replica_enabled = OFF").await?;
    let executed = primary.executed().await?;
    let killed = primary.facts().await?.pid;
    primary.kill_mysqld().await?;
    let closed = |report: &MemberReport| waits_closed(report) && facts(report).is_ok_and(|facts| facts.pid != killed);
    silently(primary, "it is started closed", closed).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let report = primary.report().await?;
    assert!(waits_closed(&report), "nobody acknowledges, so it must not open: {report:#?}");
    assert_eq!(facts(&report)?.executed, executed, "nor write anything that nobody could acknowledge");
    assert!(primary.client("app").await.is_err(), "no application is let in");

    // Whoever listens is told that it is stopped, as after any exit, and decides.
    primary.wait("the attempt is given up", is_stopped).await?;
    let claimed = record.claimed(None);
    let since = Instant::now();
    primary.done(&claimed, Command::Freeze).await?;
    measured("freeze after an attempt to reopen", since);
    tokio::time::sleep(LONG).await;
    assert!(is_stopped(&primary.report().await?), "a claim for a freeze ends it for good");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_paused_on_the_brink_of_fencing_begins_anew() -> Result {
    let (mut cluster, _) = Cluster::serving_in(out_of_reach(), 2, 1).await?;
    cluster.member_mut(0).stop().await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let agent = primary.start_apart("alone::an_agent_of_its_own").await?;
    let pid = facts(&silently(primary, "it is open again", is_open).await?)?.pid;
    receive(replica, false).await?;
    let mut app = primary.client("app").await?;
    let insert = tokio::spawn(async move { app.query_drop("INSERT INTO t VALUES (1, 0)").await });
    let mut root = primary.client("root").await?;
    let beating = "SELECT COUNT(*) FROM performance_schema.processlist WHERE USER = 'grampus' AND INFO = 'COMMIT'";
    while root.query_first::<u32, _>(beating).await? != Some(1) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    agent.signal(Signal::SIGSTOP)?;
    // By the time it wakes, all that it noticed is long over.
    tokio::time::sleep(Duration::from_secs(4)).await;
    receive(replica, true).await?;
    insert.await??;
    agent.signal(Signal::SIGCONT)?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let report = primary.report().await?;
    assert!(is_open(&report) && facts(&report)?.pid == pid, "{report:#?}");
    drop(agent);
    cluster.stop().await
}

/// No test: an agent that another test has started in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test of a paused agent"]
async fn an_agent_of_its_own() -> Result {
    run_apart().await
}

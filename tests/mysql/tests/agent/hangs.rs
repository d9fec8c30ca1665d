//! Servers, machines and volumes that do not answer.

use std::time::{Duration, Instant};

use mysql_tests::Cluster;
use mysql_tests::member::facts;
use topology::facts::{MemberReport, ServerState, ThreadState, VolumeTrouble};
use wire::{Command, Endpoint};

use crate::{Result, measured, offline_gtids, primary_endpoint, receiver};

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
        Some(VolumeTrouble::Stalled { .. } | VolumeTrouble::Unknown) | None => false,
    };
    member.wait("its volume is full", full).await?;
    std::fs::remove_file(filler)?;
    member.wait("there is room again", |report| report.volume.is_none()).await?;
    cluster.stop().await
}

//! The agent: process 1 of every MySQL container, parent of one mysqld, and the keeper of its promises.
//!
//! It does everything that is local – start, stop, freeze, promote, follow, clone, fence – and decides nothing
//! that concerns another member: who leads is in the record, and the record is the operator's to change.

mod alone;
mod archive;
mod backups;
mod binlog;
mod certificates;
mod check;
mod clone;
mod commands;
mod config;
mod data;
mod door;
mod durable;
mod initialize;
mod keeper;
mod member;
mod monitor;
mod my_cnf;
mod operators;
mod probes;
mod programs;
mod reap;
mod restore;
mod server;
mod signals;
mod sql;
mod state;
mod supervise;
mod tls;
mod trim;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
pub use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use tls::OPERATOR;

use member::Member;

/// How long closing may take before mysqld is killed rather than shut down.
const CLOSE: Duration = Duration::from_secs(1);

/// How long mysqld may take to shut down in an orderly way. Kubernetes gives a pod 30 s by default.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// Runs the agent until `shutdown` is cancelled, and then ends mysqld such that no client hears of a commit that
/// nobody acknowledged.
///
/// # Errors
/// What keeps it from starting: a volume, a port or a state file that cannot be used.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    // A second call, e.g. in a test, finds the same provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let operator = listen(config.agent_address()).await?;
    let probes = listen(config.probe_address()).await?;
    let ending = CancellationToken::new();
    let (member, asks) = Member::load(config, ending.clone())?;
    let mut tasks = JoinSet::new();
    tasks.spawn(member.children.clone().reap_orphans());
    tasks.spawn(monitor::run(Arc::clone(&member), asks));
    tasks.spawn(keeper::run(Arc::clone(&member)));
    tasks.spawn(volume::run(Arc::clone(&member)));
    tasks.spawn(signals::run(Arc::clone(&member)));
    tasks.spawn(alone::run(Arc::clone(&member)));
    tasks.spawn(commands::keep_locks(Arc::clone(&member)));
    tasks.spawn(archive::run(Arc::clone(&member)));
    tasks.spawn(certificates::run(Arc::clone(&member)));
    tasks.spawn(server::run(Arc::clone(&member), operator));
    tasks.spawn(serve_probes(Arc::clone(&member), probes));
    shutdown.cancelled().await;
    end(&member, &ending).await;
    // Waited for, so that its ports are free for whoever comes next.
    tasks.shutdown().await;
    Ok(())
}

/// Completes when the process is asked to end: SIGTERM, as the kubelet sends it, or SIGINT.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn asked_to_end() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

async fn serve_probes(member: Arc<Member>, listener: TcpListener) {
    if let Err(why) = probes::run(member, listener).await {
        tracing::error!(%why, "probes are not answered any more");
    }
}

/// Ends mysqld. SIGTERM only where no commit can wait: mysqld answers OK to those that do.
async fn end(member: &Member, ending: &CancellationToken) {
    ending.cancel();
    let Some(running) = member.supervisor.now().running() else { return };
    tracing::info!("ending mysqld");
    if member.was_opened(running) && !commands::close_for_shutdown(member, CLOSE).await {
        tracing::warn!("commits wait for acknowledgements, or mysqld does not answer: it is killed");
        member.kill().await;
        return;
    }
    member.supervisor.shut_down(SHUTDOWN).await;
}

//! Serves the operator: the report stream and the commands, over HTTP/2 with mutual TLS.
//!
//! It must never do anything itself; a connection that ends takes nothing back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{Stream, stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use topology::facts::MemberReport;
use topology::signals::Signals;
use wire::{
    ArchiveAnswer, ArchiveCall, BackupAnswer, BackupCall, CheckAnswer, CheckCall, Heartbeat, QUIET_HEARTBEAT_MS,
    Request, Response, SIGNALS_EVERY_MS, WIRE_VERSION,
};

use crate::archive;
use crate::backups;
use crate::check;
use crate::commands;
use crate::member::Member;
use crate::operators::Listening;
use crate::tls;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long an operator may take to answer when it has said nothing for [`QUIET_HEARTBEAT_MS`]. One that does not is
/// gone: a primary that is cut off must learn within some seconds that nobody listens any more.
const PONG: Duration = Duration::from_secs(5);

/// The longest request: a record with two GTID sets of a cluster with a long history.
const LONGEST_REQUEST: usize = 4 << 20;

/// Serves until the agent ends.
pub async fn run(member: Arc<Member>, listener: TcpListener) {
    let router = router(Arc::clone(&member));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                // Out of descriptors, most likely: more haste makes it worse.
                tracing::warn!(%why, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = serve(Arc::clone(&member), stream, router.clone());
        tokio::spawn(async move {
            if let Err(why) = connection.await {
                tracing::debug!("a connection ended: {why:#}");
            }
        });
    }
}

async fn serve(member: Arc<Member>, stream: TcpStream, router: Router) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, tls::accept(&member.config.tls, stream)).await??;
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_millis(QUIET_HEARTBEAT_MS)))
        .keep_alive_timeout(PONG);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    serving.await.map_err(|why| anyhow::anyhow!("{why}"))
}

fn router(member: Arc<Member>) -> Router {
    Router::new()
        .route("/v1/reports", get(reports))
        .route("/v1/report", get(report))
        .route("/v1/commands", post(command))
        .route("/v1/backup", post(backup))
        .route("/v1/archive", post(archived))
        .route("/v1/check", post(checked))
        .layer(axum::extract::DefaultBodyLimit::max(LONGEST_REQUEST))
        .with_state(member)
}

async fn report(State(member): State<Arc<Member>>) -> Json<Heartbeat> {
    let report = member.latest.borrow().clone();
    let signals = member.signals.borrow().as_deref().cloned().map(Box::new);
    Json(Heartbeat { wire: WIRE_VERSION, report: Some(Box::new(report)), signals })
}

async fn command(State(member): State<Arc<Member>>, Json(request): Json<Request>) -> Json<Response> {
    member.operators.commands();
    Json(commands::obey(member, request).await)
}

async fn backup(State(member): State<Arc<Member>>, Json(call): Json<BackupCall>) -> Json<BackupAnswer> {
    Json(backups::answer(&member, call))
}

async fn archived(State(member): State<Arc<Member>>, Json(call): Json<ArchiveCall>) -> Json<ArchiveAnswer> {
    Json(archive::answer(&member, call).await)
}

async fn checked(State(member): State<Arc<Member>>, Json(call): Json<CheckCall>) -> Json<CheckAnswer> {
    Json(check::answer(&member, call))
}

async fn reports(State(member): State<Arc<Member>>) -> Body {
    let mut pushed = member.pushed.subscribe();
    // What is there already is news to whoever has just connected.
    pushed.mark_changed();
    let measured = Measured { signals: member.signals.subscribe(), told: None };
    Body::from_stream(lines(pushed, measured, member.operators.listens()))
}

fn lines(
    pushed: watch::Receiver<MemberReport>,
    measured: Measured,
    listening: Listening,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((pushed, measured, listening), |(mut pushed, mut measured, listening)| async {
        let quiet = Duration::from_millis(QUIET_HEARTBEAT_MS);
        let report = match tokio::time::timeout(quiet, pushed.changed()).await {
            Err(_) => None,
            Ok(Ok(())) => Some(Box::new(pushed.borrow_and_update().clone())),
            Ok(Err(_)) => return None,
        };
        let heartbeat = Heartbeat { wire: WIRE_VERSION, report, signals: measured.due(Instant::now()) };
        let mut line = serde_json::to_vec(&heartbeat).ok()?;
        line.push(b'\n');
        Some((Ok(line.into()), (pushed, measured, listening)))
    })
}

/// What was measured, and when a stream last took it along.
struct Measured {
    signals: watch::Receiver<Option<Arc<Signals>>>,
    told: Option<Told>,
}

struct Told {
    at: Instant,
    counted: bool,
}

impl Measured {
    /// What the next line takes along. Nothing while what it took is young, unless that was before anything was counted.
    fn due(&mut self, now: Instant) -> Option<Box<Signals>> {
        let signals = self.signals.borrow().clone()?;
        let counted = signals.minute.is_some_and(|minute| minute.served_ms > 0);
        let due = self.told.as_ref().is_none_or(|told| {
            now.duration_since(told.at) >= Duration::from_millis(SIGNALS_EVERY_MS) || (counted && !told.counted)
        });
        due.then(|| {
            self.told = Some(Told { at: now, counted });
            Box::new(Signals::clone(&signals))
        })
    }
}

#[cfg(test)]
mod tests {
    use topology::signals::Window;

    use super::*;

    #[test]
    fn a_stream_takes_along_what_was_measured_seldom_and_at_once_when_something_was_counted() {
        let (sender, signals) = watch::channel(None);
        let (mut measured, start) = (Measured { signals, told: None }, Instant::now());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(measured.due(after(0)).is_none(), "there is nothing yet");
        sender.send_replace(Some(Arc::new(Signals::default())));
        assert!(measured.due(after(1)).is_some());
        assert!(measured.due(after(11)).is_none(), "the same again");
        let minute = Window { served_ms: 10_000, ..Window::default() };
        sender.send_replace(Some(Arc::new(Signals { minute: Some(minute), ..Signals::default() })));
        assert!(measured.due(after(12)).is_some(), "what was counted is news");
        assert!((13..42).all(|second| measured.due(after(second)).is_none()));
        assert!(measured.due(after(42)).is_some());
    }

    #[test]
    fn peers_that_know_nothing_of_measuring_understand_each_other_as_before() {
        let old = r#"{"wire":1,"report":null}"#;
        let heartbeat: Heartbeat = serde_json::from_str(old).unwrap();
        assert_eq!(heartbeat, Heartbeat { wire: 1, report: None, signals: None });
        assert_eq!(serde_json::to_string(&heartbeat).unwrap(), old);
    }
}

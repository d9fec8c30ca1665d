//! One lasting link to every agent: its reports as they come, commands as they are given.
//!
//! A link only carries. It must never decide what silence means: it says since when an agent has been silent,
//! and the topology says whether that matters. It must not last while this operator cannot reach the API server: an agent
//! takes whoever listens for somebody who sees to it, and a primary that is cut off together with an operator would
//! not fence itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use topology::facts::MemberReport;
use topology::signals::Signals;
use wire::{Heartbeat, Request, Response};
use wire_client::Connection;

use crate::tls;

/// How long a connection may take to come about. A living agent answers within milliseconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long a stream may be silent: one missed heartbeat and a half.
const SILENT_AFTER: Duration = Duration::from_millis(wire::QUIET_HEARTBEAT_MS * 3 / 2);

/// How old what was measured may be: it comes twice a minute, and one that was missed is no reason to know nothing.
const MEASURED_WITHIN: Duration = Duration::from_millis(wire::SIGNALS_EVERY_MS * 5 / 2);

/// How often a lost agent is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// What was last seen of an agent.
#[derive(Debug, Clone)]
pub enum Seen {
    /// No attempt has ended yet.
    NotProbed,
    /// It answers.
    Known {
        /// Its last report.
        report: Arc<MemberReport>,
        /// When it last said anything.
        at: Instant,
        /// Since when it has done so.
        since: Instant,
    },
    /// It does not answer.
    Unreachable {
        /// Since when.
        since: Instant,
        /// When the last attempt began; until the first fails, when it last said anything.
        tried: Instant,
        /// Why.
        error: String,
        /// The version of the protocol that it speaks, if that is why.
        other_version: Option<u32>,
    },
}

/// Where an agent is, and how to prove who asks.
#[derive(Clone)]
pub struct Target {
    /// The pod's address and the agent's port.
    pub address: SocketAddr,
    /// `POD.CLUSTER-instances.NAMESPACE.svc`.
    pub server_name: String,
    /// The cluster's CA and the operator's certificate. Each connection takes what is there when it begins.
    pub tls: tls::Current,
}

/// A link to one agent. Dropping it ends it.
pub struct Link {
    target: Target,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    seen: watch::Sender<Seen>,
    connection: Mutex<Option<Connection>>,
    measured: Mutex<Option<(Arc<Signals>, Instant)>>,
    wake: Arc<Notify>,
    /// Asks the task to give the present connection up.
    hang_up: Notify,
}

impl Link {
    /// Begins to connect. `before` is what was known of this member through an earlier link: a silence that
    /// began there goes on. It is up only while `in_reach` says that the API server is. Every change wakes `wake`.
    pub fn open(target: Target, before: Seen, in_reach: watch::Receiver<bool>, wake: Arc<Notify>) -> Self {
        let before = match before {
            Seen::Known { at, .. } => {
                let error = "its pod was replaced".to_owned();
                Seen::Unreachable { since: Instant::now(), tried: at, error, other_version: None }
            }
            other => other,
        };
        let shared = Arc::new(Shared {
            seen: watch::Sender::new(before),
            connection: Mutex::new(None),
            measured: Mutex::new(None),
            wake,
            hang_up: Notify::new(),
        });
        let task = tokio::spawn(keep(target.clone(), shared.clone(), in_reach));
        Self { target, shared, task }
    }

    /// The address it leads to.
    pub fn address(&self) -> SocketAddr {
        self.target.address
    }

    /// What was last seen.
    pub fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    /// What its agent has measured, unless that is too long ago to say anything about now.
    pub fn measured(&self) -> Option<Arc<Signals>> {
        let measured = self.shared.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.as_ref().filter(|(_, at)| at.elapsed() < MEASURED_WITHIN).map(|(signals, _)| signals.clone())
    }

    /// A handle for giving commands from another task.
    pub fn caller(&self) -> Caller {
        Caller { shared: self.shared.clone() }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Gives commands over a link.
#[derive(Clone)]
pub struct Caller {
    shared: Arc<Shared>,
}

impl Caller {
    /// Gives a command and waits for what comes of it, at most `within`. The report that comes with the answer
    /// counts as seen.
    ///
    /// # Errors
    /// A sentence: there is no connection, it broke, or the time passed. The command may have been obeyed.
    pub async fn command(&self, request: &Request, within: Duration) -> Result<Response, String> {
        let connection = self.shared.connection().ok_or("there is no connection to its agent")?;
        match timeout(within, connection.command(request)).await {
            Ok(Ok(response)) => {
                self.shared.known(response.report.clone());
                Ok(response)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} ms", within.as_millis())),
        }
    }

    /// Asks for a report now. Silence for longer than `within` ends the connection and counts as unreachable.
    ///
    /// # Errors
    /// As [`Caller::command`].
    pub async fn probe(&self, within: Duration) -> Result<MemberReport, String> {
        let connection = self.shared.connection().ok_or("there is no connection to its agent")?;
        let asked = Instant::now();
        let error = match timeout(within, connection.report()).await {
            Ok(Ok(Heartbeat { report: Some(report), signals, .. })) => {
                self.shared.measured(signals);
                self.shared.known((*report).clone());
                return Ok(*report);
            }
            Ok(Ok(Heartbeat { report: None, .. })) => return Err("its agent has no report yet".to_owned()),
            Ok(Err(error)) => Broken::from(error),
            Err(_) => Broken::because(format!("no answer to a probe within {} ms", within.as_millis())),
        };
        let words = error.error.clone();
        self.shared.unreachable(error, asked);
        self.shared.hang_up.notify_one();
        Err(words)
    }
}

impl Shared {
    fn connection(&self) -> Option<Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_connection(&self, connection: Option<Connection>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Wakes nobody: whoever asks by it does so now and then.
    fn measured(&self, signals: Option<Box<Signals>>) {
        if let Some(signals) = signals {
            let measured = Some((Arc::from(signals), Instant::now()));
            *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = measured;
        }
    }

    fn known(&self, report: MemberReport) {
        let now = Instant::now();
        self.seen.send_modify(|seen| {
            let since = if let Seen::Known { since, .. } = seen { *since } else { now };
            *seen = Seen::Known { report: Arc::new(report), at: now, since };
        });
        self.wake.notify_one();
    }

    fn alive(&self) {
        self.seen.send_if_modified(|seen| match seen {
            Seen::Known { at, .. } => {
                *at = Instant::now();
                false
            }
            Seen::NotProbed | Seen::Unreachable { .. } => false,
        });
    }

    /// An attempt that began at `tried` has failed. Every one is told: the last may be the proof that was waited for.
    fn unreachable(&self, Broken { error, other_version }: Broken, tried: Instant) {
        self.seen.send_modify(|seen| {
            let (since, tried) = match seen {
                Seen::Unreachable { since, .. } => (*since, tried),
                Seen::Known { at, .. } => (Instant::now(), tried.max(*at)),
                Seen::NotProbed => (Instant::now(), tried),
            };
            *seen = Seen::Unreachable { since, tried, error, other_version };
        });
        self.wake.notify_one();
    }
}

/// Keeps a link up for as long as it is wanted and the API server is in reach; ends with the operator.
async fn keep(target: Target, shared: Arc<Shared>, mut in_reach: watch::Receiver<bool>) {
    let mut retry = interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while in_reach.wait_for(|in_reach| *in_reach).await.is_ok() {
        let tried = retry.tick().await;
        let end = tokio::select! {
            error = listen(&target, &shared) => End::Broken(error),
            () = shared.hang_up.notified() => End::HungUp,
            _ = in_reach.wait_for(|in_reach| !in_reach) => End::OutOfReach,
        };
        shared.set_connection(None);
        match end {
            End::Broken(error) => shared.unreachable(error, tried),
            // Whoever did so has said why, and when it had begun to ask: that this connection is older proves nothing.
            End::HungUp => {}
            // Nobody asked it, so its silence says nothing.
            End::OutOfReach => drop(shared.seen.send_replace(Seen::NotProbed)),
        }
    }
}

/// How a connection ended.
enum End {
    /// By itself.
    Broken(Broken),
    /// It was given up by somebody whose probe was not answered.
    HungUp,
    /// The API server was lost from reach.
    OutOfReach,
}

/// Why a link is down.
struct Broken {
    error: String,
    other_version: Option<u32>,
}

impl Broken {
    fn because(error: impl Into<String>) -> Self {
        Self { error: error.into(), other_version: None }
    }
}

impl From<wire_client::Error> for Broken {
    fn from(error: wire_client::Error) -> Self {
        let other_version = match &error {
            wire_client::Error::Version { theirs } => Some(*theirs),
            _ => None,
        };
        Self { error: error.to_string(), other_version }
    }
}

/// Connects and listens until something breaks; says what did.
async fn listen(target: &Target, shared: &Shared) -> Broken {
    let open = Connection::open(target.address, target.tls.load_full(), &target.server_name);
    let connection = match timeout(CONNECT_WITHIN, open).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return error.into(),
        Err(_) => return Broken::because("no connection to its agent in time"),
    };
    let mut reports = match timeout(CONNECT_WITHIN, connection.reports()).await {
        Ok(Ok(reports)) => reports,
        Ok(Err(error)) => return error.into(),
        Err(_) => return Broken::because("its agent accepted a connection and said nothing"),
    };
    shared.set_connection(Some(connection));
    loop {
        match timeout(SILENT_AFTER, reports.next()).await {
            Ok(Some(Ok(Heartbeat { report, signals, .. }))) => {
                shared.measured(signals);
                match report {
                    Some(report) => shared.known(*report),
                    None => shared.alive(),
                }
            }
            Ok(Some(Err(error))) => return error.into(),
            Ok(None) => return Broken::because("its agent ended the connection"),
            Err(_) => return Broken::because("its agent went silent"),
        }
    }
}

//! Answers the kubelet. `/livez` speaks for the agent alone: a mysqld that is down is the operator's business, and
//! restarting the container would only kill it once more.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use topology::facts::{MemberReport, ServerFacts, ServerState, Standing, ThreadState};

use crate::member::Member;

/// Serves until the agent ends.
///
/// # Errors
/// The listener broke.
pub async fn run(member: Arc<Member>, listener: TcpListener) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "alive"))
        .route("/startupz", get(async || "started"))
        .route("/readyz", get(readyz))
        .with_state(member);
    axum::serve(listener, router).await
}

async fn readyz(State(member): State<Arc<Member>>) -> (StatusCode, String) {
    match obstacle(&member.latest.borrow(), member.config.reads_along()) {
        None => (StatusCode::OK, "ready".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, obstacle),
    }
}

/// What keeps this member, or this read replica, from serving applications.
fn obstacle(report: &MemberReport, reads_along: bool) -> Option<String> {
    let facts = match &report.server {
        ServerState::Running(facts) => facts,
        ServerState::Stopped { exit, .. } => {
            let exit = exit.as_deref().unwrap_or("not started yet");
            return Some(format!("mysqld is not running ({exit})"));
        }
        ServerState::Starting => return Some("mysqld is starting".to_owned()),
        ServerState::Unresponsive { for_ms } => return Some(format!("mysqld has not answered for {for_ms} ms")),
    };
    let leads = report.record.as_ref().is_some_and(|record| record.primary == report.member);
    if leads && facts.open {
        return None;
    }
    if leads {
        return Some("this primary is not open".to_owned());
    }
    replica_obstacle(report, facts, reads_along)
}

fn replica_obstacle(report: &MemberReport, facts: &ServerFacts, reads_along: bool) -> Option<String> {
    let Some(channel) = &facts.replication else { return Some("this replica follows nobody".to_owned()) };
    if channel.receiver != ThreadState::On {
        return Some(format!("this replica does not receive from {}: {}", channel.source_host, channel.receiver_error));
    }
    if channel.applier != ThreadState::On {
        return Some(format!("this replica does not apply what it receives: {}", channel.applier_error));
    }
    match &report.standing {
        Standing::Good => None,
        // It never acknowledged anything that it could have forgotten.
        Standing::Unproved { .. } if reads_along => None,
        Standing::Unproved { because } => Some(format!("this replica has not proved its standing: {because}")),
    }
}

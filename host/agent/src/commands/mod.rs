//! What the operator may tell this member, and in which order it is obeyed.
//!
//! A record is stored before anything is done under it, and a refused record means a refused command. Commands
//! take turns; `Store`, `Freeze` and `Fence` never wait for one, because they are what ends the others. No command
//! may act on a claim that is no longer the stored one.

mod admit;
mod drain;
mod fence;
pub mod follow;
pub mod jobs;
mod lock;
mod promote;
pub mod read;
mod receiver;
pub mod reopen;
mod standing;
mod trim;

use std::sync::Arc;
use std::time::Duration;

use topology::record::{Claim, Record};
use wire::{Command, Outcome, Request, Response, WIRE_VERSION};

use crate::data;
use crate::member::Member;
use crate::state::ChangeError;

pub use admit::Admission;
pub use drain::close_for_shutdown;
pub use fence::fence;
pub use lock::{Locks, run as keep_locks};
pub use standing::settle_acks;

/// How long the volume may take for the record before a freeze acts without it. An fsync takes milliseconds.
const STORE: Duration = Duration::from_secs(2);

/// How long a quick command waits for the one before it.
const TURN: Duration = Duration::from_secs(5);

/// Obeys one request. Runs to its end even if whoever asked has gone.
pub async fn obey(member: Arc<Member>, request: Request) -> Response {
    let task = tokio::spawn({
        let member = Arc::clone(&member);
        async move { outcome_of(&member, request).await }
    });
    let outcome = task.await.unwrap_or_else(|why| failed(format!("the agent has a defect: {why}")));
    if matches!(outcome, Outcome::Refused { .. } | Outcome::Failed { .. }) {
        tracing::warn!(?outcome, "command not carried out");
    }
    Response { outcome, report: member.observe().await }
}

async fn outcome_of(member: &Arc<Member>, request: Request) -> Outcome {
    if request.wire != WIRE_VERSION {
        return refused(format!("this agent speaks wire version {WIRE_VERSION}, not {}", request.wire));
    }
    let revokes = matches!(request.command, Command::Freeze | Command::Fence);
    if request.command == Command::Unknown {
        return refused("this agent is of an earlier release and does not know this command");
    }
    if let Err(outcome) = store_in_time(member, &request.record, revokes).await {
        return outcome;
    }
    if let Some(reason) = member.config.reads_along().then(|| members_alone(&request.command)).flatten() {
        return refused(reason);
    }
    let name = name(&request.command);
    let claim = request.record.claim();
    tracing::info!(command = name, %claim, "obeying");
    match request.command {
        Command::Store => Outcome::Done,
        Command::Freeze => fence::freeze(member, claim).await,
        Command::Fence => fence::fence(member).await,
        command => in_turn(member, &request.record, command).await,
    }
}

/// Stores the record. When the volume hangs, a member that is to be cut off loses its mysqld all the same: what is
/// not running acknowledges nothing, promise or no promise.
async fn store_in_time(member: &Arc<Member>, record: &Record, revokes: bool) -> Result<(), Outcome> {
    let mut storing = tokio::spawn({
        let (member, record) = (Arc::clone(member), record.clone());
        async move { store(&member, &record).await }
    });
    let defect = |why: tokio::task::JoinError| Err(failed(format!("the agent has a defect: {why}")));
    if !revokes {
        return storing.await.unwrap_or_else(defect);
    }
    if let Ok(stored) = tokio::time::timeout(STORE, &mut storing).await {
        return stored.unwrap_or_else(defect);
    }
    if record.may_replace(member.state.get().record.as_ref()).is_ok() {
        member.supervisor.signal(nix::sys::signal::Signal::SIGKILL).await;
    }
    Err(failed("the volume does not take the record; mysqld was killed, and nothing was promised"))
}

/// Stores the record and tells everybody who waits under another claim.
async fn store(member: &Arc<Member>, record: &Record) -> Result<(), Outcome> {
    let before = member.state.get().record.clone();
    match member.state.offer(record, member.name(), member.incarnation()).await {
        Err(ChangeError::Stale(stale)) => return Err(Outcome::Stale { stale }),
        Err(why @ ChangeError::Disk(_)) => return Err(failed(why.to_string())),
        Ok(()) => {}
    }
    if before.as_ref() != Some(record) {
        member.claims.send_replace(member.state.claim());
        member.changed.notify_one();
        // Whether this member may acknowledge follows from the record.
        tokio::spawn(settle_acks(Arc::clone(member)));
    }
    Ok(())
}

async fn in_turn(member: &Arc<Member>, record: &Record, command: Command) -> Outcome {
    let patience = match &command {
        Command::Promote { deadline_ms, .. } | Command::Drain { deadline_ms } => Duration::from_millis(*deadline_ms),
        _ => TURN,
    };
    let claim = record.claim();
    let turn = tokio::select! {
        turn = tokio::time::timeout(patience, Arc::clone(&member.turn).lock_owned()) => turn,
        () = member.superseded(claim) => return superseded(member, claim),
    };
    let Ok(turn) = turn else { return busy(member) };
    if member.state.claim() != Some(claim) {
        return superseded(member, claim);
    }
    if let Err(why) = rename_after_a_loss(member, record) {
        return failed(format!("the server_uuid cannot be given up: {why}"));
    }
    match command {
        Command::Initialize => jobs::initialize(member, record, turn),
        Command::Restore { backup } => jobs::restore(member, record, *backup, None, turn),
        Command::Recover { backup, target } => jobs::restore(member, record, *backup, target, turn),
        Command::Import { dump } => jobs::import(member, record, *dump, turn),
        Command::Clone { donor } => jobs::clone(member, record, donor, turn),
        Command::Start => match member.ensure_started().await {
            Ok(_) => Outcome::Done,
            Err(why) => failed(format!("{why:#}")),
        },
        Command::Trim { keep } => trim::trim(member, record, &keep).await,
        Command::Follow { source } => follow::follow(member, record, &source).await,
        Command::Read { source, delay_s } => read::read(member, record, &source, delay_s).await,
        Command::GrantStanding { barrier } => standing::grant(member, claim, &barrier).await,
        Command::Promote { source, required, .. } => {
            promote::promote(member, record, source.as_ref(), &required, patience).await
        }
        Command::SetAcks { acks } => standing::set_acks(member, record, acks).await,
        Command::Lock => lock::lock(member, record).await,
        Command::Drain { .. } => drain::drain(member, record, patience).await,
        Command::Undrain => drain::undrain(member, record).await,
        Command::Store | Command::Freeze | Command::Fence => Outcome::Done,
        Command::Unknown => refused("this agent does not know this command"),
    }
}

/// Why a read replica does not obey a command, if it does not: it takes no part in anything that is counted.
fn members_alone(command: &Command) -> Option<String> {
    let what = match command {
        Command::Store
        | Command::Start
        | Command::Clone { .. }
        | Command::Read { .. }
        | Command::Freeze
        | Command::Fence
        | Command::Unknown => return None,
        Command::Initialize | Command::Restore { .. } | Command::Recover { .. } | Command::Import { .. } => {
            "makes no first data"
        }
        Command::Trim { .. } => "has never led, so there is nothing to cut off",
        Command::Follow { .. } => "does not acknowledge, and is told to Read",
        Command::GrantStanding { .. } => "acknowledges nothing, so it has no standing",
        Command::Promote { .. }
        | Command::SetAcks { .. }
        | Command::Lock
        | Command::Drain { .. }
        | Command::Undrain => "never leads",
    };
    Some(format!("this is a read replica: it {what}"))
}

/// A server whose later transactions were given up starts under another name: somebody else may hold transactions with
/// the numbers that it would issue next.
fn rename_after_a_loss(member: &Member, record: &Record) -> std::io::Result<()> {
    if member.supervisor.now().running().is_some() || record.primary == member.name() {
        return Ok(());
    }
    let datadir = member.config.datadir();
    match data::server_uuid(&datadir).filter(|uuid| record.gave_up(*uuid)) {
        Some(uuid) => {
            tracing::warn!(%uuid, "transactions of this server were given up: it starts under another name");
            data::forget_server_uuid(&datadir)
        }
        None => Ok(()),
    }
}

fn busy(member: &Member) -> Outcome {
    let waiting_for = match member.job() {
        Some(topology::facts::Job { kind, state: topology::facts::JobState::Running { stage } }) => {
            format!("{kind:?}: {stage}")
        }
        _ => "the command before this one".to_owned(),
    };
    Outcome::Pending { waiting_for }
}

/// The answer to whoever was obeyed until a later claim was stored.
fn superseded(member: &Member, claim: Claim) -> Outcome {
    match member.state.claim() {
        Some(stored) if stored != claim => {
            Outcome::Stale { stale: topology::record::StaleRecord::Claim { offered: claim, stored } }
        }
        _ => failed("the agent is ending".to_owned()),
    }
}

/// What became of a change of state under a claim that is no longer stored.
fn not_changed(why: ChangeError) -> Outcome {
    match why {
        ChangeError::Stale(stale) => Outcome::Stale { stale },
        why @ ChangeError::Disk(_) => failed(why.to_string()),
    }
}

fn refused(reason: impl Into<String>) -> Outcome {
    Outcome::Refused { reason: reason.into() }
}

fn failed(error: impl Into<String>) -> Outcome {
    Outcome::Failed { error: error.into() }
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Store => "store",
        Command::Initialize => "initialize",
        Command::Restore { .. } => "restore",
        Command::Recover { .. } => "recover",
        Command::Import { .. } => "import",
        Command::Start => "start",
        Command::Clone { .. } => "clone",
        Command::Trim { .. } => "trim",
        Command::Follow { .. } => "follow",
        Command::Freeze => "freeze",
        Command::Read { .. } => "read",
        Command::GrantStanding { .. } => "grant standing",
        Command::Promote { .. } => "promote",
        Command::SetAcks { .. } => "set acks",
        Command::Lock => "lock",
        Command::Fence => "fence",
        Command::Drain { .. } => "drain",
        Command::Undrain => "undrain",
        Command::Unknown => "unknown",
    }
}

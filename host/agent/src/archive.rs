//! Archives this member's binary log while an operator goes on ordering it.
//!
//! Whoever archives takes no turn, holds no lock and changes nothing on this server: it reads the files that mysqld
//! writes. A store that is slow or gone costs the archive time and the database nothing, because what waits to be
//! archived waits in the binary log.
//!
//! It must never archive what the primary has not executed: what a replica, or the log of a primary, holds beyond that may
//! yet be cut off. And it goes by one order at a time, the last one, for as long as that lasts.

mod attempt;
mod events;
mod follow;
mod segment;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backup::encryption::Recipients;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use topology::gtid::GtidSet;
use wire::{ARCHIVE_ORDER_LASTS_MS, ArchiveAnswer, ArchiveAsk, ArchiveCall, ArchiveOrder, ArchiveState, WIRE_VERSION};

use crate::backups::recipients_of;
use crate::member::Member;
use crate::sql::{PROMPT, facts};

/// How long after its first transaction a segment is closed: with an order every five seconds and a second for the store, a
/// transaction is in the archive in about a third of a minute, and an hour is 360 segments at most.
pub const CLOSED_AFTER: Duration = Duration::from_secs(10);

/// How soon it is tried again after a failure, at first and at last: a store that restarts is back in seconds.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(15);

/// After so long without a failure the next one counts as the first.
const CALM: Duration = Duration::from_secs(60);

/// What is ordered of one member, and how far that is.
#[derive(Debug, Default)]
pub struct Archiving {
    order: watch::Sender<Option<Ordered>>,
    state: Mutex<Option<ArchiveState>>,
}

/// An order, and when it was last given.
#[derive(Debug, Clone)]
struct Ordered {
    task: Arc<Task>,
    at: Instant,
}

/// What is to be archived, and for whom it is encrypted, if it is.
#[derive(Debug)]
struct Task {
    order: ArchiveOrder,
    recipients: Option<Recipients>,
}

impl Archiving {
    fn state(&self) -> Option<ArchiveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, change: impl FnOnce(&mut ArchiveState)) {
        change(self.state.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
}

/// Answers an operator.
pub async fn answer(member: &Arc<Member>, call: ArchiveCall) -> ArchiveAnswer {
    let (mut lacks, mut refused) = (None, None);
    match call.ask {
        _ if call.wire != WIRE_VERSION => {
            refused = Some(format!("this agent speaks wire version {WIRE_VERSION}, not {}", call.wire));
        }
        ArchiveAsk::Unknown => {
            refused = Some("this agent is of an earlier release and does not know this question".to_owned());
        }
        ArchiveAsk::Look { covered: None } => {}
        ArchiveAsk::Look { covered: Some(covered) } => lacks = purged(member).await.ok().map(|p| p.subtract(&covered)),
        ArchiveAsk::Keep(order) => refused = keep(member, *order, None).err(),
        ArchiveAsk::KeepEncrypted { order, recipients } => match recipients_of(&recipients) {
            Ok(recipients) => refused = keep(member, *order, Some(recipients)).err(),
            Err(why) => refused = Some(why),
        },
        ArchiveAsk::Stop => drop(member.archiving.order.send_replace(None)),
    }
    ArchiveAnswer { wire: WIRE_VERSION, lacks, state: member.archiving.state(), refused }
}

fn keep(member: &Member, order: ArchiveOrder, recipients: Option<Recipients>) -> Result<(), String> {
    may_archive(member, &order)?;
    let ordered = Ordered { task: Arc::new(Task { order, recipients }), at: Instant::now() };
    member.archiving.order.send_replace(Some(ordered));
    Ok(())
}

/// What mysqld holds without having a log of it.
async fn purged(member: &Member) -> anyhow::Result<GtidSet> {
    let (mut session, _) = member.session().await?;
    let purged: String = session.value("SELECT @@GLOBAL.gtid_purged", PROMPT).await?;
    Ok(facts::gtids(&purged)?)
}

/// Whether this member is one to archive by this order.
fn may_archive(member: &Member, order: &ArchiveOrder) -> Result<(), String> {
    if member.config.reads_along() {
        return Err("a read replica does not archive: it may hold what its primary never acknowledged".to_owned());
    }
    let remembered = member.state.get();
    let Some(record) = &remembered.record else { return Err("this member belongs to no cluster yet".to_owned()) };
    if order.epoch < record.epoch {
        return Err(format!("the order is of epoch {}, and this member knows of {}", order.epoch, record.epoch));
    }
    if record.primary == member.name() && !order.although_primary {
        return Err("this member leads: a replica is to archive".to_owned());
    }
    Ok(())
}

/// The order that is to be obeyed now, if one is.
fn in_force(member: &Member) -> Option<Arc<Task>> {
    let ordered = member.archiving.order.borrow().clone()?;
    let lasts = ordered.at.elapsed() < Duration::from_millis(ARCHIVE_ORDER_LASTS_MS);
    (lasts && may_archive(member, &ordered.task.order).is_ok()).then_some(ordered.task)
}

/// Archives whenever it is ordered. Runs until the agent ends.
pub async fn run(member: Arc<Member>) {
    let mut orders = member.archiving.order.subscribe();
    loop {
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            () = member.ending.cancelled() => return,
        }
        if in_force(&member).is_none() {
            continue;
        }
        tracing::info!("archiving the binary log");
        member.archiving.tell(|state| (state.problem, state.lacks) = (None, GtidSet::new()));
        while_ordered(&member).await;
        member.archiving.tell(|state| state.active = false);
        tracing::info!("no longer archiving the binary log");
        if member.ending.is_cancelled() {
            return;
        }
    }
}

async fn while_ordered(member: &Arc<Member>) {
    let mut pause = RETRY;
    while let Some(task) = in_force(member).filter(|_| !member.ending.is_cancelled()) {
        let began = Instant::now();
        member.archiving.tell(|state| state.active = true);
        match attempt::run(member, &task).await {
            Ok(()) => continue,
            Err(why) => {
                let problem = format!("{why:#}");
                let known = member.archiving.state().and_then(|state| state.problem);
                if known.as_ref() != Some(&problem) {
                    tracing::warn!(problem, "the binary log is not archived");
                }
                member.archiving.tell(|state| state.problem = Some(problem));
            }
        }
        pause = if began.elapsed() > CALM { RETRY } else { pause };
        tokio::select! {
            () = sleep(pause) => {}
            () = member.ending.cancelled() => {}
        }
        pause = (pause * 2).min(RETRY_AT_MOST);
    }
}

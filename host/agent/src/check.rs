//! Finds out what the tables of this member hold, at one moment that is known exactly: so that what was restored can be
//! held against it.
//!
//! A check changes nothing, takes no turn and gives way: it ends when nobody asks about it any more, when the cluster
//! begins another epoch, when a change of a table's definition waits for it, and with mysqld. It must never hold a lock
//! that a command could wait for, and never begin anything twice.

mod snapshot;
mod tables;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use topology::gtid::GtidSet;
use wire::{
    CHECK_LASTS_MS, CheckAnswer, CheckAsk, CheckCall, CheckJob, CheckOrder, CheckState, TableSum, WIRE_VERSION,
};

use crate::member::Member;
use crate::sql::{PROMPT, SqlError};

/// How often it is looked whether somebody waits for it: a failover waits no longer than that for a change of a table's
/// definition.
const LOOK: Duration = Duration::from_secs(1);

/// The check that is under way or was made last.
#[derive(Debug, Default)]
pub struct Checks {
    current: Mutex<Option<Current>>,
}

#[derive(Debug, Clone)]
struct Current {
    id: String,
    abort: CancellationToken,
    /// When somebody last asked about it.
    asked: Instant,
    gtids: Option<GtidSet>,
    count: Arc<Count>,
    /// None while it is under way.
    ended: Option<Ended>,
}

/// How it ended.
#[derive(Debug, Clone)]
enum Ended {
    Done(Arc<[TableSum]>),
    Failed(Trouble),
}

/// Why there is no result.
#[derive(Debug, Clone)]
struct Trouble {
    table: Option<String>,
    error: String,
}

impl From<anyhow::Error> for Trouble {
    fn from(why: anyhow::Error) -> Self {
        Self { table: None, error: format!("{why:#}") }
    }
}

/// How far it is.
#[derive(Debug, Default)]
struct Count {
    tables_done: AtomicU64,
    tables_total: AtomicU64,
    rows: AtomicU64,
}

impl Checks {
    fn job(&self, with_tables: bool) -> Option<CheckJob> {
        let current = self.lock().clone()?;
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (tables_total, rows) = (of(&current.count.tables_total), of(&current.count.rows));
        let state = match current.ended {
            None => CheckState::Running { tables_done: of(&current.count.tables_done), tables_total, rows },
            Some(Ended::Done(tables)) => {
                let tables = if with_tables { tables.to_vec() } else { Vec::new() };
                CheckState::Done { tables_total, rows, tables }
            }
            Some(Ended::Failed(Trouble { table, error })) => CheckState::Failed { table, error },
        };
        Some(CheckJob { id: current.id, gtids: current.gtids, state })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers an operator. What is ordered is begun, and goes on while somebody asks.
pub fn answer(member: &Arc<Member>, call: CheckCall) -> CheckAnswer {
    if let Some(current) = &mut *member.checks.lock() {
        current.asked = Instant::now();
    }
    let (mut refused, mut with_tables) = (None, false);
    match call.ask {
        _ if call.wire != WIRE_VERSION => {
            refused = Some(format!("this agent speaks wire version {WIRE_VERSION}, not {}", call.wire));
        }
        CheckAsk::Unknown => {
            refused = Some("this agent is of an earlier release and does not know this question".to_owned());
        }
        CheckAsk::Look { tables } => with_tables = tables,
        CheckAsk::Begin(order) => refused = begin(member, *order).err(),
        CheckAsk::Stop { id } => {
            if let Some(current) = member.checks.lock().as_ref().filter(|current| current.id == id) {
                current.abort.cancel();
            }
        }
    }
    CheckAnswer { wire: WIRE_VERSION, job: member.checks.job(with_tables), refused }
}

fn begin(member: &Arc<Member>, order: CheckOrder) -> Result<(), String> {
    let mut current = member.checks.lock();
    match &*current {
        Some(known) if known.id == order.id => return Ok(()),
        Some(busy) if busy.ended.is_none() => return Err(format!("the check {} is under way", busy.id)),
        _ => {}
    }
    let (abort, count) = (member.ending.child_token(), Arc::<Count>::default());
    *current = Some(Current {
        id: order.id.clone(),
        abort: abort.clone(),
        asked: Instant::now(),
        gtids: None,
        count: Arc::clone(&count),
        ended: None,
    });
    drop(current);
    let member = Arc::clone(member);
    tokio::spawn(async move {
        tracing::info!(id = order.id, "checking what the tables hold");
        let checked = tokio::spawn({
            let member = Arc::clone(&member);
            async move { check(&member, &order, &count, &abort).await }
        });
        let checked = checked.await.unwrap_or_else(|why| Err(anyhow::anyhow!("the agent has a defect: {why}").into()));
        let ended = match checked {
            Ok(tables) => {
                tracing::info!(tables = tables.len(), "every row was read");
                Ended::Done(tables.into())
            }
            Err(trouble) => {
                tracing::warn!(table = trouble.table, error = trouble.error, "the tables were not checked");
                Ended::Failed(trouble)
            }
        };
        if let Some(current) = &mut *member.checks.lock() {
            current.ended = Some(ended);
        }
    });
    Ok(())
}

async fn check(
    member: &Arc<Member>,
    order: &CheckOrder,
    count: &Count,
    abort: &CancellationToken,
) -> Result<Vec<TableSum>, Trouble> {
    let epoch = member.state.claim().map(|claim| claim.epoch);
    let facts = async {
        let (mut session, running) = member.session().await?;
        member.facts(&mut session, running).await
    };
    let facts = facts.await.map_err(anyhow::Error::from)?;
    // Whoever writes to a primary would wait for a lock.
    let may_lock = facts.replication.is_some() && !facts.open;
    let mut conn = member.sql.connect_to_read().await.map_err(anyhow::Error::from)?;
    let connection = conn.id();
    let reading = async {
        let gtids = snapshot::open(&mut conn, &order.at_least, may_lock).await?;
        if let Some(current) = &mut *member.checks.lock() {
            current.gtids = Some(gtids);
        }
        tables::read(&mut conn, count).await
    };
    let checked = tokio::select! {
        read = reading => read,
        why = until_it_has_to_end(member, connection, epoch, abort) => Err(why.into()),
    };
    // Whatever it still does there ends with it. One that has ended is ended.
    if checked.is_err()
        && let Ok((mut session, _)) = member.session().await
    {
        let _ = session.run(&format!("KILL {connection}"), PROMPT).await;
    }
    checked
}

/// Waits until there is a reason to end, and says it.
async fn until_it_has_to_end(
    member: &Member,
    connection: u32,
    epoch: Option<u64>,
    abort: &CancellationToken,
) -> anyhow::Error {
    let mut claims = member.claims.subscribe();
    let mut tick = interval(LOOK);
    let looking = async {
        loop {
            tick.tick().await;
            let asked = member.checks.lock().as_ref().map(|current| current.asked);
            if asked.is_none_or(|asked| asked.elapsed() >= Duration::from_millis(CHECK_LASTS_MS)) {
                bail!("nobody asks about it any more");
            }
            // A server that does not answer in time is none that a check has to end for: whoever reads hears of its end.
            if is_in_the_way(member, connection).await.unwrap_or(false) {
                bail!("a change of a table's definition came while it was read");
            }
        }
    };
    let looked: anyhow::Result<std::convert::Infallible> = tokio::select! {
        looked = looking => looked,
        () = abort.cancelled() => return anyhow::anyhow!("it was ended"),
        _ = claims.wait_for(|claim| claim.map(|claim| claim.epoch) != epoch) => {
            return anyhow::anyhow!("the cluster began another epoch");
        }
    };
    match looked {
        Err(why) => why,
        Ok(never) => match never {},
    }
}

/// Whether somebody waits for the definition of a table that this connection reads.
async fn is_in_the_way(member: &Member, connection: u32) -> Result<bool, SqlError> {
    let (mut session, _) = member.session().await?;
    let query = format!(
        "SELECT EXISTS (SELECT 1 FROM performance_schema.metadata_locks w JOIN performance_schema.metadata_locks h \
         ON h.OBJECT_TYPE = w.OBJECT_TYPE AND h.OBJECT_SCHEMA <=> w.OBJECT_SCHEMA AND h.OBJECT_NAME <=> w.OBJECT_NAME \
         JOIN performance_schema.threads t ON t.THREAD_ID = h.OWNER_THREAD_ID WHERE w.LOCK_STATUS = 'PENDING' \
         AND h.LOCK_STATUS = 'GRANTED' AND t.PROCESSLIST_ID = {connection})"
    );
    Ok(session.value::<i64>(&query, PROMPT).await? == 1)
}

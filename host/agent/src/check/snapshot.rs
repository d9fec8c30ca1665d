//! One moment of a server under load, with exactly the transactions that are in it.
//!
//! A commit is to be seen by new transactions a moment before its GTID is in `gtid_executed`. So a snapshot is one of that
//! set only if nothing committed while it was opened, and nothing was about to. On a server that is never that quiet,
//! commits are held up for some milliseconds; never on one that clients write to, and never where a statement runs that
//! they would then wait for.

use std::time::Duration;

use anyhow::{Context, bail};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::{MissedTickBehavior, interval, timeout};
use topology::gtid::GtidSet;

use crate::sql::{facts, quote};

/// How long is waited for what must have been executed, in seconds: as long as a replica may be behind that is fit.
const CATCH_UP_S: u32 = 60;

/// How often it is tried without holding anything up, and how often while commits are held up.
const TRIES: u32 = 20;
const TRIES_LOCKED: u32 = 10;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a statement may take. One that waits for a lock gives up after a second by itself.
const STATEMENT: Duration = Duration::from_secs(5);

/// What every row is read under: nothing that was set for applications, no conversion, and times that exist once.
const SETTINGS: &str = "SET SESSION transaction_isolation = 'REPEATABLE-READ', character_set_results = NULL, \
    time_zone = '+00:00', sql_mode = '', sql_select_limit = DEFAULT, max_execution_time = 0, lock_wait_timeout = 1";

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Statements that tables would have to be waited for, except those of the server's own threads.
const LONG: &str = "SELECT COUNT(*) FROM performance_schema.processlist WHERE COMMAND IN ('Query', 'Execute') \
    AND TIME >= 1 AND ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')";

/// Opens a transaction that sees one moment, and says what was executed then.
///
/// # Errors
/// In words: it is too far behind, or commits too much at any time.
pub async fn open(conn: &mut Conn, at_least: &GtidSet, may_lock: bool) -> anyhow::Result<GtidSet> {
    run(conn, SETTINGS).await?;
    catch_up(conn, at_least).await?;
    let mut tick = interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..TRIES {
        tick.tick().await;
        if let Some(gtids) = quiet(conn).await? {
            return Ok(gtids);
        }
    }
    if !may_lock {
        bail!("it commits all the time, and a moment between two commits was not found");
    }
    let mut last = anyhow::anyhow!("statements run that would have to be waited for");
    for _ in 0..TRIES_LOCKED {
        tick.tick().await;
        if value::<u64>(conn, LONG).await? > 0 {
            continue;
        }
        match locked(conn).await {
            Ok(gtids) => return Ok(gtids),
            Err(why) => last = why,
        }
        run(conn, "UNLOCK TABLES").await?;
    }
    Err(last.context("its commits could not be held up for a moment"))
}

async fn catch_up(conn: &mut Conn, at_least: &GtidSet) -> anyhow::Result<()> {
    if at_least.is_empty() {
        return Ok(());
    }
    let waiting = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {CATCH_UP_S})", quote(&at_least.to_string()));
    let patience = Duration::from_secs(u64::from(CATCH_UP_S)) + STATEMENT;
    let late = timeout(patience, conn.query_first::<i64, _>(waiting)).await.context("mysqld does not answer")??;
    if late != Some(0) {
        bail!("it lacks {}", at_least.subtract(&executed(conn).await?));
    }
    Ok(())
}

/// A snapshot during which nothing committed, if it is one.
async fn quiet(conn: &mut Conn) -> anyhow::Result<Option<GtidSet>> {
    let before = executed(conn).await?;
    run(conn, BEGIN).await?;
    // Before what is executed: a commit leaves the one set for the other.
    let owned: String = value(conn, "SELECT @@GLOBAL.gtid_owned").await?;
    let after = executed(conn).await?;
    if owned.is_empty() && before == after {
        return Ok(Some(after));
    }
    run(conn, "ROLLBACK").await?;
    Ok(None)
}

/// A snapshot under the lock that waits for commits and lets none begin. It ends with the connection at the latest.
async fn locked(conn: &mut Conn) -> anyhow::Result<GtidSet> {
    run(conn, "FLUSH TABLES WITH READ LOCK").await?;
    run(conn, BEGIN).await?;
    let gtids = executed(conn).await?;
    run(conn, "UNLOCK TABLES").await?;
    Ok(gtids)
}

async fn executed(conn: &mut Conn) -> anyhow::Result<GtidSet> {
    Ok(facts::gtids(&value::<String>(conn, "SELECT @@GLOBAL.gtid_executed").await?)?)
}

async fn run(conn: &mut Conn, statement: &str) -> anyhow::Result<()> {
    Ok(timeout(STATEMENT, conn.query_drop(statement)).await.context("mysqld does not answer")??)
}

async fn value<T: mysql_async::prelude::FromValue + Send + 'static>(conn: &mut Conn, query: &str) -> anyhow::Result<T> {
    let found = timeout(STATEMENT, conn.query_first::<T, _>(query)).await.context("mysqld does not answer")??;
    found.with_context(|| format!("nothing to `{query}`"))
}

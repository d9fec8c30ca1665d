//! Reads back what was acknowledged, through the Service and over a new connection each time, as an application
//! does that has just been told its write is safe.
//!
//! A row that was acknowledged before the read began and is not there is a stale read. That a read does not come
//! about proves nothing and is not counted.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use mysql_async::prelude::Queryable;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::sql::Login;

/// How often something is read back: often enough for every second of an outage, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(100);

/// How long connecting and reading may take together before the read is given up.
const WITHIN: Duration = Duration::from_millis(800);

/// What reading back has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// How many rows were looked for.
    pub done: u64,
    /// Rows that had been acknowledged and were not there.
    pub stale: Vec<Stale>,
}

/// A row that had been acknowledged and was not there, and whoever said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The row's key.
    pub key: u64,
    /// The pod that was asked, as it calls itself.
    pub host: String,
    /// Whether it was a replica.
    pub read_only: bool,
}

impl fmt::Display for Stale {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.read_only { "read-only" } else { "writable" };
        write!(out, "row {} on {}, which was {role}", self.key, self.host)
    }
}

/// A monitor at work.
pub struct Monitor {
    stop: watch::Sender<bool>,
    task: JoinHandle<Reads>,
}

impl Monitor {
    /// Begins to read back whatever `newest` says was acknowledged last.
    pub fn start(login: Login, table: &str, newest: watch::Receiver<Option<u64>>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(read_back(login, table.to_owned(), newest, stopped));
        Self { stop, task }
    }

    /// Ends it.
    pub async fn stop(self) -> Reads {
        let _ = self.stop.send(true);
        // It waits for nothing for longer than one read.
        self.task.await.unwrap_or_default()
    }
}

async fn read_back(
    login: Login,
    table: String,
    newest: watch::Receiver<Option<u64>>,
    stopped: watch::Receiver<bool>,
) -> Reads {
    let mut reads = Reads::default();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whoever gave up and dropped the monitor has ended it too.
    while !*stopped.borrow() && stopped.has_changed().is_ok() {
        tick.tick().await;
        let Some(key) = *newest.borrow() else { continue };
        if let Ok(Ok(missing)) = timeout(WITHIN, look_for(&login, &table, key)).await {
            reads.done += 1;
            reads.stale.extend(missing);
        }
    }
    reads
}

/// Nothing if the row is there.
async fn look_for(login: &Login, table: &str, key: u64) -> anyhow::Result<Option<Stale>> {
    let mut conn = login.connect().await?;
    // In one statement: asked again, another state could answer.
    let query = format!("SELECT @@hostname, @@read_only, (SELECT k FROM {table} WHERE k = {key})");
    let row: Option<(String, bool, Option<u64>)> = conn.query_first(query).await?;
    let _ = conn.disconnect().await;
    let (host, read_only, found) = row.context("a SELECT without a table gave no row")?;
    Ok(found.is_none().then_some(Stale { key, host, read_only }))
}

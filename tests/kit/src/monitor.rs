//! Reads back what was acknowledged, through the Service and over a new connection each time, as an application
//! does that has just been told its write is safe.
//!
//! A row that was acknowledged before the read began and is not there is a stale read. That a read does not come
//! about proves nothing and is not counted.

use std::time::Duration;

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
    /// The keys of rows that had been acknowledged and were not there.
    pub stale: Vec<u64>,
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
        match timeout(WITHIN, is_there(&login, &table, key)).await {
            Ok(Ok(true)) => reads.done += 1,
            Ok(Ok(false)) => {
                reads.done += 1;
                reads.stale.push(key);
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
    reads
}

async fn is_there(login: &Login, table: &str, key: u64) -> anyhow::Result<bool> {
    let mut conn = login.connect().await?;
    let found: Option<u64> = conn.query_first(format!("SELECT k FROM {table} WHERE k = {key}")).await?;
    let _ = conn.disconnect().await;
    Ok(found.is_some())
}

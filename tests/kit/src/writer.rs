//! Writers that remember: each sends rows with keys nobody else uses, through the Service as an application does,
//! and writes down what became of each.
//!
//! A row counts as acknowledged only after the server's OK was read. Whatever could have been committed without an
//! OK is unknown; it must never be taken for failed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::Cluster;
use crate::ledger::{Entry, Ledger, Outcome};
use crate::sql::Login;

/// How much is written.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many write at the same time.
    pub writers: u64,
    /// How long each rests after a row.
    pub rest: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self { writers: 4, rest: Duration::from_millis(5) }
    }
}

/// How long connecting may take. It has to be short: a dead node does not even refuse, and whoever waits for one does not
/// notice that another has taken over. Gaps are known only to within this much.
const CONNECT: Duration = Duration::from_millis(120);

/// How long a row may take before its outcome is given up as unknown.
const ROW: Duration = Duration::from_millis(1_500);

/// How long a writer rests after it was refused.
const REFUSED: Duration = Duration::from_millis(5);

/// Errors of a server that has certainly not committed: it is read-only, offline, or lets nobody in.
const CERTAINLY_NOT: [u16; 4] = [1290, 1836, 3032, 1045];

/// Writers at work.
pub struct Writer {
    table: String,
    stop: watch::Sender<bool>,
    progress: watch::Receiver<u64>,
    newest: watch::Receiver<Option<u64>>,
    trouble: watch::Receiver<String>,
    began: Instant,
    tasks: Vec<JoinHandle<Vec<Entry>>>,
}

impl Writer {
    /// Makes a table of its own and begins to write. Returns after the first row was acknowledged.
    ///
    /// # Errors
    /// The table could not be made, or no row was acknowledged in 30 s.
    pub async fn start(cluster: &Cluster, load: Load) -> Result<Self> {
        Self::start_at(vec![cluster.application().await?], load).await
    }

    /// The same for any servers: each writer goes on to the next one whenever one does not take its row. The table
    /// is made on the first.
    ///
    /// # Errors
    /// There is no server, the table could not be made, or no row was acknowledged in 30 s.
    pub async fn start_at(logins: Vec<Login>, load: Load) -> Result<Self> {
        let table = format!("rows_{:08x}", rand::random::<u32>());
        make_table(logins.first().context("there is nowhere to write to")?, &table).await?;
        let (stop, stopped) = watch::channel(false);
        let (count, progress) = watch::channel(0);
        let (last, newest) = watch::channel(None);
        let (met, trouble) = watch::channel("nothing".to_owned());
        let told = Arc::new(Told { count, last, met });
        let began = Instant::now();
        let tasks = (0..load.writers).map(|number| {
            let one = One {
                logins: logins.clone(),
                table: table.clone(),
                number,
                rest: load.rest,
                began,
                told: told.clone(),
            };
            tokio::spawn(one.write(stopped.clone()))
        });
        let tasks = tasks.collect();
        let mut writer = Self { table, stop, progress, newest, trouble, began, tasks };
        writer.wait_rows(1, Duration::from_secs(30)).await?;
        Ok(writer)
    }

    /// How many rows have been acknowledged.
    pub fn acknowledged(&self) -> u64 {
        *self.progress.borrow()
    }

    /// The table it writes to.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The key of the row that was acknowledged last.
    pub fn newest(&self) -> watch::Receiver<Option<u64>> {
        self.newest.clone()
    }

    /// When it began; the times in the ledger count from here.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Waits until so many more rows have been acknowledged.
    ///
    /// # Errors
    /// They were not in time; the error says what a writer last met instead.
    pub async fn wait_rows(&mut self, more: u64, limit: Duration) -> Result<()> {
        let goal = self.acknowledged() + more;
        let waited = timeout(limit, self.progress.wait_for(|count| *count >= goal)).await;
        let waited = waited.with_context(|| {
            let (seconds, met) = (limit.as_secs(), self.trouble.borrow());
            format!("waited {seconds} s in vain for {more} more acknowledged rows; what went wrong last: {}", *met)
        })?;
        waited.map(drop).context("the writers have ended by themselves")
    }

    /// Ends the writers, each after the row it is at.
    ///
    /// # Errors
    /// A writer panicked.
    pub async fn stop(mut self) -> Result<Ledger> {
        let _ = self.stop.send(true);
        let mut entries = Vec::new();
        for task in std::mem::take(&mut self.tasks) {
            entries.extend(task.await.context("a writer panicked")?);
        }
        Ok(Ledger::new(self.table.clone(), self.began.elapsed(), entries))
    }
}

/// A test that gave up must not leave its writers behind.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

async fn make_table(login: &Login, table: &str) -> Result<()> {
    let statement =
        format!("CREATE TABLE {table} (k BIGINT UNSIGNED PRIMARY KEY, v CHAR(64) NOT NULL, server CHAR(36) NOT NULL)");
    crate::eventually("the application to make a table", Duration::from_secs(20), || async {
        let mut conn = login.connect().await?;
        match conn.query_drop(&statement).await {
            // 1050: an earlier try did it, though its answer was lost.
            Ok(()) => Ok(Some(())),
            Err(Error::Server(error)) if error.code == 1050 => Ok(Some(())),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

struct One {
    logins: Vec<Login>,
    table: String,
    number: u64,
    rest: Duration,
    began: Instant,
    told: Arc<Told>,
}

/// What all writers together tell: how many rows are acknowledged, which was the last, and what went wrong last.
struct Told {
    count: watch::Sender<u64>,
    last: watch::Sender<Option<u64>>,
    met: watch::Sender<String>,
}

impl One {
    async fn write(self, stopped: watch::Receiver<bool>) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut conn = None;
        let mut logins = self.logins.iter().cycle();
        for sequence in 0_u64.. {
            let Some(connected) = self.connected(conn.take(), &mut logins, &stopped).await else { break };
            let key = (self.number << 40) | sequence;
            let sent = self.began.elapsed();
            let (outcome, kept) = self.row(connected, key).await;
            conn = kept;
            let answered = self.began.elapsed();
            if outcome == Outcome::Acknowledged {
                self.told.count.send_modify(|count| *count += 1);
                self.told.last.send_replace(Some(key));
            }
            let refused = outcome == Outcome::Failed;
            entries.push(Entry { key, outcome, sent, answered });
            if *stopped.borrow() {
                break;
            }
            sleep(if refused { REFUSED } else { self.rest }).await;
        }
        if let Some(conn) = conn {
            let _ = timeout(CONNECT, conn.disconnect()).await;
        }
        entries
    }

    /// Sends one row. After anything but an OK the connection is not used again: it may lead to a former primary.
    async fn row(&self, mut conn: Conn, key: u64) -> (Outcome, Option<Conn>) {
        let statement = format!("INSERT INTO {} VALUES ({key}, SHA2({key}, 256), @@server_uuid)", self.table);
        let error = match timeout(ROW, conn.query_drop(statement)).await {
            Ok(Ok(())) => return (Outcome::Acknowledged, Some(conn)),
            Ok(Err(error)) => error,
            Err(_) => {
                self.told.met.send_replace(format!("a row had no answer within {} ms", ROW.as_millis()));
                return (Outcome::Unknown, None);
            }
        };
        self.told.met.send_replace(format!("a row: {error}"));
        match error {
            Error::Server(error) if CERTAINLY_NOT.contains(&error.code) => (Outcome::Failed, None),
            _ => (Outcome::Unknown, None),
        }
    }

    /// The connection there is, or a new one to whoever comes next. None when it is time to stop.
    async fn connected<'a>(
        &self,
        conn: Option<Conn>,
        logins: &mut impl Iterator<Item = &'a Login>,
        stopped: &watch::Receiver<bool>,
    ) -> Option<Conn> {
        if conn.is_some() {
            return conn;
        }
        while !*stopped.borrow() {
            let login = logins.next()?;
            match login.connect_within(CONNECT).await {
                Some(Ok(conn)) => return Some(conn),
                Some(Err(error)) => {
                    self.told.met.send_replace(format!("connecting to {}: {error}", login.host));
                    sleep(REFUSED).await;
                }
                None => {
                    let limit = CONNECT.as_millis();
                    self.told.met.send_replace(format!("no connection to {} within {limit} ms", login.host));
                }
            }
        }
        None
    }
}

//! Talking to the mysqld of this pod, over its unix socket as the agent's own account.
//!
//! Nothing here may wait without a limit: a server under trouble answers late or never, and its agent must still
//! act. A connection whose statement was given up is closed, never used again.

pub mod accounts;
pub mod counters;
pub mod facts;
pub mod heartbeat;
pub mod locks;
pub mod opening;
pub mod replication;
pub mod semi_sync;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::config::{ADMIN_ACCOUNT, Config, SIGNALS_ACCOUNT};

/// How long a statement may take that a healthy server answers within a few milliseconds.
pub const PROMPT: Duration = Duration::from_secs(1);

/// The longest packet of MySQL's protocol: a row may be longer than what a client may send.
const LONGEST_ROW: usize = 1 << 30;

/// How many connections are kept ready: the agent must not have to get in when `max_connections` is reached.
const READY: usize = 3;

/// Why a statement has no result.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The server's own words, or a broken connection.
    #[error("{0}")]
    Server(#[from] mysql_async::Error),
    /// No answer in time.
    #[error("mysqld did not answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// The password cannot be read.
    #[error("{0}")]
    Secret(String),
    /// An answer that is not what every supported series gives.
    #[error("mysqld answered something unexpected: {0}")]
    Unexpected(String),
}

/// The way to one mysqld. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Sql {
    config: Arc<Config>,
    /// Connections that are ready, each with the process it leads to.
    ready: Arc<Mutex<Vec<(u32, Conn)>>>,
}

/// A connection that goes back when it is dropped whole, and is closed when it was in the middle of something.
#[derive(Debug)]
pub struct Session {
    conn: Option<Conn>,
    pid: u32,
    ready: Arc<Mutex<Vec<(u32, Conn)>>>,
}

impl Sql {
    /// Nothing is connected yet.
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, ready: Arc::default() }
    }

    /// A session with the mysqld that runs as `pid`.
    ///
    /// # Errors
    /// [`SqlError`]; [`SqlError::Late`] after [`PROMPT`].
    pub async fn session(&self, pid: u32) -> Result<Session, SqlError> {
        let kept = {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.retain(|(of, _)| *of == pid);
            ready.pop()
        };
        let conn = match kept {
            Some((_, conn)) => conn,
            None => self.connect().await?,
        };
        Ok(Session { conn: Some(conn), pid, ready: Arc::clone(&self.ready) })
    }

    /// Gets connections ready, so that later ones need not be made in a hurry.
    pub async fn warm_up(&self, pid: u32) {
        let mut sessions = Vec::new();
        while sessions.len() < READY {
            match self.session(pid).await {
                Ok(session) => sessions.push(session),
                Err(_) => break,
            }
        }
    }

    /// A connection of its own, for whoever keeps it.
    ///
    /// # Errors
    /// [`SqlError`]; [`SqlError::Late`] after [`PROMPT`].
    pub async fn connect(&self) -> Result<Conn, SqlError> {
        self.connect_as(ADMIN_ACCOUNT).await
    }

    /// A connection that can only look: under an account that may read what the server tells of itself, and nothing
    /// that anybody stored.
    ///
    /// # Errors
    /// As [`Sql::connect`]. The account is absent from data that an earlier version made, and not let in while the
    /// server is offline or full.
    pub async fn connect_to_look(&self) -> Result<Conn, SqlError> {
        self.connect_as(SIGNALS_ACCOUNT).await
    }

    /// A connection of its own for whoever reads rows, however long they are.
    ///
    /// # Errors
    /// As [`Sql::connect`].
    pub async fn connect_to_read(&self) -> Result<Conn, SqlError> {
        self.connect_with(ADMIN_ACCOUNT, Some(LONGEST_ROW)).await
    }

    async fn connect_as(&self, account: &str) -> Result<Conn, SqlError> {
        self.connect_with(account, None).await
    }

    async fn connect_with(&self, account: &str, longest: Option<usize>) -> Result<Conn, SqlError> {
        let password = secret(&self.config, "admin-password").map_err(|why| SqlError::Secret(why.to_string()))?;
        let options = OptsBuilder::default()
            .socket(self.config.socket().to_str())
            .user(Some(account))
            .pass(Some(password))
            // mysqld's longest: an idle connection that was closed would be missing when it is needed.
            .wait_timeout(Some(31_536_000))
            .max_allowed_packet(longest)
            .prefer_socket(false);
        within(PROMPT, async { Ok(Conn::new(options).await?) }).await
    }
}

impl Session {
    /// Carries out a statement whose result does not matter.
    ///
    /// # Errors
    /// [`SqlError`]; [`SqlError::Late`] after `patience`, and then the session is of no more use.
    pub async fn run(&mut self, statement: &str, patience: Duration) -> Result<(), SqlError> {
        self.with(patience, async |conn| conn.query_drop(statement).await).await
    }

    /// Carries out several statements, one after the other, each within [`PROMPT`].
    ///
    /// # Errors
    /// The first error.
    pub async fn run_all(&mut self, statements: &[&str]) -> Result<(), SqlError> {
        for statement in statements {
            self.run(statement, PROMPT).await?;
        }
        Ok(())
    }

    /// The first value of a query.
    ///
    /// # Errors
    /// As [`Session::run`], and [`SqlError::Unexpected`] where there is none.
    pub async fn value<T: mysql_async::prelude::FromValue + Send + 'static>(
        &mut self,
        query: &str,
        patience: Duration,
    ) -> Result<T, SqlError> {
        let found = self.with(patience, async |conn| conn.query_first::<T, _>(query).await).await?;
        found.ok_or_else(|| SqlError::Unexpected(format!("nothing to `{query}`")))
    }

    /// The number by which the server knows this connection.
    pub fn id(&self) -> u32 {
        self.conn.as_ref().map(Conn::id).unwrap_or_default()
    }

    /// Does something on the connection. When it is given up or fails, the connection is closed.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn with<T>(
        &mut self,
        patience: Duration,
        action: impl AsyncFnOnce(&mut Conn) -> Result<T, mysql_async::Error>,
    ) -> Result<T, SqlError> {
        let Some(mut conn) = self.conn.take() else {
            return Err(SqlError::Unexpected("the connection was closed after an earlier error".to_owned()));
        };
        let result = within(patience, async { Ok(action(&mut conn).await?) }).await;
        if matches!(result, Ok(_) | Err(SqlError::Server(mysql_async::Error::Server(_)))) {
            self.conn = Some(conn);
        }
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if ready.len() < READY {
                ready.push((self.pid, conn));
            }
        }
    }
}

async fn within<T>(patience: Duration, action: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
    tokio::time::timeout(patience, action).await.unwrap_or(Err(SqlError::Late(patience)))
}

/// A password, read now: it may have changed.
///
/// # Errors
/// The file cannot be read.
pub fn secret(config: &Config, name: &str) -> anyhow::Result<String> {
    let path = config.secrets.join(name);
    let text = std::fs::read_to_string(&path)
        .map_err(|why| anyhow::anyhow!("the password in {} cannot be read: {why}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A text as a literal of SQL under the default sql_mode.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A name as an identifier of SQL.
pub fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

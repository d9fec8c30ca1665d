//! Connections to members and to the Service, each with a limit on how long it may take.

use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::timeout;

/// How long a member may take to let root in.
const ENTRANCE: Duration = Duration::from_secs(5);

/// Who connects, where to.
#[derive(Debug, Clone)]
pub struct Login {
    /// An address.
    pub host: String,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The database to begin in.
    pub database: Option<String>,
}

impl Login {
    fn opts(&self) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(3306)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            .db_name(self.database.clone())
            .prefer_socket(false)
            .tcp_nodelay(true)
            // Given, they are not asked for: two round trips less for whoever reconnects.
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(28_800))
            .into()
    }

    /// Connects within a limit. None if the limit has passed.
    ///
    /// # Errors
    /// The server refused, or nobody is there.
    pub async fn connect_within(&self, limit: Duration) -> Option<mysql_async::Result<Conn>> {
        timeout(limit, Conn::new(self.opts())).await.ok()
    }

    /// Connects, for callers in no hurry.
    ///
    /// # Errors
    /// The server refused, nobody is there, or it took too long.
    pub async fn connect(&self) -> Result<Conn> {
        let connected = self.connect_within(ENTRANCE).await;
        let connected = connected.with_context(|| format!("{} did not let {} in within 5 s", self.host, self.user))?;
        connected.with_context(|| format!("connecting to {} as {}", self.host, self.user))
    }
}

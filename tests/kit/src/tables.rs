//! What is in the tables and the binary log of a member: looked up as a person would, by SQL.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;

use crate::Member;

/// The rows of a table: the key, and everything in the row as one text.
pub type Rows = BTreeMap<u64, String>;

impl Member {
    /// Every row of a table that has a key `k`.
    ///
    /// # Errors
    /// The member did not answer as asked.
    pub async fn rows(&self, database: &str, table: &str) -> Result<Rows> {
        let mut conn = self.login.connect().await?;
        let rows: Vec<mysql_async::Row> = conn.query(format!("SELECT * FROM `{database}`.{table}")).await?;
        let key = |row: &mysql_async::Row| row.get::<u64, _>("k").context("a key");
        let rows = rows.iter().map(|row| Ok((key(row)?, format!("{:?}", row.clone().unwrap()))));
        let rows = rows.collect();
        let _ = conn.disconnect().await;
        rows
    }

    /// Whether there is a table.
    ///
    /// # Errors
    /// The member did not answer as asked.
    pub async fn has_table(&self, database: &str, table: &str) -> Result<bool> {
        let found: u64 = self
            .ask(&format!(
                "SELECT COUNT(*) FROM information_schema.tables \
                 WHERE table_schema = '{database}' AND table_name = '{table}'"
            ))
            .await?;
        Ok(found > 0)
    }

    /// The transaction that dropped a table, found as docs/disaster-recovery.md says.
    ///
    /// # Errors
    /// Nobody dropped it, or the member did not answer as asked.
    pub async fn dropped(&self, table: &str) -> Result<String> {
        let mut conn = self.login.connect().await?;
        let logs: Vec<(String, u64, String)> = conn.query("SHOW BINARY LOGS").await?;
        for (log, _, _) in logs.iter().rev() {
            let events: Vec<(String, u64, String, u32, u64, String)> =
                conn.query(format!("SHOW BINLOG EVENTS IN '{log}'")).await?;
            let at = events.iter().position(|event| event.5.contains("DROP TABLE") && event.5.contains(table));
            if let Some(above) = at.and_then(|at| events[..at].iter().rfind(|event| event.2.to_lowercase() == "gtid")) {
                return above.5.split('\'').nth(1).map(str::to_owned).context("a GTID");
            }
        }
        bail!("nobody dropped {table}")
    }
}

//! Whose acknowledgements can reach this server. Whoever acknowledges connects under an account of its own; locked, and
//! its connections ended, it has no way to.
//!
//! Nothing here may reach the binary log: a change of accounts that waited for an acknowledgement would keep everybody
//! from logging in meanwhile, those that could give it among them. Each primary makes its own accounts right instead.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use super::{PROMPT, Session, Sql, SqlError, quote};
use crate::config::OWN_ACCOUNTS;

/// How long changing accounts may take: it waits for logins under way and is fsynced.
const CHANGE: Duration = Duration::from_secs(5);

/// How long ending connections may take. A dump thread ends within milliseconds.
const END: Duration = Duration::from_secs(3);

/// How often to look whether connections have ended.
const POLL: Duration = Duration::from_millis(10);

/// Makes the accounts of `allowed` usable and all other members' accounts unusable. Where they are so already, nothing
/// is changed. The caller has switched `super_read_only` off.
///
/// # Errors
/// [`SqlError`]
pub async fn settle(sql: &Sql, session: &mut Session, allowed: &BTreeSet<String>) -> Result<(), SqlError> {
    let (mut lock, mut unlock) = (Vec::new(), Vec::new());
    let query = format!("SELECT USER, account_locked FROM mysql.user WHERE USER LIKE '{OWN_ACCOUNTS}%' AND HOST = '%'");
    let accounts: Vec<(String, String)> = session.with(PROMPT, async |conn| conn.query(query).await).await?;
    for (account, locked) in accounts {
        match (allowed.contains(&account), locked == "Y") {
            (true, true) => unlock.push(account),
            (false, false) => lock.push(account),
            (true, false) | (false, true) => {}
        }
    }
    if lock.is_empty() && unlock.is_empty() {
        return Ok(());
    }
    // A connection of its own, so that nobody else writes without a trace under its settings.
    let mut conn = sql.connect().await?;
    let change = async {
        conn.query_drop("SET SESSION sql_log_bin = OFF, lock_wait_timeout = 1").await?;
        for (accounts, state) in [(lock, "LOCK"), (unlock, "UNLOCK")] {
            if !accounts.is_empty() {
                conn.query_drop(format!("ALTER USER {} ACCOUNT {state}", everywhere(&accounts))).await?;
            }
        }
        conn.disconnect().await
    };
    tokio::time::timeout(CHANGE, change).await.map_err(|_| SqlError::Late(CHANGE))??;
    Ok(())
}

/// Ends every connection of a member's account that is not in `allowed`, and waits until it has ended: no
/// acknowledgement comes from it any more.
///
/// Whoever is logging in meanwhile may have had its account checked before that was locked, and who it is shows only
/// afterwards. It gets `login` to finish and is cut off then; None leaves such alone.
///
/// # Errors
/// [`SqlError`]; [`SqlError::Unexpected`] where one does not end.
pub async fn end_connections(
    session: &mut Session,
    allowed: &BTreeSet<String>,
    login: Option<Duration>,
) -> Result<(), SqlError> {
    let began = Instant::now();
    let locked = |account: &str| account.starts_with(OWN_ACCOUNTS) && !allowed.contains(account);
    let mut arriving: Option<BTreeSet<u64>> = None;
    loop {
        let connections = connections(session).await?;
        let unnamed: BTreeSet<_> = connections.iter().filter(|(_, who)| who.is_none()).map(|(id, _)| *id).collect();
        // Whoever begins to log in later finds the accounts as they are now.
        let arriving =
            &*arriving.get_or_insert_with(|| if login.is_some() { unnamed.clone() } else { BTreeSet::new() });
        let unsure: Vec<_> = unnamed.intersection(arriving).copied().collect();
        let named = connections.iter().filter(|(_, who)| who.as_deref().is_some_and(locked)).map(|(id, _)| *id);
        let mut doomed: Vec<_> = named.collect();
        if doomed.is_empty() && unsure.is_empty() {
            return Ok(());
        }
        if login.is_some_and(|login| began.elapsed() >= login) {
            doomed.extend(unsure);
        }
        if began.elapsed() >= END {
            return Err(SqlError::Unexpected("a connection that is to end goes on".to_owned()));
        }
        for id in doomed {
            match session.run(&format!("KILL {id}"), PROMPT).await {
                // 1094: it has ended by itself.
                Ok(())
                | Err(SqlError::Server(mysql_async::Error::Server(mysql_async::ServerError { code: 1094, .. }))) => {}
                Err(why) => return Err(why),
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Connections from outside with the account of each; none while it is logging in.
async fn connections(session: &mut Session) -> Result<Vec<(u64, Option<String>)>, SqlError> {
    let query = format!(
        "SELECT PROCESSLIST_ID, NULLIF(PROCESSLIST_USER, 'unauthenticated user') FROM performance_schema.threads \
         WHERE TYPE = 'FOREGROUND' AND PROCESSLIST_ID IS NOT NULL AND PROCESSLIST_ID <> CONNECTION_ID() \
         AND (PROCESSLIST_COMMAND = 'Connect' OR PROCESSLIST_USER LIKE '{OWN_ACCOUNTS}%')"
    );
    session.with(PROMPT, async |conn| conn.query(query).await).await
}

fn everywhere(accounts: &[String]) -> String {
    accounts.iter().map(|account| format!("{}@'%'", quote(account))).collect::<Vec<_>>().join(", ")
}

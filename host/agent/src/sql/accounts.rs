//! The accounts that the first data directory is made with, and the table of the agent's own commits.
//!
//! They are made while mysqld initialises the directory, before there is a binary log: the history of the cluster
//! then begins with its first own transaction, `gtid_executed` starts empty, and no account belongs to a
//! server_uuid that a copy could take for somebody's stray writes. Every later member is a clone and has them.
//!
//! No application account may ever get CONNECTION_ADMIN: it would not be cut off by offline_mode.

use super::{heartbeat, quote, quote_name, secret};
use crate::config::{ADMIN_ACCOUNT, Config, FOLLOWER_ACCOUNT, SIGNALS_ACCOUNT, replication_account};

/// One replication account for every member that a cluster can have (`replicas` is at most 7).
const REPLICATION_ACCOUNTS: u32 = 7;

/// What a replication account may do: replicate, stay connected to a source that is offline for everybody else,
/// and be the donor's side of a clone.
const REPLICATION_RIGHTS: [&str; 2] = ["REPLICATION SLAVE", "CONNECTION_ADMIN, BACKUP_ADMIN"];

/// What whoever reads counters may do: look at what the server and InnoDB tell of themselves.
const SIGNALS_RIGHTS: [&str; 2] = ["SELECT ON performance_schema.*", "PROCESS ON *.*"];

/// The statements of the first start, one a line as `--init-file` wants them.
///
/// # Errors
/// A password cannot be read.
pub fn first_statements(config: &Config) -> anyhow::Result<String> {
    let mut statements = agents_own(config)?;
    let root = quote(&secret(config, "root-password")?);
    statements.push(format!("ALTER USER 'root'@'localhost' IDENTIFIED BY {root}"));
    statements.push(format!("CREATE USER 'root'@'%' IDENTIFIED BY {root}"));
    statements.push("GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION".to_owned());
    let replication = quote(&secret(config, "replication-password")?);
    let own = (0..REPLICATION_ACCOUNTS).map(replication_account);
    for account in own.chain([FOLLOWER_ACCOUNT.to_owned()]).map(|account| quote(&account)) {
        statements.push(format!("CREATE USER {account}@'%' IDENTIFIED BY {replication} REQUIRE SSL"));
        statements.extend(REPLICATION_RIGHTS.iter().map(|rights| format!("GRANT {rights} ON *.* TO {account}@'%'")));
    }
    let (signals, password) = (quote(SIGNALS_ACCOUNT), quote(&secret(config, "admin-password")?));
    // The password is the one that the same process knows in any case: the account is there to be able to do less.
    statements.push(format!("CREATE USER {signals}@'localhost' IDENTIFIED BY {password} WITH MAX_USER_CONNECTIONS 2"));
    statements.extend(SIGNALS_RIGHTS.iter().map(|rights| format!("GRANT {rights} TO {signals}@'localhost'")));
    statements.extend(heartbeat::TABLE.map(str::to_owned));
    statements.extend(applications(config)?);
    Ok(lines(&statements))
}

/// The statements that let the agent into restored data, whose accounts have another cluster's passwords; one a line as
/// `--init-file` wants them.
///
/// # Errors
/// A password cannot be read.
pub fn way_in(config: &Config) -> anyhow::Result<String> {
    let (account, password) = (quote(ADMIN_ACCOUNT), quote(&secret(config, "admin-password")?));
    Ok(lines(&[
        format!("CREATE USER IF NOT EXISTS {account}@'localhost'"),
        format!("ALTER USER {account}@'localhost' IDENTIFIED BY {password} ACCOUNT UNLOCK"),
        format!("GRANT ALL ON *.* TO {account}@'localhost' WITH GRANT OPTION"),
    ]))
}

/// The statements that give restored data every account of [`first_statements`], with this cluster's passwords. What
/// else there is stays as it was in the backup.
///
/// # Errors
/// A password cannot be read.
pub fn restored_statements(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut statements = Vec::new();
    let mut account = |account: String, password: &str, requirement: &str| {
        statements.push(format!("CREATE USER IF NOT EXISTS {account}"));
        statements.push(format!("ALTER USER {account} IDENTIFIED BY {password}{requirement} ACCOUNT UNLOCK"));
    };
    let root = quote(&secret(config, "root-password")?);
    account("'root'@'localhost'".to_owned(), &root, "");
    account("'root'@'%'".to_owned(), &root, "");
    let replication = quote(&secret(config, "replication-password")?);
    let own: Vec<_> = (0..REPLICATION_ACCOUNTS).map(replication_account).chain([FOLLOWER_ACCOUNT.to_owned()]).collect();
    for name in &own {
        account(format!("{}@'%'", quote(name)), &replication, " REQUIRE SSL");
    }
    let signals = quote(SIGNALS_ACCOUNT);
    account(
        format!("{signals}@'localhost'"),
        &quote(&secret(config, "admin-password")?),
        " WITH MAX_USER_CONNECTIONS 2",
    );
    let database = config.database.as_deref().filter(|name| !name.is_empty());
    let user = database.and(config.user.as_deref()).filter(|name| !name.is_empty());
    if let Some(user) = user {
        account(format!("{}@'%'", quote(user)), &quote(&secret(config, "app-password")?), "");
    }
    statements.push("GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION".to_owned());
    for name in own.iter().map(|name| quote(name)) {
        statements.extend(REPLICATION_RIGHTS.iter().map(|rights| format!("GRANT {rights} ON *.* TO {name}@'%'")));
    }
    statements.extend(SIGNALS_RIGHTS.iter().map(|rights| format!("GRANT {rights} TO {signals}@'localhost'")));
    statements.extend(heartbeat::TABLE.map(str::to_owned));
    if let Some(database) = database {
        statements.push(format!("CREATE DATABASE IF NOT EXISTS {}{}", quote_name(database), charset(config)));
        statements.extend(user.map(|user| grant(database, user)));
    }
    Ok(statements)
}

/// The statements of a server that only receives a clone: it needs nobody but the agent.
///
/// # Errors
/// A password cannot be read.
pub fn scratch_statements(config: &Config) -> anyhow::Result<String> {
    Ok(lines(&agents_own(config)?))
}

fn agents_own(config: &Config) -> anyhow::Result<Vec<String>> {
    let password = quote(&secret(config, "admin-password")?);
    let account = quote(ADMIN_ACCOUNT);
    Ok(vec![
        format!("CREATE USER {account}@'localhost' IDENTIFIED BY {password}"),
        format!("GRANT ALL ON *.* TO {account}@'localhost' WITH GRANT OPTION"),
    ])
}

fn applications(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut statements = Vec::new();
    let Some(database) = config.database.as_deref().filter(|name| !name.is_empty()) else { return Ok(statements) };
    statements.push(format!("CREATE DATABASE {}{}", quote_name(database), charset(config)));
    if let Some(user) = config.user.as_deref().filter(|name| !name.is_empty()) {
        let password = quote(&secret(config, "app-password")?);
        statements.push(format!("CREATE USER {}@'%' IDENTIFIED BY {password}", quote(user)));
        statements.push(grant(database, user));
    }
    Ok(statements)
}

fn charset(config: &Config) -> String {
    let charset = config.charset.as_deref().filter(|name| !name.is_empty());
    charset.map(|name| format!(" CHARACTER SET {}", quote(name))).unwrap_or_default()
}

fn grant(database: &str, user: &str) -> String {
    // In a grant `_` and `%` are wildcards even between backquotes.
    let pattern = database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
    format!("GRANT ALL ON {}.* TO {}@'%'", quote_name(&pattern), quote(user))
}

fn lines(statements: &[String]) -> String {
    statements.iter().map(|statement| format!("{};\n", statement.replace('\n', " "))).collect()
}

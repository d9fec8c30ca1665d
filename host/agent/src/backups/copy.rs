//! A consistent copy of the running server's data, beside it on the same volume.
//!
//! `CLONE LOCAL DATA DIRECTORY` needs no other program, stops no writer, and copies InnoDB's tables, which are all that
//! replication keeps. It must never begin where the copy would fill the volume that mysqld writes to.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use backup::manifest::Server;
use mysql_async::prelude::Queryable;
use tokio_util::sync::CancellationToken;
use topology::facts::ServerFacts;
use topology::gtid::GtidSet;
use uuid::Uuid;

use crate::member::Member;
use crate::my_cnf::{BINLOG, RELAY_LOG};
use crate::sql::{PROMPT, Session, quote};

/// How much of a volume must stay free beside a copy: mysqld goes on writing while it is sent. A tenth, and of a large
/// volume as much as mysqld writes in some minutes.
const LEFT_FREE_SHARE: u64 = 10;
const LEFT_FREE_AT_MOST: u64 = 4 << 30;

/// Variables that the data depends on, or that whoever restores it looks for.
const SETTINGS: &str = "'lower_case_table_names', 'innodb_page_size', 'innodb_undo_tablespaces', \
    'character_set_server', 'collation_server', 'sql_mode', 'time_zone', 'default_storage_engine', 'gtid_mode'";

/// What a copy holds.
pub struct Copied {
    /// The server it is of.
    pub server_uuid: Uuid,
    /// Its version and settings.
    pub server: Server,
    /// What was executed before it began.
    pub at_least: GtidSet,
    /// What was executed, or being committed, once it had ended.
    pub at_most: GtidSet,
}

/// Copies the data to [`crate::config::Config::backup_datadir`], which must not exist.
///
/// # Errors
/// In words: there is no room, mysqld does not run or ended, or it was aborted.
pub async fn copy(member: &Arc<Member>, abort: &CancellationToken) -> anyhow::Result<Copied> {
    let (mut session, running) = member.session().await?;
    let before = member.facts(&mut session, running).await?;
    room_for_a_copy(member).await?;
    let settings = settings(&mut session).await?;
    let target = member.config.backup_datadir();
    let statement = format!("CLONE LOCAL DATA DIRECTORY = {}", quote(&target.display().to_string()));
    let connection = session.id();
    tokio::select! {
        copied = session.run(&statement, Duration::MAX) => copied.context("copying the data beside itself")?,
        () = abort.cancelled() => {
            end(member, connection).await;
            bail!("it was aborted");
        }
    }
    let after = member.facts(&mut session, running).await?;
    Ok(Copied::between(before, after, settings))
}

impl Copied {
    /// What can be said of a copy that was made between two looks at the server.
    pub fn between(before: ServerFacts, after: ServerFacts, settings: BTreeMap<String, String>) -> Self {
        Self {
            server_uuid: before.server_uuid,
            server: Server { version: before.version, settings },
            at_least: before.executed,
            at_most: after.executed.union(&after.owned),
        }
    }
}

/// Refuses a copy of the data for which there is no room.
///
/// # Errors
/// As of [`check_room`].
pub async fn room_for_a_copy(member: &Member) -> anyhow::Result<()> {
    let config = Arc::clone(&member.config);
    let measured = tokio::task::spawn_blocking(move || {
        let needed = copied_size(&config.datadir()).context("the data cannot be measured")?;
        check_room(&config.data, needed)
    });
    measured.await?
}

/// Ends the statement of another connection. One that has ended is ended.
async fn end(member: &Member, connection: u32) {
    if let Ok((mut session, _)) = member.session().await {
        let _ = session.run(&format!("KILL {connection}"), PROMPT).await;
    }
}

/// What a manifest says of the server.
pub async fn settings(session: &mut Session) -> anyhow::Result<BTreeMap<String, String>> {
    let query = format!(
        "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_variables \
         WHERE VARIABLE_NAME IN ({SETTINGS})"
    );
    let rows = session.with(PROMPT, async |conn| conn.query::<(String, String), _>(query).await).await?;
    Ok(rows.into_iter().collect())
}

/// Refuses what would fill the volume.
///
/// # Errors
/// How much there is, and how much it would take.
pub fn check_room(volume: &Path, needed: u64) -> anyhow::Result<()> {
    let about =
        nix::sys::statvfs::statvfs(volume).with_context(|| format!("{} cannot be measured", volume.display()))?;
    let unit = about.fragment_size();
    let (free, all) = (about.blocks_available() * unit, about.blocks() * unit);
    let left_free = (all / LEFT_FREE_SHARE).min(LEFT_FREE_AT_MOST);
    if needed.saturating_add(left_free) <= free {
        return Ok(());
    }
    let mib = |bytes: u64| bytes >> 20;
    bail!(
        "the data volume has no room for it: {} MiB are free, {} MiB are needed and {} MiB more must stay \
         free; use a larger volume, or remove data",
        mib(free),
        mib(needed),
        mib(left_free)
    )
}

/// How many bytes of a data directory are copied at most: logs and what belongs to a running server are not.
fn copied_size(dir: &Path) -> io::Result<u64> {
    let skipped = |name: &str| {
        let logs =
            [BINLOG, RELAY_LOG].iter().any(|log| name.strip_prefix(log).is_some_and(|rest| rest.starts_with('.')));
        logs || matches!(name, "#innodb_redo" | "#innodb_temp" | "ibtmp1")
    };
    let mut size = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if skipped(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // Tables come and go while they are counted.
        size += match entry.metadata() {
            Ok(found) if found.is_dir() => copied_size(&entry.path())?,
            Ok(found) => found.len(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => 0,
            Err(why) => return Err(why),
        };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_not_copied_and_tables_are() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("shop")).unwrap();
        std::fs::create_dir_all(root.path().join("#innodb_redo")).unwrap();
        for (file, size) in [
            ("ibdata1", 7),
            ("binlog.000001", 100),
            ("relay.000002", 100),
            ("shop/orders.ibd", 5),
            ("#innodb_redo/1", 100),
        ] {
            std::fs::write(root.path().join(file), vec![0; size]).unwrap();
        }
        assert_eq!(copied_size(root.path()).unwrap(), 12);
    }

    #[test]
    fn what_would_fill_the_volume_is_refused_with_the_numbers() {
        let root = tempfile::tempdir().unwrap();
        let refused = check_room(root.path(), u64::MAX / 2).unwrap_err().to_string();
        assert!(refused.contains("MiB are needed"), "{refused}");
    }
}

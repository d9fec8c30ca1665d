//! The databases of applications as statements, which a server of any version can carry out: mysqldump's, of one moment.
//!
//! It holds no lock: without GTIDs in it a snapshot of the tables is enough, and whoever makes a cluster of it begins a new
//! history. It must never take what belongs to this cluster alone: its accounts and Grampus's own tables.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use backup::layout;
use mysql_async::prelude::Queryable;
use tokio_util::sync::CancellationToken;

use super::copy::{self, Copied, check_room};
use crate::initialize::SecretFile;
use crate::member::Member;
use crate::programs;
use crate::sql::{PROMPT, Session};

/// Databases that are each server's own.
const OWN: &str = "'mysql', 'sys', 'information_schema', 'performance_schema', 'grampus'";

/// How often it is seen whether there is room left.
const LOOK: Duration = Duration::from_millis(500);

/// What there is to say of a moment: all tables as they were then, and whatever else a database has.
const OPTIONS: [&str; 9] = [
    "--single-transaction",
    "--set-gtid-purged=OFF",
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--no-tablespaces",
    "--max-allowed-packet=1G",
    "--default-character-set=utf8mb4",
];

/// Writes the dump into [`crate::config::Config::backup_datadir`], which must not exist.
///
/// # Errors
/// In words: there is no room, mysqld does not run or ended, mysqldump failed, or it was aborted.
pub async fn dump(member: &Arc<Member>, abort: &CancellationToken) -> anyhow::Result<Copied> {
    let (mut session, running) = member.session().await?;
    let before = member.facts(&mut session, running).await?;
    copy::room_for_a_copy(member).await?;
    let settings = copy::settings(&mut session).await?;
    let databases = databases(&mut session).await?;
    let directory = member.config.backup_datadir();
    std::fs::create_dir(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    let file = directory.join(layout::DUMP);
    if databases.is_empty() {
        // mysqldump has no word for none.
        std::fs::write(&file, "-- There is no database.\n")?;
    } else {
        write(member, &databases, &file, abort).await?;
    }
    let after = member.facts(&mut session, running).await?;
    Ok(Copied::between(before, after, settings))
}

async fn databases(session: &mut Session) -> anyhow::Result<Vec<String>> {
    let query =
        format!("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ({OWN}) ORDER BY 1");
    Ok(session.with(PROMPT, async |conn| conn.query::<String, _>(query).await).await?)
}

async fn write(
    member: &Arc<Member>,
    databases: &[String],
    file: &Path,
    abort: &CancellationToken,
) -> anyhow::Result<()> {
    let config = &member.config;
    let login = config.runtime.join("dump.cnf");
    let _removed_at_the_end = SecretFile::write(&login, &programs::login(config)?)?;
    let mut command = programs::command(config, "mysqldump", &login);
    command
        .args(OPTIONS)
        .arg("--databases")
        .args(databases)
        .stdin(Stdio::null())
        .stdout(File::create(file).with_context(|| format!("{} cannot be written", file.display()))?)
        .stderr(Stdio::piped());
    let mut mysqldump = programs::start(member, &mut command)?;
    let pid = mysqldump.id();
    let ended = {
        let end = programs::end_of(&mut mysqldump);
        tokio::pin!(end);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                ended = &mut end => break ended.context("waiting for mysqldump"),
                () = abort.cancelled() => break Err(anyhow::anyhow!("it was aborted")),
                _ = look.tick() => if let Err(full) = check_room(&config.data, 0) { break Err(full) },
            }
        }
    };
    let _ = mysqldump.kill().await;
    member.children.forget(pid);
    let ended = ended?;
    if !ended.status.success() {
        bail!("mysqldump: {}", programs::complaint(&ended));
    }
    Ok(())
}

//! A dump of another server is carried out by MySQL's own client, on a server that nobody else reaches.
//!
//! A statement that fails ends it: half a dump is none. What the dump says about accounts counts for applications only, and
//! a dump that brings the tables of accounts with it is refused, because they are those of another version.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use backup::dump::{self, Form};
use backup::store::Patience;
use backup::{Keys, Progress, Store};
use tokio::process::{Child, Command};
use wire::DumpSource;

use super::{PROGRESS, keys, stage};
use crate::backups::check_room;
use crate::config::{ADMIN_ACCOUNT, Config};
use crate::initialize::SecretFile;
use crate::member::Member;
use crate::sql;

/// What a server is started with that takes a dump: rows as large as MySQL knows them, and patience with whoever waits for
/// its end. If it ends before the dump does, everything is thrown away, so nothing has to be on the disk before it is shut
/// down.
pub const OPTIONS: [&str; 4] = [
    "--max-allowed-packet=1G",
    "--wait-timeout=31536000",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
];

/// MySQL's client, which reads statements.
const CLIENT: &str = "mysql";

/// How much of what the client says is told.
const TOLD: usize = 1_000;

/// A dump in a store.
pub struct Dump {
    store: Store,
    object: String,
    form: Form,
    keys: Keys,
}

impl Dump {
    /// What the operator names. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// Its name is none of a dump, or the store or the keys are of no use.
    pub fn of(source: &DumpSource) -> anyhow::Result<Self> {
        let object = source.object.clone();
        let form = Form::of(&object).with_context(|| {
            format!("{object} is no name of a dump: it has to end in .sql, .sql.gz or .sql.zst, or that and .age")
        })?;
        let keys = keys(source.keys.as_ref())?;
        Ok(Self { store: Store::open(&source.store, Patience::default())?, object, form, keys })
    }

    /// Has a server carry it out, which is reached by what `config` says.
    ///
    /// # Errors
    /// In words: what is wrong with the object, or the statement that failed.
    pub async fn carry_out(&self, member: &Arc<Member>, config: &Config) -> anyhow::Result<()> {
        tracing::info!(object = self.object, "importing");
        let login = config.runtime.join("client.cnf");
        let _removed_at_the_end = SecretFile::write(&login, &login_of(config)?)?;
        let mut client = self.start(member, config, &login)?;
        let pid = client.id();
        let carried_out = self.feed(member, &mut client).await;
        let _ = client.kill().await;
        member.children.forget(pid);
        carried_out
    }

    fn start(&self, member: &Member, config: &Config, login: &Path) -> anyhow::Result<Child> {
        let program = client_beside(&config.mysqld);
        let mut command = Command::new(&program);
        command
            .arg(format!("--defaults-file={}", login.display()))
            // Without it a dump could have the client run programs.
            .args(["--binary-mode", "--max-allowed-packet=1G", "--default-character-set=utf8mb4"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        member.children.spawn(&mut command).with_context(|| {
            format!(
                "cannot run {}: a dump is read by MySQL's client, which the image (spec.image) has to contain",
                program.display()
            )
        })
    }

    async fn feed(&self, member: &Member, client: &mut Child) -> anyhow::Result<()> {
        let input = client.stdin.take().context("the client's input")?.into_owned_fd()?;
        let progress = Arc::<Progress>::default();
        let pour = dump::pour(
            &self.store,
            &self.object,
            self.form,
            &self.keys,
            std::fs::File::from(input),
            &progress,
            &member.ending,
        );
        let work = async { tokio::join!(pour, output_of(client)) };
        tokio::pin!(work);
        let mut tick = tokio::time::interval(PROGRESS);
        let (poured, ended) = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = tick.tick() => {
                    // A server whose volume is full waits for room, for ever.
                    check_room(&member.config.data, 0)?;
                    stage(member, told(&progress));
                }
            }
        };
        let ended = ended.context("waiting for the client")?;
        if !ended.status.success() && !member.ending.is_cancelled() {
            bail!("{}: {}", self.object, complaint(&ended));
        }
        Ok(poured?)
    }
}

/// What `wait_with_output` would give, of a client that is still there afterwards.
async fn output_of(client: &mut Child) -> std::io::Result<Output> {
    let mut stderr = Vec::new();
    if let Some(mut pipe) = client.stderr.take() {
        tokio::io::AsyncReadExt::read_to_end(&mut pipe, &mut stderr).await?;
    }
    Ok(Output { status: client.wait().await?, stdout: Vec::new(), stderr })
}

fn told(progress: &Progress) -> String {
    let (done, total) = (progress.done(), progress.total());
    let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(0);
    format!("importing {percent} % of a dump of {} MiB", total.div_ceil(1 << 20))
}

/// The line with the statement that failed, in the client's words.
fn complaint(ended: &Output) -> String {
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.trim();
    match said.char_indices().nth(TOLD) {
        _ if said.is_empty() => format!("MySQL's client ended with {}", ended.status),
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said.to_owned(),
    }
}

/// The client that came with the server, or the first on the path.
fn client_beside(mysqld: &Path) -> PathBuf {
    let beside = mysqld.with_file_name(CLIENT);
    if mysqld.is_absolute() && beside.exists() { beside } else { PathBuf::from(CLIENT) }
}

fn login_of(config: &Config) -> anyhow::Result<String> {
    let password = sql::secret(config, "admin-password")?.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!(
        "[client]\nuser=\"{ADMIN_ACCOUNT}\"\npassword=\"{password}\"\nsocket=\"{}\"\n",
        config.socket().display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn what_the_client_complains_of_is_told_and_no_more_than_a_person_reads() {
        let said = |text: &str| {
            complaint(&Output { status: ExitStatus::from_raw(256), stdout: Vec::new(), stderr: text.into() })
        };
        assert_eq!(said("ERROR 1146 (42S02) at line 3: no table\n"), "ERROR 1146 (42S02) at line 3: no table");
        assert!(said("").contains("exit status: 1"));
        assert_eq!(said(&"ä".repeat(5_000)).chars().count(), TOLD + 1);
    }

    #[test]
    fn progress_is_told_of_nothing_too() {
        let progress = Progress::default();
        assert_eq!(told(&progress), "importing 0 % of a dump of 0 MiB");
        progress.expect(4 << 20);
        progress.add(1 << 20);
        assert_eq!(told(&progress), "importing 25 % of a dump of 4 MiB");
    }
}

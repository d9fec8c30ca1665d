//! A dump of another server is carried out by MySQL's own client, on a server that nobody else reaches.
//!
//! A statement that fails ends it: half a dump is none. What the dump says about accounts counts for applications only, and
//! a dump that brings the tables of accounts with it is refused, because they are those of another version.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, bail};
use backup::dump::{self, Form};
use backup::store::Patience;
use backup::{Keys, Progress, Store};
use tokio::process::{Child, ChildStdin};
use wire::DumpSource;

use super::{PROGRESS, keys, percent, stage};
use crate::backups::check_room;
use crate::config::Config;
use crate::initialize::SecretFile;
use crate::member::Member;
use crate::programs;

/// What a server is started with that takes a dump: rows as large as MySQL knows them, and patience with whoever waits for
/// its end. If it ends before the dump does, everything is thrown away, so nothing has to be on the disk before it is shut
/// down.
pub const OPTIONS: [&str; 4] = [
    "--max-allowed-packet=1G",
    "--wait-timeout=31536000",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
];

/// Where a dump is.
pub enum Dump {
    /// In a store, and nobody knows more of it than it says itself.
    Object {
        /// Which store.
        store: Store,
        /// The object.
        object: String,
        /// How it is packed.
        form: Form,
        /// With what it is opened.
        keys: Keys,
    },
    /// On the volume, every checksum compared: from a logical backup.
    File(PathBuf),
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
        Ok(Self::Object { store: Store::open(&source.store, Patience::default())?, object, form, keys })
    }

    /// Has a server carry it out, which is reached by what `config` says.
    ///
    /// # Errors
    /// In words: what is wrong with the object, or the statement that failed.
    pub async fn carry_out(&self, member: &Arc<Member>, config: &Config) -> anyhow::Result<()> {
        let login = config.runtime.join("client.cnf");
        let _removed_at_the_end = SecretFile::write(&login, &programs::login(config)?)?;
        let mut command = programs::command(config, "mysql", &login);
        command
            // Without the first a dump could have the client run programs.
            .args(["--binary-mode", "--max-allowed-packet=1G", "--default-character-set=utf8mb4"])
            .stdin(match self {
                Self::Object { .. } => Stdio::piped(),
                Self::File(path) => {
                    Stdio::from(File::open(path).with_context(|| format!("{} cannot be read", path.display()))?)
                }
            })
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut client = programs::start(member, &mut command)?;
        let pid = client.id();
        let carried_out = self.feed(member, &mut client).await;
        // It has ended, unless something else went wrong.
        let _ = client.kill().await;
        member.children.forget(pid);
        carried_out
    }

    async fn feed(&self, member: &Member, client: &mut Child) -> anyhow::Result<()> {
        let progress = Arc::<Progress>::default();
        let input = client.stdin.take();
        let work = async { tokio::join!(self.pour(member, input, &progress), programs::end_of(client)) };
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
        let ended = ended.context("waiting for MySQL's client")?;
        if !ended.status.success() && !member.ending.is_cancelled() {
            bail!("{}: {}", self.name(), programs::complaint(&ended));
        }
        poured
    }

    /// What comes from a file the client reads by itself.
    async fn pour(&self, member: &Member, input: Option<ChildStdin>, progress: &Arc<Progress>) -> anyhow::Result<()> {
        let (Self::Object { store, object, form, keys }, Some(input)) = (self, input) else { return Ok(()) };
        let input = File::from(input.into_owned_fd()?);
        Ok(dump::pour(store, object, *form, keys, input, progress, &member.ending).await?)
    }

    fn name(&self) -> &str {
        match self {
            Self::Object { object, .. } => object,
            Self::File(_) => "the dump in the backup",
        }
    }
}

fn told(progress: &Progress) -> String {
    match percent(progress) {
        Some(percent) => format!("importing {percent} % of a dump of {} MiB", progress.total().div_ceil(1 << 20)),
        None => "importing a dump".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_where_there_is_any() {
        let progress = Progress::default();
        assert_eq!(told(&progress), "importing a dump");
        progress.expect(4 << 20);
        progress.add(1 << 20);
        assert_eq!(told(&progress), "importing 25 % of a dump of 4 MiB");
    }
}

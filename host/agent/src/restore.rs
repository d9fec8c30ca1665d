//! Makes the first data directory of a cluster from a backup, and goes on from there over the archive of its binary log; or
//! from a dump of another server.
//!
//! Everything is done beside the place of the data and counts only once every checksum was right and a server has run on
//! it. Nothing of the cluster that the backup came from stays but its data and the accounts of its applications: the
//! server gets a new server_uuid, the accounts of Grampus this cluster's passwords, and there is no channel.

mod import;
mod replay;
mod segments;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use backup::archive::Archive;
use backup::keys::Identities;
use backup::manifest::{Manifest, Method};
use backup::store::Patience;
use backup::{Error, Keys, Progress, Store, find, layout, read};
use tokio::process::Command;
use topology::facts::{JobKind, JobState};
use wire::{BackupKeys, BackupSource, DumpSource, RecoveryTarget};

use crate::backups::check_room;
use crate::config::Config;
use crate::initialize::{self, SecretFile};
use crate::member::Member;
use crate::sql::{self, Sql, accounts, replication};
use crate::supervise::Supervisor;
use crate::{durable, my_cnf};
use import::Dump;
use replay::Onward;

/// How long the first server on the data may take to answer: it applies the redo log of the copy.
const START: Duration = Duration::from_secs(600);

/// How long its orderly end may take.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(500);

/// How long a statement about an account may take.
const STATEMENT: Duration = Duration::from_secs(10);

/// Restores, and starts mysqld closed on the data.
///
/// # Errors
/// In words, with the object that is to blame; the volume is then as empty as before, and it can be tried again.
pub async fn restore(member: Arc<Member>, source: BackupSource, target: Option<RecoveryTarget>) -> anyhow::Result<()> {
    let restored = fetch_and_adopt(&member, &source, target).await;
    put_in_place(&member, restored).await
}

/// Imports, and starts mysqld closed on the data.
///
/// # Errors
/// As of [`restore`].
pub async fn import(member: Arc<Member>, source: DumpSource) -> anyhow::Result<()> {
    let imported = async { make_and_fill(&member, &Dump::of(&source)?).await }.await;
    put_in_place(&member, imported).await
}

/// Makes it this cluster's first data if that came to something, and else leaves nothing of it.
async fn put_in_place(member: &Arc<Member>, restored: anyhow::Result<()>) -> anyhow::Result<()> {
    let (failed, new, replay) = (restored.is_err(), member.config.new_datadir(), member.config.replay_dir());
    let cleaned = tokio::task::spawn_blocking(move || {
        durable::remove_tree(&replay)?;
        if failed { durable::remove_tree(&new) } else { Ok(()) }
    });
    cleaned.await?.context("what the restore used in between could not be removed")?;
    restored?;
    initialize::put_in_place(member).await?;
    stage(member, "starting mysqld");
    member.ensure_started().await?;
    let (mut session, _) = member.session().await?;
    // The member that was copied may have had a source.
    replication::forget(&mut session).await.context("the channel of the copied member could not be removed")
}

fn stage(member: &Member, stage: impl Into<String>) {
    member.set_job(JobKind::Initialize, JobState::Running { stage: stage.into() });
}

async fn fetch_and_adopt(
    member: &Arc<Member>,
    source: &BackupSource,
    target: Option<RecoveryTarget>,
) -> anyhow::Result<()> {
    let config = &member.config;
    let new = config.new_datadir();
    stage(member, "reading the manifest");
    let store = Store::open(&source.store, Patience::default())?;
    let keys = keys(source.keys.as_ref())?;
    let (path, manifest, onward) = beginning(&store, source, target).await?;
    keys.open(&path, manifest.encryption.as_ref())?;
    if manifest.method == Method::Logical {
        if onward.is_some() {
            bail!(
                "{path} is a logical backup, from which nothing goes on: leave spec.bootstrap.recovery.target out, or name \
                 another backup"
            );
        }
        return fetch_and_fill(member, &store, &path, &manifest, &keys).await;
    }
    let version = version(member).await?;
    manifest.fits(&version, config.lower_case_table_names.unwrap_or(0)).map_err(anyhow::Error::msg)?;
    if let Some(onward) = &onward {
        stage(member, "reading the archive");
        onward.check(&manifest, &keys).await?;
    }
    check_room(&config.data, manifest.content.bytes)?;
    durable::remove_tree(&new)?;
    fetch(member, &store, &path, &manifest, &keys, &new).await?;
    stage(member, "adopting the data");
    let work = Work::Backup { manifest: &manifest, onward: onward.as_ref(), keys: &keys };
    adopt(member, &new, &work).await
}

/// The dump in a logical backup: it is only begun with once all of it is there and right.
async fn fetch_and_fill(
    member: &Arc<Member>,
    store: &Store,
    path: &str,
    manifest: &Manifest,
    keys: &Keys,
) -> anyhow::Result<()> {
    let between = member.config.replay_dir();
    // Beside it stands what is made of it.
    check_room(&member.config.data, manifest.content.bytes.saturating_mul(2))?;
    durable::remove_tree(&between)?;
    fetch(member, store, path, manifest, keys, &between).await?;
    make_and_fill(member, &Dump::File(between.join(layout::DUMP))).await
}

async fn make_and_fill(member: &Arc<Member>, dump: &Dump) -> anyhow::Result<()> {
    let (config, new) = (&member.config, member.config.new_datadir());
    stage(member, "making the data directory");
    durable::remove_tree(&new)?;
    // Only who carries the dump out: all others are made afterwards, whatever it does.
    let statements = accounts::scratch_statements(config)?;
    let with_user_part = my_cnf::render(config, &member.children).await?.with_user_part;
    initialize::make(member, &config.runtime.join("job"), &new, &statements, with_user_part).await?;
    adopt(member, &new, &Work::Dump(dump)).await
}

/// What there is to open with.
fn keys(keys: Option<&BackupKeys>) -> anyhow::Result<Keys> {
    let Some(keys) = keys else { return Ok(Keys::default()) };
    let identities = Identities::parse(&keys.identities.0).map_err(anyhow::Error::msg);
    let identities = identities.with_context(|| format!("Secret {}, key identities", keys.secret))?;
    Ok(Keys { secret: Some(keys.secret.clone()), identities })
}

/// The backup that it begins with, where that is, and how it goes on from there, if it does.
async fn beginning(
    store: &Store,
    source: &BackupSource,
    target: Option<RecoveryTarget>,
) -> anyhow::Result<(String, Manifest, Option<Onward>)> {
    let (path, manifest, of_cluster) =
        match read::manifest(store, &source.path, source.manifest_sha256.as_deref()).await {
            Ok(manifest) => (source.path.clone(), manifest, false),
            Err(Error::Missing { .. }) if source.manifest_sha256.is_none() => {
                let wanted = target.as_ref().unwrap_or(&RecoveryTarget::End);
                let (path, manifest) = find::newest(store, &source.path, wanted).await?;
                (path, manifest, true)
            }
            Err(why) => return Err(why.into()),
        };
    let archive = Archive::at(store.clone(), &layout::log_beside(&path, &manifest.cluster))?;
    let target = match target {
        // Of a cluster, everything there is; and there need not be an archive.
        None if of_cluster && archive.newest(None).await?.is_some() => Some(RecoveryTarget::End),
        target => target,
    };
    tracing::info!(path, ended_at = %manifest.ended_at, ?target, "restoring");
    Ok((path, manifest, target.map(|target| Onward { archive, target })))
}

async fn fetch(
    member: &Arc<Member>,
    store: &Store,
    path: &str,
    manifest: &Manifest,
    keys: &Keys,
    into: &Path,
) -> anyhow::Result<()> {
    let progress = Arc::<Progress>::default();
    let mut tick = tokio::time::interval(PROGRESS);
    let reading = read::read(store, path, manifest, keys, into, &progress, &member.ending);
    tokio::pin!(reading);
    loop {
        tokio::select! {
            done = &mut reading => return Ok(done?),
            _ = tick.tick() => stage(member, told(&progress)),
        }
    }
}

fn told(progress: &Progress) -> String {
    format!("downloading {} % of {} MiB", percent(progress).unwrap_or(0), progress.total().div_ceil(1 << 20))
}

/// How much of it is done. None while nobody knows how much there is.
fn percent(progress: &Progress) -> Option<u128> {
    (u128::from(progress.done()) * 100).checked_div(u128::from(progress.total()))
}

/// The version of the mysqld that will run.
async fn version(member: &Member) -> anyhow::Result<String> {
    let mut command = Command::new(&member.config.mysqld);
    command.arg("--no-defaults").arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = member.children.output(&mut command).await.context("cannot run mysqld")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once(" Ver ").and_then(|(_, rest)| rest.split_whitespace().next());
    version.map(str::to_owned).with_context(|| format!("`mysqld --version` says no version: {text:?}"))
}

/// What is done while a server runs on the data that nobody can connect to.
enum Work<'a> {
    /// It is seen whether it holds what its manifest promises, and it goes on from there.
    Backup { manifest: &'a Manifest, onward: Option<&'a Onward>, keys: &'a Keys },
    /// The statements of a dump are carried out.
    Dump(&'a Dump),
}

impl Work<'_> {
    /// Whether so little is done that the server needs no memory. Nothing else runs beside it, and a replay is as much
    /// work as the cluster had.
    fn is_little(&self) -> bool {
        matches!(self, Self::Backup { onward: None, .. })
    }

    /// What the server is started with for it.
    fn options(&self, replay_dir: &Path) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Backup { onward: None, .. } => Ok(Vec::new()),
            Self::Backup { onward: Some(_), .. } => {
                segments::make_empty(replay_dir)?;
                Ok(replay::options(replay_dir))
            }
            Self::Dump(_) => Ok(import::OPTIONS.map(str::to_owned).to_vec()),
        }
    }

    async fn carry_out(&self, member: &Arc<Member>, session: &mut sql::Session, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Backup { manifest, onward, keys } => {
                let executed: String = session.value("SELECT @@GLOBAL.gtid_executed", sql::PROMPT).await?;
                let executed = sql::facts::gtids(&executed)?;
                manifest.holds(&executed).map_err(anyhow::Error::msg)?;
                match onward {
                    Some(onward) => onward.go(member, session, manifest, keys, &executed).await,
                    None => Ok(()),
                }
            }
            Self::Dump(dump) => dump.carry_out(member, config).await,
        }
    }
}

/// Lets a server run on the data that nobody can connect to, has something done there, and makes it this cluster's.
async fn adopt(member: &Arc<Member>, datadir: &Path, work: &Work<'_>) -> anyhow::Result<()> {
    let runtime = member.config.runtime.join("job");
    std::fs::create_dir_all(&runtime)?;
    let with_user_part = my_cnf::render(&member.config, &member.children).await?.with_user_part;
    let defaults = my_cnf::for_job(&member.config, &runtime, datadir, with_user_part, work.is_little())?;
    let config = Arc::new(Config { runtime: runtime.clone(), ..Config::clone(&member.config) });
    my_cnf::remove_stale_socket(&config.socket());
    let init_file = runtime.join("init.sql");
    let _removed_at_the_end = SecretFile::write(&init_file, &accounts::way_in(&member.config)?)?;
    let supervisor = Supervisor::new(config.mysqld.clone(), member.children.clone());
    // The cluster's own events are none of its history while it is not open.
    let options = ["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--skip-replica-start", "--event-scheduler=OFF"];
    let mut arguments =
        vec![format!("--defaults-file={}", defaults.display()), format!("--init-file={}", init_file.display())];
    arguments.extend(options.map(str::to_owned));
    arguments.extend(work.options(&member.config.replay_dir())?);
    supervisor.start(&arguments).await?;
    let adopting = async {
        let mut session = answering(&supervisor, &Sql::new(Arc::clone(&config))).await?;
        work.carry_out(member, &mut session, &config).await?;
        stage(member, "adopting the data");
        // After what was done, which may have changed the accounts too.
        for statement in accounts::restored_statements(&member.config)? {
            session.run(&statement, STATEMENT).await.context("an account of Grampus could not be made")?;
        }
        Ok(())
    };
    let adopted = tokio::select! {
        adopted = adopting => adopted,
        () = member.ending.cancelled() => Err(anyhow::anyhow!("the agent is ending")),
    };
    supervisor.shut_down(SHUTDOWN).await;
    adopted
}

async fn answering(supervisor: &Supervisor, sql: &Sql) -> anyhow::Result<sql::Session> {
    let running = supervisor.now().running().context("mysqld ended at once on the restored data")?;
    let answers = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if supervisor.now().running().is_none() {
                bail!("mysqld does not start on the restored data: {:?}; its log says why", supervisor.now());
            }
            if let Ok(session) = sql.session(running.pid).await {
                return Ok(session);
            }
        }
    };
    tokio::time::timeout(START, answers).await.context("mysqld does not answer on the restored data")?
}

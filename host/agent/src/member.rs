//! The agent's view of its own member: everything the commands, the monitor and the servers share.
//!
//! It holds no procedure. What takes several steps lives in `commands`, so that this stays the list of what there
//! is to know and the few primitive acts on it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use topology::facts::{DataState, Job, JobKind, JobState, MemberReport, ServerFacts, ServerState, Standing};
use topology::gtid::GtidSet;
use topology::record::Claim;
use topology::signals::Signals;
use uuid::Uuid;

use crate::archive::Archiving;
use crate::backups::Backups;
use crate::check::Checks;
use crate::commands::Admission;
use crate::config::Config;
use crate::door::Door;
use crate::operators::Operators;
use crate::reap::Children;
use crate::sql::{Session, Sql, SqlError};
use crate::state::{Proved, State};
use crate::supervise::{Running, Supervisor};
use crate::volume::Volume;
use crate::{binlog, data, my_cnf};

/// How long a started mysqld may take until it answers. Crash recovery of a large redo log takes minutes.
const START: Duration = Duration::from_secs(600);

/// How long to wait for a fresh observation before the last one has to do.
const FRESH: Duration = Duration::from_millis(1500);

/// One member. Shared by everything the agent runs.
#[derive(Debug)]
pub struct Member {
    /// What it was told from outside.
    pub config: Arc<Config>,
    /// What it has promised.
    pub state: State,
    /// Its mysqld.
    pub supervisor: Supervisor,
    /// Its children that are waited for.
    pub children: Children,
    /// The way to its mysqld.
    pub sql: Sql,
    /// The kernel's boot identifier.
    pub boot_id: String,
    /// Held by whoever changes what mysqld does, for as long as that takes.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// Held for the moment in which the receiver is stopped or started, so that nobody starts it after a freeze.
    pub gate: tokio::sync::Mutex<()>,
    /// Whom this member lets acknowledge while it leads. Held by whoever changes that.
    pub locks: tokio::sync::Mutex<crate::commands::Locks>,
    /// The stored claim. Whoever waits under one gives up when it changes.
    pub claims: watch::Sender<Option<Claim>>,
    /// Who listens to it and gives it commands.
    pub operators: Arc<Operators>,
    /// Who listens on mysqld's port while that is stopped.
    pub door: Door,
    /// Cancelled when the agent ends.
    pub ending: CancellationToken,
    /// When applications may read from a server that has led.
    pub admission: Admission,
    /// The report as last composed.
    pub latest: watch::Sender<MemberReport>,
    /// The report as last pushed: [`Member::latest`], with growing GTID sets held back for up to a second.
    pub pushed: watch::Sender<MemberReport>,
    /// Something changed that the monitor does not see by itself.
    pub changed: Notify,
    /// Whether its volume takes writes.
    pub volume: Volume,
    /// What was last measured.
    pub signals: watch::Sender<Option<Arc<Signals>>>,
    /// The backup that is being made from it.
    pub backups: Backups,
    /// What is being found out, or was last, about what its tables hold.
    pub checks: Checks,
    /// Its part in the archive of the binary log.
    pub archiving: Archiving,
    asks: mpsc::UnboundedSender<oneshot::Sender<()>>,
    starting: tokio::sync::Mutex<()>,
    opened_pid: AtomicU32,
    data: RwLock<DataState>,
    job: Mutex<Option<Job>>,
    config_error: Mutex<Option<String>>,
    offline: Mutex<Option<(u64, GtidSet)>>,
    seen: Mutex<Option<(Uuid, GtidSet)>>,
}

/// The monitor's end of [`Member::observe`].
pub type Asks = mpsc::UnboundedReceiver<oneshot::Sender<()>>;

impl Member {
    /// The member as it is on disk. mysqld does not run yet.
    ///
    /// # Errors
    /// The volume, the runtime directory or the boot identifier cannot be read.
    pub fn load(config: Config, ending: CancellationToken) -> anyhow::Result<(Arc<Self>, Asks)> {
        config.ordinal()?;
        for dir in [&config.own_dir(), &config.runtime] {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let boot_id = std::fs::read_to_string(&config.boot_id)
            .with_context(|| format!("cannot read the boot identifier from {}", config.boot_id.display()))?;
        data::settle(&config).context("what an earlier agent left on the volume cannot be put in order")?;
        let state = State::load(config.own_dir().join("state.json"))?;
        let config = Arc::new(config);
        let children = Children::default();
        let (asks, receiver) = mpsc::unbounded_channel();
        let blank = MemberReport {
            member: config.member.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: boot_id.trim().to_owned(),
            record: None,
            opened_in_epoch: None,
            opened_as: Vec::new(),
            trimmed: None,
            data: data::look(&config),
            standing: Standing::Unproved { because: "the agent is starting".to_owned() },
            server: ServerState::Stopped { exit: None, gtids: None },
            job: None,
            volume: None,
            config_error: None,
            ends: None,
            copies: None,
        };
        let member = Self {
            supervisor: Supervisor::new(config.mysqld.clone(), children.clone()),
            sql: Sql::new(Arc::clone(&config)),
            claims: watch::Sender::new(state.claim()),
            state,
            children,
            boot_id: blank.boot_id.clone(),
            turn: Arc::default(),
            gate: tokio::sync::Mutex::default(),
            operators: Arc::default(),
            door: Door::default(),
            locks: tokio::sync::Mutex::default(),
            ending,
            admission: Admission::default(),
            data: RwLock::new(blank.data),
            latest: watch::Sender::new(blank.clone()),
            pushed: watch::Sender::new(blank),
            changed: Notify::new(),
            volume: Volume::default(),
            signals: watch::Sender::default(),
            backups: Backups::default(),
            checks: Checks::default(),
            archiving: Archiving::default(),
            asks,
            starting: tokio::sync::Mutex::default(),
            opened_pid: AtomicU32::new(0),
            job: Mutex::default(),
            config_error: Mutex::default(),
            offline: Mutex::default(),
            seen: Mutex::default(),
            config,
        };
        let first = member.compose(ServerState::Stopped { exit: None, gtids: None });
        member.latest.send_replace(first.clone());
        member.pushed.send_replace(first);
        Ok((Arc::new(member), receiver))
    }

    /// The pod's name.
    pub fn name(&self) -> &str {
        &self.config.member
    }

    /// What is in the data directory.
    pub fn data(&self) -> DataState {
        *self.data.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the data directory again, after it was changed.
    pub fn look_at_data(&self) {
        *self.data.write().unwrap_or_else(PoisonError::into_inner) = data::look(&self.config);
        self.changed.notify_one();
    }

    /// Whether mysqld was last seen to let in nobody but those who may administer it.
    pub fn is_offline(&self) -> bool {
        matches!(&self.latest.borrow().server, ServerState::Running(facts) if facts.offline)
    }

    /// Which copy of the data it holds.
    pub fn incarnation(&self) -> Option<Uuid> {
        self.data().incarnation()
    }

    /// The report, given what mysqld is doing.
    pub fn compose(&self, server: ServerState) -> MemberReport {
        let remembered = self.state.get();
        let incarnation = self.incarnation();
        MemberReport {
            member: self.config.member.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.boot_id.clone(),
            record: remembered.record.clone(),
            opened_in_epoch: remembered.opened_epoch(incarnation),
            opened_as: remembered.opened_as(incarnation),
            trimmed: remembered.trimmed.clone(),
            data: self.data(),
            standing: self.standing(),
            server,
            job: self.job.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            volume: self.volume.trouble(),
            config_error: self.config_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ends: self.supervisor.ends(),
            copies: remembered.copies,
        }
    }

    /// Whether its memory can be relied upon, and if not, why.
    pub fn standing(&self) -> Standing {
        let remembered = self.state.get();
        let because = match &remembered.proved {
            _ if remembered.is_proved(self.incarnation(), &self.boot_id) => return Standing::Good,
            None => "nothing has been proved yet",
            Some(proved) if Some(proved.incarnation) != self.incarnation() => "new data",
            Some(_) => "the machine restarted",
        };
        Standing::Unproved { because: because.to_owned() }
    }

    /// The report after a fresh look at mysqld; the last one where mysqld does not answer.
    pub async fn observe(&self) -> MemberReport {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(answer).is_ok() {
            // Late or ended: the last report says what there is to say.
            let _ = tokio::time::timeout(FRESH, answered).await;
        }
        self.latest.borrow().clone()
    }

    /// A session with the mysqld that runs, and that process.
    ///
    /// # Errors
    /// There is none, or it does not answer.
    pub async fn session(&self) -> Result<(Session, Running), SqlError> {
        let running = self.supervisor.now().running();
        let running = running.ok_or_else(|| SqlError::Unexpected("mysqld is not running".to_owned()))?;
        Ok((self.sql.session(running.pid).await?, running))
    }

    /// What mysqld says, read now on the given session.
    ///
    /// # Errors
    /// [`SqlError`]
    pub async fn facts(&self, session: &mut Session, running: Running) -> Result<ServerFacts, SqlError> {
        let facts = session.with(crate::sql::PROMPT, async |conn| {
            crate::sql::facts::read(conn, running).await.map_err(|why| match why {
                SqlError::Server(why) => why,
                other => mysql_async::Error::Other(other.to_string().into()),
            })
        });
        facts.await
    }

    /// Starts mysqld closed, unless it runs, and waits until it answers.
    ///
    /// # Errors
    /// There is no data, or mysqld ends before it answers.
    pub async fn ensure_started(&self) -> anyhow::Result<Running> {
        let _one_at_a_time = self.starting.lock().await;
        if self.data().incarnation().is_none() {
            bail!(
                "there is no complete data directory: expected {} to be initialized or cloned",
                self.config.datadir().display()
            );
        }
        if self.ending.is_cancelled() {
            bail!("the agent is ending");
        }
        if self.supervisor.now().running().is_some() {
            return self.answering().await;
        }
        let rendered = my_cnf::render(&self.config, &self.children).await?;
        self.set_config_error(rendered.user_part_error.clone());
        match self.start_with(&rendered).await {
            Err(why) if rendered.with_user_part && !self.ending.is_cancelled() => {
                tracing::error!(%why, "mysqld does not start with the user's part of my.cnf: starting without it");
                let because = format!("mysqld does not start with it ({why}); its log says why");
                self.set_config_error(Some(because));
                self.start_with(&my_cnf::without_user_part(&self.config, None)?).await
            }
            result => result,
        }
    }

    async fn start_with(&self, rendered: &my_cnf::Rendered) -> anyhow::Result<Running> {
        my_cnf::remove_stale_socket(&self.config.socket());
        let defaults = format!("--defaults-file={}", rendered.path.display());
        let shut = self.door.shut().await;
        self.supervisor
            .start(&[defaults])
            .await
            .with_context(|| format!("cannot run {}", self.config.mysqld.display()))?;
        drop(shut);
        self.answering().await
    }

    /// Waits until the mysqld that runs answers.
    async fn answering(&self) -> anyhow::Result<Running> {
        let Some(running) = self.supervisor.now().running() else { bail!("mysqld ended at once") };
        let answers =
            |report: &MemberReport| matches!(&report.server, ServerState::Running(facts) if facts.pid == running.pid);
        let mut latest = self.latest.subscribe();
        let mut process = self.supervisor.watch();
        let waited = tokio::select! {
            _ = latest.wait_for(answers) => Ok(running),
            ended = process.wait_for(|process| process.running() != Some(running)) => {
                let said = ended.map(|process| format!("{:?}", *process)).unwrap_or_default();
                Err(anyhow::anyhow!("mysqld ended before it answered: {said}"))
            }
            () = tokio::time::sleep(START) => Err(anyhow::anyhow!("mysqld has not answered for {} s", START.as_secs())),
        };
        waited?;
        self.remember_unlogged().await?;
        Ok(running)
    }

    /// Notes what the logs of this data will not show when mysqld is stopped one day.
    async fn remember_unlogged(&self) -> anyhow::Result<()> {
        let (mut session, _) = self.session().await?;
        let purged: String = session.value("SELECT @@GLOBAL.gtid_purged", crate::sql::PROMPT).await?;
        let purged = crate::sql::facts::gtids(&purged)?;
        let config = Arc::clone(&self.config);
        tokio::task::spawn_blocking(move || data::remember_unlogged(&config, &purged)).await??;
        Ok(())
    }

    /// Ends mysqld at once. Nothing that waits there is acknowledged.
    pub async fn kill(&self) {
        self.supervisor.kill().await;
    }

    /// Reads from the logs of a stopped mysqld what it had, and keeps it for the report.
    ///
    /// # Errors
    /// The logs cannot be read.
    pub async fn read_logs(&self) -> anyhow::Result<()> {
        let starts = self.supervisor.starts();
        if self.supervisor.now().running().is_some() || self.incarnation().is_none() {
            return Ok(());
        }
        if self.offline_gtids().is_some() {
            return Ok(());
        }
        let datadir = self.config.datadir();
        let read = move || {
            let Some(unlogged) = data::unlogged(&datadir)? else { return Ok(None) };
            let logged = binlog::known_transactions(&datadir, my_cnf::BINLOG, my_cnf::RELAY_LOG)?;
            Ok::<_, std::io::Error>(Some(unlogged.union(&logged)))
        };
        let known =
            tokio::task::spawn_blocking(read).await?.context("the logs of the stopped mysqld cannot be read")?;
        // Half an answer would be taken for the whole: without it the report says that nobody has read them.
        let Some(known) = known else { return Ok(()) };
        if self.supervisor.starts() == starts {
            *self.offline.lock().unwrap_or_else(PoisonError::into_inner) = Some((starts, known));
        }
        self.changed.notify_one();
        Ok(())
    }

    /// What the logs of the stopped mysqld hold, if they were read since it ended.
    pub fn offline_gtids(&self) -> Option<GtidSet> {
        let offline = self.offline.lock().unwrap_or_else(PoisonError::into_inner);
        offline.as_ref().filter(|(starts, _)| *starts == self.supervisor.starts()).map(|(_, known)| known.clone())
    }

    /// What the logs held, and what became of mysqld, is of data that is no longer in the data directory.
    pub fn forget_logs(&self) {
        *self.offline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.supervisor.forget_ends();
    }

    /// This process is open for writing from now on, or may be.
    pub fn mark_open(&self, running: Running) {
        self.opened_pid.store(running.pid, Ordering::SeqCst);
    }

    /// This process has become a replica.
    pub fn mark_closed(&self) {
        self.opened_pid.store(0, Ordering::SeqCst);
    }

    /// Whether this process was opened for writing.
    pub fn was_opened(&self, running: Running) -> bool {
        self.opened_pid.load(Ordering::SeqCst) == running.pid
    }

    /// Sets what the current or last job is.
    pub fn set_job(&self, kind: JobKind, state: JobState) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(Job { kind, state });
        self.changed.notify_one();
    }

    /// The current or last job.
    pub fn job(&self) -> Option<Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_config_error(&self, error: Option<String>) {
        *self.config_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.changed.notify_one();
    }

    /// Notes what mysqld holds. When it holds less than it did before, it has forgotten something.
    ///
    /// Returns what is gone.
    pub fn note_known(&self, facts: &ServerFacts) -> GtidSet {
        let Some(incarnation) = self.incarnation() else { return GtidSet::new() };
        let known = facts.known();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = match &*seen {
            Some((of, before)) if *of == incarnation => before.subtract(&known),
            _ => GtidSet::new(),
        };
        *seen = Some((incarnation, known));
        gone
    }

    /// Remembers that this data is proved complete.
    pub fn proved_now(&self) -> Option<Proved> {
        self.incarnation().map(|incarnation| Proved { incarnation, boot_id: self.boot_id.clone() })
    }

    /// Waits until another claim than this is stored, or the agent ends.
    pub async fn superseded(&self, claim: Claim) {
        let mut claims = self.claims.subscribe();
        tokio::select! {
            _ = claims.wait_for(|stored| *stored != Some(claim)) => {}
            () = self.ending.cancelled() => {}
        }
    }
}

//! Reads every ten seconds what mysqld and the kernel have counted, and makes rates of it for policies that scale, tune
//! and weigh.
//!
//! It must never be in the way of a command or of detection: it has a connection of its own, gives up early, and knows
//! nobody who waits for it. It writes nothing, and nothing that keeps a promise may rest on it.

mod cgroup;
mod ring;

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use tokio::time::{Instant, MissedTickBehavior};
use topology::facts::ServerState;
use topology::signals::{Gauges, Signals};

use self::cgroup::Container;
use self::ring::{Ring, Sample, ServerSample, Transactions};
use crate::member::Member;
use crate::sql::SqlError;
use crate::sql::counters::{self, Reading};
use crate::supervise::Running;
use crate::volume::Space;

/// How often it is looked: six times in the shortest window.
pub const EVERY: Duration = Duration::from_secs(10);

/// How long one look at mysqld may take. A healthy one takes some milliseconds, and nobody misses one that is left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs until the agent ends.
pub async fn run(member: Arc<Member>) {
    let began = Instant::now();
    let every = Duration::from_millis(member.config.signals_every_ms.max(1));
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampler = Sampler { member: Arc::clone(&member), ring: Ring::default(), conn: None };
    while member.ending.run_until_cancelled(tick.tick()).await.is_some() {
        let at_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Some(signals) = member.ending.run_until_cancelled(sampler.look(at_ms)).await else { return };
        member.signals.send_replace(Some(Arc::new(signals)));
    }
}

struct Sampler {
    member: Arc<Member>,
    ring: Ring,
    conn: Option<Looker>,
}

/// A connection to one process.
struct Looker {
    conn: Conn,
    process: Running,
    tells_pending: bool,
}

impl Sampler {
    async fn look(&mut self, at_ms: u64) -> Signals {
        let (reading, problem) = match self.ask().await {
            Ok(reading) => (reading, None),
            Err(why) => {
                tracing::debug!(%why, "mysqld does not tell what it counts");
                (None, Some(why.to_string()))
            }
        };
        let container = self.container().await;
        let space = self.member.volume.space();
        self.ring.take(self.sample(at_ms, reading.as_ref(), &container, space));
        let (now, settings) = reading.map(|(_, reading)| (reading.now, reading.settings)).unwrap_or_default();
        Signals {
            minute: self.ring.minute(),
            hour: self.ring.hour(),
            now: standing(now, &container, space),
            settings,
            problem,
        }
    }

    /// What the mysqld that runs says. None where none does, or where it is offline and lets nobody in.
    async fn ask(&mut self) -> Result<Option<(Running, Reading)>, SqlError> {
        let kept = self.conn.take();
        let Some(process) = self.member.supervisor.now().running() else { return Ok(None) };
        if self.member.is_offline() {
            return Ok(None);
        }
        let asked = async {
            let mut looker = match kept.filter(|looker| looker.process == process) {
                Some(looker) => looker,
                None => self.connect(process).await?,
            };
            let reading = counters::read(&mut looker.conn, looker.tells_pending).await?;
            Ok((looker, reading))
        };
        // A connection that is given up in the middle of something is closed.
        let (looker, reading) = tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(SqlError::Late(PATIENCE)))?;
        self.conn = Some(looker);
        Ok(Some((process, reading)))
    }

    async fn connect(&self, process: Running) -> Result<Looker, SqlError> {
        let mut conn = self.member.sql.connect_to_look().await?;
        let tells_pending = counters::tells_pending(&mut conn).await?;
        Ok(Looker { conn, process, tells_pending })
    }

    async fn container(&self) -> Container {
        let root = self.member.config.cgroup.clone();
        // The kernel may have to add up what many processors have counted.
        tokio::task::spawn_blocking(move || cgroup::read(&root)).await.unwrap_or_default()
    }

    /// What the monitor has last seen: it looks more often, and two looks at long sets cost twice.
    fn transactions(&self, process: Running) -> Option<Transactions> {
        let incarnation = self.member.incarnation()?;
        match &self.member.latest.borrow().server {
            ServerState::Running(facts) if facts.pid == process.pid => {
                Some(Transactions { incarnation, executed: facts.executed.count(), known: facts.known().count() })
            }
            _ => None,
        }
    }

    fn sample(
        &self,
        at_ms: u64,
        reading: Option<&(Running, Reading)>,
        container: &Container,
        space: Option<Space>,
    ) -> Sample {
        let server = reading.map(|(process, reading)| ServerSample {
            process: *process,
            counters: reading.counters,
            transactions: self.transactions(*process),
            running: reading.running,
            connected: reading.connected,
        });
        let volume_used = space.map(|space| space.total.saturating_sub(space.free));
        Sample { at_ms, server, container: container.counters, volume_used }
    }
}

/// What the server says of how things stand, and what the container and the volume have to add.
fn standing(server: Gauges, container: &Container, space: Option<Space>) -> Gauges {
    Gauges {
        memory_working_set_bytes: container.working_set,
        memory_limit_bytes: container.memory_limit,
        cpu_limit_millicores: container.cpu_limit,
        volume_free_bytes: space.map(|space| space.free),
        volume_bytes: space.map(|space| space.total),
        ..server
    }
}

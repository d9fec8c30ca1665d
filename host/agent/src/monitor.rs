//! Watches mysqld and says what changed: several times a second, and at once when the process ends or somebody
//! has just done something to it.
//!
//! It must never act on what it sees except where waiting for anybody would be unsafe, and never wait for mysqld
//! while there is something to say.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use topology::facts::{MemberReport, ServerFacts, ServerState};

use crate::member::{Asks, Member};
use crate::sql::{self, SqlError};
use crate::supervise::{Process, Running};

/// How often mysqld is asked: a lost source must be known within 100–200 ms, and a local query costs about a
/// tenth of a millisecond.
const INTERVAL: Duration = Duration::from_millis(150);

/// From when on a server that does not answer is called unresponsive.
const SILENCE: Duration = Duration::from_secs(1);

/// How long growing GTID sets are held back when nothing else changed.
const GTIDS: Duration = Duration::from_secs(1);

type Look = Pin<Box<dyn Future<Output = Result<(Conn, ServerFacts), SqlError>> + Send>>;

/// Runs until the agent ends.
pub async fn run(member: Arc<Member>, mut asks: Asks) {
    let mut process = member.supervisor.watch();
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut monitor = Monitor::new(Arc::clone(&member));
    monitor.process_changed();
    loop {
        tokio::select! {
            biased;
            _ = process.changed() => {
                process.borrow_and_update();
                monitor.process_changed();
            }
            ask = asks.recv() => match ask {
                Some(ask) => monitor.asked(ask),
                None => return,
            },
            () = member.changed.notified() => monitor.look_again(),
            result = monitor.looking() => monitor.looked(result),
            _ = tick.tick() => monitor.look(),
        }
        monitor.publish();
    }
}

struct Monitor {
    member: Arc<Member>,
    process: Process,
    conn: Option<Conn>,
    look: Option<Look>,
    /// Something happened while looking: what is being read may be from before.
    again: bool,
    facts: Option<ServerFacts>,
    silent_since: Option<Instant>,
    began: Instant,
    asked: Vec<oneshot::Sender<()>>,
    asked_meanwhile: Vec<oneshot::Sender<()>>,
    pushed_at: Instant,
}

impl Monitor {
    fn new(member: Arc<Member>) -> Self {
        let now = Instant::now();
        Self {
            process: Process::Stopped { exit: None },
            member,
            conn: None,
            look: None,
            again: false,
            facts: None,
            silent_since: None,
            began: now,
            asked: Vec::new(),
            asked_meanwhile: Vec::new(),
            pushed_at: now,
        }
    }

    fn process_changed(&mut self) {
        let now = self.member.supervisor.now();
        if now == self.process && now.running().is_some() {
            return;
        }
        self.process = now;
        (self.conn, self.look, self.facts, self.silent_since) = (None, None, None, None);
        match self.process.running() {
            Some(_) => self.look(),
            None => {
                self.release();
                let member = Arc::clone(&self.member);
                tokio::spawn(async move {
                    if let Err(why) = member.read_logs().await {
                        tracing::error!("{why:#}");
                    }
                });
            }
        }
    }

    fn asked(&mut self, ask: oneshot::Sender<()>) {
        match (self.process.running(), &self.look) {
            (None, _) => {
                self.publish();
                let _ = ask.send(());
            }
            (Some(_), None) => {
                self.asked.push(ask);
                self.look();
            }
            (Some(_), Some(_)) => {
                self.asked_meanwhile.push(ask);
                self.again = true;
            }
        }
    }

    /// Begins to look, unless it is looking.
    fn look(&mut self) {
        let Some(running) = self.process.running().filter(|_| self.look.is_none()) else { return };
        self.began = Instant::now();
        let member = Arc::clone(&self.member);
        let conn = self.conn.take();
        self.look = Some(Box::pin(async move {
            let look = async {
                let mut conn = match conn {
                    Some(conn) => conn,
                    None => member.sql.connect().await?,
                };
                let facts = sql::facts::read(&mut conn, running).await?;
                Ok((conn, facts))
            };
            tokio::time::timeout(SILENCE, look).await.unwrap_or(Err(SqlError::Late(SILENCE)))
        }));
    }

    fn look_again(&mut self) {
        if self.look.is_some() {
            self.again = true;
        } else {
            self.look();
        }
    }

    async fn looking(&mut self) -> Result<(Conn, ServerFacts), SqlError> {
        match &mut self.look {
            Some(look) => look.await,
            None => std::future::pending().await,
        }
    }

    fn looked(&mut self, result: Result<(Conn, ServerFacts), SqlError>) {
        self.look = None;
        match result {
            Ok((conn, facts)) => self.answered(conn, facts),
            Err(why) => {
                if self.facts.is_some() {
                    tracing::debug!(%why, "mysqld did not answer");
                    self.silent_since.get_or_insert(self.began);
                }
            }
        }
        self.publish();
        self.release();
        self.asked = std::mem::take(&mut self.asked_meanwhile);
        if std::mem::take(&mut self.again) {
            self.look();
        }
    }

    fn answered(&mut self, conn: Conn, facts: ServerFacts) {
        self.conn = Some(conn);
        self.silent_since = None;
        let first = self.facts.is_none();
        if let Some(running) = self.process.running().filter(|_| first) {
            tokio::spawn(first_answer(Arc::clone(&self.member), running));
        }
        let gone = self.member.note_known(&facts);
        if !gone.is_empty() {
            tracing::error!(%gone, "transactions that were received are gone: this member has to prove its standing again");
            let member = Arc::clone(&self.member);
            tokio::spawn(revoke_standing(member));
        }
        if follows_a_stranger(&self.member, &facts) {
            tokio::spawn(crate::commands::follow::leave_stranger(Arc::clone(&self.member)));
        }
        self.facts = Some(facts);
    }

    fn release(&mut self) {
        for ask in self.asked.drain(..) {
            // Whoever asked may have stopped waiting.
            let _ = ask.send(());
        }
    }

    fn server(&self) -> ServerState {
        if let Process::Stopped { exit } = &self.process {
            return ServerState::Stopped { exit: exit.clone(), gtids: self.member.offline_gtids() };
        }
        let silent = self.silent_since.map(|since| since.elapsed()).filter(|silent| *silent >= SILENCE);
        match (&self.facts, silent) {
            (None, _) => ServerState::Starting,
            (Some(_), Some(silent)) => ServerState::Unresponsive { for_ms: silent.as_secs() * 1000 },
            (Some(facts), None) => ServerState::Running(Box::new(facts.clone())),
        }
    }

    fn publish(&mut self) {
        let report = self.member.compose(self.server());
        let differs = *self.member.latest.borrow() != report;
        if differs {
            self.member.latest.send_replace(report.clone());
        }
        let worth = Worth::of(&self.member.pushed.borrow(), &report);
        if worth == Worth::AtOnce || (worth == Worth::Later && self.pushed_at.elapsed() >= GTIDS) {
            self.pushed_at = Instant::now();
            self.member.pushed.send_replace(report);
        }
    }
}

/// How soon a report must be pushed.
#[derive(Debug, PartialEq, Eq)]
enum Worth {
    Nothing,
    Later,
    AtOnce,
}

impl Worth {
    fn of(before: &MemberReport, now: &MemberReport) -> Self {
        if before == now {
            return Self::Nothing;
        }
        let mut levelled = before.clone();
        if let (ServerState::Running(old), ServerState::Running(new)) = (&mut levelled.server, &now.server) {
            old.executed.clone_from(&new.executed);
            old.owned.clone_from(&new.owned);
            old.received.clone_from(&new.received);
            // Under load this comes and goes with every commit as well.
            old.semi_sync.waiting_commits = new.semi_sync.waiting_commits;
            if let (Some(old), Some(new)) = (&mut old.replication, &new.replication) {
                old.lag_s = new.lag_s;
            }
        }
        if levelled == *now { Self::Later } else { Self::AtOnce }
    }
}

/// Whether the receiver is connected to another server than the one it was told of.
fn follows_a_stranger(member: &Member, facts: &ServerFacts) -> bool {
    let remembered = member.state.get();
    let (Some(following), Some(channel)) = (&remembered.following, &facts.replication) else { return false };
    channel.source_host == following.source.host && sql::replication::meets_a_stranger(channel, &following.source)
}

async fn first_answer(member: Arc<Member>, running: Running) {
    member.sql.warm_up(running.pid).await;
    let config = Arc::clone(&member.config);
    let removed = tokio::task::spawn_blocking(move || crate::data::forget_old(&config)).await;
    if let Ok(Err(why)) = removed {
        tracing::warn!(%why, "the data from before the last clone could not be removed");
    }
}

async fn revoke_standing(member: Arc<Member>) {
    if let Err(why) = member.state.change_own(|remembered| remembered.proved = None).await {
        tracing::error!(%why, "the lost standing could not be remembered");
    }
    crate::commands::settle_acks(member).await;
}

#[cfg(test)]
mod tests {
    use topology::facts::{DataState, SemiSync, Standing};
    use topology::gtid::GtidSet;

    use super::*;

    fn report(executed: &str, waiting_commits: u32, open: bool) -> MemberReport {
        let facts = ServerFacts {
            pid: 1,
            started_unix_ms: 1,
            server_uuid: uuid::Uuid::nil(),
            version: "9.7.4".to_owned(),
            executed: executed.parse().unwrap(),
            owned: GtidSet::new(),
            received: GtidSet::new(),
            open,
            offline: !open,
            read_only: !open,
            replication: None,
            semi_sync: SemiSync { waiting_commits, ..SemiSync::default() },
        };
        MemberReport {
            member: "shop-0".to_owned(),
            agent_version: "1".to_owned(),
            boot_id: "1".to_owned(),
            record: None,
            opened_in_epoch: None,
            opened_as: Vec::new(),
            trimmed: None,
            data: DataState::Empty,
            standing: Standing::Good,
            server: ServerState::Running(Box::new(facts)),
            job: None,
            volume: None,
            config_error: None,
            ends: None,
            copies: None,
        }
    }

    #[test]
    fn growing_transactions_wait_and_everything_else_does_not() {
        let one = "00000000-0000-0000-0000-000000000001:1";
        let two = "00000000-0000-0000-0000-000000000001:1-2";
        assert_eq!(Worth::of(&report(one, 0, true), &report(one, 0, true)), Worth::Nothing);
        assert_eq!(Worth::of(&report(one, 0, true), &report(two, 3, true)), Worth::Later);
        assert_eq!(Worth::of(&report(one, 0, true), &report(two, 0, false)), Worth::AtOnce);
    }
}

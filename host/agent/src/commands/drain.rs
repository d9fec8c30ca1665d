//! Letting writes end before the primary changes on purpose, and taking that back.
//!
//! A drain must never leave a serving primary closed when it has failed, and never reopen a server whose record
//! has moved on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use topology::record::{Phase, Record};
use wire::Outcome;

use super::fence::drained;
use super::{failed, lock, refused, superseded};
use crate::member::Member;
use crate::sql::{PROMPT, Session, SqlError, opening, semi_sync};
use crate::supervise::Running;

/// How often to look whether the last commits have been acknowledged.
const POLL: Duration = Duration::from_millis(10);

/// Ends application connections, then waits until no write is under way.
pub async fn drain(member: &Arc<Member>, record: &Record, patience: Duration) -> Outcome {
    if member.ending.is_cancelled() {
        return Outcome::Pending { waiting_for: "the agent is ending and closes the server itself".to_owned() };
    }
    if let Some(reason) = objection(member, record) {
        return refused(reason);
    }
    let until = Instant::now() + patience;
    let result = tokio::select! {
        result = close(member, until) => result,
        () = member.superseded(record.claim()) => return superseded(member, record.claim()),
    };
    match result {
        Ok(()) => Outcome::Done,
        Err(why) => match reopen(member, record).await {
            Ok(()) => {
                failed(format!("not drained within {} ms: {why}; taken back, it is open again", patience.as_millis()))
            }
            Err(worse) => failed(format!("not drained: {why}; and not open again: {worse}")),
        },
    }
}

/// Opens again after a drain.
pub async fn undrain(member: &Arc<Member>, record: &Record) -> Outcome {
    if let Some(reason) = objection(member, record) {
        return refused(reason);
    }
    match reopen(member, record).await {
        Ok(()) => Outcome::Done,
        Err(why) => failed(why.to_string()),
    }
}

fn objection(member: &Member, record: &Record) -> Option<String> {
    if record.primary != member.name() || record.phase != Phase::Serving {
        return Some(format!(
            "only the primary of a Serving record is drained, this one says {} and {:?}",
            record.primary, record.phase
        ));
    }
    if member.ending.is_cancelled() {
        return Some("the agent is ending, and takes no more writes".to_owned());
    }
    let running = member.supervisor.now().running();
    if !running.is_some_and(|running| member.was_opened(running)) {
        return Some("this server has not been opened: Promote opens it".to_owned());
    }
    None
}

async fn close(member: &Member, until: Instant) -> Result<(), SqlError> {
    let (mut session, running) = member.session().await?;
    opening::go_offline(&mut session, PROMPT).await?;
    stop_writes(member, until).await?;
    loop {
        if drained(&member.facts(&mut session, running).await?) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(SqlError::Unexpected("commits still wait for acknowledgements".to_owned()));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits in the server for the commits under way, and takes the waiting back when it lasts too long.
async fn stop_writes(member: &Member, until: Instant) -> Result<(), SqlError> {
    let (mut waiting, _) = member.session().await?;
    let connection = waiting.id();
    let cancel = CancelOnDrop { member, connection, armed: true };
    let patience = until.saturating_duration_since(Instant::now());
    let result = opening::stop_writes(&mut waiting, patience).await;
    cancel.finish(result.is_err()).await;
    result.map_err(|why| match why {
        SqlError::Late(_) => SqlError::Unexpected("a commit waits for acknowledgements that do not come".to_owned()),
        other => other,
    })
}

/// A statement that waits in the server does not end with the connection that sent it.
struct CancelOnDrop<'a> {
    member: &'a Member,
    connection: u32,
    armed: bool,
}

impl CancelOnDrop<'_> {
    async fn finish(mut self, cancel: bool) {
        self.armed = false;
        if cancel {
            kill(self.member.sql.clone(), self.member.supervisor.now().running(), self.connection).await;
        }
    }
}

async fn kill(sql: crate::sql::Sql, running: Option<Running>, connection: u32) {
    let Some(running) = running else { return };
    if let Ok(mut session) = sql.session(running.pid).await {
        // It may have ended by itself.
        let _ = opening::cancel(&mut session, connection).await;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            let (sql, running) = (self.member.sql.clone(), self.member.supervisor.now().running());
            tokio::spawn(kill(sql, running, self.connection));
        }
    }
}

async fn reopen(member: &Member, record: &Record) -> Result<(), SqlError> {
    let (mut session, running) = member.session().await?;
    let gate = tokio::time::timeout(PROMPT, member.gate.lock()).await;
    let _gate = gate.map_err(|_| SqlError::Late(PROMPT))?;
    // The wait count comes first, as with every opening.
    semi_sync::wait_for(&mut session, record.effective_acks()).await?;
    if member.state.claim() != Some(record.claim()) {
        return Err(SqlError::Unexpected("a later record is stored".to_owned()));
    }
    if member.ending.is_cancelled() {
        return Err(SqlError::Unexpected("the agent is ending".to_owned()));
    }
    lock::before_opening(member, running, &mut session, false).await?;
    opening::open(&mut session).await
}

/// Closes an open server before it is shut down. Whether it is safe to let it shut down in an orderly way: no
/// commit waits and none can begin. On SIGTERM mysqld answers OK to commits that wait.
pub async fn close_for_shutdown(member: &Member, patience: Duration) -> bool {
    let closed = async {
        let (mut session, running): (Session, Running) = member.session().await?;
        opening::go_offline(&mut session, PROMPT).await?;
        stop_writes(member, Instant::now() + patience).await?;
        Ok::<_, SqlError>(drained(&member.facts(&mut session, running).await?))
    };
    matches!(tokio::time::timeout(patience + PROMPT, closed).await, Ok(Ok(true)))
}

//! Opening this member as the primary.
//!
//! It must never open before everything required, and everything received, is executed; never before the epoch of
//! the opening is on disk; and never under a claim that is no longer stored. Marking the opening and checking the
//! claim are one step: a freeze that comes first prevents it, a freeze that comes later sees it and kills.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use topology::facts::{ServerFacts, ThreadState};
use topology::gtid::GtidSet;
use topology::record::{Phase, Record};
use uuid::Uuid;
use wire::{Endpoint, Outcome};

use super::{failed, follow, lock, not_changed, receiver, refused, superseded};
use crate::member::Member;
use crate::sql::{PROMPT, Session, SqlError, opening, quote, replication, semi_sync};
use crate::supervise::Running;

/// How long one wait for the applier lasts before the claim, the deadline and the applier are looked at again.
const SLICE: Duration = Duration::from_millis(500);

/// How often to look whether what is missing has been received.
const POLL: Duration = Duration::from_millis(50);

/// Opens, or says what it still waits for.
pub async fn promote(
    member: &Arc<Member>,
    record: &Record,
    source: Option<&Endpoint>,
    required: &GtidSet,
    patience: Duration,
) -> Outcome {
    if let Some(reason) = objection(member, record) {
        return refused(reason);
    }
    let running = match member.ensure_started().await {
        Ok(running) => running,
        Err(why) => return failed(format!("{why:#}")),
    };
    let promotion = Promotion { member, record, running, required, until: Instant::now() + patience };
    // Given up only where it waits: a statement that was sent must not take effect after the gate was left.
    let outcome = promotion.carry_out(source).await.unwrap_or_else(|why| failed(why.to_string()));
    // A freeze under a later claim makes the steps fail in many ways; the reason is one.
    if outcome != Outcome::Done && member.state.claim() != Some(record.claim()) {
        return superseded(member, record.claim());
    }
    outcome
}

fn objection(member: &Member, record: &Record) -> Option<String> {
    if member.config.reads_along() {
        return Some("this is a read replica, which never leads".to_owned());
    }
    if record.primary != member.name() {
        return Some(format!("the record's primary is {}", record.primary));
    }
    if record.phase == Phase::Freezing {
        return Some("nobody may open while the record is Freezing; expected Promoting or Serving".to_owned());
    }
    let mine = member.incarnation();
    if mine.is_none() || record.incarnation_of(member.name()) != mine {
        let known = record.incarnation_of(member.name());
        return Some(format!("this member holds data {mine:?}, the record knows {known:?}: it has to be rebuilt"));
    }
    None
}

struct Promotion<'a> {
    member: &'a Arc<Member>,
    record: &'a Record,
    running: Running,
    required: &'a GtidSet,
    until: Instant,
}

impl Promotion<'_> {
    async fn carry_out(&self, source: Option<&Endpoint>) -> Result<Outcome, SqlError> {
        let (mut session, _) = self.member.session().await?;
        let facts = self.member.facts(&mut session, self.running).await?;
        let opened = self.member.state.get().opened_epoch(self.member.incarnation());
        if facts.open && opened == Some(self.record.epoch) {
            return Ok(Outcome::Done);
        }
        if facts.open {
            return self.open(&mut session).await;
        }
        if let Some(outcome) = self.receive_missing(&mut session, source).await? {
            return Ok(outcome);
        }
        if let Some(outcome) = self.execute_all(&mut session).await? {
            return Ok(outcome);
        }
        self.open(&mut session).await
    }

    /// Gets what neither this server's binary log nor its relay logs hold, and then stops receiving for good.
    async fn receive_missing(
        &self,
        session: &mut Session,
        source: Option<&Endpoint>,
    ) -> Result<Option<Outcome>, SqlError> {
        let facts = self.read(session).await?;
        let missing = self.required.subtract(&facts.known());
        if !missing.is_empty() {
            let Some(source) = source else {
                return Ok(Some(refused(format!("{missing} is missing here and no source was given"))));
            };
            if let Some(outcome) = self.receive_from(session, source).await? {
                return Ok(Some(outcome));
            }
        }
        let _gate = self.member.gate.lock().await;
        if facts.replication.is_some() {
            receiver::stop(self.member, session).await?;
        }
        Ok(None)
    }

    async fn receive_from(&self, session: &mut Session, source: &Endpoint) -> Result<Option<Outcome>, SqlError> {
        // Otherwise a source that has a new server_uuid since this member last followed it is left as a stranger.
        if let Some(outcome) = follow::remember(self.member, self.record, source, 0).await {
            return Ok(Some(outcome));
        }
        {
            let _gate = self.member.gate.lock().await;
            if self.member.state.claim() != Some(self.record.claim()) {
                return Ok(Some(self.superseded()));
            }
            // Nobody may count on acknowledgements of a member that is about to lead.
            follow::point_at(self.member, session, self.running, source, false).await?;
        }
        loop {
            let facts = self.read(session).await?;
            let missing = self.required.subtract(&facts.known());
            if missing.is_empty() {
                return Ok(None);
            }
            if let Some(channel) = facts.replication.filter(|channel| channel.receiver == ThreadState::Off) {
                return Ok(Some(failed(format!("receiving from {}: {}", source.member, channel.receiver_error))));
            }
            if Instant::now() >= self.until {
                return Ok(Some(Outcome::Pending { waiting_for: format!("{missing} from {}", source.member) }));
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.member.superseded(self.record.claim()) => return Ok(Some(self.superseded())),
            }
        }
    }

    /// Waits until everything required and everything received is executed.
    async fn execute_all(&self, session: &mut Session) -> Result<Option<Outcome>, SqlError> {
        let facts = self.read(session).await?;
        replication::start_applier(session, facts.replication.as_ref()).await?;
        let target = self.required.union(&facts.received);
        if target.is_subset_of(&facts.executed) {
            return Ok(None);
        }
        loop {
            let left = self.until.saturating_duration_since(Instant::now()).min(SLICE);
            let seconds = left.as_secs_f64();
            let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {seconds:.3})", quote(&target.to_string()));
            // 0 means executed, 1 that the time was up.
            let executed = tokio::select! {
                executed = session.value::<u8>(&wait, SLICE + PROMPT) => executed? == 0,
                () = self.member.superseded(self.record.claim()) => return Ok(Some(self.superseded())),
            };
            if executed {
                return Ok(None);
            }
            let facts = self.read(session).await?;
            let missing = target.subtract(&facts.executed);
            if let Some(channel) = facts.replication.filter(|channel| channel.applier == ThreadState::Off) {
                return Ok(Some(failed(format!("the applier ended with {missing} to go: {}", channel.applier_error))));
            }
            if Instant::now() >= self.until {
                return Ok(Some(Outcome::Pending { waiting_for: format!("{missing} to be executed") }));
            }
        }
    }

    async fn open(&self, session: &mut Session) -> Result<Outcome, SqlError> {
        let Ok(_gate) = tokio::time::timeout(PROMPT, self.member.gate.lock()).await else {
            return Err(SqlError::Late(PROMPT));
        };
        let facts = self.read(session).await?;
        if facts.replication.is_some() {
            replication::remove(session).await?;
        }
        semi_sync::set_replica_side(session, false).await?;
        let acks = self.record.effective_acks();
        semi_sync::wait_for(session, acks).await?;
        if let Some(outcome) = mark(self.member, self.record, self.running, facts.server_uuid).await {
            return Ok(outcome);
        }
        lock::before_opening(self.member, self.running, session, true).await?;
        opening::open(session).await?;
        Ok(Outcome::Done)
    }

    fn superseded(&self) -> Outcome {
        superseded(self.member, self.record.claim())
    }

    async fn read(&self, session: &mut Session) -> Result<ServerFacts, SqlError> {
        self.member.facts(session, self.running).await
    }
}

/// Puts the opening on disk. From here on a freeze kills this process.
pub(super) async fn mark(member: &Member, record: &Record, running: Running, server_uuid: Uuid) -> Option<Outcome> {
    let Some(incarnation) = member.incarnation() else { return Some(refused("there is no data")) };
    member.mark_open(running);
    let proved = member.proved_now();
    let marked = member.state.change_under(record.claim(), |remembered| {
        remembered.open(record.epoch, incarnation, server_uuid);
        remembered.wait_count = Some(record.effective_acks());
        remembered.proved = proved;
        remembered.following = None;
    });
    let why = marked.await.err()?;
    member.mark_closed();
    Some(not_changed(why))
}

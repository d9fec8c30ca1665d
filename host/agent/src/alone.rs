//! What a primary does by itself when operators or the API server are gone: fence itself where it can neither be
//! told anything nor get a commit acknowledged (rule 13 of the protocol), and open again after its mysqld ended while
//! nobody was there (rule 8).
//!
//! With an operator there and no commit waiting it does nothing but look at what is in memory anyway. It must never act
//! on what it knew before a pause of its own, nor decide anything here: that is for [`decide`].

mod api_server;
pub mod decide;
mod evidence;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use topology::facts::{ServerFacts, ServerState};
use topology::record::Record;

use crate::commands::{self, reopen};
use crate::config::replication_account;
use crate::member::Member;
use crate::sql::{SqlError, heartbeat};
use decide::Step;
use evidence::Evidence;

/// How often it looks. What it looks at is in memory.
const TICK: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to open: each begins with a start of mysqld that came to nothing before.
const LONGEST: Duration = Duration::from_secs(300);

/// Runs until the agent ends.
pub async fn run(member: Arc<Member>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alone = Alone::new(Arc::clone(&member));
    loop {
        tokio::select! {
            _ = tick.tick() => alone.look().await,
            () = member.ending.cancelled() => return,
        }
    }
}

struct Alone {
    member: Arc<Member>,
    evidence: Evidence,
    api: Option<JoinHandle<bool>>,
    beat: Option<JoinHandle<Result<(), SqlError>>>,
    /// Whether it was told that there are heartbeats now.
    beats: bool,
    /// Since when it has led, been closed, and could be opened again.
    closed: Option<Instant>,
    patience: Duration,
    told: Option<&'static str>,
    /// Whether the heartbeat's table was seen to.
    prepared: bool,
}

impl Alone {
    fn new(member: Arc<Member>) -> Self {
        let now = Instant::now();
        let patience = Duration::from_secs(member.config.reopen_after_s);
        Self {
            member,
            evidence: Evidence::new(now),
            api: None,
            beat: None,
            beats: false,
            closed: None,
            patience,
            told: None,
            prepared: false,
        }
    }

    fn first_patience(&self) -> Duration {
        Duration::from_secs(self.member.config.reopen_after_s)
    }

    async fn look(&mut self) {
        let now = Instant::now();
        let open = self.open_server();
        let contact = self.member.operators.contact();
        if self.evidence.look(now, contact, open.as_ref()) {
            // Whatever comes of them, they were begun before the pause.
            if let Some(asked) = self.api.take() {
                asked.abort();
            }
            (self.beat, self.closed) = (None, None);
        }
        if contact.streams > 0 {
            (self.patience, self.beats) = (self.first_patience(), false);
        }
        match open {
            Some(facts) => {
                (self.closed, self.patience, self.told) = (None, self.first_patience(), None);
                self.watch(now, &facts).await;
            }
            None => {
                // What was under way in that process is over, or of no use any more.
                (self.beat, self.prepared) = (None, false);
                self.consider_opening(now).await;
            }
        }
    }

    /// The server as it stands, if this agent has opened it under the stored record and it is open.
    fn open_server(&self) -> Option<ServerFacts> {
        let running = self.member.supervisor.now().running()?;
        let remembered = self.member.state.get();
        let leads = remembered.record.as_ref().is_some_and(|record| record.primary == self.member.name());
        match &self.member.latest.borrow().server {
            ServerState::Running(facts) if leads && facts.open && self.member.was_opened(running) => {
                Some(ServerFacts::clone(facts))
            }
            _ => None,
        }
    }

    async fn watch(&mut self, now: Instant, facts: &ServerFacts) {
        self.collect(now).await;
        let acks = self.member.state.get().record.as_ref().map_or(0, Record::effective_acks);
        match decide::next(&self.evidence.situation(now, acks)) {
            Step::Watch => self.prepare(facts),
            Step::AskApi => {
                self.evidence.asking(now);
                let config = Arc::clone(&self.member.config);
                self.api = Some(tokio::spawn(async move { api_server::is_in_reach(&config).await }));
            }
            Step::Beat => {
                if !std::mem::replace(&mut self.beats, true) {
                    tracing::warn!("the API server is out of reach: asking the replicas with heartbeats");
                }
                self.evidence.beating(now);
                let member = Arc::clone(&self.member);
                self.beat = Some(tokio::spawn(async move {
                    let (mut session, _) = member.session().await?;
                    heartbeat::commit(&mut session).await
                }));
            }
            Step::Fence => {
                tracing::error!(
                    acks,
                    "the API server is out of reach and too few replicas acknowledge: this primary fences itself"
                );
                commands::fence(&self.member).await;
                self.evidence = Evidence::new(Instant::now());
            }
        }
    }

    /// Takes in what was asked and has been answered.
    async fn collect(&mut self, now: Instant) {
        if let Some(asked) = self.api.take_if(|asked| asked.is_finished()) {
            self.evidence.answered(asked.await.unwrap_or(true));
        }
        if let Some(beat) = self.beat.take_if(|beat| beat.is_finished()) {
            let result = beat.await;
            if let Ok(Err(why)) = &result {
                tracing::warn!(%why, "the heartbeat came to nothing");
            }
            self.evidence.beaten(now, matches!(result, Ok(Ok(()))));
        }
    }

    /// Sees once that data from before there were heartbeats has their table, at a time at which it is sure to be
    /// acknowledged.
    fn prepare(&mut self, facts: &ServerFacts) {
        let semi_sync = facts.semi_sync;
        let acknowledged = semi_sync.enabled && semi_sync.clients >= semi_sync.wait_count;
        let calm = acknowledged && semi_sync.waiting_commits == 0 && self.member.operators.contact().streams > 0;
        if self.prepared || !calm {
            return;
        }
        self.prepared = true;
        let member = Arc::clone(&self.member);
        tokio::spawn(async move {
            let made = async {
                let (mut session, _) = member.session().await?;
                heartbeat::make_table(&mut session).await
            };
            if let Err(why) = made.await {
                tracing::warn!(%why, "there is no table for heartbeats: this primary will not fence itself");
            }
        });
    }

    async fn consider_opening(&mut self, now: Instant) {
        let Some(record) = self.reign().await else {
            self.closed = None;
            drop(self.member.door.shut().await);
            return;
        };
        let closed = now.saturating_duration_since(*self.closed.get_or_insert(now));
        let silent = self.evidence.operator_silent(now);
        let asking = self.asking(&record).await;
        if !decide::may_begin(closed, silent, self.patience, asking, record.effective_acks()) {
            return;
        }
        tracing::warn!(epoch = record.epoch, "no operator for {} s: opening again", silent.as_secs());
        match reopen::reopen(&self.member, &record).await {
            Ok(()) => tracing::warn!("open again: enough replicas have acknowledged everything"),
            Err(why) => {
                tracing::warn!("not opened: {why:#}");
                self.patience = (self.patience * 2).min(LONGEST);
            }
        }
        self.closed = None;
    }

    /// The stored record, if this member leads under it, is closed, and may be opened under it without being told.
    async fn reign(&mut self) -> Option<Record> {
        if self.member.operators.contact().streams > 0 || self.is_unclear() {
            return None;
        }
        let remembered = self.member.state.get();
        let known = self.member.offline_gtids();
        let objection = decide::objection(&remembered, self.member.name(), self.member.incarnation(), known.as_ref());
        if remembered.led_last(self.member.incarnation()) && objection != self.told {
            self.told = objection;
            if let Some(why) = objection {
                tracing::info!("stays closed until an operator is there: {why}");
            }
        }
        remembered.record.clone().filter(|_| objection.is_none())
    }

    /// Whether mysqld is neither stopped nor seen to be closed.
    fn is_unclear(&self) -> bool {
        match &self.member.latest.borrow().server {
            ServerState::Stopped { .. } => false,
            ServerState::Running(facts) => facts.open,
            ServerState::Starting | ServerState::Unresponsive { .. } => true,
        }
    }

    /// How many members ask to receive from it. Those of a server that runs are counted when they are connected.
    async fn asking(&self, record: &Record) -> usize {
        if self.member.supervisor.now().running().is_some() {
            return record.members.len();
        }
        let member = &self.member;
        member.door.open(&member.config, || member.supervisor.now().running().is_some()).await;
        // One that is leaving may still ask, and its acknowledgement would not count.
        let others = record.members.iter().map(|other| &other.name);
        let others = others.filter(|other| *other != member.name() && record.may_acknowledge(other));
        let accounts = others.filter_map(|other| crate::config::ordinal(other).ok()).map(replication_account);
        member.door.asking(&accounts.collect::<Vec<_>>())
    }
}

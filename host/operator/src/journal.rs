//! Keeps the last decisions of every cluster, and what would be decided next, in a ConfigMap beside the cluster.
//!
//! No decision waits for it or depends on it: notes are taken in memory and written some time later. What cannot be
//! written is told and tried again. While nothing is decided nothing is written.

mod pending;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::{Attempt, Entry, Note, Outlook};
use futures::StreamExt as _;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::pending::Advice;
use self::pending::{Batch, Pending};
pub use self::store::foreign;
use crate::cache::{Cache, ClusterKey};
use crate::metrics::Metrics;

/// How long one cluster's write may take.
const WRITE: Duration = Duration::from_secs(10);

/// How long the last writes may take when the operator ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many journals are written at once.
const AT_ONCE: usize = 8;

/// The journals of every cluster.
pub struct Journal {
    client: Client,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    pending: Mutex<HashMap<ClusterKey, Pending>>,
    wake: Notify,
}

impl Journal {
    /// Nothing to write yet.
    pub fn new(client: Client, recorder: Recorder, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { client, recorder, metrics, pending: Mutex::default(), wake: Notify::new() })
    }

    /// A decision was made. Its identifier if it is another than the one before, which is only counted.
    pub fn decided(&self, key: &ClusterKey, entry: Entry) -> Option<String> {
        let id = entry.id.clone();
        self.noting(key, |pending, now| pending.decided(entry, now)).then_some(id)
    }

    /// Shadows were asked the same as in that decision.
    pub fn shadowed(&self, key: &ClusterKey, id: String, said: Vec<Attempt>) {
        self.noting(key, |pending, now| pending.note(Note::Shadowed { id, said }, now));
    }

    /// The last approved decision was acted on; `end` if nothing more comes of it.
    pub fn became(&self, key: &ClusterKey, outcome: String, end: bool) {
        self.noting(key, |pending, now| pending.became(outcome, end, now));
    }

    /// What would be decided is to be kept, if it says something new.
    pub fn outlook(&self, key: &ClusterKey, outlook: Outlook) {
        self.noting(key, |pending, now| pending.outlook(outlook, now));
    }

    /// A policy that nobody follows said something new.
    pub fn advised(&self, key: &ClusterKey, advice: Advice) {
        self.noting(key, |pending, now| pending.advised(advice, now));
    }

    fn noting<T>(&self, key: &ClusterKey, note: impl FnOnce(&mut Pending, Instant) -> T) -> T {
        let noted = note(self.lock().entry(key.clone()).or_default(), Instant::now());
        self.wake.notify_one();
        noted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ClusterKey, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is due until told to stop, and then what is left.
    pub async fn run(self: Arc<Self>, cache: Arc<Cache>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = Instant::now();
            let due = self.take(|due| due <= now);
            let writing = futures::stream::iter(due.clone())
                .for_each_concurrent(AT_ONCE, |(key, batch)| self.write_for(cache.clone(), key, batch));
            tokio::select! {
                () = writing => {}
                // Of what was on its way nobody knows whether it was written. A decision is taken in only once.
                () = stop.cancelled() => self.put_back(due),
            }
            self.lock().retain(|key, pending| pending.due().is_some() || cache.cluster(key).is_some());
            let next = self.lock().values().filter_map(Pending::due).min();
            tokio::select! {
                () = async { match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }} => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        let left = self.take(|_| true);
        let farewell = futures::stream::iter(left)
            .for_each_concurrent(AT_ONCE, |(key, batch)| self.write_for(cache.clone(), key, batch));
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("the last decisions were not written into the journal in time");
        }
    }

    fn take(&self, is_due: impl Fn(Instant) -> bool) -> Vec<(ClusterKey, Batch)> {
        let now = Instant::now();
        let mut pending = self.lock();
        let due = pending.iter_mut().filter(|(_, pending)| pending.due().is_some_and(&is_due));
        due.map(|(key, pending)| (key.clone(), pending.take(now))).collect()
    }

    fn put_back(&self, batches: Vec<(ClusterKey, Batch)>) {
        let mut all = self.lock();
        for (key, batch) in batches {
            all.entry(key).or_default().failed(batch, Instant::now());
        }
    }

    async fn write_for(&self, cache: Arc<Cache>, key: ClusterKey, batch: Batch) {
        self.write(&cache, &key, batch).await;
    }

    async fn write(&self, cache: &Cache, key: &ClusterKey, batch: Batch) {
        let Some(cluster) = cache.cluster(key) else {
            // Its journal goes with it.
            self.lock().remove(key);
            return;
        };
        let written = tokio::time::timeout(WRITE, store::write(&self.client, &cluster, batch.clone())).await;
        let why = match written {
            Ok(Ok(lost)) => {
                if !lost.is_empty() {
                    self.metrics.policies.journal_lost(lost.len());
                    tracing::warn!(cluster = %key, decisions = ?lost, "decisions are too large for the journal");
                }
                if let Some(pending) = self.lock().get_mut(key) {
                    pending.succeeded();
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("ConfigMap {}: no answer within {} s", store::name(key), WRITE.as_secs()),
        };
        let (first, lost) = {
            let mut all = self.lock();
            let pending = all.entry(key.clone()).or_default();
            let first = !pending.is_failing();
            (first, pending.failed(batch, Instant::now()))
        };
        self.metrics.policies.journal_failed(lost);
        if first {
            tracing::warn!(cluster = %key, why, "the journal is not written; decisions are made as ever");
            let event = Event {
                type_: EventType::Warning,
                reason: "JournalNotWritten".to_owned(),
                note: Some(why.chars().take(1_000).collect()),
                action: "WritingTheJournal".to_owned(),
                secondary: None,
            };
            let about = cluster.object_ref(&());
            if !matches!(tokio::time::timeout(WRITE, self.recorder.publish(&event, &about)).await, Ok(Ok(()))) {
                tracing::debug!(cluster = %key, "an Event was not written");
            }
        }
    }
}

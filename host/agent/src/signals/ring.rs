//! From samples to what was counted over the last minute and the last hour. Pure: the time is whatever the caller says.
//!
//! Counters begin anew when mysqld does, samples are missing while it does not answer, and a clock may stand still or go
//! back. None of that may ever show as load: what was not seen is neither counted nor counted as time.

use std::collections::VecDeque;

use topology::signals::{ContainerCounters, ServerCounters, Window};
use uuid::Uuid;

use crate::supervise::Running;

/// How long the two windows are, in milliseconds.
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;

/// By how much a window may be longer than it is called, in milliseconds: samples come every ten seconds, a little late.
const SLACK_MS: u64 = 15_000;

/// Every how many milliseconds a mark is kept for an hour.
const COARSE_MS: u64 = 60_000;

/// The most marks that are kept of either kind. Samples that come faster than every ten seconds shorten the windows.
const FINE: usize = 8;
const COARSE: usize = 64;

/// One look at everything.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// When, in milliseconds on a clock of the caller's.
    pub at_ms: u64,
    /// What mysqld said, if it did.
    pub server: Option<ServerSample>,
    /// What the kernel counts of the container.
    pub container: ContainerCounters,
    /// Bytes that are used of the volume.
    pub volume_used: Option<u64>,
}

/// What mysqld said. Counting begins anew with each process, and after a look that it did not answer.
#[derive(Debug, Clone)]
pub struct ServerSample {
    /// Which process.
    pub process: Running,
    /// Its counters, without the transactions.
    pub counters: ServerCounters,
    /// Its transactions, where they are known.
    pub transactions: Option<Transactions>,
    /// Threads that run a statement.
    pub running: u64,
    /// Connections.
    pub connected: u64,
}

/// How many transactions a copy of the data has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transactions {
    /// Which copy.
    pub incarnation: Uuid,
    /// How many it has executed.
    pub executed: u64,
    /// How many it has executed or received.
    pub known: u64,
}

impl Transactions {
    fn behind(self) -> bool {
        self.known > self.executed
    }
}

/// The samples of an hour, as far as anybody asks for them.
#[derive(Debug, Default)]
pub struct Ring {
    /// Everything so far, on a clock of its own that never goes back.
    now: Mark,
    last: Option<Sample>,
    fine: VecDeque<Mark>,
    coarse: VecDeque<Mark>,
    /// The peaks since the last coarse mark.
    since_coarse: Peaks,
}

/// Everything that was counted up to a moment. It only grows.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    at_ms: u64,
    served_ms: u64,
    elapsed_ms: u64,
    server: ServerCounters,
    container: ContainerCounters,
    looks: u64,
    running: u64,
    volume_used: Option<u64>,
    /// Of the time since the mark before.
    peaks: Peaks,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peaks {
    running: Option<u64>,
    connected: Option<u64>,
}

impl Peaks {
    fn and(self, other: Self) -> Self {
        // None is less than any number.
        Self { running: self.running.max(other.running), connected: self.connected.max(other.connected) }
    }
}

impl Ring {
    /// Takes a sample in.
    pub fn take(&mut self, sample: Sample) {
        let passed =
            self.last.as_ref().map(|last| sample.at_ms.saturating_sub(last.at_ms)).filter(|passed| *passed > 0);
        let mut mark = Mark {
            at_ms: self.now.at_ms.saturating_add(passed.unwrap_or(0)),
            volume_used: sample.volume_used,
            peaks: Peaks::default(),
            ..self.now
        };
        if let (Some(passed), Some(last)) = (passed, &self.last) {
            mark.elapsed_ms = mark.elapsed_ms.saturating_add(passed);
            let grown = sample.container.with(&last.container, grown_in_life);
            mark.container = mark.container.with(&grown, sum);
            if let (Some(now), Some(before)) = (&sample.server, &last.server)
                && now.process == before.process
            {
                mark.served_ms = mark.served_ms.saturating_add(passed);
                mark.server = mark.server.with(&counted(now, before, passed), sum);
            }
        }
        if let Some(server) = &sample.server {
            mark.looks += 1;
            mark.running = mark.running.saturating_add(server.running);
            mark.peaks = Peaks { running: Some(server.running), connected: Some(server.connected) };
        }
        self.last = Some(sample);
        self.now = mark;
        self.keep(mark);
    }

    fn keep(&mut self, mark: Mark) {
        keep(&mut self.fine, mark, FINE, MINUTE_MS);
        self.since_coarse = self.since_coarse.and(mark.peaks);
        if self.coarse.back().is_none_or(|last| mark.at_ms - last.at_ms >= COARSE_MS) {
            let peaks = std::mem::take(&mut self.since_coarse);
            keep(&mut self.coarse, Mark { peaks, ..mark }, COARSE, HOUR_MS);
        }
    }

    /// What was counted in the last minute. None before there are two samples in it.
    pub fn minute(&self) -> Option<Window> {
        self.since(&self.fine, Peaks::default())
    }

    /// What was counted in the last hour.
    pub fn hour(&self) -> Option<Window> {
        self.since(&self.coarse, self.since_coarse)
    }

    fn since(&self, marks: &VecDeque<Mark>, later: Peaks) -> Option<Window> {
        let then = marks.front().filter(|then| then.at_ms < self.now.at_ms)?;
        let peaks = marks.iter().skip(1).fold(later, |peaks, mark| peaks.and(mark.peaks));
        let now = &self.now;
        let looks = now.looks - then.looks;
        let growth = now.volume_used.zip(then.volume_used);
        Some(Window {
            served_ms: now.served_ms - then.served_ms,
            elapsed_ms: now.elapsed_ms - then.elapsed_ms,
            server: now.server.with(&then.server, since),
            container: now.container.with(&then.container, since),
            running_threads_milli: (now.running - then.running).saturating_mul(1_000).checked_div(looks),
            running_threads_peak: peaks.running,
            connections_peak: peaks.connected,
            volume_growth_bytes: growth.and_then(|(now, then)| now.checked_signed_diff(then)),
        })
    }
}

fn keep(marks: &mut VecDeque<Mark>, mark: Mark, most: usize, window_ms: u64) {
    marks.push_back(mark);
    while marks.len() > most || marks.front().is_some_and(|oldest| mark.at_ms - oldest.at_ms > window_ms + SLACK_MS) {
        marks.pop_front();
    }
}

/// What was counted between two looks at one process.
fn counted(now: &ServerSample, before: &ServerSample, passed: u64) -> ServerCounters {
    let counters = now.counters.with(&before.counters, grown);
    let pair = now.transactions.zip(before.transactions).filter(|(now, before)| now.incarnation == before.incarnation);
    let Some((now, before)) = pair else { return counters };
    let executed = now.executed.saturating_sub(before.executed);
    let behind = now.behind() && before.behind();
    ServerCounters {
        transactions: Some(executed),
        received_transactions: Some(now.known.saturating_sub(before.known)),
        behind_transactions: behind.then_some(executed),
        behind_ms: behind.then_some(passed),
        ..counters
    }
}

/// By how much a counter of one process grew. One that is lower than before was reset by somebody, and has counted at
/// least what it shows.
fn grown(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    let (now, before) = (now?, before?);
    Some(now.checked_sub(before).unwrap_or(now))
}

/// By how much a counter grew that lives as long as the agent. One that is lower than before is another's.
fn grown_in_life(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    Some(now?.saturating_sub(before?))
}

fn sum(total: Option<u64>, more: Option<u64>) -> Option<u64> {
    match (total, more) {
        (Some(total), Some(more)) => Some(total.saturating_add(more)),
        (total, more) => total.or(more),
    }
}

/// What came in between. What had never been counted before has all come since.
fn since(now: Option<u64>, then: Option<u64>) -> Option<u64> {
    Some(now?.saturating_sub(then.unwrap_or(0)))
}

#[cfg(test)]
mod tests;

//! Sets mysqld by the memory and the processors that it has, and by what it did lately.
//!
//! The buffer pool gets what connections and the agent leave of the memory, the redo log room for an hour of writes, the
//! applier threads for the processors, and connections more room where they are refused. Every number goes there in
//! steps, the most urgent first. It must never wish for what memory does not hold, and never touch what a person set.

use grampus_policy::SettingsError;
use grampus_policy::config_tuning::{Answer, Policy, Question, keep};
use serde::Deserialize;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What can be set. Everything has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct MemoryBudget {
    /// Thousandths of the memory limit that the buffer pool has at most.
    pub pool_permille: u64,
    /// Bytes that one connection takes.
    pub connection_bytes: u64,
    /// Bytes that are kept for everything but the pool, however few connections there are.
    pub reserve_bytes: u64,
    /// What was measured over less than this many seconds is not acted upon: an hour is not the day. What follows from
    /// limits alone is not measured.
    pub least_window_s: u64,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self { pool_permille: 700, connection_bytes: 4 * MIB, reserve_bytes: 512 * MIB, least_window_s: 3_600 }
    }
}

const POOL: &str = "innodb_buffer_pool_size";
const REDO: &str = "innodb_redo_log_capacity";
const WORKERS: &str = "replica_parallel_workers";
const CONNECTIONS: &str = "max_connections";

/// mysqld's own default, and the least pool worth having.
const SMALLEST_POOL: u64 = 128 * MIB;

/// A pool that differs by less than so many hundredths from what it should be is left alone: changing it empties a
/// part of it.
const POOL_SLACK_PERCENT: u64 = 5;

/// Between these, the redo log holds an hour of writes: mysqld's own default, and what recovers in minutes.
const REDO_RANGE: (u64, u64) = (100 * MIB, 16 * GIB);

/// With fewer appliers a failover waits for seconds; mysqld's own default is 4.
const WORKERS_RANGE: (u64, u64) = (4, 256);

/// A peak of so many hundredths of the connections there may be is near enough to the end.
const CONNECTIONS_PERCENT: u64 = 85;

/// A change that is wanted: a setting, the number it should have in the end, and why.
struct Wanted {
    name: &'static str,
    number: u64,
    why: String,
}

impl MemoryBudget {
    /// Bytes that the pool should have with so many connections.
    fn pool(&self, question: &Question, connections: u64) -> Option<u64> {
        let limit = question.present.resources.memory_bytes?;
        let others = connections.saturating_mul(self.connection_bytes).saturating_add(question.present.agent_bytes);
        let left = limit.saturating_sub(others.max(self.reserve_bytes));
        let share = (limit / 1_000).saturating_mul(self.pool_permille);
        Some(share.min(left).max(SMALLEST_POOL.min(limit / 4)) / MIB * MIB)
    }

    fn pool_wanted(&self, question: &Question) -> Option<Wanted> {
        let connections = question.number(CONNECTIONS)?;
        let (now, number) = (question.number(POOL)?, self.pool(question, connections)?);
        let slack = (now / 100).saturating_mul(POOL_SLACK_PERCENT);
        let why = format!("{} MiB are what {connections} connections and the agent leave of the memory", number / MIB);
        (now.abs_diff(number) > slack).then_some(Wanted { name: POOL, number, why })
    }

    fn redo_wanted(&self, question: &Question) -> Option<Wanted> {
        let written = question.activity.redo_written_bytes_per_hour.filter(|_| self.is_measured(question))?;
        let room = question.present.volume_bytes.map_or(REDO_RANGE.1, |volume| volume / 8);
        let number = written.clamp(REDO_RANGE.0, REDO_RANGE.1).min(room) / MIB * MIB;
        let now = question.number(REDO)?;
        let why = format!("an hour writes {} MiB of redo log", written / MIB);
        // What holds nine tenths of an hour holds an hour nearly always; a log that is too large hurts nobody.
        (now < number / 10 * 9).then_some(Wanted { name: REDO, number, why })
    }

    fn workers_wanted(&self, question: &Question) -> Option<Wanted> {
        let cpu = question.present.resources.cpu_millicores?;
        let peak = question.load.running_threads_peak.filter(|_| self.is_measured(question)).unwrap_or(0);
        let number = cpu.div_ceil(250).max(peak).clamp(WORKERS_RANGE.0, WORKERS_RANGE.1);
        let why = format!("{cpu} millicores can keep {number} appliers busy, and up to {peak} threads ran at once");
        (question.number(WORKERS)? < number).then_some(Wanted { name: WORKERS, number, why })
    }

    /// More connections, if the memory has room for them beside the pool there is.
    fn connections_wanted(&self, question: &Question) -> Option<Wanted> {
        if !self.is_measured(question) {
            return None;
        }
        let (now, pool) = (question.number(CONNECTIONS)?, question.number(POOL)?);
        let refused = question.activity.refused_connections_per_hour.unwrap_or(0);
        let peak = question.load.connections_peak.unwrap_or(0);
        let near = peak.saturating_mul(100) >= now.saturating_mul(CONNECTIONS_PERCENT);
        let number = now.saturating_add(now / 4);
        let fits = self.pool(question, number).is_some_and(|left| left >= pool);
        let why = format!("{refused} were refused in an hour, and the most at once were {peak} of {now}");
        ((refused > 0 || near) && fits).then_some(Wanted { name: CONNECTIONS, number, why })
    }

    fn is_measured(&self, question: &Question) -> bool {
        question.load.window_s >= self.least_window_s
    }
}

impl Policy for MemoryBudget {
    fn check(&self) -> Result<(), SettingsError> {
        if !(100..=800).contains(&self.pool_permille) {
            return Err(SettingsError::at("poolPermille", "expected 100 to 800; the guard lets no more through"));
        }
        if self.connection_bytes == 0 {
            return Err(SettingsError::at("connectionBytes", "expected at least 1; 4194304 if not given"));
        }
        Ok(())
    }

    fn decide(&self, question: &Question) -> Answer {
        let pool = self.pool_wanted(question);
        let shrinks = pool.as_ref().is_some_and(|wanted| question.number(POOL).is_some_and(|now| wanted.number < now));
        let others = [self.workers_wanted(question), self.redo_wanted(question), self.connections_wanted(question)];
        let mut wanted: Vec<Wanted> = others.into_iter().flatten().collect();
        // A pool that is too large may end mysqld; one that could be larger only makes it slower.
        wanted.splice(if shrinks { 0..0 } else { wanted.len()..wanted.len() }, pool);
        let mut answer = keep("every setting is as the memory, the processors and the load ask for");
        for Wanted { name, number, why } in wanted {
            if let Some(step) = question.step(name, number) {
                answer = answer.with(name, step, why);
            }
        }
        if let Some(first) = answer.changes.first() {
            answer.reason = format!("{} comes first: {}", first.name, first.reason);
        }
        answer
    }
}

grampus_policy::config_tuning! {
    summary: "sets mysqld by the memory and processors that it has, and by what it did lately",
    settings_schema: include_str!("settings.schema.json"),
    policy: MemoryBudget,
}

#[cfg(test)]
mod tests;

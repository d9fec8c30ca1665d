//! What was measured, in the words of the bench that prints it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    figures: Vec<Figure>,
    amounts: Vec<Amount>,
}

/// Times of one thing, in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Times {
    samples: usize,
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// Ninety-nine of a hundred took no longer.
    pub p99_ns: u64,
    max_ns: u64,
}

#[derive(Debug, Serialize)]
struct Figure {
    what: String,
    #[serde(flatten)]
    times: Times,
}

#[derive(Debug, Serialize)]
struct Amount {
    what: String,
    value: String,
}

impl Times {
    /// Sums up samples; nothing of none.
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let rank = |percent: usize| samples.get((samples.len() * percent).div_ceil(100).max(1) - 1).copied().map(nanos);
        Some(Self { samples: samples.len(), p50_ns: rank(50)?, p99_ns: rank(99)?, max_ns: rank(100)? })
    }
}

impl Report {
    /// Adds times.
    pub fn add(&mut self, what: impl Into<String>, times: Times) {
        self.figures.push(Figure { what: what.into(), times });
    }

    /// Adds what is not a time, with its unit.
    pub fn amount(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.amounts.push(Amount { what: what.into(), value: value.into() });
    }
}

/// Bytes of memory this process has in use, as the kernel counts them.
///
/// # Errors
/// There is no /proc.
pub fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("this process has no status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its status has no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

//! What came of each fault, and of all of a kind together.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use kit::{Scenario, Survived, Verdict};

/// All faults of one session.
pub struct Report {
    seed: u64,
    writers: u64,
    runs: BTreeMap<Scenario, Vec<Survived>>,
}

impl Report {
    /// Nothing yet.
    pub fn new(seed: u64, writers: u64) -> Self {
        Self { seed, writers, runs: BTreeMap::new() }
    }

    /// Adds a fault.
    pub fn add(&mut self, run: Survived) {
        self.runs.entry(run.kind).or_default().push(run);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY).set_header([
            "fault",
            "runs",
            "acknowledged",
            "unknown",
            "lost",
            "gap p50",
            "gap max",
            "whole p50",
            "alike p50",
        ]);
        let (mut faults, mut acknowledged, mut lost) = (0, 0, 0);
        for (kind, runs) in &self.runs {
            let sum = |count: fn(&Verdict) -> usize| runs.iter().map(|run| count(&run.verdict)).sum::<usize>();
            let gaps = sorted(runs.iter().map(|run| run.gap));
            let wholes = sorted(runs.iter().map(|run| run.whole));
            let alike = sorted(runs.iter().map(|run| run.alike));
            let missing = sum(|verdict| verdict.missing.len());
            faults += runs.len();
            acknowledged += sum(|verdict| verdict.acknowledged);
            lost += missing;
            table.add_row([
                kind.to_string(),
                runs.len().to_string(),
                sum(|verdict| verdict.acknowledged).to_string(),
                sum(|verdict| verdict.unknown).to_string(),
                missing.to_string(),
                readable(middle(&gaps)),
                readable(gaps.last().copied().unwrap_or_default()),
                readable(middle(&wholes)),
                readable(middle(&alike)),
            ]);
        }
        for column in 1..9 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(out, "{table}")?;
        writeln!(
            out,
            "{faults} faults, {} writers, seed {}: {acknowledged} rows acknowledged, {lost} lost",
            self.writers, self.seed
        )
    }
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times
}

/// The median: of an even number the lower of the two in the middle.
fn middle(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

fn readable(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

//! What came of each fault, and of all of a kind together, in one run or in many.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use kit::{Scenario, Survived};
use serde::{Deserialize, Serialize};

/// From how many faults of a kind on there is a p99. Of fewer it is the maximum under another name.
const ENOUGH: usize = 100;

/// Faults, in the order in which they struck.
#[derive(Debug, Default)]
pub struct Report {
    faults: Vec<Fault>,
}

/// What came of one fault, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fault {
    /// What was done, as [`Scenario`] words it.
    kind: String,
    gap_ms: u64,
    whole_ms: u64,
    alike_ms: u64,
    acknowledged: usize,
    unknown: usize,
    lost: usize,
    read_back: u64,
    read_in_vain: usize,
}

impl Report {
    /// Adds a fault.
    pub fn add(&mut self, run: &Survived) {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.faults.push(Fault {
            kind: run.kind.to_string(),
            gap_ms: millis(run.gap),
            whole_ms: millis(run.whole),
            alike_ms: millis(run.alike),
            acknowledged: run.verdict.acknowledged,
            unknown: run.verdict.unknown,
            lost: run.verdict.missing.len(),
            read_back: run.reads.done,
            read_in_vain: run.reads.stale.len(),
        });
    }

    /// All faults of a log.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is no fault.
    pub fn read(log: &Path) -> Result<Self> {
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        let faults = text.lines().enumerate().map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("line {} of {} is no fault", number + 1, log.display()))
        });
        Ok(Self { faults: faults.collect::<Result<_>>()? })
    }

    /// Writes its faults behind those that a log has.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&self, log: &Path) -> Result<()> {
        let cannot = || format!("cannot write {}", log.display());
        if let Some(directory) = log.parent() {
            fs::create_dir_all(directory).with_context(cannot)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(log).with_context(cannot)?;
        for fault in &self.faults {
            writeln!(file, "{}", serde_json::to_string(fault)?).with_context(cannot)?;
        }
        Ok(())
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
            "gap p99",
            "gap max",
            "whole p50",
            "alike p50",
        ]);
        let sum =
            |faults: &[&Fault], count: fn(&Fault) -> usize| faults.iter().map(|fault| count(fault)).sum::<usize>();
        for kind in Scenario::ALL.map(|kind| kind.to_string()) {
            let faults: Vec<_> = self.faults.iter().filter(|fault| fault.kind == kind).collect();
            if faults.is_empty() {
                continue;
            }
            let gaps = sorted(&faults, |fault| fault.gap_ms);
            table.add_row([
                kind,
                faults.len().to_string(),
                sum(&faults, |fault| fault.acknowledged).to_string(),
                sum(&faults, |fault| fault.unknown).to_string(),
                sum(&faults, |fault| fault.lost).to_string(),
                readable(percentile(&gaps, 50)),
                if faults.len() < ENOUGH { "-".to_owned() } else { readable(percentile(&gaps, 99)) },
                readable(percentile(&gaps, 100)),
                readable(percentile(&sorted(&faults, |fault| fault.whole_ms), 50)),
                readable(percentile(&sorted(&faults, |fault| fault.alike_ms), 50)),
            ]);
        }
        for column in 1..10 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(out, "{table}")?;
        let all: Vec<_> = self.faults.iter().collect();
        let reads = self.faults.iter().map(|fault| fault.read_back).sum::<u64>();
        writeln!(
            out,
            "{} faults: {} rows acknowledged, {} lost; {reads} read back at once, {} of them in vain",
            all.len(),
            sum(&all, |fault| fault.acknowledged),
            sum(&all, |fault| fault.lost),
            sum(&all, |fault| fault.read_in_vain),
        )
    }
}

fn sorted(faults: &[&Fault], time: fn(&Fault) -> u64) -> Vec<u64> {
    let mut times: Vec<_> = faults.iter().map(|fault| time(fault)).collect();
    times.sort_unstable();
    times
}

/// The sample that so many percent do not exceed; of an even number, the median is the lower of the two in the middle.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

fn readable(millis: u64) -> String {
    if millis < 10_000 { format!("{millis} ms") } else { format!("{:.1} s", millis as f64 / 1e3) }
}

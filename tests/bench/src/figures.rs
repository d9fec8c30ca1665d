//! Samples and what is said of them. A p99 of few samples is the maximum under another name, so it is given only
//! from 100 on.

use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// One row for each thing.
    pub figures: Vec<Figure>,
}

/// One thing that was measured several times. Times are in nanoseconds.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What.
    pub what: String,
    /// How often.
    pub samples: usize,
    /// Half of them took less.
    pub p50_ns: u64,
    /// Ninety-nine of a hundred took less, where there are so many.
    pub p99_ns: Option<u64>,
    /// None took longer, where that is known.
    pub max_ns: Option<u64>,
}

/// From how many samples on there is a p99.
const ENOUGH: usize = 100;

impl Report {
    /// Adds a row. Nothing measured is no row.
    pub fn add(&mut self, what: &str, mut samples: Vec<Duration>) {
        samples.sort();
        let Some(max) = samples.last() else { return };
        let nanos = |duration: &Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let rank = |percent: usize| nanos(&samples[(samples.len() * percent).div_ceil(100).max(1) - 1]);
        self.figures.push(Figure {
            what: what.to_owned(),
            samples: samples.len(),
            p50_ns: rank(50),
            p99_ns: (samples.len() >= ENOUGH).then(|| rank(99)),
            max_ns: Some(nanos(max)),
        });
    }

    /// Adds a row that was measured elsewhere.
    pub fn push(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY).set_header(["measured", "runs", "p50", "p99", "max"]);
        for figure in &self.figures {
            let optional = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), readable);
            table.add_row([
                figure.what.clone(),
                figure.samples.to_string(),
                readable(figure.p50_ns),
                optional(figure.p99_ns),
                optional(figure.max_ns),
            ]);
        }
        for column in 1..5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{table}");
    }
}

fn readable(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        _ => format!("{:.0} ms", nanos as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_a_few_have_no_p99() {
        let mut report = Report::default();
        report.add("few", (1..=20).rev().map(Duration::from_nanos).collect());
        report.add("many", (1..=200).map(Duration::from_nanos).collect());
        report.add("none", Vec::new());
        let seen: Vec<_> = report.figures.iter().map(|figure| (figure.p50_ns, figure.p99_ns, figure.max_ns)).collect();
        assert_eq!(seen, [(10, None, Some(20)), (100, Some(198), Some(200))]);
    }
}

//! Samples and what is said of them. A p99 of few samples is the maximum under another name, so it is given only
//! from 100 on.

use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// One row for each thing.
    pub figures: Vec<Figure>,
    /// What is not a time.
    pub amounts: Vec<Amount>,
}

/// Something that is not a time.
#[derive(Debug, Serialize, Deserialize)]
pub struct Amount {
    /// What.
    pub what: String,
    /// How much, with its unit.
    pub value: String,
}

/// Pairs that were measured by turns.
#[derive(Debug)]
pub struct Ratio {
    what: String,
    sorted: Vec<f64>,
}

impl Ratio {
    /// The ratio of each pair.
    pub fn of(what: &str, mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        Self { what: what.to_owned(), sorted: ratios }
    }

    fn median(&self) -> Option<f64> {
        let (half, odd) = (self.sorted.len() / 2, self.sorted.len() % 2 == 1);
        let upper = *self.sorted.get(half)?;
        Some(if odd { upper } else { (self.sorted[half - 1] + upper) / 2.0 })
    }

    /// An interval that holds the true median 95 times out of 100, whatever the ratios are like: between two of the
    /// ratios themselves, by the binomial distribution. None of fewer than six pairs, which allow no such claim.
    fn interval(&self) -> Option<(f64, f64)> {
        let pairs = self.sorted.len();
        let all = 2_f64.powi(i32::try_from(pairs).ok()?);
        let (mut below, mut ways, mut outside) = (0.0, 1.0, None);
        for rank in 0..pairs / 2 {
            below += ways / all;
            if below > 0.025 {
                break;
            }
            outside = Some(rank);
            ways = ways * (pairs - rank) as f64 / (rank + 1) as f64;
        }
        let outside = outside?;
        Some((self.sorted[outside], self.sorted[pairs - 1 - outside]))
    }
}

/// One thing that was measured several times. Times are in nanoseconds.
#[derive(Debug, Serialize, Deserialize)]
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

    /// Adds what is not a time.
    pub fn amount(&mut self, amount: Amount) {
        self.amounts.push(amount);
    }

    /// Adds a ratio, with its interval where there are enough pairs. No pairs are no row.
    pub fn ratio(&mut self, ratio: Ratio) {
        let Some(median) = ratio.median() else { return };
        let pairs = ratio.sorted.len();
        let interval = ratio.interval().map_or_else(String::new, |(low, high)| format!(", 95 % {low:.3}–{high:.3}"));
        let value = format!("{median:.3} (median of {pairs} pairs{interval})");
        self.amount(Amount { what: ratio.what, value });
    }

    /// Adds what was measured elsewhere.
    pub fn join(&mut self, other: Self) {
        self.figures.extend(other.figures);
        self.amounts.extend(other.amounts);
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
        for Amount { what, value } in &self.amounts {
            println!("{what}: {value}");
        }
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
    fn a_median_has_an_interval_from_six_pairs_on() {
        let ratio = |pairs: u32| Ratio::of("r", (1..=pairs).rev().map(f64::from).collect());
        assert_eq!((ratio(5).median(), ratio(5).interval()), (Some(3.0), None));
        assert_eq!((ratio(6).median(), ratio(6).interval()), (Some(3.5), Some((1.0, 6.0))));
        // A table of the sign test says the same: the second of ten, the sixth of twenty.
        assert_eq!(ratio(10).interval(), Some((2.0, 9.0)));
        assert_eq!(ratio(20).interval(), Some((6.0, 15.0)));
        assert_eq!(ratio(0).median(), None);
    }

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

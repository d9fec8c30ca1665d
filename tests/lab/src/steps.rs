//! Shows a person what is being done and how long it took: with a spinner on a terminal, as plain
//! lines elsewhere. It must never decide anything.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;

/// Whether and how steps are shown.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    shown: bool,
    terminal: bool,
}

impl Steps {
    /// Steps on standard error, or none at all.
    pub fn new(shown: bool) -> Self {
        Self { shown, terminal: std::io::stderr().is_terminal() }
    }

    /// Does one thing under its name.
    pub fn step<T, E>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let spinner = self.spinner(name);
        let started = Instant::now();
        let result = work();
        spinner.finish_and_clear();
        self.line(result.is_ok(), name, started.elapsed());
        result
    }

    fn spinner(&self, name: &str) -> ProgressBar {
        if !self.shown || !self.terminal {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template("  {spinner:.cyan} {msg} {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }

    fn line(&self, good: bool, name: &str, took: Duration) {
        if !self.shown {
            return;
        }
        let (mark, seconds) = (if good { "✓" } else { "✗" }, took.as_secs_f64());
        if !self.terminal {
            let word = if good { "done" } else { "failed" };
            eprintln!("lab: {name}: {word} in {seconds:.1} s");
        } else if good {
            eprintln!("  {} {name} {}", mark.green(), format!("{seconds:.1} s").dimmed());
        } else {
            eprintln!("  {} {name} {}", mark.red(), format!("{seconds:.1} s").dimmed());
        }
    }
}

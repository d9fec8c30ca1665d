//! Shows a person what is being done and how long it took: a spinner on a terminal, plain lines elsewhere. It
//! decides nothing.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;

/// Whether and how steps are shown.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    shown: bool,
    terminal: bool,
    colour: bool,
}

impl Steps {
    /// Steps on standard output, or none at all.
    pub fn new(shown: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { shown, terminal, colour: terminal && !plain }
    }

    /// Whether somebody looks at a terminal.
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// Whether colour is wanted.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Begins something that takes a while.
    pub fn begin(&self, name: &str) -> Step {
        let bar = if self.shown && self.terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("  {spinner:.cyan} {elapsed:.dim} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Step { steps: *self, bar, name: name.to_owned(), started: Instant::now() }
    }

    /// Does one thing under its name.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn step<T, E>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let step = self.begin(name);
        let result = work();
        step.end(result.is_ok(), None);
        result
    }
}

/// Something that is under way. Dropping it takes it off the screen without a word.
pub struct Step {
    steps: Steps,
    bar: ProgressBar,
    name: String,
    started: Instant,
}

impl Step {
    /// Says how far it is. Only a terminal shows it.
    pub fn tell(&self, how: &str) {
        self.bar.set_message(format!("{}: {how}", self.name));
    }

    /// It is done.
    pub fn done(self) {
        self.end(true, None);
    }

    /// It is done, and this is what came of it.
    pub fn done_with(self, what: &str) {
        self.end(true, Some(what));
    }

    /// It is over, well or not.
    pub fn end(self, good: bool, what: Option<&str>) {
        self.bar.finish_and_clear();
        if !self.steps.shown {
            return;
        }
        let text = what.map_or_else(|| self.name.clone(), |what| format!("{}: {what}", self.name));
        let seconds = format!("{:.1} s", self.started.elapsed().as_secs_f64());
        let mark = if good { "✓" } else { "✗" };
        match (self.steps.colour, good) {
            (false, _) => println!("  {mark} {text} ({seconds})"),
            (true, true) => println!("  {} {text} {}", mark.green(), seconds.dimmed()),
            (true, false) => println!("  {} {text} {}", mark.red(), seconds.dimmed()),
        }
    }
}

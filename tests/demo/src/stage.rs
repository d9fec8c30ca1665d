//! How the demo looks: chapters, sentences and tables, in colour on a terminal and plain elsewhere. It knows
//! nothing about what is shown.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};
use kit::Steps;
use owo_colors::OwoColorize;

/// Where the demo is shown.
pub struct Stage {
    /// For what takes a while.
    pub steps: Steps,
    chapter: Mutex<u32>,
    began: Instant,
}

impl Stage {
    /// An empty stage.
    pub fn new(steps: Steps) -> Self {
        Self { steps, chapter: Mutex::new(0), began: Instant::now() }
    }

    /// The first line.
    pub fn title(&self, text: &str) {
        if self.steps.colour() { println!("\n{}", text.bold().cyan()) } else { println!("\n{text}") }
    }

    /// A new part.
    pub fn chapter(&self, text: &str) {
        let mut number = self.chapter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *number += 1;
        let heading = format!("{number}. {text}");
        if self.steps.colour() { println!("\n{}", heading.bold()) } else { println!("\n{heading}") }
    }

    /// What is going on.
    pub fn say(&self, text: &str) {
        println!("  {text}");
    }

    /// A command that a person could type.
    pub fn command(&self, text: &str) {
        if self.steps.colour() { println!("  {} {}", "$".dimmed(), text.cyan()) } else { println!("  $ {text}") }
    }

    /// Text as a program printed it.
    pub fn quote(&self, text: &str) {
        for line in text.trim_end().lines() {
            if self.steps.colour() { println!("    {}", line.dimmed()) } else { println!("    {line}") }
        }
    }

    /// Something that was checked and held.
    pub fn held(&self, text: &str) {
        if self.steps.colour() { println!("  {} {}", "✓".green(), text.bold()) } else { println!("  ✓ {text}") }
    }

    /// A name and a value of it that matters.
    pub fn fact(&self, name: &str, value: &str) {
        let name = format!("{name:<22}");
        if self.steps.colour() {
            println!("  {} {}", name.dimmed(), value.yellow())
        } else {
            println!("  {name} {value}")
        }
    }

    /// A table.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        println!("{}", indented(&table(header, rows)));
    }

    /// The end, when all held.
    pub fn finished(&self) {
        let text = format!("Everything shown held. ({})", seconds(self.began.elapsed()));
        if self.steps.colour() { println!("\n{}", text.bold().green()) } else { println!("\n{text}") }
    }

    /// The end, when something did not hold.
    pub fn failed(&self, error: &anyhow::Error) {
        if self.steps.colour() {
            eprintln!("\n{} {error:#}", "The demo did not hold:".bold().red());
        } else {
            eprintln!("\nThe demo did not hold: {error:#}");
        }
    }
}

/// A table as text.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    table.to_string()
}

/// The same, as far in as everything else.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// A duration for people.
pub fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.2} s", duration.as_secs_f64())
    } else {
        format!("{:.0} s", duration.as_secs_f64())
    }
}

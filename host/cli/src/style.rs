//! How text looks on a terminal, and that it looks like nothing special anywhere else.

use std::io::IsTerminal as _;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use owo_colors::OwoColorize as _;

/// Whether there are colours, and how wide a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether colours are wanted.
    pub colour: bool,
    /// The width of the terminal. None where lines are not to be broken.
    pub width: Option<u16>,
}

impl Style {
    /// What standard output can show. `NO_COLOR`, set to anything, forbids colours (<https://no-color.org>).
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = terminal.then(|| Table::new().width()).flatten();
        Self { colour: terminal && !forbidden, width }
    }

    /// A table without lines that keeps to the width.
    pub fn table(self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match self.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if self.colour {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        table
    }

    /// A cell in a tone.
    pub fn cell(self, text: impl ToString, tone: Tone) -> Cell {
        let cell = Cell::new(text);
        match tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Leading => cell.fg(Color::Green).add_attribute(Attribute::Bold),
            Tone::Doubtful => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Quiet => cell.add_attribute(Attribute::Dim),
        }
    }

    /// Text in a tone.
    pub fn text(self, text: &str, tone: Tone) -> String {
        if !self.colour {
            return text.to_owned();
        }
        match tone {
            Tone::Plain => text.to_owned(),
            Tone::Good => text.green().to_string(),
            Tone::Leading => text.green().bold().to_string(),
            Tone::Doubtful => text.yellow().to_string(),
            Tone::Bad => text.red().to_string(),
            Tone::Quiet => text.dimmed().to_string(),
        }
    }
}

/// What a piece of text means to whoever looks for trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// As it should be.
    Good,
    /// The one that leads.
    Leading,
    /// On its way, or not certain.
    Doubtful,
    /// Not as it should be.
    Bad,
    /// Headings and asides.
    Quiet,
}

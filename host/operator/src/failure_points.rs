//! Places between two steps of a failover at which a test can end this operator, to see that another one finishes or
//! abandons what was begun.
//!
//! It must do nothing unless a file is named at the start, which no manifest that is shipped does.

use std::path::PathBuf;

use topology::plan::Order;
use topology::record::Phase;

/// A place that has just been passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The record was advanced to this phase.
    Advanced(Phase),
    /// A member was told to receive nothing more, and has not answered.
    FreezeSent,
    /// A member was told to catch up and open, and has not answered.
    PromoteSent,
    /// The Services lead somewhere else.
    Pointed,
}

impl Point {
    /// The place behind a command, if it is one.
    pub fn sent(order: &Order) -> Option<Self> {
        match order {
            Order::Freeze => Some(Self::FreezeSent),
            Order::Promote { .. } => Some(Self::PromoteSent),
            _ => None,
        }
    }

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Advanced(Phase::Freezing) => "claimed",
            Self::Advanced(Phase::Promoting) => "chosen",
            Self::Advanced(Phase::Serving) => "serving",
            Self::FreezeSent => "freeze-sent",
            Self::PromoteSent => "promote-sent",
            Self::Pointed => "pointed",
        }
    }
}

/// The places at which this operator ends.
#[derive(Debug, Clone, Default)]
pub struct FailurePoints {
    file: Option<PathBuf>,
}

impl FailurePoints {
    /// Ends at the place that this file names, once: the file is removed. Nowhere if there is none.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Says that a place has been passed. Does not return if it is the one that the file names.
    pub fn passed(&self, point: Point) {
        let Some(file) = &self.file else { return };
        let named = std::fs::read_to_string(file).is_ok_and(|name| name.trim() == point.name());
        if named && std::fs::remove_file(file).is_ok() {
            tracing::error!(point = point.name(), "this operator ends here, as it was told to");
            std::process::exit(70);
        }
    }
}

//! What the tables of a member hold, as operator and agent speak of it: `POST /v1/check`, a [`CheckCall`] answered by a
//! [`CheckAnswer`].
//!
//! A check reads every row once, in one transaction and on one connection, and changes nothing. It goes on for as long as
//! an operator goes on asking, and an agent that is too old to know of checks answers 404.

use serde::{Deserialize, Serialize};
use topology::gtid::GtidSet;

/// For how long a check goes on while nobody asks about it, in milliseconds: an operator may be replaced by another.
pub const CHECK_LASTS_MS: u64 = 60_000;

/// A question about a check, or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckCall {
    /// [`crate::WIRE_VERSION`] of the operator.
    pub wire: u32,
    /// What is asked.
    pub ask: CheckAsk,
}

/// What an operator may ask. Each may be asked twice and does nothing the second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum CheckAsk {
    /// Say how far it is.
    Look {
        /// Whether the answer is to have the tables, once it is done: there may be many.
        #[serde(default)]
        tables: bool,
    },
    /// Check. One at a time: while another one is under way it is refused.
    Begin(Box<CheckOrder>),
    /// End the check of that identifier.
    Stop {
        /// [`CheckOrder::id`].
        id: String,
    },
    /// What this agent does not know. It is refused, and never asked.
    #[serde(other)]
    Unknown,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckOrder {
    /// What the check is known by, never used twice.
    pub id: String,
    /// What must have been executed before it begins.
    #[serde(default)]
    pub at_least: GtidSet,
}

/// What an agent says about checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckAnswer {
    /// [`crate::WIRE_VERSION`] of the agent.
    pub wire: u32,
    /// The check that is under way, or the last one since the agent started.
    #[serde(default)]
    pub job: Option<CheckJob>,
    /// Why the order was not taken up, if it was not.
    #[serde(default)]
    pub refused: Option<String>,
}

/// One check at one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckJob {
    /// [`CheckOrder::id`].
    pub id: String,
    /// Exactly what the server had executed at the moment of which it reads every row. None while that is not known.
    #[serde(default)]
    pub gtids: Option<GtidSet>,
    /// How far it is.
    pub state: CheckState,
}

/// How far a check is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "state")]
pub enum CheckState {
    /// Under way.
    Running {
        /// How many tables were read.
        tables_done: u64,
        /// How many there are; 0 while that is not known.
        tables_total: u64,
        /// How many rows were read.
        rows: u64,
    },
    /// Every row was read.
    Done {
        /// How many tables there are.
        tables_total: u64,
        /// How many rows there are.
        rows: u64,
        /// What they hold, in the order of their names; empty where it was not asked for.
        #[serde(default)]
        tables: Vec<TableSum>,
    },
    /// Given up.
    Failed {
        /// The table that could not be read, if it was one, as in `shop.orders`.
        #[serde(default)]
        table: Option<String>,
        /// Why.
        error: String,
    },
    /// What an agent of a later release says and this operator has no word for.
    #[serde(other)]
    Unknown,
}

/// What one table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableSum {
    /// Its name, as in `shop.orders`.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// A checksum of its columns and of all its rows, whatever their order; hexadecimal.
    pub sum: String,
}

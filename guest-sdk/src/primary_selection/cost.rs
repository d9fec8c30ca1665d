//! How far a candidate is from leading well, as one number that policies can share.
//!
//! It must stay an estimate of work: whether a candidate may lead at all is never a matter of cost.

use super::Candidate;

/// A missing transaction counts for this many unapplied ones: it has to be fetched from another member before it
/// can be executed like the others.
pub const MISSING_WEIGHT: u64 = 2;

/// What a cordoned node costs, in transactions to execute. A cordoned node is usually about to be drained, which
/// means another switchover soon: worth avoiding for about a second of catching up, not for minutes.
pub const CORDONED_COST: u64 = 1_000;

/// What a node that is not Ready costs, in transactions to execute. It may be gone within the minute: worth
/// avoiding unless everybody else is hopelessly behind.
pub const NOT_READY_COST: u64 = 1_000_000;

impl Candidate {
    /// What is left to do before it can open, in transactions to execute.
    pub fn work(&self) -> u64 {
        self.missing_transactions.saturating_mul(MISSING_WEIGHT).saturating_add(self.unapplied_transactions)
    }

    /// What choosing this candidate costs, in transactions to execute. Lower is better.
    pub fn cost(&self) -> u64 {
        let cordoned = if self.node_cordoned { CORDONED_COST } else { 0 };
        let not_ready = if self.node_ready { 0 } else { NOT_READY_COST };
        self.work().saturating_add(cordoned).saturating_add(not_ready)
    }

    /// [`Candidate::cost`] as a score: higher is better.
    pub fn cost_score(&self) -> i64 {
        i64::try_from(self.cost()).map_or(i64::MIN, |cost| -cost)
    }

    /// What the cost is made of, in words.
    pub fn cost_in_words(&self) -> String {
        let mut words = match self.missing_transactions {
            0 => "has every transaction".to_owned(),
            1 => "lacks 1 transaction".to_owned(),
            missing => format!("lacks {missing} transactions"),
        };
        words.push_str(&format!("; {} left to apply", self.unapplied_transactions));
        if !self.node_ready {
            words.push_str("; its node is not Ready");
        }
        if self.node_cordoned {
            words.push_str("; its node is cordoned");
        }
        words
    }
}

//! Picks the replica that can open soonest. The default, and what Grampus falls back to.
//!
//! The one with the least work left leads: transactions to fetch count double, and nodes that are not Ready or
//! are cordoned are avoided where that costs little. It has no settings, and it must never hold while there is
//! anybody to choose: it is what decides when every other policy has failed.

use grampus_policy::primary_selection::{Answer, Question, Scored};

/// Chooses.
pub fn decide(question: &Question) -> Answer {
    question.rank(|candidate| Scored::new(candidate.cost_score(), candidate.cost_in_words())).into_answer()
}

grampus_policy::primary_selection! {
    summary: "picks the replica with the least work left before it can open",
    decide: decide,
}

#[cfg(test)]
mod tests;

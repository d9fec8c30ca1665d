//! Putting candidates in order, with a reason for each.
//!
//! The order must never depend on anything but the question: equals are told apart by ordinal, then by name.

use std::cmp::Reverse;

use super::{Answer, Candidate, Promotion, Question, Ranked, hold};

/// What a policy thinks of one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    /// Higher is better.
    pub score: i64,
    /// Why, in a sentence.
    pub reason: String,
}

impl Scored {
    /// A score with its reason.
    pub fn new(score: i64, reason: impl Into<String>) -> Self {
        Self { score, reason: reason.into() }
    }
}

/// The candidates a policy may choose from, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    ranked: Vec<Ranked>,
    /// Whether the first two differ in nothing but their names.
    tied: bool,
    /// Why there is nobody, where there is nobody.
    nobody: String,
}

impl Question {
    /// Ranks [`Question::choices`] by a score.
    ///
    /// Use [`Question::rank_by`] where the order has several parts that do not fit into one number.
    pub fn rank(&self, score: impl Fn(&Candidate) -> Scored) -> Ranking {
        self.rank_by(|candidate| {
            let Scored { score, reason } = score(candidate);
            (Reverse(score), score, reason)
        })
    }

    /// Ranks [`Question::choices`] by a key, the least first, with a score to show and a reason.
    pub fn rank_by<K: Ord>(&self, view: impl Fn(&Candidate) -> (K, i64, String)) -> Ranking {
        self.rank_these(self.choices().map(|candidate| (view(candidate), candidate)))
    }

    /// Ranks rows of a key, a score and a reason, each with its candidate.
    pub(super) fn rank_these<'a, K: Ord>(
        &self,
        rows: impl Iterator<Item = ((K, i64, String), &'a Candidate)>,
    ) -> Ranking {
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|((left, ..), a), ((right, ..), b)| {
            left.cmp(right).then(a.ordinal.cmp(&b.ordinal)).then_with(|| a.name.cmp(&b.name))
        });
        let tied = matches!(rows.as_slice(), [((first, ..), _), ((second, ..), _), ..] if first == second);
        let ranked = rows
            .into_iter()
            .map(|((_, score, reason), candidate)| Ranked { candidate: candidate.name.clone(), score, reason })
            .collect();
        Ranking { ranked, tied, nobody: self.why_nobody() }
    }

    /// Why there is nobody to choose from, naming each member's first reason.
    fn why_nobody(&self) -> String {
        if self.choices().next().is_some() {
            return String::new();
        }
        let reasons: Vec<String> = self
            .candidates
            .iter()
            .map(|candidate| match candidate.ineligible.first() {
                Some(reason) => format!("{}: {}", candidate.name, reason.message),
                None => format!("{}: is the primary to be replaced", candidate.name),
            })
            .collect();
        if reasons.is_empty() {
            return "there are no members to choose from".to_owned();
        }
        format!("no member is eligible ({})", reasons.join("; "))
    }
}

impl Ranking {
    /// The candidates, best first.
    pub fn ranked(&self) -> &[Ranked] {
        &self.ranked
    }

    /// Promotes the best, with its reason; holds when there is nobody to choose from.
    pub fn into_answer(self) -> Answer {
        let Some(best) = self.ranked.first() else { return hold(self.nobody) };
        let equals = if self.tied { "; lowest ordinal among equals" } else { "" };
        Answer::Promote(Promotion {
            candidate: best.candidate.clone(),
            reason: format!("{}{equals}", best.reason),
            ranking: self.ranked,
        })
    }
}

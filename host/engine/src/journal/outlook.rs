//! What would be decided if the primary were lost, kept for people who ask.

use serde::{Deserialize, Serialize};

use super::{Entry, FORMAT, chosen, outcome};
use crate::decision::Attempt;

/// What would be decided, as it was when that last changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// The version of this value: [`FORMAT`].
    pub format: u32,
    /// Since when it is so, in milliseconds since 1970, UTC.
    pub at_unix_ms: u64,
    /// What would be decided.
    pub supposed: Supposed,
}

/// What would be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supposed {
    /// This, with what the shadows would say.
    Decided(Box<Entry>),
    /// Nothing, for this reason.
    Nobody(String),
}

impl Outlook {
    /// What is so from now on.
    pub fn new(at_unix_ms: u64, supposed: Supposed) -> Self {
        Self { format: FORMAT, at_unix_ms, supposed }
    }

    /// Whether it tells people nothing that the earlier one did not: the same choices by the same modules, for members that
    /// can and cannot be chosen for the same reasons. Lags, which always change, and the words that name them may differ.
    pub fn says_the_same(&self, earlier: &Self) -> bool {
        match (&self.supposed, &earlier.supposed) {
            (Supposed::Decided(now), Supposed::Decided(before)) => gist(now) == gist(before),
            (Supposed::Nobody(now), Supposed::Nobody(before)) => now == before,
            (Supposed::Decided(_), Supposed::Nobody(_)) | (Supposed::Nobody(_), Supposed::Decided(_)) => false,
        }
    }
}

/// What an entry says besides words and numbers.
fn gist(entry: &Entry) -> impl PartialEq + use<> {
    let asked = |attempts: &[Attempt]| {
        let asked = attempts.iter().map(|one| (one.by.clone(), one.settings.clone(), outcome(&one.said)));
        asked.collect::<Vec<_>>()
    };
    let members = entry.question.candidates.iter().map(|candidate| {
        let codes: Vec<_> = candidate.ineligible.iter().map(|reason| reason.code.clone()).collect();
        (candidate.name.clone(), codes)
    });
    (
        chosen(&entry.answer).map(ToOwned::to_owned),
        entry.question.former_primary.clone(),
        asked(&entry.attempts),
        asked(&entry.shadows),
        members.collect::<Vec<_>>(),
    )
}

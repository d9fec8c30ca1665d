//! Asks policies that have no part in a failover, and keeps what they say for people: how to scale, how to tune, when to
//! make backups.
//!
//! A policy that cannot be asked, or fails, is a value like any other. Nothing here may wait for the API server.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::{DecisionKind, Entry, Verdict};
use tokio::time::Instant;

use super::Seats;
use crate::Context;
use crate::cache::ClusterKey;
use crate::journal::Advice;

/// How long what was told stands where the same is wanted and only its refusal is worded otherwise.
const STANDS: Duration = Duration::from_secs(600);

/// A decision whose answers are shown.
pub trait Consulted: DecisionKind {
    /// Who makes it.
    fn seats(context: &Context) -> &Seats<Self>;
    /// What the guard makes of an answer: what would be done, and every wish that would not be fulfilled.
    fn judged(&self, answer: &Self::Answer) -> (Vec<String>, Vec<String>);
    /// For the journal.
    fn advice(entry: Entry<Self>) -> Advice;
}

/// What was last told of the answers to one question.
pub struct Told<Q: DecisionKind> {
    last: Mutex<Option<(Entry<Q>, Instant)>>,
}

impl<Q: DecisionKind> Default for Told<Q> {
    fn default() -> Self {
        Self { last: Mutex::default() }
    }
}

/// What the module of a cluster says, with the guard's verdict. None where there is none that can be asked. It is counted,
/// and written into the journal where it is news.
pub async fn consult<Q: Consulted>(
    context: &Context,
    key: &ClusterKey,
    question: Q,
    told: &Told<Q>,
) -> Option<Entry<Q>> {
    let asked = Q::seats(context).ask(key, question).await?;
    let mut entry = asked.entry;
    let (granted, refused) = entry.question.judged(&entry.answer);
    entry.verdict = verdict(&granted, &refused);
    entry.refused = refused;
    if let Some(change) = entry.breaker {
        context.metrics.policies.breaker(key, change);
    }
    context.metrics.advice(&asked.by, entry.verdict.as_ref(), asked.took_micros, asked.failures);
    told.tell(context, key, entry.clone());
    Some(entry)
}

/// None where nothing is wanted that is not so already.
fn verdict(granted: &[String], refused: &[String]) -> Option<Verdict> {
    match (granted, refused) {
        ([], []) => None,
        ([], refused) => Some(Verdict::Refused(refused.join("; "))),
        (granted, _) => Some(Verdict::Approved(granted.join("; "))),
    }
}

/// Whether somebody wants to hear this who heard the other so long ago.
fn is_news<Q: DecisionKind>(entry: &Entry<Q>, told: &Entry<Q>, since: Duration) -> bool {
    !entry.wants_the_same(told) || (!entry.is_judged_the_same(told) && since >= STANDS)
}

impl<Q: Consulted> Told<Q> {
    fn tell(&self, context: &Context, key: &ClusterKey, entry: Entry<Q>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(told, at)| !is_news(&entry, told, at.elapsed())) {
            return;
        }
        let said = engine::Answered::in_words(&entry.answer);
        tracing::info!(
            cluster = %key, decision = %Q::KIND, by = entry.by.name, said, verdict = ?entry.verdict, refused = ?entry.refused,
            "a policy says something new"
        );
        context.journal.advised(key, Q::advice(entry.clone()));
        *last = Some((entry, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use engine::{DecidedBy, Decision, Limits, Source};
    use topology::scaling::{Answer, Question, Wish};

    use super::*;

    fn entry(readers: Option<u32>, reason: &str) -> Entry<Question> {
        let (_, question) = Question::rehearsals().swap_remove(0);
        let wish = readers.map(|value| Wish { value, reason: reason.to_owned() });
        let answer = Answer { read_replicas: wish, ..Answer::keep(reason) };
        let (granted, refused) = question.judged(&answer);
        let by = DecidedBy {
            name: "reads".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:01".to_owned(),
            source: Source::Configured,
        };
        let decision =
            Decision { answer, by, failures: Vec::new(), fuel: 7, took_micros: 9, attempts: Vec::new(), breaker: None };
        let mut entry = Entry::new("1".to_owned(), question, &decision, &Limits::default());
        (entry.verdict, entry.refused) = (verdict(&granted, &refused), refused);
        entry
    }

    #[test]
    fn only_another_wish_is_news_at_once() {
        let (kept, wished) = (entry(None, "enough"), entry(Some(40), "more"));
        assert!(!is_news(&entry(None, "enough, still"), &kept, STANDS), "words alone are no news");
        assert!(is_news(&wished, &kept, Duration::ZERO));
        let judged_otherwise = Entry { refused: vec!["for another reason".to_owned()], ..wished.clone() };
        assert!(!is_news(&judged_otherwise, &wished, Duration::ZERO));
        assert!(is_news(&judged_otherwise, &wished, STANDS));
    }

    #[test]
    fn what_the_guard_makes_of_wishes_is_told_whole() {
        assert_eq!(entry(None, "enough").verdict, None);
        let granted = ["3 read replicas".to_owned()];
        assert_eq!(verdict(&granted, &["too much".to_owned()]), Some(Verdict::Approved("3 read replicas".to_owned())));
        let refused = ["too much".to_owned(), "too soon".to_owned()];
        assert_eq!(verdict(&[], &refused), Some(Verdict::Refused("too much; too soon".to_owned())));
    }
}

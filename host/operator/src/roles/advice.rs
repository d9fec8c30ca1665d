//! What policies that scale and tune say of a cluster, asked about once a minute and kept for people. Nothing is done
//! about it.
//!
//! It runs in a task of its own beside the passes, and only the operator that acts does it. A cluster whose spec names no
//! such policy costs nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::{DecisionKind, Entry, Verdict};
use objects::api::MysqlCluster;
use tokio::time::Instant;
use topology::assess::Assessment;
use topology::snapshot::Snapshot;
use topology::{scaling, tuning};

use super::verdicts;
use crate::Context;
use crate::cache::ClusterKey;
use crate::journal::Advice;
use crate::policies::Seats;

/// How often they are asked. What was counted over a minute is another after a minute.
const EVERY: Duration = Duration::from_secs(60);

/// How soon again where there was nothing to ask yet: nothing was measured, or nobody led.
const AGAIN: Duration = Duration::from_secs(5);

/// How long what was told stands where the same is wanted and only its refusal is worded otherwise.
const STANDS: Duration = Duration::from_secs(600);

/// What this operator last asked of one cluster.
#[derive(Default)]
pub struct Advisory {
    scaling: Asking<scaling::Question>,
    tuning: Asking<tuning::Question>,
    swaps: u64,
}

/// The same of one decision.
struct Asking<Q: DecisionKind> {
    next: Option<Instant>,
    told: Arc<Told<Q>>,
}

struct Told<Q: DecisionKind> {
    asking: AtomicBool,
    last: Mutex<Option<(Entry<Q>, Instant)>>,
}

impl<Q: DecisionKind> Default for Asking<Q> {
    fn default() -> Self {
        Self { next: None, told: Arc::new(Told { asking: AtomicBool::new(false), last: Mutex::default() }) }
    }
}

impl Advisory {
    /// Asks whoever is due. Nothing is waited for.
    pub fn look(
        &mut self,
        context: &Arc<Context>,
        key: &ClusterKey,
        object: &MysqlCluster,
        snapshot: &Snapshot,
        assessment: &Assessment,
    ) {
        let advisors = context.policies.advisors();
        let leads = *context.leads.borrow();
        if !leads || !(advisors.scaling().has(key) || advisors.tuning().has(key)) {
            return;
        }
        let swaps = advisors.swaps(key);
        if std::mem::replace(&mut self.swaps, swaps) != swaps {
            // Another module, or other settings: nobody wants to wait a minute for what that says.
            (self.scaling.next, self.tuning.next) = (None, None);
        }
        let wanted = || objects::advice::wanted(&object.spec, jiff::Timestamp::now());
        let policy = object.spec.policies.as_ref().and_then(|policies| policies.scaling.as_ref());
        if advisors.scaling().has(key) && self.scaling.is_due() {
            let bounds = policy.map(objects::advice::bounds).unwrap_or_default();
            let question = topology::advice::scaling(snapshot, assessment, &wanted(), bounds);
            self.scaling.ask(context, key, question);
        }
        if advisors.tuning().has(key) && self.tuning.is_due() {
            self.tuning.ask(context, key, topology::advice::tuning(snapshot, assessment, &wanted()));
        }
    }
}

/// A decision whose answers are shown.
trait Shown: DecisionKind {
    /// Who makes it.
    fn seats(context: &Context) -> &Seats<Self>;
    /// What the guard makes of an answer: what would be done, and every wish that would not be fulfilled.
    fn judged(&self, answer: &Self::Answer) -> (Vec<String>, Vec<String>);
    /// For the journal.
    fn advice(entry: Entry<Self>) -> Advice;
}

impl Shown for scaling::Question {
    fn seats(context: &Context) -> &Seats<Self> {
        context.policies.advisors().scaling()
    }

    fn judged(&self, answer: &scaling::Answer) -> (Vec<String>, Vec<String>) {
        verdicts::scaling(&scaling::guard(&self.present, &self.bounds, answer))
    }

    fn advice(entry: Entry<Self>) -> Advice {
        Advice::Scaling(Box::new(entry))
    }
}

impl Shown for tuning::Question {
    fn seats(context: &Context) -> &Seats<Self> {
        context.policies.advisors().tuning()
    }

    fn judged(&self, answer: &tuning::Answer) -> (Vec<String>, Vec<String>) {
        verdicts::tuning(&tuning::guard(&self.present, answer))
    }

    fn advice(entry: Entry<Self>) -> Advice {
        Advice::Tuning(Box::new(entry))
    }
}

impl<Q: Shown> Asking<Q> {
    fn is_due(&self) -> bool {
        self.next.is_none_or(|next| next <= Instant::now())
    }

    fn ask(&mut self, context: &Arc<Context>, key: &ClusterKey, question: Option<Q>) {
        self.next = Some(Instant::now() + if question.is_some() { EVERY } else { AGAIN });
        let Some(question) = question.filter(|_| !self.told.asking.swap(true, Ordering::Relaxed)) else { return };
        let (context, key, told) = (context.clone(), key.clone(), self.told.clone());
        tokio::spawn(async move {
            if let Some(asked) = Q::seats(&context).ask(&key, question).await {
                let mut entry = asked.entry;
                let (granted, refused) = entry.question.judged(&entry.answer);
                entry.verdict = verdict(&granted, &refused);
                entry.refused = refused;
                if let Some(change) = entry.breaker {
                    context.metrics.policies.breaker(&key, change);
                }
                context.metrics.advice(&asked.by, entry.verdict.as_ref(), asked.took_micros, asked.failures);
                told.tell(&context, &key, entry);
            }
            told.asking.store(false, Ordering::Relaxed);
        });
    }
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

impl<Q: Shown> Told<Q> {
    fn tell(&self, context: &Context, key: &ClusterKey, entry: Entry<Q>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(told, at)| !is_news(&entry, told, at.elapsed())) {
            return;
        }
        let said = engine::Answered::in_words(&entry.answer);
        tracing::info!(
            cluster = %key, decision = %Q::KIND, by = entry.by.name, said, verdict = ?entry.verdict, refused = ?entry.refused,
            "a policy that is not followed says something new"
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

//! What is kept of a decision after it was made: the journal's entry, and what the shadows would have said.
//!
//! It comes after the guard and changes nothing about what follows from the answer.

use std::sync::Arc;

use engine::{Attempt, Verdict, disagrees, in_words};

use super::publish::Choice;
use crate::Context;
use crate::cache::ClusterKey;
use crate::policies::Asked;

/// Hands a decision to the journal and, if it is another than the one before, its question to the shadows.
pub(super) fn keep(context: &Arc<Context>, key: &ClusterKey, choice: &mut Choice) {
    let Some(mut entry) = choice.entry.take() else { return };
    entry.verdict = choice.verdict.as_ref().map(|verdict| match verdict {
        Ok(primary) => Verdict::Approved(primary.clone()),
        Err(refusal) => Verdict::Refused(refusal.to_string()),
    });
    let (question, answer) = (entry.question.clone(), entry.answer.clone());
    let Some(id) = context.journal.decided(key, *entry) else { return };
    let (told, of) = (context.clone(), key.clone());
    let done = move |said: Vec<Attempt>| {
        for attempt in &said {
            told.metrics.policies.shadow(&of, attempt, &answer);
            if disagrees(attempt, &answer) {
                let (shadow, would) = (&attempt.by.name, in_words(&attempt.said));
                tracing::info!(cluster = %of, shadow, would, "a shadow would have decided otherwise");
            }
        }
        told.journal.shadowed(&of, id, said);
    };
    if context.policies.ask_shadows(key, question, done) == Asked::Busy {
        context.metrics.policies.shadow_skipped();
    }
}

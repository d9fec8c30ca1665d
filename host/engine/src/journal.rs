//! Decisions as they are kept: everything that is needed to understand one later, and to ask another module the same.
//!
//! These are values for a ring of a bounded size and for people; nothing may decide by them. Lines outlive the program
//! that wrote them, so a field may be added here and none may change its meaning.

mod outlook;
mod ring;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use topology::decision::{Answer, Question};

pub use outlook::{Outlook, Supposed};
pub use ring::{Bounds, Note, Packed, Ring, UnreadableJournal};

use crate::breaker::Change;
use crate::decision::{Attempt, DecidedBy, Decision, FailureKind, Said, Source};
use crate::kind::{Answered, DecisionKind};
use crate::limits::Limits;
use crate::load::Engine;

/// The version of the lines that are written here.
pub const FORMAT: u32 = 1;

/// What bounded a call: with other bounds the same module may fail where it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallLimits {
    /// Units of fuel.
    pub fuel: u64,
    /// Milliseconds of processor time.
    pub call_cpu_ms: u64,
    /// Bytes of memory.
    pub memory_bytes: usize,
    /// Bytes handed to the host at once.
    pub transfer_bytes: usize,
    /// Bytes kept of each text.
    pub text_bytes: usize,
}

impl From<&Limits> for CallLimits {
    fn from(limits: &Limits) -> Self {
        let Limits { fuel, call_cpu_ms, memory_bytes, transfer_bytes, text_bytes, .. } = *limits;
        Self { fuel, call_cpu_ms, memory_bytes, transfer_bytes, text_bytes }
    }
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The guard let it pass: this member was to lead, or this was to be changed.
    Approved(String),
    /// The guard did not, for this reason.
    Refused(String),
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound = "")]
pub struct Entry<Q: DecisionKind = Question> {
    /// The version of this line: [`FORMAT`].
    pub format: u32,
    /// Unlike that of any other entry.
    pub id: String,
    /// When the decision was made, in milliseconds since 1970, UTC.
    pub at_unix_ms: u64,
    /// What kind of decision it was.
    pub decision: String,
    /// The version of everything that fuel depends on.
    pub engine: String,
    /// What bounded each call.
    pub limits: CallLimits,
    /// What was asked, seed and time included.
    pub question: Q,
    /// Everybody who was asked, in order.
    pub attempts: Vec<Attempt<Q::Answer>>,
    /// What was answered in the end.
    pub answer: Q::Answer,
    /// Whose answer that was.
    pub by: DecidedBy,
    /// What the shadows answered, once they have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Attempt<Q::Answer>>,
    /// What the guard made of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Every wish of the answer that the guard did not let pass, with the reason: of decisions that may wish for several
    /// things, of which the verdict tells those that passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// What was done in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Whether the configured module was given up on, or taken back, with this decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Change>,
    /// How many more times the same was asked and answered, with nothing different but the time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u64,
    /// When it was last repeated, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated_until_unix_ms: u64,
    /// Whether something had to be left out, because the journal holds no entry so large.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<Q: DecisionKind> Entry<Q> {
    /// A decision under an identifier that no other has. What the guard and the shadows say is added later.
    pub fn new(id: String, question: Q, decision: &Decision<Q::Answer>, limits: &Limits) -> Self {
        Self {
            format: FORMAT,
            id,
            at_unix_ms: question.asked_unix_ms(),
            decision: Q::KIND.name().to_owned(),
            engine: Engine::version().to_owned(),
            limits: limits.into(),
            question,
            attempts: decision.attempts.clone(),
            answer: decision.answer.clone(),
            by: decision.by.clone(),
            shadows: Vec::new(),
            verdict: None,
            refused: Vec::new(),
            outcome: None,
            breaker: decision.breaker,
            repeated: 0,
            repeated_until_unix_ms: 0,
            cut: false,
        }
    }

    /// Whether another decision says nothing that this one does not: the same question but for the time, with the same
    /// choice by the same modules. Words may differ, because a module may put the time into them.
    pub fn repeats(&self, earlier: &Self) -> bool {
        let approved = |entry: &Self| matches!(entry.verdict, Some(Verdict::Approved(_)));
        let asked = |entry: &Self| {
            let asked = entry.attempts.iter();
            asked.map(|one| (one.by.clone(), one.settings.clone(), outcome(&one.said))).collect::<Vec<_>>()
        };
        self.breaker.is_none()
            && self.answer.wordless() == earlier.answer.wordless()
            && self.by == earlier.by
            && approved(self) == approved(earlier)
            && asked(self) == asked(earlier)
            && self.question.timeless() == earlier.question.timeless()
    }

    /// Whether another answer wished for the same, in whatever words and whatever was asked, by the same module.
    pub fn wants_the_same(&self, earlier: &Self) -> bool {
        self.answer.wordless() == earlier.answer.wordless() && self.by == earlier.by
    }

    /// Whether the guard made the same of both.
    pub fn is_judged_the_same(&self, earlier: &Self) -> bool {
        (&self.verdict, &self.refused) == (&earlier.verdict, &earlier.refused)
    }

    /// The call of exactly this module with these settings, beside or in the decision.
    pub fn attempt_of(&self, digest: &str, settings: &str) -> Option<&Attempt<Q::Answer>> {
        self.attempts.iter().chain(&self.shadows).find(|one| one.by.digest == digest && one.settings == settings)
    }

    /// Why nobody can tell what would be answered again, if that is so.
    pub fn not_replayable(&self) -> Option<String> {
        self.attempts.iter().find_map(not_replayable)
    }
}

/// Why asking again may give another answer, where it may.
pub(crate) fn not_replayable<A>(attempt: &Attempt<A>) -> Option<String> {
    let name = &attempt.by.name;
    match &attempt.said {
        Said::Failed(failure) if failure.kind == FailureKind::Timeout => {
            Some(format!("{name} was cut off by the clock, which no count of its work tells"))
        }
        Said::Failed(failure) if failure.kind == FailureKind::Sandbox => {
            Some(format!("{name} failed by a fault of the sandbox: {failure}"))
        }
        Said::Failed(_) => None,
        Said::Answered(_) if attempt.by.source == Source::Native => {
            Some("the sandbox did not work, so the default decided as native code".to_owned())
        }
        Said::Answered(_) => None,
    }
}

/// The member that an answer names.
pub fn chosen(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Promote { candidate, .. } => Some(candidate),
        Answer::Hold { .. } => None,
    }
}

fn outcome<A: Answered>(said: &Said<A>) -> Result<A, FailureKind> {
    match said {
        Said::Answered(answer) => Ok(answer.wordless()),
        Said::Failed(failure) => Err(failure.kind),
    }
}

/// Whether a shadow would have decided otherwise. One that failed has not said anything else.
pub fn disagrees<A: Answered>(shadow: &Attempt<A>, answer: &A) -> bool {
    match &shadow.said {
        Said::Answered(said) => said.wordless() != answer.wordless(),
        Said::Failed(_) => false,
    }
}

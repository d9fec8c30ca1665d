//! Which replica shall lead. No answer may leave that names a member its question does not allow.

use std::sync::Arc;

use topology::decision::{Activity, Answer, CatchUp, Question, Ranked};
use wasmtime::Store;

use super::{Answered, DecisionKind, Kind, another_decision};
use crate::abi::Ready;
use crate::call::{Context, clean};
use crate::decision::{DecidedBy, Failure, FailureKind};
use crate::error::LoadError;
use crate::load::Engine;
use crate::module::Binding;
use crate::{dry_run, embedded};

impl DecisionKind for Question {
    type Answer = Answer;

    const KIND: Kind = Kind::PrimarySelection;
    const NATIVE_SUMMARY: &str = "the embedded default, without a sandbox";

    fn cluster(&self) -> (&str, &str) {
        (&self.namespace, &self.cluster)
    }

    fn asked_unix_ms(&self) -> u64 {
        self.now_unix_ms
    }

    fn occasion(&self) -> String {
        format!("epoch {}", self.epoch)
    }

    fn timeless(&self) -> Self {
        let mut same = Self { now_unix_ms: 0, without_primary_ms: 0, failover_window_s: None, ..self.clone() };
        for candidate in &mut same.candidates {
            let CatchUp { missing_bytes, unapplied_bytes, .. } = candidate.catch_up;
            candidate.catch_up = CatchUp { missing_bytes, unapplied_bytes, ..CatchUp::default() };
            candidate.capacity.buffer_pool_warm_permille = None;
            candidate.capacity.volume_free_bytes = None;
            candidate.activity = Activity { since_led_s: None, ..candidate.activity.clone() };
        }
        same
    }

    fn rehearsals() -> Vec<(&'static str, Self)> {
        dry_run::built_in_questions()
    }

    fn decide_natively(&self) -> Answer {
        embedded::decide_natively(self)
    }

    fn native() -> DecidedBy {
        embedded::native()
    }

    fn embedded(engine: &Engine) -> Result<Option<Arc<Binding>>, LoadError> {
        engine.embedded_binding().map(Some)
    }

    fn ask(&self, ready: &Ready, store: &mut Store<Context>, settings: &str) -> wasmtime::Result<Answer> {
        match ready {
            Ready::PrimarySelectionV0_1(ready) => ready.decide(store, self, settings),
            Ready::PrimarySelectionV0_2(ready) => ready.decide(store, self, settings),
            Ready::ScalingV0_1(_) | Ready::ConfigTuningV0_1(_) | Ready::BackupWindowV0_1(_) => Err(another_decision()),
        }
    }

    fn check(&self, answer: Answer, text_bytes: usize) -> Result<Answer, Failure> {
        let (candidate, reason, ranking) = match answer {
            Answer::Hold { reason } => return Ok(Answer::Hold { reason: clean(&reason, text_bytes) }),
            Answer::Promote { candidate, reason, ranking } => (candidate, reason, ranking),
        };
        let Some(chosen) = self.candidates.iter().find(|known| known.name == candidate) else {
            let names: Vec<&str> = self.candidates.iter().map(|known| known.name.as_str()).collect();
            let message = format!("it chose `{}`, which is none of: {}", clean(&candidate, 100), names.join(", "));
            return Err(Failure { kind: FailureKind::UnknownCandidate, message });
        };
        if let Some(first) = chosen.ineligible.first() {
            let message = format!("it chose `{candidate}`, which may not lead: {}", first.message);
            return Err(Failure { kind: FailureKind::IneligibleCandidate, message });
        }
        // The ranking only explains. What it says about nobody, or twice, explains nothing.
        let mut shown: Vec<Ranked> = Vec::new();
        for mut row in ranking {
            let known = self.candidates.iter().any(|candidate| candidate.name == row.name);
            if known && !shown.iter().any(|other| other.name == row.name) {
                row.reason = clean(&row.reason, text_bytes);
                shown.push(row);
            }
        }
        Ok(Answer::Promote { candidate, reason: clean(&reason, text_bytes), ranking: shown })
    }
}

impl Answered for Answer {
    fn wordless(&self) -> Self {
        match self {
            Self::Promote { candidate, .. } => {
                Self::Promote { candidate: candidate.clone(), reason: String::new(), ranking: Vec::new() }
            }
            Self::Hold { .. } => Self::Hold { reason: String::new() },
        }
    }

    fn holds(&self) -> bool {
        matches!(self, Self::Hold { .. })
    }

    fn in_words(&self) -> String {
        match self {
            Self::Promote { candidate, reason, .. } => format!("{candidate}: {reason}"),
            Self::Hold { reason } => format!("nobody: {reason}"),
        }
    }
}

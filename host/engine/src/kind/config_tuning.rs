//! How mysqld is set. The default keeps what there is.
//!
//! Sizing by the container's limits happens without a policy, when a cluster is made. A default that went further
//! would change settings that somebody measured, at an upgrade or because a module failed; keeping them costs nothing.

use std::sync::Arc;

use topology::measured::Load;
use topology::tuning::{Activity, Answer, Change, Question, parse, tunable};
use wasmtime::Store;

use super::{Answered, DecisionKind, Kind, another_decision, keep};
use crate::abi::Ready;
use crate::call::{Context, clean};
use crate::decision::{DecidedBy, Failure, FailureKind};
use crate::dry_run;
use crate::error::LoadError;
use crate::load::Engine;
use crate::module::Binding;

/// Bytes kept of a value: more than any number has digits.
const VALUE_BYTES: usize = 32;

impl DecisionKind for Question {
    type Answer = Answer;

    const KIND: Kind = Kind::ConfigTuning;
    const NATIVE_SUMMARY: &str = "keeps what there is";

    fn cluster(&self) -> (&str, &str) {
        (&self.namespace, &self.cluster)
    }

    fn asked_unix_ms(&self) -> u64 {
        self.now_unix_ms
    }

    fn occasion(&self) -> String {
        format!("with {} settings", self.present.settings.len())
    }

    /// A load is another one with every look. What is asked again while nothing comes of it is not news.
    fn timeless(&self) -> Self {
        let mut same = Self { now_unix_ms: 0, load: Load::default(), activity: Activity::default(), ..self.clone() };
        same.present.changed_s = None;
        same
    }

    fn rehearsals() -> Vec<(&'static str, Self)> {
        dry_run::tuning::questions()
    }

    fn decide_natively(&self) -> Answer {
        Answer::keep("no policy decides here, so every setting stays as it is")
    }

    fn native() -> DecidedBy {
        keep()
    }

    fn embedded(_: &Engine) -> Result<Option<Arc<Binding<Self>>>, LoadError> {
        Ok(None)
    }

    fn ask(&self, ready: &Ready, store: &mut Store<Context>, settings: &str) -> wasmtime::Result<Answer> {
        match ready {
            Ready::ConfigTuningV0_1(ready) => ready.decide(store, self, settings),
            Ready::PrimarySelectionV0_1(_)
            | Ready::PrimarySelectionV0_2(_)
            | Ready::ScalingV0_1(_)
            | Ready::BackupWindowV0_1(_) => Err(another_decision()),
        }
    }

    fn check(&self, answer: Answer, text_bytes: usize) -> Result<Answer, Failure> {
        for Change { name, value, .. } in &answer.changes {
            let forbidden = |why: &str| {
                let message = format!("it wants {} = {}, {why}", clean(name, 100), clean(value, VALUE_BYTES));
                Err(Failure { kind: FailureKind::ForbiddenWish, message })
            };
            match tunable(name) {
                None => return forbidden("which no policy may set"),
                Some(tunable) if parse(tunable.kind, value).is_none() => return forbidden("which is no value of it"),
                Some(_) => {}
            }
        }
        let mut changes: Vec<Change> = Vec::new();
        for change in answer.changes {
            // The first wish for a setting is the one that is meant.
            if !changes.iter().any(|known| known.name == change.name) {
                let reason = clean(&change.reason, text_bytes);
                changes.push(Change { reason, ..change });
            }
        }
        Ok(Answer { reason: clean(&answer.reason, text_bytes), changes })
    }
}

impl Answered for Answer {
    fn wordless(&self) -> Self {
        let silent = |change: &Change| Change { reason: String::new(), ..change.clone() };
        Self { reason: String::new(), changes: self.changes.iter().map(silent).collect() }
    }

    fn in_words(&self) -> String {
        let changes = self.changes.iter().map(|Change { name, value, reason }| format!("{name} = {value} ({reason})"));
        let changes: Vec<String> = changes.collect();
        if changes.is_empty() {
            format!("keep: {}", self.reason)
        } else {
            format!("{}: {}", changes.join(", "), self.reason)
        }
    }
}

//! Whether a backup that is due may begin now. The default lets it.

use std::sync::Arc;

use topology::backup_window::{Answer, Question};
use topology::measured::Load;
use wasmtime::Store;

use super::{Answered, DecisionKind, Kind, another_decision};
use crate::abi::Ready;
use crate::call::{Context, clean};
use crate::decision::{DecidedBy, Failure, Source};
use crate::dry_run;
use crate::error::LoadError;
use crate::load::Engine;
use crate::module::Binding;

impl DecisionKind for Question {
    type Answer = Answer;

    const KIND: Kind = Kind::BackupWindow;
    const NATIVE_SUMMARY: &str = "lets every backup begin when it is due";

    fn cluster(&self) -> (&str, &str) {
        (&self.namespace, &self.cluster)
    }

    fn asked_unix_ms(&self) -> u64 {
        self.now_unix_ms
    }

    fn occasion(&self) -> String {
        let waited_s = self.now_unix_ms.saturating_sub(self.due_unix_ms) / 1_000;
        format!("of a backup that has been due for {waited_s} s")
    }

    /// What is asked again while the same backup waits is not news.
    fn timeless(&self) -> Self {
        let mut same = Self { now_unix_ms: 0, ..self.clone() };
        same.local.minute_of_day = 0;
        same.servers.iter_mut().for_each(|server| server.load = Load::default());
        same
    }

    fn rehearsals() -> Vec<(&'static str, Self)> {
        dry_run::window::questions()
    }

    fn decide_natively(&self) -> Answer {
        Answer::Begin { reason: "no policy decides here, so it begins when it is due".to_owned() }
    }

    fn native() -> DecidedBy {
        DecidedBy {
            name: "when-due".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: "native".to_owned(),
            source: Source::Default,
        }
    }

    fn embedded(_: &Engine) -> Result<Option<Arc<Binding<Self>>>, LoadError> {
        Ok(None)
    }

    fn ask(&self, ready: &Ready, store: &mut Store<Context>, settings: &str) -> wasmtime::Result<Answer> {
        match ready {
            Ready::BackupWindowV0_1(ready) => ready.decide(store, self, settings),
            Ready::PrimarySelectionV0_1(_)
            | Ready::PrimarySelectionV0_2(_)
            | Ready::ScalingV0_1(_)
            | Ready::ConfigTuningV0_1(_) => Err(another_decision()),
        }
    }

    fn check(&self, answer: Answer, text_bytes: usize) -> Result<Answer, Failure> {
        Ok(match answer {
            Answer::Begin { reason } => Answer::Begin { reason: clean(&reason, text_bytes) },
            Answer::Postpone { reason } => Answer::Postpone { reason: clean(&reason, text_bytes) },
        })
    }
}

impl Answered for Answer {
    fn wordless(&self) -> Self {
        match self {
            Self::Begin { .. } => Self::Begin { reason: String::new() },
            Self::Postpone { .. } => Self::Postpone { reason: String::new() },
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Begin { reason } => format!("begin: {reason}"),
            Self::Postpone { reason } => format!("postpone: {reason}"),
        }
    }
}

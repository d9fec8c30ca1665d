//! How many read replicas there are, and how large servers and volumes. The default keeps what there is.

use std::sync::Arc;

use topology::measured::{Load, Resources};
use topology::scaling::{Answer, Question, Wish};
use wasmtime::Store;

use super::{Answered, DecisionKind, Kind, another_decision, keep};
use crate::abi::Ready;
use crate::call::{Context, clean};
use crate::decision::{DecidedBy, Failure, FailureKind};
use crate::dry_run;
use crate::error::LoadError;
use crate::load::Engine;
use crate::module::Binding;

impl DecisionKind for Question {
    type Answer = Answer;

    const KIND: Kind = Kind::Scaling;
    const NATIVE_SUMMARY: &str = "keeps what there is";

    fn cluster(&self) -> (&str, &str) {
        (&self.namespace, &self.cluster)
    }

    fn asked_unix_ms(&self) -> u64 {
        self.now_unix_ms
    }

    fn occasion(&self) -> String {
        format!("with {} members and {} read replicas", self.present.members, self.present.read_replicas)
    }

    /// A load is another one with every look. What is asked again while nothing comes of it is not news.
    fn timeless(&self) -> Self {
        let mut same = Self { now_unix_ms: 0, ..self.clone() };
        let present = &mut same.present;
        (present.read_replicas_changed_s, present.resources_changed_s, present.volume_changed_s) = (None, None, None);
        same.servers.iter_mut().for_each(|server| server.load = Load::default());
        same
    }

    fn rehearsals() -> Vec<(&'static str, Self)> {
        dry_run::scaling::questions()
    }

    fn decide_natively(&self) -> Answer {
        Answer::keep("no policy decides here, so everything stays as it is")
    }

    fn native() -> DecidedBy {
        keep()
    }

    fn embedded(_: &Engine) -> Result<Option<Arc<Binding<Self>>>, LoadError> {
        Ok(None)
    }

    fn ask(&self, ready: &Ready, store: &mut Store<Context>, settings: &str) -> wasmtime::Result<Answer> {
        match ready {
            Ready::ScalingV0_1(ready) => ready.decide(store, self, settings),
            Ready::PrimarySelectionV0_1(_)
            | Ready::PrimarySelectionV0_2(_)
            | Ready::ConfigTuningV0_1(_)
            | Ready::BackupWindowV0_1(_) => Err(another_decision()),
        }
    }

    fn check(&self, answer: Answer, text_bytes: usize) -> Result<Answer, Failure> {
        if let Some(wish) = answer.volume_bytes.as_ref().filter(|wish| wish.value < self.present.volume_bytes) {
            let message =
                format!("it wants volumes of {} bytes where they have {}", wish.value, self.present.volume_bytes);
            return Err(Failure { kind: FailureKind::ForbiddenWish, message });
        }
        Ok(Answer {
            reason: clean(&answer.reason, text_bytes),
            read_replicas: answer.read_replicas.map(|wish| shown(wish, text_bytes)),
            resources: answer.resources.map(|wish| shown(wish, text_bytes)),
            volume_bytes: answer.volume_bytes.map(|wish| shown(wish, text_bytes)),
        })
    }
}

fn shown<T>(Wish { value, reason }: Wish<T>, text_bytes: usize) -> Wish<T> {
    Wish { value, reason: clean(&reason, text_bytes) }
}

impl Answered for Answer {
    fn wordless(&self) -> Self {
        fn silent<T: Copy>(wish: &Option<Wish<T>>) -> Option<Wish<T>> {
            wish.as_ref().map(|wish| Wish { value: wish.value, reason: String::new() })
        }
        Self {
            reason: String::new(),
            read_replicas: silent(&self.read_replicas),
            resources: silent(&self.resources),
            volume_bytes: silent(&self.volume_bytes),
        }
    }

    fn in_words(&self) -> String {
        let mut wishes = Vec::new();
        if let Some(Wish { value, reason }) = &self.read_replicas {
            wishes.push(format!("{value} read replicas ({reason})"));
        }
        if let Some(Wish { value: Resources { cpu_millicores, memory_bytes }, reason }) = &self.resources {
            let cpu = cpu_millicores.map(|cpu| format!("{cpu} millicores"));
            let memory = memory_bytes.map(|memory| format!("{memory} bytes of memory"));
            let both: Vec<String> = cpu.into_iter().chain(memory).collect();
            wishes.push(format!("{} ({reason})", both.join(", ")));
        }
        if let Some(Wish { value, reason }) = &self.volume_bytes {
            wishes.push(format!("volumes of {value} bytes ({reason})"));
        }
        if wishes.is_empty() {
            format!("keep: {}", self.reason)
        } else {
            format!("{}: {}", wishes.join(", "), self.reason)
        }
    }
}

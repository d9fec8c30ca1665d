//! What is expected of a policy that tunes.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use topology::tuning;

use super::{Expected, words};
use crate::policy::test::scenario::{Refused, Texts};

/// What a policy that tunes shall say: `keep`, `refused`, or `changes` in their order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TuningExpect {
    keep: Option<Texts>,
    refused: Option<Refused>,
    /// Settings with the values they shall have.
    #[serde(default)]
    changes: Map<String, Value>,
    #[serde(default)]
    reason: Texts,
    guard: Option<Texts>,
}

impl Expected for TuningExpect {
    type Question = tuning::Question;

    fn ordinary() -> Value {
        json!({
            "namespace": "default", "cluster": "shop", "nowUnixMs": 1_700_000_000_000_u64, "seed": 42,
            "version": "8.4.6",
            "present": {
                "resources": {"cpuMillicores": 4_000, "memoryBytes": 8_u64 << 30}, "volumeBytes": 100_u64 << 30,
                "agentBytes": 64 << 20, "settings": [], "cooldownS": 3_600,
            },
            "load": {"windowS": 3_600}, "activity": {}, "facts": [],
        })
    }

    fn entry(list: &str) -> Value {
        match list {
            "settings" => json!({"byPerson": false}),
            _ => Value::Object(Map::new()),
        }
    }

    fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    fn keep(&self) -> Option<&Texts> {
        self.keep.as_ref()
    }

    fn reason(&self) -> &Texts {
        &self.reason
    }

    fn guard(&self) -> Option<&Texts> {
        self.guard.as_ref()
    }

    fn wanted(&self) -> String {
        let changes = self.changes.iter().map(|(name, value)| match value {
            Value::String(text) => format!("{name} = {text}"),
            other => format!("{name} = {other}"),
        });
        changes.collect::<Vec<_>>().join(", ")
    }

    fn found(answer: &tuning::Answer) -> String {
        let changes = answer.changes.iter().map(|change| format!("{} = {}", change.name, change.value));
        changes.collect::<Vec<_>>().join(", ")
    }

    /// That one change comes after another is no fault of the answer.
    fn refusals(question: &tuning::Question, answer: &tuning::Answer) -> Vec<String> {
        let refused = tuning::guard(&question.present, answer).refused;
        words(refused.into_iter().filter(|one| !matches!(one.because, tuning::Because::OneAtATime { .. })).collect())
    }
}

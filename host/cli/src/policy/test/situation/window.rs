//! What is expected of a policy that says when backups are made.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use topology::backup_window;

use super::Expected;
use crate::policy::test::scenario::{Refused, Texts};

/// What a policy shall say about a backup that is due: `begin`, `postpone` or `refused`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WindowExpect {
    begin: Option<Texts>,
    postpone: Option<Texts>,
    refused: Option<Refused>,
    guard: Option<Texts>,
}

/// No text has to be there.
static NONE: Texts = Texts(Vec::new());

impl Expected for WindowExpect {
    type Question = backup_window::Question;

    const NOTHING: &str = "begin";

    fn ordinary() -> Value {
        let now = 1_700_445_600_000_u64;
        json!({
            "namespace": "default", "cluster": "shop", "nowUnixMs": now, "seed": 42,
            "local": {"year": 2023, "month": 11, "day": 20, "weekday": 1, "minuteOfDay": 120},
            "dueUnixMs": now, "latestUnixMs": now + 21_600_000,
            "last": {"endedUnixMs": now - 86_400_000, "tookS": 600, "bytes": 10_u64 << 30},
            "servers": [], "facts": [],
        })
    }

    fn entry(list: &str) -> Value {
        match list {
            "servers" => json!({"role": "replica", "load": {"windowS": 60}}),
            _ => Value::Object(Map::new()),
        }
    }

    fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    fn keep(&self) -> Option<&Texts> {
        self.begin.as_ref()
    }

    fn reason(&self) -> &Texts {
        self.postpone.as_ref().unwrap_or(&NONE)
    }

    fn guard(&self) -> Option<&Texts> {
        self.guard.as_ref()
    }

    fn wanted(&self) -> String {
        self.postpone.as_ref().map(|_| "postpone".to_owned()).unwrap_or_default()
    }

    fn found(answer: &backup_window::Answer) -> String {
        match answer {
            backup_window::Answer::Begin { .. } => String::new(),
            backup_window::Answer::Postpone { .. } => "postpone".to_owned(),
        }
    }

    fn refusals(question: &backup_window::Question, answer: &backup_window::Answer) -> Vec<String> {
        match backup_window::guard(question, answer) {
            backup_window::Verdict::Begins | backup_window::Verdict::Waits => Vec::new(),
            verdict @ backup_window::Verdict::BeginsAnyway => vec![verdict.to_string()],
        }
    }
}

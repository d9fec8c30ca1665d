//! What is expected of a policy that scales.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use topology::measured::Resources;
use topology::scaling;

use super::{Expected, exactly, words};
use crate::policy::test::scenario::{Refused, Texts};

/// What a policy that scales shall say: `keep`, `refused`, or what is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScalingExpect {
    keep: Option<Texts>,
    refused: Option<Refused>,
    read_replicas: Option<u32>,
    #[serde(default, deserialize_with = "exactly")]
    resources: Option<Resources>,
    volume_bytes: Option<u64>,
    #[serde(default)]
    reason: Texts,
    guard: Option<Texts>,
}

impl Expected for ScalingExpect {
    type Question = scaling::Question;

    fn ordinary() -> Value {
        const GIB: u64 = 1 << 30;
        json!({
            "namespace": "default", "cluster": "shop", "nowUnixMs": 1_700_000_000_000_u64, "seed": 42,
            "present": {
                "members": 3, "acks": 1, "readReplicas": 0, "volumeBytes": 20 * GIB,
                "resources": {"cpuMillicores": 2_000, "memoryBytes": 4 * GIB},
            },
            "bounds": {
                "readReplicas": {"least": 0, "most": 8}, "readReplicasStep": 1,
                "cpuMillicores": {"least": 500, "most": 8_000}, "memoryBytes": {"least": GIB, "most": 32 * GIB},
                "volumeMostBytes": 200 * GIB, "cooldownS": 600,
            },
            "servers": [], "facts": [],
        })
    }

    fn entry(list: &str) -> Value {
        match list {
            "servers" => json!({"role": "read-replica", "zone": "a", "serving": true, "load": {"windowS": 300}}),
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
        in_words(self.read_replicas, self.resources, self.volume_bytes)
    }

    fn found(answer: &scaling::Answer) -> String {
        let readers = answer.read_replicas.as_ref().map(|wish| wish.value);
        let resources = answer.resources.as_ref().map(|wish| wish.value);
        in_words(readers, resources, answer.volume_bytes.as_ref().map(|wish| wish.value))
    }

    fn refusals(question: &scaling::Question, answer: &scaling::Answer) -> Vec<String> {
        words(scaling::guard(&question.present, &question.bounds, answer).refused)
    }
}

fn in_words(readers: Option<u32>, resources: Option<Resources>, volume: Option<u64>) -> String {
    let parts = [
        readers.map(|count| format!("readReplicas: {count}")),
        resources.and_then(|it| it.cpu_millicores).map(|cpu| format!("cpuMillicores: {cpu}")),
        resources.and_then(|it| it.memory_bytes).map(|memory| format!("memoryBytes: {memory}")),
        volume.map(|bytes| format!("volumeBytes: {bytes}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

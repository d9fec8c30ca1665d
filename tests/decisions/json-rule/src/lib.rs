//! The rule of `most-advanced` with JSON in and JSON out, to measure what typed records save.
//!
//! The question comes as the settings, which the contract hands over as JSON, and the answer goes out as the reason of
//! a hold. So the sandbox around it is the very one that policies run in. This must never be shipped.

use std::cell::RefCell;

use grampus_policy::primary_selection::{self as sdk, Answer, Scored, hold};
use serde::{Deserialize, Serialize};

/// The question, to be taken out once.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Settings(RefCell<Question>);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Question {
    namespace: String,
    cluster: String,
    epoch: u64,
    trigger: Trigger,
    now_unix_ms: u64,
    seed: u64,
    without_primary_ms: u64,
    former_primary: Option<String>,
    acks: u32,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Trigger {
    #[default]
    Failover,
    Switchover,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    name: String,
    ordinal: u32,
    zone: String,
    node: String,
    labels: Vec<(String, String)>,
    ineligible: Vec<Ineligible>,
    missing_transactions: u64,
    unapplied_transactions: u64,
    node_ready: bool,
    node_cordoned: bool,
    version: String,
    facts: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
struct Ineligible {
    code: String,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
enum Told {
    Promote { candidate: String, reason: String, ranking: Vec<Ranked> },
    Hold { reason: String },
}

#[derive(Serialize)]
struct Ranked {
    name: String,
    score: i64,
    reason: String,
}

/// Answers the question in the settings, whatever the one beside them is.
pub fn decide(_: &sdk::Question, settings: &Settings) -> Answer {
    let question = typed(settings.0.take());
    let answer = question.rank(|one| Scored::new(one.cost_score(), one.cost_in_words())).into_answer();
    hold(serde_json::to_string(&told(answer)).unwrap_or_default())
}

fn typed(question: Question) -> sdk::Question {
    sdk::Question {
        namespace: question.namespace,
        cluster: question.cluster,
        epoch: question.epoch,
        trigger: match question.trigger {
            Trigger::Failover => sdk::Trigger::Failover,
            Trigger::Switchover => sdk::Trigger::Switchover,
        },
        now_unix_ms: question.now_unix_ms,
        seed: question.seed,
        without_primary_ms: question.without_primary_ms,
        former_primary: question.former_primary,
        acks: question.acks,
        candidates: question.candidates.into_iter().map(candidate).collect(),
        // What follows is not known in the bench, and what is not known is not in the JSON.
        failover_window_s: None,
        failovers_in_window: None,
        facts: Vec::new(),
    }
}

fn candidate(candidate: Candidate) -> sdk::Candidate {
    sdk::Candidate {
        name: candidate.name,
        ordinal: candidate.ordinal,
        zone: candidate.zone,
        node: candidate.node,
        labels: candidate.labels,
        ineligible: candidate
            .ineligible
            .into_iter()
            .map(|Ineligible { code, message }| sdk::Ineligible { code, message })
            .collect(),
        missing_transactions: candidate.missing_transactions,
        unapplied_transactions: candidate.unapplied_transactions,
        node_ready: candidate.node_ready,
        node_cordoned: candidate.node_cordoned,
        node_pressure: sdk::contract::NodePressure { memory: None, disk: None, pid: None },
        version: candidate.version,
        catch_up: sdk::contract::CatchUp {
            missing_bytes: None,
            unapplied_bytes: None,
            received_transactions_per_second: None,
            applied_transactions_per_second: None,
            predicted_drain_ms: None,
            replication_lag_s: None,
        },
        capacity: sdk::contract::Capacity {
            cpu_limit_millicores: None,
            memory_limit_bytes: None,
            cpu_to_primary_permille: None,
            memory_to_primary_permille: None,
            buffer_pool_bytes: None,
            buffer_pool_warm_permille: None,
            volume_bytes: None,
            volume_free_bytes: None,
            storage_class: None,
        },
        activity: sdk::contract::Activity {
            ackers_afterwards: None,
            copying: None,
            backing_up: None,
            since_led_s: None,
            failovers_in_window: None,
        },
        facts: candidate.facts,
    }
}

fn told(answer: Answer) -> Told {
    match answer {
        Answer::Promote(sdk::contract::Promotion { candidate, reason, ranking }) => Told::Promote {
            candidate,
            reason,
            ranking: ranking
                .into_iter()
                .map(|row| Ranked { name: row.candidate, score: row.score, reason: row.reason })
                .collect(),
        },
        Answer::Hold(hold) => Told::Hold { reason: hold.reason },
    }
}

grampus_policy::primary_selection! {
    summary: "the default's rule over JSON, for the bench",
    settings_schema: r#"{"type": "object"}"#,
    settings: Settings,
    check: |_| Ok(()),
    decide: decide,
}

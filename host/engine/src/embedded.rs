//! The policy inside this program: `most-advanced`, as a component and, for the worst case, as native code.
//!
//! The component was built from the source in this tree and is kept beside it, so that a plain `cargo build`
//! needs no WebAssembly toolchain. A test rebuilds it and compares; `cargo run -p engine --features build
//! --example embed` brings it up to date. The native path must never be taken while the sandbox works.

use grampus_policy::primary_selection as sdk;
use grampus_policy::primary_selection::contract;
use topology::decision::{Answer, Candidate, Question, Ranked, Trigger};

use crate::decision::{DecidedBy, Source};

/// The component, packed with zstd.
pub const MODULE: &[u8] = include_bytes!("../embedded/most-advanced.wasm.zst");

/// Who decides where not even the sandbox works.
pub fn native() -> DecidedBy {
    DecidedBy {
        name: "most-advanced".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: "native".to_owned(),
        source: Source::Native,
    }
}

/// The default's rule without the sandbox. Total: it allocates and compares, nothing else.
pub fn decide_natively(question: &Question) -> Answer {
    match most_advanced::decide(&translate(question)) {
        sdk::Answer::Promote(promotion) => Answer::Promote {
            candidate: promotion.candidate,
            reason: promotion.reason,
            ranking: promotion
                .ranking
                .into_iter()
                .map(|row| Ranked { name: row.candidate, score: row.score, reason: row.reason })
                .collect(),
        },
        sdk::Answer::Hold(hold) => Answer::Hold { reason: hold.reason },
    }
}

fn translate(question: &Question) -> sdk::Question {
    sdk::Question {
        namespace: question.namespace.clone(),
        cluster: question.cluster.clone(),
        epoch: question.epoch,
        trigger: match question.trigger {
            Trigger::Failover => sdk::Trigger::Failover,
            Trigger::Switchover => sdk::Trigger::Switchover,
        },
        now_unix_ms: question.now_unix_ms,
        seed: question.seed,
        without_primary_ms: question.without_primary_ms,
        former_primary: question.former_primary.clone(),
        acks: question.acks,
        failover_window_s: question.failover_window_s,
        failovers_in_window: question.failovers_in_window,
        candidates: question.candidates.iter().map(candidate).collect(),
        facts: question.facts.clone(),
    }
}

fn candidate(candidate: &Candidate) -> sdk::Candidate {
    sdk::Candidate {
        name: candidate.name.clone(),
        ordinal: candidate.ordinal,
        zone: candidate.zone.clone(),
        node: candidate.node.clone(),
        labels: candidate.labels.clone(),
        ineligible: candidate
            .ineligible
            .iter()
            .map(|reason| sdk::Ineligible { code: reason.code.clone(), message: reason.message.clone() })
            .collect(),
        missing_transactions: candidate.missing_transactions,
        unapplied_transactions: candidate.unapplied_transactions,
        node_ready: candidate.node_ready,
        node_cordoned: candidate.node_cordoned,
        node_pressure: same!(NodePressure: &candidate.node_pressure => { memory, disk, pid }),
        version: candidate.version.clone(),
        catch_up: same!(CatchUp: &candidate.catch_up => {
            missing_bytes, unapplied_bytes, received_transactions_per_second, applied_transactions_per_second,
            predicted_drain_ms, replication_lag_s,
        }),
        capacity: same!(Capacity: candidate.capacity.clone() => {
            cpu_limit_millicores, memory_limit_bytes, cpu_to_primary_permille, memory_to_primary_permille,
            buffer_pool_bytes, buffer_pool_warm_permille, volume_bytes, volume_free_bytes, storage_class,
        }),
        activity: same!(Activity: &candidate.activity => {
            ackers_afterwards, copying, backing_up, since_led_s, failovers_in_window,
        }),
        facts: candidate.facts.clone(),
    }
}

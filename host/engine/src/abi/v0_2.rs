//! `grampus:primary-selection@0.2.0` in the host's own words.
//!
//! Only translation happens here. Nothing may be judged or left out.

use topology::decision::{Answer, Candidate, Capacity, Question, Ranked, Trigger};
use wasmtime::Store;
use wasmtime::component::Component;

use super::pairs;
use crate::call::Context;
use crate::module::Description;

#[allow(missing_docs, clippy::all, reason = "generated from the contract, which is documented")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/released/log@0.1.0.wit", "../../wit/released/primary-selection@0.2.0.wit"],
        world: "grampus:primary-selection/primary-selection@0.2.0",
        ownership: Borrowing { duplicate_if_necessary: false },
        with: { "grampus:log/log@0.1.0": crate::abi::log::log },
    });
}

use bindings::exports::grampus::primary_selection::policy as contract;

contract!(PrimarySelectionPre, grampus_primary_selection_policy);

impl Ready {
    /// Asks it.
    pub fn decide(&self, store: &mut Store<Context>, question: &Question, json: &str) -> wasmtime::Result<Answer> {
        let instance = self.0.instantiate(&mut *store)?;
        let parts: Vec<Parts<'_>> = question.candidates.iter().map(Parts::of).collect();
        let candidates: Vec<_> = question.candidates.iter().zip(&parts).map(|(one, parts)| parts.join(one)).collect();
        let asked = contract::Question {
            namespace: &question.namespace,
            cluster: &question.cluster,
            epoch: question.epoch,
            trigger: match question.trigger {
                Trigger::Failover => contract::Trigger::Failover,
                Trigger::Switchover => contract::Trigger::Switchover,
            },
            now_unix_ms: question.now_unix_ms,
            seed: question.seed,
            without_primary_ms: question.without_primary_ms,
            former_primary: question.former_primary.as_deref(),
            acks: question.acks,
            failover_window_s: question.failover_window_s,
            failovers_in_window: question.failovers_in_window,
            candidates: &candidates,
            facts: &pairs(&question.facts),
        };
        let answer = instance.grampus_primary_selection_policy().call_decide(store, asked, json)?;
        Ok(match answer {
            contract::Answer::Promote(promotion) => Answer::Promote {
                candidate: promotion.candidate,
                reason: promotion.reason,
                ranking: promotion.ranking.into_iter().map(ranked).collect(),
            },
            contract::Answer::Hold(hold) => Answer::Hold { reason: hold.reason },
        })
    }
}

fn ranked(row: contract::Ranked) -> Ranked {
    Ranked { name: row.candidate, score: row.score, reason: row.reason }
}

/// The lists of one candidate, borrowed, because the contract's record borrows its lists too.
struct Parts<'a> {
    labels: Vec<(&'a str, &'a str)>,
    facts: Vec<(&'a str, &'a str)>,
    ineligible: Vec<contract::Ineligible<'a>>,
}

impl<'a> Parts<'a> {
    fn of(candidate: &'a Candidate) -> Self {
        Self {
            labels: pairs(&candidate.labels),
            facts: pairs(&candidate.facts),
            ineligible: candidate
                .ineligible
                .iter()
                .map(|reason| contract::Ineligible { code: &reason.code, message: &reason.message })
                .collect(),
        }
    }

    fn join(&'a self, candidate: &'a Candidate) -> contract::Candidate<'a> {
        contract::Candidate {
            name: &candidate.name,
            ordinal: candidate.ordinal,
            zone: &candidate.zone,
            node: &candidate.node,
            labels: &self.labels,
            ineligible: &self.ineligible,
            missing_transactions: candidate.missing_transactions,
            unapplied_transactions: candidate.unapplied_transactions,
            node_ready: candidate.node_ready,
            node_cordoned: candidate.node_cordoned,
            node_pressure: same!(NodePressure: &candidate.node_pressure => { memory, disk, pid }),
            version: &candidate.version,
            catch_up: same!(CatchUp: &candidate.catch_up => {
                missing_bytes, unapplied_bytes, received_transactions_per_second, applied_transactions_per_second,
                predicted_drain_ms, replication_lag_s,
            }),
            capacity: capacity(&candidate.capacity),
            activity: same!(Activity: &candidate.activity => {
                ackers_afterwards, copying, backing_up, since_led_s, failovers_in_window,
            }),
            facts: &self.facts,
        }
    }
}

fn capacity(capacity: &Capacity) -> contract::Capacity<'_> {
    contract::Capacity {
        cpu_limit_millicores: capacity.cpu_limit_millicores,
        memory_limit_bytes: capacity.memory_limit_bytes,
        cpu_to_primary_permille: capacity.cpu_to_primary_permille,
        memory_to_primary_permille: capacity.memory_to_primary_permille,
        buffer_pool_bytes: capacity.buffer_pool_bytes,
        buffer_pool_warm_permille: capacity.buffer_pool_warm_permille,
        volume_bytes: capacity.volume_bytes,
        volume_free_bytes: capacity.volume_free_bytes,
        storage_class: capacity.storage_class.as_deref(),
    }
}

//! `grampus:primary-selection@0.1.0` in the host's own words.
//!
//! Only translation happens here. Nothing may be judged or left out: what a candidate has and this contract has no
//! field for is among its facts, under the name that a later contract gives it.

use topology::decision::{Answer, Candidate, Question, Ranked, Trigger};
use wasmtime::Store;
use wasmtime::component::Component;

use super::pairs;
use crate::call::Context;
use crate::module::Description;

#[allow(missing_docs, clippy::all, reason = "generated from the contract, which is documented")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/released/log@0.1.0.wit", "../../wit/released/primary-selection@0.1.0.wit"],
        world: "grampus:primary-selection/primary-selection@0.1.0",
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
        let later: Vec<Vec<(String, String)>> = question.candidates.iter().map(facts).collect();
        let parts: Vec<Parts<'_>> =
            question.candidates.iter().zip(&later).map(|(one, later)| Parts::of(one, later)).collect();
        let candidates: Vec<_> = question.candidates.iter().zip(&parts).map(|(one, parts)| parts.join(one)).collect();
        let mut known = Known::default();
        known.number("failover-window-s", question.failover_window_s);
        known.number("failovers-in-window", question.failovers_in_window.map(u64::from));
        let facts = known.beside(&question.facts);
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
            candidates: &candidates,
            facts: &pairs(&facts),
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

/// What is known and has no field here.
#[derive(Default)]
struct Known(Vec<(String, String)>);

impl Known {
    fn text(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        self.text(name, value.map(|value| value.to_string()));
    }

    fn flag(&mut self, name: &str, value: Option<bool>) {
        self.text(name, value.map(|value| value.to_string()));
    }

    /// Sorted by name, together with facts that there are already.
    fn beside(mut self, facts: &[(String, String)]) -> Vec<(String, String)> {
        self.0.extend(facts.iter().cloned());
        self.0.sort();
        self.0
    }
}

fn facts(candidate: &Candidate) -> Vec<(String, String)> {
    let Candidate { node_pressure, catch_up, capacity, activity, .. } = candidate;
    let mut known = Known::default();
    known.flag("node-pressure-memory", node_pressure.memory);
    known.flag("node-pressure-disk", node_pressure.disk);
    known.flag("node-pressure-pid", node_pressure.pid);
    known.number("missing-bytes", catch_up.missing_bytes);
    known.number("unapplied-bytes", catch_up.unapplied_bytes);
    known.number("received-transactions-per-second", catch_up.received_transactions_per_second);
    known.number("applied-transactions-per-second", catch_up.applied_transactions_per_second);
    known.number("predicted-drain-ms", catch_up.predicted_drain_ms);
    known.number("replication-lag-s", catch_up.replication_lag_s);
    known.number("cpu-limit-millicores", capacity.cpu_limit_millicores);
    known.number("memory-limit-bytes", capacity.memory_limit_bytes);
    known.number("cpu-to-primary-permille", capacity.cpu_to_primary_permille);
    known.number("memory-to-primary-permille", capacity.memory_to_primary_permille);
    known.number("buffer-pool-bytes", capacity.buffer_pool_bytes);
    known.number("buffer-pool-warm-permille", capacity.buffer_pool_warm_permille);
    known.number("volume-bytes", capacity.volume_bytes);
    known.number("volume-free-bytes", capacity.volume_free_bytes);
    known.text("storage-class", capacity.storage_class.clone());
    known.number("ackers-afterwards", activity.ackers_afterwards.map(u64::from));
    known.flag("copying", activity.copying);
    known.flag("backing-up", activity.backing_up);
    known.number("since-led-s", activity.since_led_s);
    known.number("failovers-in-window", activity.failovers_in_window.map(u64::from));
    known.beside(&candidate.facts)
}

/// The lists of one candidate, borrowed, because the contract's record borrows its lists too.
struct Parts<'a> {
    labels: Vec<(&'a str, &'a str)>,
    facts: Vec<(&'a str, &'a str)>,
    ineligible: Vec<contract::Ineligible<'a>>,
}

impl<'a> Parts<'a> {
    fn of(candidate: &'a Candidate, facts: &'a [(String, String)]) -> Self {
        Self {
            labels: pairs(&candidate.labels),
            facts: pairs(facts),
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
            version: &candidate.version,
            facts: &self.facts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a record of the next version that may be unknown.
    fn optional(record: &str) -> Vec<&'static str> {
        let later = include_str!("../../../../wit/released/primary-selection@0.2.0.wit");
        let (_, fields) = later.split_once(&format!("record {record} {{")).unwrap();
        let (fields, _) = fields.split_once('}').unwrap();
        fields.lines().filter_map(|line| line.trim().split_once(": option<")).map(|(name, _)| name).collect()
    }

    #[test]
    fn what_has_no_field_here_is_a_fact_under_the_name_of_the_later_field() {
        let (_, question) = crate::built_in_questions()
            .into_iter()
            .find(|(name, _)| *name == "five members, everything known of each")
            .unwrap();
        let mut candidate = question.candidates[1].clone();
        let mut wanted: Vec<String> =
            ["catch-up", "capacity", "activity"].into_iter().flat_map(optional).map(str::to_owned).collect();
        wanted.extend(optional("node-pressure").into_iter().map(|name| format!("node-pressure-{name}")));
        wanted.push("rack".to_owned());
        wanted.sort();
        candidate.facts = vec![("rack".to_owned(), "7".to_owned())];
        let facts = facts(&candidate);
        let names: Vec<&str> = facts.iter().map(|(name, _)| name.as_str()).collect();
        assert!(wanted.len() > 20);
        assert_eq!(names, wanted);
        assert!(facts.contains(&("node-pressure-memory".to_owned(), "true".to_owned())));
        assert!(facts.contains(&("applied-transactions-per-second".to_owned(), "0".to_owned())));
        assert_eq!(super::facts(&crate::built_in_questions()[4].1.candidates[1]), []);
    }
}

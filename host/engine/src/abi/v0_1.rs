//! `grampus:primary-selection@0.1.0` in the host's own words.
//!
//! Only translation happens here. Nothing may be judged or left out.

use topology::decision::{Answer, Candidate, Question, Ranked, Trigger};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::call::{Context, Level};
use crate::module::Description;

#[allow(missing_docs, clippy::all, reason = "generated from the contract, which is documented")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/primary-selection",
        world: "primary-selection",
        ownership: Borrowing { duplicate_if_necessary: false },
        imports: { default: trappable },
    });
}

use bindings::exports::grampus::primary_selection::policy as contract;
use bindings::grampus::log::log;

impl log::Host for Context {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log(level, &message)
    }
}

/// A component of this contract, ready to be instantiated.
pub struct Ready(bindings::PrimarySelectionPre<Context>);

impl Ready {
    /// Links a component with the log.
    pub fn link(component: &Component) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(component.engine());
        log::add_to_linker::<_, HasSelf<_>>(&mut linker, |context| context)?;
        bindings::PrimarySelectionPre::new(linker.instantiate_pre(component)?).map(Self)
    }

    pub fn try_out(&self, store: &mut Store<Context>) -> wasmtime::Result<()> {
        self.0.instantiate(store).map(drop)
    }

    pub fn describe(&self, store: &mut Store<Context>) -> wasmtime::Result<Description> {
        let instance = self.0.instantiate(&mut *store)?;
        let said = instance.grampus_primary_selection_policy().call_describe(store)?;
        Ok(Description {
            name: said.name,
            version: said.version,
            summary: said.summary,
            settings_schema: said.settings_schema,
        })
    }

    pub fn validate(&self, store: &mut Store<Context>, json: &str) -> wasmtime::Result<Result<(), (String, String)>> {
        let instance = self.0.instantiate(&mut *store)?;
        let found = instance.grampus_primary_selection_policy().call_validate_settings(store, json)?;
        Ok(found.map_err(|error| (error.path, error.message)))
    }

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
            candidates: &candidates,
            facts: &[],
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
        let pairs =
            |list: &'a [(String, String)]| list.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
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
            version: &candidate.version,
            facts: &self.facts,
        }
    }
}

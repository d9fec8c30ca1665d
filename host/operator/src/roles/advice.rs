//! What policies that scale and tune say of a cluster, asked about once a minute and kept for people. Nothing is done
//! about it.
//!
//! It runs in a task of its own beside the passes, and only the operator that acts does it. A cluster whose spec names no
//! such policy costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::{DecisionKind, Entry};
use objects::api::MysqlCluster;
use tokio::time::Instant;
use topology::assess::Assessment;
use topology::snapshot::Snapshot;
use topology::{scaling, tuning};

use super::verdicts;
use crate::Context;
use crate::cache::ClusterKey;
use crate::journal::Advice;
use crate::policies::{Consulted, Seats, Told, consult};

/// How often they are asked. What was counted over a minute is another after a minute.
const EVERY: Duration = Duration::from_secs(60);

/// How soon again where there was nothing to ask yet: nothing was measured, or nobody led.
const AGAIN: Duration = Duration::from_secs(5);

/// What this operator last asked of one cluster.
#[derive(Default)]
pub struct Advisory {
    scaling: Asking<scaling::Question>,
    tuning: Asking<tuning::Question>,
    swaps: u64,
}

/// The same of one decision.
struct Asking<Q: DecisionKind> {
    next: Option<Instant>,
    told: Arc<Told<Q>>,
    asking: Arc<AtomicBool>,
}

impl<Q: DecisionKind> Default for Asking<Q> {
    fn default() -> Self {
        Self { next: None, told: Arc::default(), asking: Arc::default() }
    }
}

impl Advisory {
    /// Asks whoever is due. Nothing is waited for.
    pub fn look(
        &mut self,
        context: &Arc<Context>,
        key: &ClusterKey,
        object: &MysqlCluster,
        snapshot: &Snapshot,
        assessment: &Assessment,
    ) {
        let advisors = context.policies.advisors();
        let leads = *context.leads.borrow();
        if !leads || !(advisors.scaling().has(key) || advisors.tuning().has(key)) {
            return;
        }
        let swaps = advisors.swaps(key);
        if std::mem::replace(&mut self.swaps, swaps) != swaps {
            // Another module, or other settings: nobody wants to wait a minute for what that says.
            (self.scaling.next, self.tuning.next) = (None, None);
        }
        let wanted = || objects::advice::wanted(&object.spec, jiff::Timestamp::now());
        let policy = object.spec.policies.as_ref().and_then(|policies| policies.scaling.as_ref());
        if advisors.scaling().has(key) && self.scaling.is_due() {
            let bounds = policy.map(objects::advice::bounds).unwrap_or_default();
            let question = topology::advice::scaling(snapshot, assessment, &wanted(), bounds);
            self.scaling.ask(context, key, question);
        }
        if advisors.tuning().has(key) && self.tuning.is_due() {
            self.tuning.ask(context, key, topology::advice::tuning(snapshot, assessment, &wanted()));
        }
    }
}

impl Consulted for scaling::Question {
    fn seats(context: &Context) -> &Seats<Self> {
        context.policies.advisors().scaling()
    }

    fn judged(&self, answer: &scaling::Answer) -> (Vec<String>, Vec<String>) {
        verdicts::scaling(&scaling::guard(&self.present, &self.bounds, answer))
    }

    fn advice(entry: Entry<Self>) -> Advice {
        Advice::Scaling(Box::new(entry))
    }
}

impl Consulted for tuning::Question {
    fn seats(context: &Context) -> &Seats<Self> {
        context.policies.advisors().tuning()
    }

    fn judged(&self, answer: &tuning::Answer) -> (Vec<String>, Vec<String>) {
        verdicts::tuning(&tuning::guard(&self.present, answer))
    }

    fn advice(entry: Entry<Self>) -> Advice {
        Advice::Tuning(Box::new(entry))
    }
}

impl<Q: Consulted> Asking<Q> {
    fn is_due(&self) -> bool {
        self.next.is_none_or(|next| next <= Instant::now())
    }

    fn ask(&mut self, context: &Arc<Context>, key: &ClusterKey, question: Option<Q>) {
        self.next = Some(Instant::now() + if question.is_some() { EVERY } else { AGAIN });
        let Some(question) = question.filter(|_| !self.asking.swap(true, Ordering::Relaxed)) else { return };
        let (context, key) = (context.clone(), key.clone());
        let (told, asking) = (self.told.clone(), self.asking.clone());
        tokio::spawn(async move {
            consult(&context, &key, question, &told).await;
            asking.store(false, Ordering::Relaxed);
        });
    }
}

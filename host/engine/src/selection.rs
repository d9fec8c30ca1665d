//! One cluster's slot: what decides now, what decided before, and what decides if both fail.
//!
//! Decisions and swaps may happen at the same time from any number of threads. A decision must never wait for a
//! swap, fail because of one, or end without an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use topology::decision::{Answer, Question};

use crate::breaker::{Change, Terms};
use crate::decision::{Attempt, DecidedBy, Decision, FailedAttempt, Failure, FailureKind, Said, Source};
use crate::guarded::{Guarded, Heard, OutOfUse};
use crate::kind::{Answered, DecisionKind};
use crate::load::Engine;
use crate::module::{Binding, Description};

/// The policy of one cluster that decides what `Q` asks.
pub struct Slot<Q: DecisionKind> {
    engine: Engine,
    slots: ArcSwap<Slots<Q>>,
    terms: Terms,
}

/// The policy of one cluster that says who leads.
pub type PrimarySelection = Slot<Question>;
/// The policy of one cluster that scales it.
pub type Scaling = Slot<topology::scaling::Question>;
/// The policy of one cluster that tunes its mysqld.
pub type ConfigTuning = Slot<topology::tuning::Question>;
/// The policy of one cluster that says when its backups are made.
pub type BackupWindow = Slot<topology::backup_window::Question>;

struct Slots<Q: DecisionKind> {
    configured: Option<Arc<Configured<Q>>>,
    last_known_good: Option<Arc<Binding<Q>>>,
}

impl<Q: DecisionKind> Slots<Q> {
    fn empty() -> Self {
        Self { configured: None, last_known_good: None }
    }
}

struct Configured<Q: DecisionKind> {
    binding: Arc<Binding<Q>>,
    /// Whether its latest decision failed. Then it is no good to fall back to.
    failing: AtomicBool,
    guarded: Guarded,
}

/// What decides next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// What the module says about itself.
    pub description: Description,
    /// `sha256:…` of the module; `native` where not even the embedded one loads.
    pub digest: String,
    /// Its settings as JSON.
    pub settings_json: String,
    /// Which of the modules it is.
    pub source: Source,
    /// The digest of the module that takes over should this one fail, where there is one before the default.
    pub last_known_good: Option<String>,
    /// Why it is not asked for the time being, if it failed too often, and who is.
    pub breaker: Option<OutOfUse>,
}

impl<Q: DecisionKind> Slot<Q> {
    /// A slot in which the embedded default decides.
    pub fn new(engine: Engine) -> Self {
        Self::with_breaker(engine, Terms::default())
    }

    /// The same, which gives up on a module that keeps failing on other terms.
    pub fn with_breaker(engine: Engine, terms: Terms) -> Self {
        Self { engine, slots: ArcSwap::from_pointee(Slots::empty()), terms }
    }

    /// Puts a binding in force. The next decision uses it; running ones end with the one they began with.
    ///
    /// The binding that was in force becomes the last known good, unless its latest decision failed or it is the
    /// same module with the same settings, of which nothing is forgotten.
    pub fn swap(&self, binding: Arc<Binding<Q>>) {
        let guarded = Guarded::new(self.terms);
        let next = Arc::new(Configured { binding, failing: AtomicBool::new(false), guarded });
        self.slots.rcu(|slots| match &slots.configured {
            Some(outgoing) if outgoing.binding.is_same(&next.binding) => {
                Slots { configured: slots.configured.clone(), last_known_good: slots.last_known_good.clone() }
            }
            outgoing => {
                let good = outgoing.as_ref().filter(|outgoing| !outgoing.failing.load(Ordering::Relaxed));
                let last_known_good = match good {
                    Some(outgoing) => Some(outgoing.binding.clone()),
                    None => slots.last_known_good.clone(),
                };
                Slots { configured: Some(next.clone()), last_known_good }
            }
        });
    }

    /// Goes back to the embedded default and forgets everything else: for a policy that was taken out of the spec.
    pub fn clear(&self) {
        self.slots.store(Arc::new(Slots::empty()));
    }

    /// What decides next.
    pub fn in_force(&self) -> InForce {
        let slots = self.slots.load();
        let last_known_good = slots.last_known_good.as_ref().map(|binding| binding.module().digest().to_owned());
        let breaker =
            slots.configured.as_ref().and_then(|configured| configured.guarded.out_of_use(|| self.instead(&slots)));
        let (binding, source) = match &slots.configured {
            Some(configured) => (Some(configured.binding.clone()), Source::Configured),
            None => (Q::embedded(&self.engine).ok().flatten(), Source::Default),
        };
        match binding {
            Some(binding) => InForce {
                description: binding.module().description().clone(),
                digest: binding.module().digest().to_owned(),
                settings_json: binding.settings_json().to_owned(),
                source,
                last_known_good,
                breaker,
            },
            None => {
                let native = Q::native();
                let summary = Q::NATIVE_SUMMARY.to_owned();
                InForce {
                    description: Description {
                        name: native.name,
                        version: native.version,
                        summary,
                        settings_schema: None,
                    },
                    digest: native.digest,
                    settings_json: "{}".to_owned(),
                    source: native.source,
                    last_known_good,
                    breaker,
                }
            }
        }
    }

    /// Who is asked where the configured module is not.
    fn instead(&self, slots: &Slots<Q>) -> DecidedBy {
        let configured = slots.configured.as_ref();
        let other = |before: &&Arc<Binding<Q>>| configured.is_none_or(|now| !before.is_same(&now.binding));
        match slots.last_known_good.as_ref().filter(other) {
            Some(before) => DecidedBy::of(before, Source::LastKnownGood),
            None => match Q::embedded(&self.engine) {
                Ok(Some(binding)) => DecidedBy::of(&binding, Source::Default),
                Ok(None) | Err(_) => Q::native(),
            },
        }
    }

    /// Decides, whatever happens: configured → last known good → embedded default → native. A configured module that keeps
    /// failing is passed over for a while; [`Decision::breaker`] says when that begins and ends.
    ///
    /// Runs on the caller's thread, in microseconds as a rule and at worst for three times
    /// what [`crate::Limits::call_cpu_ms`] allows: an async caller must use a thread for blocking work. A hold is an answer
    /// like any other; whoever has no more patience asks [`PrimarySelection::overrule`].
    pub fn decide(&self, question: &Q) -> Decision<Q::Answer> {
        self.deliberate(question, true)
    }

    /// What [`Slot::decide`] would answer, asked for its own sake: nothing is remembered of it.
    pub fn suppose(&self, question: &Q) -> Decision<Q::Answer> {
        self.deliberate(question, false)
    }

    fn deliberate(&self, question: &Q, remember: bool) -> Decision<Q::Answer> {
        let slots = self.slots.load_full();
        let mut attempts = Attempts::none();
        if let Some(configured) = &slots.configured {
            if configured.guarded.lets_through(remember) {
                let decided = attempts.ask(&configured.binding, Source::Configured, question);
                if remember {
                    configured.failing.store(decided.is_none(), Ordering::Relaxed);
                    attempts.breaker =
                        attempts.asked.last().and_then(|asked| configured.guarded.learn(heard(&asked.said)));
                }
                if let Some(answer) = decided {
                    return attempts.decided(answer);
                }
            }
            let before = slots.last_known_good.as_ref().filter(|before| !before.is_same(&configured.binding));
            if let Some(before) = before
                && let Some(answer) = attempts.ask(before, Source::LastKnownGood, question)
            {
                return attempts.decided(answer);
            }
        }
        attempts.settle(&self.engine, question)
    }
}

impl PrimarySelection {
    /// Lets the embedded default decide where a module has held for longer than it may, which counts as a failure
    /// of that module. What the default itself said stands.
    pub fn overrule(&self, held: Decision, question: &Question) -> Decision {
        let reason = match (&held.answer, held.by.source) {
            (Answer::Hold { reason }, Source::Configured | Source::LastKnownGood) => reason.clone(),
            (Answer::Hold { .. }, Source::Default | Source::Native | Source::Shadow) | (Answer::Promote { .. }, _) => {
                return held;
            }
        };
        let Decision { answer: _, by, mut failures, fuel, took_micros, attempts: mut asked, mut breaker } = held;
        let message = format!("it held for longer than it may, saying: {reason}");
        if let Some(last) = asked.last_mut() {
            last.passed_over = Some("it held for longer than it may".to_owned());
        }
        let failure = Failure { kind: FailureKind::HeldTooLong, message };
        let slots = self.slots.load();
        // Another pair may have come into force meanwhile, of the same module with other settings, too: it did not hold.
        let held = asked.last().map(|asked| (by.digest.as_str(), asked.settings.as_str()));
        let configured = slots.configured.as_ref().filter(|configured| {
            let binding = &configured.binding;
            held == Some((binding.module().digest(), binding.settings_json()))
        });
        if let Some(configured) = configured.filter(|_| by.source == Source::Configured) {
            breaker = breaker.or(configured.guarded.held_too_long(question.epoch, &failure.message));
        }
        failures.push(FailedAttempt { by, failure });
        Attempts { failures, fuel, took_micros, asked, breaker }.settle(&self.engine, question)
    }
}

/// What a breaker has to know of an answer.
fn heard<A: Answered>(said: &Said<A>) -> Heard<'_> {
    match said {
        Said::Answered(answer) if answer.holds() => Heard::Hold,
        Said::Answered(_) => Heard::Answer,
        Said::Failed(failure) => Heard::Failure(failure),
    }
}

/// The modules asked so far for one decision.
struct Attempts<Q: DecisionKind> {
    failures: Vec<FailedAttempt>,
    fuel: u64,
    took_micros: u64,
    asked: Vec<Attempt<Q::Answer>>,
    breaker: Option<Change>,
}

impl<Q: DecisionKind> Attempts<Q> {
    fn none() -> Self {
        Self { failures: Vec::new(), fuel: 0, took_micros: 0, asked: Vec::new(), breaker: None }
    }

    fn ask(&mut self, binding: &Binding<Q>, source: Source, question: &Q) -> Option<(Q::Answer, DecidedBy)> {
        let attempt = Attempt::ask(binding, source, question);
        self.fuel += attempt.fuel;
        self.took_micros += attempt.took_micros;
        let by = attempt.by.clone();
        let decided = match &attempt.said {
            Said::Answered(answer) => Some((answer.clone(), by)),
            Said::Failed(failure) => {
                self.failures.push(FailedAttempt { by, failure: failure.clone() });
                None
            }
        };
        self.asked.push(attempt);
        decided
    }

    fn settle(mut self, engine: &Engine, question: &Q) -> Decision<Q::Answer> {
        match Q::embedded(engine) {
            Ok(Some(binding)) => {
                if let Some(answer) = self.ask(&binding, Source::Default, question) {
                    return self.decided(answer);
                }
            }
            Ok(None) => {}
            Err(error) => {
                let by = DecidedBy { source: Source::Default, ..Q::native() };
                let failure = Failure { kind: FailureKind::Sandbox, message: format!("it did not load: {error}") };
                self.failures.push(FailedAttempt { by, failure });
            }
        }
        let answer = question.decide_natively();
        self.asked.push(Attempt {
            by: Q::native(),
            abi: Q::native().digest,
            settings: "{}".to_owned(),
            said: Said::Answered(answer.clone()),
            passed_over: None,
            fuel: 0,
            took_micros: 0,
            logs: Vec::new(),
        });
        self.decided((answer, Q::native()))
    }

    fn decided(self, (answer, by): (Q::Answer, DecidedBy)) -> Decision<Q::Answer> {
        let Self { failures, fuel, took_micros, asked: attempts, breaker } = self;
        Decision { answer, by, failures, fuel, took_micros, attempts, breaker }
    }
}

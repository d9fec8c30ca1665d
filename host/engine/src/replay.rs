//! Asks a module again what was asked before, and compares.
//!
//! It changes nothing and decides nothing. A difference is only told where both sides were asked the same.

use topology::decision::Answer;

use crate::decision::{Evaluation, Said};
use crate::journal::{CallLimits, Entry, not_replayable};
use crate::kind::{Answered, DecisionKind};
use crate::load::Engine;
use crate::module::Binding;

/// What a module would have said to one question of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed<A = Answer> {
    /// What it says now.
    pub now: Evaluation<A>,
    /// How that compares with what was decided.
    pub comparison: Comparison,
    /// Whether the very same call gave the very same.
    pub repetition: Repetition,
}

/// How an answer compares with the one that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// It would have chosen the same.
    Same,
    /// It would have chosen otherwise.
    Otherwise,
    /// It fails where somebody answered.
    Fails,
    /// Nobody can tell, for this reason.
    NotReplayable(String),
}

/// Whether a call that was made before came to the same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repetition {
    /// This module was not asked then, or with other settings or limits.
    NotAsked,
    /// The same answer in another version of the engine, where fuel means nothing.
    SameAnswer,
    /// The same answer with the same fuel.
    Exact,
    /// Something else, which a policy must never come to: what.
    Differs(String),
}

/// Asks `binding` what `entry` says was asked. Where the module with these settings was asked then, its own answer is what
/// counts, else the one that was given in the end.
pub fn replay<Q: DecisionKind>(binding: &Binding<Q>, entry: &Entry<Q>) -> Replayed<Q::Answer> {
    let now = binding.decide(&entry.question);
    let own = entry.attempt_of(binding.module().digest(), binding.settings_json());
    let limits = CallLimits::from(binding.module().limits());
    let own = own.filter(|_| limits == entry.limits);
    let timed_out = matches!(&now.result, Err(failure) if failure.kind == crate::FailureKind::Timeout);
    let why_not = match own {
        _ if timed_out => Some("it was cut off by the clock just now".to_owned()),
        Some(own) => not_replayable(own),
        None => entry.not_replayable(),
    };
    if let Some(why) = why_not {
        return Replayed { now, comparison: Comparison::NotReplayable(why), repetition: Repetition::NotAsked };
    }
    let before = match own.map(|own| &own.said) {
        Some(Said::Failed(failure)) => Err(failure.kind),
        Some(Said::Answered(answer)) => Ok(answer.wordless()),
        None => Ok(entry.answer.wordless()),
    };
    let comparison = match (&now.result, before) {
        (Ok(answer), Ok(before)) if answer.wordless() == before => Comparison::Same,
        (Err(failure), Err(before)) if failure.kind == before => Comparison::Same,
        (Ok(_), _) => Comparison::Otherwise,
        (Err(_), _) => Comparison::Fails,
    };
    let repetition = match own {
        None => Repetition::NotAsked,
        Some(own) => repetition(&now, &own.said, own.fuel, entry.engine == Engine::version()),
    };
    Replayed { now, comparison, repetition }
}

fn repetition<A: Answered>(now: &Evaluation<A>, before: &Said<A>, fuel: u64, same_engine: bool) -> Repetition {
    let same = match (&now.result, before) {
        (Ok(now), Said::Answered(before)) if same_engine => now == before,
        // Another engine may word a failure otherwise, and so may a host a reason; the choice is the module's alone.
        (Ok(now), Said::Answered(before)) => now.wordless() == before.wordless(),
        (Err(now), Said::Failed(before)) => now.kind == before.kind,
        (Ok(_), Said::Failed(_)) | (Err(_), Said::Answered(_)) => false,
    };
    if !same {
        return Repetition::Differs(format!("then {}, now {}", in_words(before), in_words(&said(now))));
    }
    match same_engine {
        false => Repetition::SameAnswer,
        true if now.fuel == fuel => Repetition::Exact,
        true => Repetition::Differs(format!("it burnt {} units of fuel, and {fuel} then", now.fuel)),
    }
}

fn said<A: Answered>(now: &Evaluation<A>) -> Said<A> {
    match &now.result {
        Ok(answer) => Said::Answered(answer.clone()),
        Err(failure) => Said::Failed(failure.clone()),
    }
}

/// What was said, for people.
pub fn in_words<A: Answered>(said: &Said<A>) -> String {
    match said {
        Said::Answered(answer) => answer.in_words(),
        Said::Failed(failure) => format!("a failure: {failure}"),
    }
}

//! Scenarios for policies that scale, tune, or say when backups are made: a question of which only what matters is
//! written down.
//!
//! Fields are named as in the question, as the journal writes it. A field that is misspelt must be refused: it would
//! silently ask something else. The guard has its word, too: a wish that it would not fulfil is a difference.

mod scaling;
mod tuning;
mod window;

use std::fmt::Display;

use anyhow::{Context as _, bail, ensure};
use engine::{Answered as _, DecisionKind, LoadError};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use self::scaling::ScalingExpect as Scaling;
pub use self::tuning::TuningExpect as ConfigTuning;
pub use self::window::WindowExpect as BackupWindow;
use super::compare::{Difference, answered, missing};
use super::scenario::{Refused, Texts};
use super::{Answered, File, Scene};

/// A scenario as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<E> {
    /// What it shows, as a sentence.
    name: String,
    /// Settings instead of the file's.
    settings: Option<Value>,
    /// What of the question is otherwise than in an ordinary one.
    #[serde(default)]
    question: Value,
    /// What the module shall say.
    expect: E,
}

/// A scenario with the whole question.
pub struct Situation<K: Expected> {
    name: String,
    settings: Option<Value>,
    question: K::Question,
    expect: K,
}

/// What may be expected of a decision.
pub trait Expected: DeserializeOwned {
    type Question: DecisionKind;

    /// The field for an answer that wants nothing.
    const NOTHING: &str = "keep";

    /// An ordinary question.
    fn ordinary() -> Value;

    /// What an entry of a list has that says nothing else.
    fn entry(list: &str) -> Value;

    fn refused(&self) -> Option<&Refused>;

    fn keep(&self) -> Option<&Texts>;

    /// Texts that the answer's reasons contain.
    fn reason(&self) -> &Texts;

    /// Texts of what the guard refuses.
    fn guard(&self) -> Option<&Texts>;

    /// What is wanted, in words; empty where nothing is.
    fn wanted(&self) -> String;

    /// The same of an answer.
    fn found(answer: &<Self::Question as DecisionKind>::Answer) -> String;

    /// What the guard would refuse.
    fn refusals(question: &Self::Question, answer: &<Self::Question as DecisionKind>::Answer) -> Vec<String>;
}

/// Reads a file of scenarios.
///
/// # Errors
/// What does not fit, and the scenario that it is in.
pub fn read<K: Expected>(text: &str) -> anyhow::Result<File<Situation<K>>> {
    let File { settings, scenarios } =
        serde_saphyr::from_str::<File<Written<K>>>(text).context("these are no scenarios")?;
    let whole = scenarios.into_iter().enumerate().map(|(at, written)| {
        let place = format!("scenarios[{at}] (\"{}\")", written.name);
        whole(written).context(place)
    });
    Ok(File { settings, scenarios: whole.collect::<anyhow::Result<_>>()? })
}

fn whole<K: Expected>(written: Written<K>) -> anyhow::Result<Situation<K>> {
    let Written { name, settings, question, expect } = written;
    let told = [expect.refused().is_some(), expect.keep().is_some(), !expect.wanted().is_empty()];
    let told = told.into_iter().filter(|told| *told).count();
    ensure!(told == 1, "expect: expected exactly one of {}, refused and what is wanted", K::NOTHING);
    ensure!(question.is_null() || question.is_object(), "question: expected fields of a question");
    let mut full = K::ordinary();
    lay_over::<K>(&mut full, &question);
    let question = typed(&full, &question).context("question")?;
    Ok(Situation { name, settings, question, expect })
}

/// Puts what is written over what is ordinary. A list takes the place of another; its entries are completed.
fn lay_over<K: Expected>(full: &mut Value, written: &Value) {
    let Value::Object(fields) = written else { return };
    for (name, value) in fields {
        let slot = &mut full[name.as_str()];
        match value {
            Value::Object(_) if slot.is_object() => lay_over::<K>(slot, value),
            Value::Array(entries) => {
                let completed = entries.iter().map(|entry| {
                    let mut whole = K::entry(name);
                    if !entry.is_object() {
                        return entry.clone();
                    }
                    lay_over::<K>(&mut whole, entry);
                    whole
                });
                *slot = completed.collect();
            }
            other => *slot = other.clone(),
        }
    }
}

/// A value as a type, if everything that was written of it is a part of that type.
fn typed<T: DeserializeOwned + Serialize>(full: &Value, written: &Value) -> anyhow::Result<T> {
    let typed = T::deserialize(full)?;
    match lost(written, &serde_json::to_value(&typed)?) {
        Some(path) => bail!("there is no field {path}"),
        None => Ok(typed),
    }
}

/// The first thing that was written and is not there.
fn lost(written: &Value, there: &Value) -> Option<String> {
    let below = |name: String, found: Option<&Value>, value: &Value| {
        let rest = lost(value, found.unwrap_or(&Value::Null))?;
        Some(if rest.is_empty() { name } else { format!("{name}.{rest}") })
    };
    match (written, there) {
        (Value::Null, _) => None,
        (Value::Object(fields), Value::Object(found)) => {
            fields.iter().find_map(|(name, value)| below(name.clone(), found.get(name), value))
        }
        (Value::Array(entries), Value::Array(found)) => {
            entries.iter().enumerate().find_map(|(at, value)| below(format!("[{at}]"), found.get(at), value))
        }
        (_, Value::Null) => Some(String::new()),
        _ => None,
    }
}

/// For a field whose own type lets unknown names pass.
pub fn exactly<'de, D: Deserializer<'de>, T: DeserializeOwned + Serialize>(from: D) -> Result<T, D::Error> {
    let written = Value::deserialize(from)?;
    typed(&written, &written).map_err(|error| D::Error::custom(format!("{error:#}")))
}

impl<K: Expected> Scene for Situation<K> {
    type Question = K::Question;

    fn name(&self) -> &str {
        &self.name
    }

    fn settings(&self) -> Option<&Value> {
        self.settings.as_ref()
    }

    fn question(&self) -> K::Question {
        self.question.clone()
    }

    fn compare(&self, answer: Result<&Answered<K::Question>, &LoadError>) -> Vec<Difference> {
        let expect = &self.expect;
        let wanted = match expect.keep() {
            Some(Texts(texts)) => format!("{}: {}", K::NOTHING, texts.join(" … ")),
            None => expect.wanted(),
        };
        let answer = match answered(expect.refused(), &wanted, answer) {
            Ok(answer) => answer,
            Err(differences) => return differences,
        };
        let said = answer.in_words();
        if K::found(answer) != expect.wanted() {
            return vec![Difference::between("answer", wanted, said)];
        }
        let mut differences = missing("reason", expect.reason(), &said);
        differences.extend(expect.keep().into_iter().flat_map(|texts| missing("reason", texts, &said)));
        let refusals = K::refusals(&self.question, answer).join("; ");
        match expect.guard() {
            Some(texts) => differences.extend(missing("what the guard refuses", texts, &refusals)),
            None if refusals.is_empty() => {}
            None => differences.push(Difference::between("what the guard refuses", "nothing", refusals)),
        }
        differences
    }
}

/// What a guard refuses, in its words.
fn words(refused: Vec<impl Display>) -> Vec<String> {
    refused.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_ordinary_and_entries_of_lists_are_completed() {
        let file = read::<Scaling>(
            "scenarios: [{name: x, question: {present: {readReplicas: 2}, servers: [{name: a, load: {oomKills: 1}}]}, \
             expect: {readReplicas: 3}}]",
        );
        let question = file.unwrap().scenarios[0].question();
        assert_eq!((question.present.members, question.present.read_replicas), (3, 2));
        let server = &question.servers[0];
        assert_eq!((server.role, server.serving), (topology::scaling::Role::ReadReplica, true));
        assert_eq!((server.load.window_s, server.load.oom_kills), (300, Some(1)));
    }

    #[test]
    fn what_is_misspelt_or_contradicts_itself_is_refused() {
        for (scenario, told) in [
            ("{name: x, question: {present: {readers: 2}}, expect: {keep: a}}", "there is no field present.readers"),
            ("{name: x, question: {servers: [{name: a, laod: {}}]}, expect: {keep: a}}", "servers.[0].laod"),
            ("{name: x, question: {servers: [{}]}, expect: {keep: a}}", "missing field `name`"),
            ("{name: x, expect: {}}", "exactly one of"),
            ("{name: x, expect: {keep: a, readReplicas: 1}}", "exactly one of"),
            ("{name: x, expect: {resources: {cpu: 1}}}", "there is no field cpu"),
            ("{name: x, expect: {readers: 1}}", "readers"),
        ] {
            let error = format!("{:#}", read::<Scaling>(&format!("scenarios: [{scenario}]")).err().unwrap());
            assert!(error.contains(told), "{scenario}: {error}");
        }
    }
}

//! `policy replay`: what another module, or the same one, makes of the questions in a journal.
//!
//! It asks in a sandbox of its own and talks to nobody.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use engine::{
    Binding, Comparison, DecisionKind, Engine, Entry, Kind, Module, Repetition, Replayed, Said, in_words, replay,
};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

use super::of_kind;

/// What to ask whom.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Decisions as `grampus journal` prints them; `-` reads standard input.
    journal: PathBuf,
    /// The component, plain or packed.
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// Its settings, as JSON. If not given, those with which this very module was asked in a decision, else `{}`.
    #[arg(long, value_name = "JSON", value_parser = settings)]
    settings: Option<Value>,
}

/// Asks a module everything again. The exit code is that of a failure if one and the same call came to something else.
///
/// # Errors
/// The journal cannot be read, or the module is not to be used with these settings.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { journal, module, settings } = arguments;
    let bytes = std::fs::read(&module).with_context(|| format!("{} could not be read", module.display()))?;
    let text = read(&journal).with_context(|| format!("{} could not be read", journal.display()))?;
    let lines = lines(&text).with_context(|| journal.display().to_string())?;
    let (engine, module) = super::load(bytes).await.with_context(|| module.display().to_string())?;
    let replayed = tokio::task::spawn_blocking(move || {
        of_kind!(module.kind(), Question => {
            let entries = entries::<Question>(&lines).with_context(|| journal.display().to_string())?;
            let others = lines.len() - entries.len();
            let (text, exact) = told(&ask(&engine, &module, settings.as_ref(), entries)?);
            Ok::<_, anyhow::Error>((text + &passed_over(others, module.kind()), exact))
        })
    });
    let (text, exact) = replayed.await??;
    print!("{text}");
    Ok(if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> std::io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        return std::io::stdin().lock().read_to_string(&mut text).map(|_| text);
    }
    std::fs::read_to_string(path)
}

/// A line of a journal: its number, what was decided, and the whole of it.
struct Line {
    number: usize,
    decision: String,
    entry: Value,
}

fn lines(text: &str) -> anyhow::Result<Vec<Line>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let each = lines.map(|(at, line)| {
        let number = at + 1;
        let entry: Value = serde_json::from_str(line).with_context(|| format!("line {number} is no decision"))?;
        let decision = entry["decision"].as_str().with_context(|| format!("line {number} is no decision"))?.to_owned();
        Ok(Line { number, decision, entry })
    });
    each.collect()
}

/// The decisions of one kind.
fn entries<Q: DecisionKind>(lines: &[Line]) -> anyhow::Result<Vec<Entry<Q>>> {
    let same = lines.iter().filter(|line| line.decision == Q::KIND.name());
    let each = same.map(|line| {
        Entry::deserialize(&line.entry).with_context(|| format!("line {} is no decision of this version", line.number))
    });
    each.collect()
}

fn passed_over(others: usize, kind: Kind) -> String {
    if others == 0 {
        String::new()
    } else {
        format!("{others} decisions of something else than {kind} were passed over\n")
    }
}

/// What was asked, and what came of it now.
type Asked<Q> = (Entry<Q>, Replayed<<Q as DecisionKind>::Answer>);

fn ask<Q: DecisionKind>(
    engine: &Engine,
    module: &Arc<Module>,
    settings: Option<&Value>,
    entries: Vec<Entry<Q>>,
) -> anyhow::Result<Vec<Asked<Q>>> {
    let mut bindings: HashMap<String, Arc<Binding<Q>>> = HashMap::new();
    let mut replayed = Vec::new();
    for entry in entries {
        let settings = settings.cloned().unwrap_or_else(|| recorded(&entry, module.digest()));
        let binding = match bindings.get(&settings.to_string()) {
            Some(known) => known.clone(),
            None => {
                let binding = engine.bind(module.clone(), &settings).context("--settings")?;
                bindings.insert(settings.to_string(), binding.clone());
                binding
            }
        };
        let answer = replay(&binding, &entry);
        replayed.push((entry, answer));
    }
    Ok(replayed)
}

/// The settings with which this module was asked in a decision.
fn recorded<Q: DecisionKind>(entry: &Entry<Q>, digest: &str) -> Value {
    let own = entry.attempts.iter().chain(&entry.shadows).find(|attempt| attempt.by.digest == digest);
    let settings = own.and_then(|own| serde_json::from_str(&own.settings).ok());
    settings.unwrap_or_else(|| Value::Object(serde_json::Map::new()))
}

/// What came of it, and whether every call that was repeated came to the same.
fn told<Q: DecisionKind>(replayed: &[Asked<Q>]) -> (String, bool) {
    let (mut text, mut exact) = (String::new(), true);
    let (mut same, mut otherwise, mut unknown, mut repeated) = (0, 0, 0, 0);
    for (entry, Replayed { now, comparison, repetition }) in replayed {
        let then = in_words(&Said::Answered(entry.answer.clone()));
        let now = match &now.result {
            Ok(answer) => in_words(&Said::Answered(answer.clone())),
            Err(failure) => format!("a failure: {failure}"),
        };
        let by = &entry.by;
        let mut differs = |word: &str| {
            let _ =
                writeln!(text, "{}\n    then  {then} ({} {})\n    {word}  {now}", title(entry), by.name, by.version);
        };
        match comparison {
            Comparison::Same => same += 1,
            Comparison::Otherwise | Comparison::Fails => {
                otherwise += 1;
                differs("now ");
            }
            Comparison::NotReplayable(why) => {
                unknown += 1;
                let _ = writeln!(text, "{}\n    not replayable: {why}", title(entry));
            }
        }
        match repetition {
            Repetition::NotAsked | Repetition::SameAnswer => {}
            Repetition::Exact => repeated += 1,
            Repetition::Differs(what) => {
                exact = false;
                let _ = writeln!(text, "{}\n    the very same call came to something else: {what}", title(entry));
            }
        }
    }
    let count = replayed.len();
    let _ = writeln!(text, "{count} decisions: {same} as then, {otherwise} otherwise, {unknown} not replayable");
    if repeated > 0 {
        let _ = writeln!(text, "{repeated} calls were repeated exactly, with the same answer and the same fuel");
    }
    (text, exact)
}

fn title<Q: DecisionKind>(entry: &Entry<Q>) -> String {
    let at = i64::try_from(entry.at_unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let at = at.map_or_else(|| "at an unknown time".to_owned(), |at| at.to_string());
    let (namespace, cluster) = entry.question.cluster();
    format!("{at} {namespace}/{cluster} {}", entry.question.occasion())
}

fn settings(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use engine::{Options, PrimarySelection, built_in_questions};
    use topology::decision::{Answer, Question};

    use super::*;

    #[test]
    fn a_journal_is_asked_again_and_what_differs_is_told() {
        let engine = Engine::new(Options::compiling_in_process()).unwrap();
        let slot = PrimarySelection::new(engine.clone());
        let lines: Vec<_> = built_in_questions()[3..6]
            .iter()
            .enumerate()
            .map(|(number, (_, question))| {
                let decision = slot.decide(question);
                let mut entry = Entry::new(number.to_string(), question.clone(), &decision, engine.limits());
                if number == 1 {
                    // As if another module had decided.
                    entry.attempts.clear();
                    entry.answer = Answer::Hold { reason: "let us wait".to_owned() };
                }
                serde_json::to_string(&entry).unwrap()
            })
            .collect();
        let text = lines.join("\n") + "\n\n{\"decision\": \"scaling\", \"more\": 1}\n";
        let lines = super::lines(&text).unwrap();
        let entries = entries::<Question>(&lines).unwrap();
        assert_eq!(entries.len(), 3, "a decision of another kind was taken for one of this");
        let replayed = ask(&engine, &engine.embedded().unwrap(), None, entries).unwrap();
        let (text, exact) = told(&replayed);
        assert!(exact);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_line_that_is_no_decision_is_named() {
        for text in ["\n{}\n", "\n{\"decision\": \"primary-selection\"}"] {
            let entries = lines(text).and_then(|lines| entries::<Question>(&lines));
            let error = format!("{:#}", entries.unwrap_err());
            assert!(error.contains("line 2"), "{error}");
        }
    }
}

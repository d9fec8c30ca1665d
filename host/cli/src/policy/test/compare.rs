//! What a module said beside what it should have said.

use std::collections::BTreeMap;

use engine::{Failure, LoadError};
use topology::decision::{Answer, Ranked};

use super::scenario::{Expect, Refused, Texts};
use crate::style::{Style, Tone};

/// The score that the SDK gives to whoever is ruled out.
const VETOED: i64 = i64::MIN;

/// One way in which an answer is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is about. Alone where nothing is compared.
    what: String,
    expected: Option<String>,
    found: Option<String>,
}

impl Difference {
    pub fn between(what: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), expected: Some(expected.into()), found: Some(found.into()) }
    }

    /// Something that helps to understand the others.
    pub fn note(what: String) -> Self {
        Self { what, expected: None, found: None }
    }

    /// Lines under a scenario's name: `-` was expected, `+` was found.
    pub fn in_words(&self, style: Style) -> String {
        let mut text = format!("        {}\n", self.what);
        for (sign, line, tone) in [("-", &self.expected, Tone::Bad), ("+", &self.found, Tone::Good)] {
            if let Some(line) = line {
                text.push_str(&format!("          {}\n", style.text(&format!("{sign} {line}"), tone)));
            }
        }
        text
    }
}

/// Finds everything that is not as expected. The answer is an error where the settings were not taken.
pub fn compare(expect: &Expect, answer: Result<&Result<Answer, Failure>, &LoadError>) -> Vec<Difference> {
    match answered(expect.refused.as_ref(), &wanted(expect), answer) {
        Err(differences) => differences,
        Ok(Answer::Hold { reason }) => match &expect.hold {
            Some(texts) => missing("hold", texts, reason),
            None => vec![Difference::between("answer", wanted(expect), format!("hold: {reason}"))],
        },
        Ok(Answer::Promote { candidate, reason, ranking }) => choice(expect, candidate, reason, ranking),
    }
}

/// The answer, if there is one and one is expected; otherwise in what that is not as expected.
pub fn answered<'a, A>(
    refused: Option<&Refused>,
    wanted: &str,
    answer: Result<&'a Result<A, Failure>, &LoadError>,
) -> Result<&'a A, Vec<Difference>> {
    match (answer, refused) {
        (Err(error), Some(refused)) => Err(refusal(refused, error)),
        (Ok(_), Some(Refused { path, .. })) => {
            let path = path.as_deref().unwrap_or_default();
            Err(vec![Difference::between("settings", format!("refused {path}").trim_end(), "taken")])
        }
        (Err(error @ LoadError::Settings { .. }), None) => {
            Err(vec![Difference::between("settings", "taken", error.to_string())])
        }
        (Err(error), None) => Err(vec![Difference::between("answer", wanted, format!("none: {error}"))]),
        (Ok(Err(failure)), None) => Err(vec![Difference::between("answer", wanted, format!("none: {failure}"))]),
        (Ok(Ok(answer)), None) => Ok(answer),
    }
}

/// What is expected of an answer, in words.
fn wanted(expect: &Expect) -> String {
    match (&expect.chosen, &expect.hold) {
        (Some(chosen), _) => format!("chosen: {chosen}"),
        (None, Some(Texts(texts))) => format!("hold: {}", texts.join(" … ")),
        (None, None) => "settings refused".to_owned(),
    }
}

fn refusal(refused: &Refused, error: &LoadError) -> Vec<Difference> {
    let LoadError::Settings { path, message } = error else {
        return vec![Difference::between("settings", "refused by the module", error.to_string())];
    };
    let mut differences = Vec::new();
    if let Some(wanted) = refused.path.as_ref().filter(|wanted| *wanted != path) {
        differences.push(Difference::between("path of what is refused", shown(wanted), shown(path)));
    }
    differences.extend(missing("why it is refused", &refused.message, message));
    differences
}

/// A path of settings, which is empty where it is about the whole.
fn shown(path: &str) -> &str {
    if path.is_empty() { "(the whole)" } else { path }
}

fn choice(expect: &Expect, candidate: &str, reason: &str, ranking: &[Ranked]) -> Vec<Difference> {
    if expect.chosen.as_deref() != Some(candidate) {
        let mut differences =
            vec![Difference::between("answer", wanted(expect), format!("chosen: {candidate}, because it {reason}"))];
        differences.extend(ranking.iter().map(row));
        return differences;
    }
    let (vetoed, ranked): (Vec<&Ranked>, Vec<&Ranked>) = ranking.iter().partition(|row| row.score == VETOED);
    let mut differences = missing("reason", &expect.reason, reason);
    if let Some(order) = &expect.order {
        let found: Vec<&str> = ranked.iter().map(|row| row.name.as_str()).collect();
        if *order != found {
            differences.push(Difference::between("order", order.join(", "), found.join(", ")));
            differences.extend(ranked.iter().map(|one| row(one)));
        }
    }
    if let Some(vetoes) = &expect.vetoes {
        differences.extend(ruled_out(vetoes, &vetoed));
    }
    differences
}

fn ruled_out(expected: &BTreeMap<String, Texts>, vetoed: &[&Ranked]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (name, texts) in expected {
        match vetoed.iter().find(|row| row.name == *name) {
            Some(row) => differences.extend(missing(&format!("veto of {name}"), texts, &row.reason)),
            None => differences.push(Difference::between(&format!("veto of {name}"), texts.0.join(" … "), "none")),
        }
    }
    let unexpected = vetoed.iter().filter(|row| !expected.contains_key(&row.name));
    differences
        .extend(unexpected.map(|row| Difference::between(&format!("veto of {}", row.name), "none", &row.reason)));
    differences
}

/// The texts that something does not contain.
pub fn missing(what: &str, texts: &Texts, found: &str) -> Vec<Difference> {
    let missing = texts.0.iter().filter(|text| !found.contains(text.as_str()));
    missing.map(|text| Difference::between(what, format!("… {text} …"), found)).collect()
}

fn row(row: &Ranked) -> Difference {
    let Ranked { name, score, reason } = row;
    let score = if *score == VETOED { "-".to_owned() } else { score.to_string() };
    Difference::note(format!("{name}  {score}  {reason}"))
}

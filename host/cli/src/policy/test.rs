//! `policy test`: what a module decides in situations somebody wrote down, beside what it should.
//!
//! The module runs in the sandbox that the operator uses, with the same limits. Nothing here may judge the module's
//! taste: what is right stands in the file.

mod compare;
mod scenario;
mod situation;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use engine::{DecisionKind, Engine, Failure, Kind, LoadError, Module};
use serde::Deserialize;
use serde_json::Value;

use compare::Difference;

use crate::style::{Style, Tone};

/// Which module to ask what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component, plain or packed with zstd or gzip.
    module: PathBuf,
    /// Situations with what is expected in them, as YAML. docs/policies.md has the fields.
    scenarios: PathBuf,
    /// Only scenarios whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Asks a module and compares. The exit code is 1 where an answer is not as expected.
///
/// # Errors
/// The module does not load, or the file is no list of scenarios.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { module, scenarios, only } = arguments;
    let told = |path: &PathBuf| format!("{} could not be read", path.display());
    let text = std::fs::read_to_string(&scenarios).with_context(|| told(&scenarios))?;
    let bytes = std::fs::read(&module).with_context(|| told(&module))?;
    let (engine, loaded) = super::load(bytes).await.with_context(|| module.display().to_string())?;
    let report = tokio::task::spawn_blocking(move || report(&engine, &loaded, &text, only.as_deref()));
    let report = report.await?.with_context(|| scenarios.display().to_string())?;
    print!("{}", report.in_words(Style::of_stdout()));
    anyhow::ensure!(!report.outcomes.is_empty(), "no scenario was asked; does --only name one?");
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A situation of some decision, and what is expected in it.
trait Scene {
    /// What is asked in it.
    type Question: DecisionKind;

    fn name(&self) -> &str;

    /// Settings instead of the file's.
    fn settings(&self) -> Option<&Value>;

    fn question(&self) -> Self::Question;

    /// In what an answer is not as expected. It is an error where the settings were not taken.
    fn compare(&self, answer: Result<&Answered<Self::Question>, &LoadError>) -> Vec<Difference>;
}

/// What a module made of a question.
type Answered<Q> = Result<<Q as DecisionKind>::Answer, Failure>;

/// A file of scenarios.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File<S> {
    /// The settings of every scenario that has none of its own.
    settings: Option<Value>,
    /// The scenarios.
    scenarios: Vec<S>,
}

/// What came of a file.
struct Report {
    outcomes: Vec<(String, Vec<Difference>)>,
}

/// Scenarios are written in the words of what the module decides.
fn report(engine: &Engine, module: &Arc<Module>, text: &str, only: Option<&str>) -> anyhow::Result<Report> {
    let outcomes = match module.kind() {
        Kind::PrimarySelection => outcomes(engine, module, &scenario::read(text)?, only),
        Kind::Scaling => outcomes(engine, module, &situation::read::<situation::Scaling>(text)?, only),
        Kind::ConfigTuning => outcomes(engine, module, &situation::read::<situation::ConfigTuning>(text)?, only),
        Kind::BackupWindow => outcomes(engine, module, &situation::read::<situation::BackupWindow>(text)?, only),
    };
    Ok(Report { outcomes })
}

fn outcomes<S: Scene>(
    engine: &Engine,
    module: &Arc<Module>,
    file: &File<S>,
    only: Option<&str>,
) -> Vec<(String, Vec<Difference>)> {
    let asked = file.scenarios.iter().filter(|scene| only.is_none_or(|part| scene.name().contains(part)));
    asked.map(|scene| (scene.name().to_owned(), ask(engine, module, file, scene))).collect()
}

fn ask<S: Scene>(engine: &Engine, module: &Arc<Module>, file: &File<S>, scene: &S) -> Vec<Difference> {
    let settings = scene.settings().or(file.settings.as_ref()).cloned().unwrap_or_default();
    let answer = engine.bind(module.clone(), &settings).map(|binding| binding.decide(&scene.question()).result);
    let mut differences = scene.compare(answer.as_ref());
    if !differences.is_empty() && !settings.is_null() {
        differences.push(Difference::note(format!("its settings: {settings}")));
    }
    differences
}

impl Report {
    fn failed(&self) -> usize {
        self.outcomes.iter().filter(|(_, differences)| !differences.is_empty()).count()
    }

    fn in_words(&self, style: Style) -> String {
        let mut text = String::new();
        for (name, differences) in &self.outcomes {
            let (word, tone) = if differences.is_empty() { ("ok    ", Tone::Good) } else { ("FAILED", Tone::Bad) };
            text.push_str(&format!("{}  {name}\n", style.text(word, tone)));
            differences.iter().for_each(|difference| text.push_str(&difference.in_words(style)));
        }
        let (asked, failed) = (self.outcomes.len(), self.failed());
        let unit = if asked == 1 { "scenario" } else { "scenarios" };
        text.push_str(&format!("{asked} {unit}, {failed} failed\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use engine::Options;

    use super::*;

    fn told(yaml: &str) -> (usize, String) {
        let engine = Engine::new(Options::compiling_in_process()).unwrap();
        let module = engine.embedded().unwrap();
        let report = report(&engine, &module, yaml, None).unwrap();
        (report.failed(), report.in_words(Style { colour: false, width: None }))
    }

    #[test]
    fn what_is_as_expected_passes() {
        let (failed, text) = told(include_str!("../../../../policies/most-advanced/scenarios.yaml"));
        assert_eq!(failed, 0, "{text}");
    }

    #[test]
    fn what_is_not_is_told_beside_what_was_expected() {
        let (failed, text) = told(
            r#"
            scenarios:
              - name: somebody else was expected
                members:
                  - {name: shop-0, ineligible: {unreachable: its agent does not answer}}
                  - {name: shop-1, missing: 3}
                  - {name: shop-2, unapplied: 5}
                expect: {chosen: shop-1, reason: best}
              - name: the same member for other reasons
                members:
                  - {name: shop-1, missing: 3}
                  - {name: shop-2, unapplied: 5}
                expect: {chosen: shop-2, reason: [5 left, best], order: [shop-1, shop-2], vetoes: {shop-1: on loan}}
              - name: a hold was expected
                members: [{name: shop-0}]
                expect: {hold: nobody}
              - name: a choice was expected
                members: []
                expect: {chosen: shop-0}
              - name: settings that should have been refused
                members: [{name: shop-0}]
                expect: {refused: {path: zones}}
              - name: settings that should have been taken
                settings: {zones: [a]}
                expect: {chosen: shop-0}
            "#,
        );
        assert_eq!(failed, 6, "{text}");
        insta::assert_snapshot!(text, @r#"
        FAILED  somebody else was expected
                answer
                  - chosen: shop-1
                  + chosen: shop-2, because it has every transaction; 5 left to apply
                shop-2  -5  has every transaction; 5 left to apply
                shop-1  -6  lacks 3 transactions; 0 left to apply
        FAILED  the same member for other reasons
                reason
                  - … best …
                  + has every transaction; 5 left to apply
                order
                  - shop-1, shop-2
                  + shop-2, shop-1
                shop-2  -5  has every transaction; 5 left to apply
                shop-1  -6  lacks 3 transactions; 0 left to apply
                veto of shop-1
                  - on loan
                  + none
        FAILED  a hold was expected
                answer
                  - hold: nobody
                  + chosen: shop-0, because it has every transaction; 0 left to apply
                shop-0  0  has every transaction; 0 left to apply
        FAILED  a choice was expected
                answer
                  - chosen: shop-0
                  + hold: there are no members to choose from
        FAILED  settings that should have been refused
                settings
                  - refused zones
                  + taken
        FAILED  settings that should have been taken
                settings
                  - taken
                  + settings: this policy has no settings: remove them
                its settings: {"zones":["a"]}
        6 scenarios, 6 failed
        "#);
    }
}

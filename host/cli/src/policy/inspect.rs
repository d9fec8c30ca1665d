//! `policy inspect`: what a module says about itself, and whether it would be taken.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use engine::{DecisionKind as _, Description, Module};
use serde_json::Value;

use super::of_kind;

/// Which module to look at.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component, plain or packed with zstd or gzip.
    file: PathBuf,
    /// Settings, as JSON, for the module to check and to be rehearsed with.
    #[arg(long, value_name = "JSON", value_parser = super::json)]
    settings: Option<Value>,
}

/// Loads a module and says what it is.
///
/// # Errors
/// The rung of the ladder that it did not reach.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { file, settings } = arguments;
    let bytes = std::fs::read(&file).with_context(|| format!("{} could not be read", file.display()))?;
    let size = super::packed(bytes.clone()).map(|packed| packed.len()).ok();
    let (engine, module) = super::load(bytes).await.with_context(|| file.display().to_string())?;
    print!("{}", Seen::of(&module, size).in_words());
    if let Some(settings) = settings {
        let bound = tokio::task::spawn_blocking(move || {
            of_kind!(module.kind(), Question => {
                engine.bind::<Question>(module, &settings).map(|_| Question::rehearsals().len())
            })
        });
        let rehearsals = bound.await?.context("--settings")?;
        println!("settings   accepted; rehearsed on {rehearsals} built-in questions");
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to show.
struct Seen<'a> {
    description: &'a Description,
    decides: &'a str,
    contract: &'a str,
    world: &'a str,
    imports: &'a [String],
    digest: &'a str,
    bytes: usize,
    packed: Option<usize>,
}

impl<'a> Seen<'a> {
    fn of(module: &'a Module, packed: Option<usize>) -> Self {
        Self {
            description: module.description(),
            decides: module.kind().name(),
            contract: module.abi().name(),
            world: module.abi().world(),
            imports: module.imports(),
            digest: module.digest(),
            bytes: module.bytes(),
            packed,
        }
    }

    fn in_words(&self) -> String {
        let Description { name, version, summary, settings_schema } = self.description;
        let Self { decides, contract, world, imports, digest, bytes, packed, .. } = self;
        let packed = packed.map_or_else(String::new, |packed| format!(", {packed} packed with zstd"));
        let imports = if imports.is_empty() { "nothing".to_owned() } else { imports.join(", ") };
        let mut text = format!(
            "module     {name} {version}\nsummary    {summary}\ndecides    {decides}\ncontract   {contract}\nworld      {world}\nimports    {imports}\ndigest     {digest}\nsize       {bytes} bytes{packed}\n"
        );
        match settings_schema {
            Some(schema) => {
                let _ = writeln!(text, "schema     {}", schema.trim().replace('\n', "\n           "));
            }
            None => text.push_str("schema     none given\n"),
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_shown_with_all_it_says() {
        let description = Description {
            name: "prefer-zone".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "keeps the primary in the first zone of a list".to_owned(),
            settings_schema: Some("{\n  \"type\": \"object\"\n}\n".to_owned()),
        };
        let imports = ["grampus:log/log@0.1.0".to_owned()];
        let seen = Seen {
            description: &description,
            decides: "primary-selection",
            contract: "grampus:primary-selection@0.2.0",
            world: "grampus:primary-selection/primary-selection@0.2.0",
            imports: &imports,
            digest: "sha256:01",
            bytes: 30_000,
            packed: Some(10_000),
        };
        insta::assert_snapshot!(seen.in_words(), @r#"
        module     prefer-zone 0.1.0
        summary    keeps the primary in the first zone of a list
        decides    primary-selection
        contract   grampus:primary-selection@0.2.0
        world      grampus:primary-selection/primary-selection@0.2.0
        imports    grampus:log/log@0.1.0
        digest     sha256:01
        size       30000 bytes, 10000 packed with zstd
        schema     {
                     "type": "object"
                   }
        "#);
    }
}

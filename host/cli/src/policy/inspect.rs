//! `policy inspect`: what a module says about itself, and whether it would be taken.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use engine::{Description, built_in_questions};
use serde_json::Value;

/// Which module to look at.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component, plain or packed with zstd or gzip.
    file: PathBuf,
    /// Settings, as JSON, for the module to check and to be rehearsed with.
    #[arg(long, value_name = "JSON", value_parser = settings)]
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
    print!("{}", text(module.description(), module.abi().name(), module.digest(), module.bytes(), size));
    if let Some(settings) = settings {
        let bound = tokio::task::spawn_blocking(move || engine.bind(module, &settings)).await?;
        bound.context("--settings")?;
        println!("settings   accepted; rehearsed on {} built-in questions", built_in_questions().len());
    }
    Ok(ExitCode::SUCCESS)
}

fn text(description: &Description, contract: &str, digest: &str, bytes: usize, packed: Option<usize>) -> String {
    let Description { name, version, summary, settings_schema } = description;
    let packed = packed.map_or_else(String::new, |packed| format!(", {packed} packed with zstd"));
    let mut text = format!(
        "module     {name} {version}\nsummary    {summary}\ncontract   {contract}\ndigest     {digest}\nsize       {bytes} bytes{packed}\n"
    );
    match settings_schema {
        Some(schema) => {
            let _ = writeln!(text, "schema     {}", schema.trim().replace('\n', "\n           "));
        }
        None => text.push_str("schema     none given\n"),
    }
    text
}

fn settings(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
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
        let text = text(&description, "grampus:primary-selection@0.1.0", "sha256:01", 30_000, Some(10_000));
        insta::assert_snapshot!(text, @r#"
        module     prefer-zone 0.1.0
        summary    keeps the primary in the first zone of a list
        contract   grampus:primary-selection@0.1.0
        digest     sha256:01
        size       30000 bytes, 10000 packed with zstd
        schema     {
                     "type": "object"
                   }
        "#);
    }
}

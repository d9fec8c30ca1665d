//! `crds`: the CustomResourceDefinitions that fit this binary.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

/// Prints every CRD as one YAML stream.
pub fn run() -> anyhow::Result<ExitCode> {
    let files = objects::api::crd_files().context("the CustomResourceDefinitions could not be written as YAML")?;
    let mut out = std::io::stdout().lock();
    for (_, text) in files {
        write!(out, "---\n{text}")?;
    }
    Ok(ExitCode::SUCCESS)
}

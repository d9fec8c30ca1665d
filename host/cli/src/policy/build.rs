//! `policy build`: a policy crate into a component, through cargo.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

/// Which crate to build.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the crate, as in `prefer-zone`. Its workspace needs a profile `policy`.
    package: String,
    /// The workspace it belongs to. The current directory if not given.
    #[arg(long, default_value = ".")]
    workspace: PathBuf,
    /// The file to write. `NAME.wasm` if not given.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Builds a crate and writes the component.
///
/// # Errors
/// It does not build, or is no policy.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { package, workspace, output } = arguments;
    let workspace = workspace.canonicalize().with_context(|| format!("--workspace: {}", workspace.display()))?;
    let component = engine::build::policy_in(&workspace, package)?;
    let output = output.clone().unwrap_or_else(|| PathBuf::from(format!("{package}.wasm")));
    std::fs::write(&output, &component).with_context(|| format!("{} could not be written", output.display()))?;
    println!("{}: {} bytes", output.display(), component.len());
    Ok(ExitCode::SUCCESS)
}

//! `policy build`: a policy crate into a component, through cargo.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

/// Which crate to build.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the crate, as in `prefer-zone`; the one in the workspace's directory if not given. Its workspace
    /// needs a profile `policy`.
    package: Option<String>,
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
    let package = match package {
        Some(package) => package.clone(),
        None => engine::build::crate_in(&workspace)?,
    };
    let component = engine::build::policy_in(&workspace, &package)?;
    let output = output.clone().unwrap_or_else(|| PathBuf::from(format!("{package}.wasm")));
    std::fs::write(&output, &component).with_context(|| format!("{} could not be written", output.display()))?;
    let packed = engine::build::pack(&component).context("the module could not be packed")?;
    println!("{}: {} bytes, {} packed", output.display(), component.len(), packed.len());
    Ok(ExitCode::SUCCESS)
}

//! `policy build`: a policy crate into a component, through cargo; or the last step of it for a core module that
//! another toolchain built.

use std::path::{Path, PathBuf};
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
    /// A core module that carries the contract, to be made a component: for policies in other languages than Rust.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["package", "workspace"], requires = "output")]
    core: Option<PathBuf>,
    /// The file to write. `NAME.wasm` if not given.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Builds a crate, or takes a core module, and writes the component.
///
/// # Errors
/// It does not build, or is no policy.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { package, workspace, core, output } = arguments;
    if let (Some(core), Some(output)) = (core, output) {
        let bytes = std::fs::read(core).with_context(|| format!("--core: {} could not be read", core.display()))?;
        let component = engine::build::component(&bytes).with_context(|| format!("--core: {}", core.display()))?;
        return write(&component, output);
    }
    let workspace = workspace.canonicalize().with_context(|| format!("--workspace: {}", workspace.display()))?;
    let package = match package {
        Some(package) => package.clone(),
        None => engine::build::crate_in(&workspace)?,
    };
    let component = engine::build::policy_in(&workspace, &package)?;
    let output = output.clone().unwrap_or_else(|| PathBuf::from(format!("{package}.wasm")));
    write(&component, &output)
}

fn write(component: &[u8], output: &Path) -> anyhow::Result<ExitCode> {
    std::fs::write(output, component).with_context(|| format!("{} could not be written", output.display()))?;
    let packed = engine::build::pack(component).context("the module could not be packed")?;
    println!("{}: {} bytes, {} packed", output.display(), component.len(), packed.len());
    Ok(ExitCode::SUCCESS)
}

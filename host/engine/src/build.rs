//! Builds a policy crate into a component, the same bytes wherever the tree lies.
//!
//! For tests, demos, benchmarks and `grampus policy build`. It runs cargo, so it must never be part of deciding.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo could not be run.
    #[error("cannot run cargo: {0}. Install Rust, or put cargo on the PATH")]
    Cargo(#[from] std::io::Error),
    /// The crate does not build.
    #[error("the policy crate `{package}` does not build:\n{output}")]
    Failed {
        /// Its name.
        package: String,
        /// What cargo said.
        output: String,
    },
    /// Cargo built, but no module came of it.
    #[error("building `{0}` gave no WebAssembly module. A policy is a library crate: it needs a src/lib.rs")]
    NoModule(String),
    /// There is no crate to build where one was looked for.
    #[error("{0}")]
    NoCrate(String),
    /// A core module that was built by other means is no policy.
    #[error(
        "the core module is no policy: {0}. It has to carry the contract in a custom section, as `wit-bindgen` makes it, \
         and to export the contract's functions"
    )]
    Core(String),
    /// It is no policy.
    #[error(
        "`{package}` built, but is no policy: {why}. Does it use one of the macros of grampus_policy, such as `primary_selection!`?"
    )]
    Encode {
        /// Its name.
        package: String,
        /// What the encoder says.
        why: String,
    },
}

/// Builds a policy of this workspace by the name of its crate. Cargo's usual settings, such as
/// `CARGO_TARGET_DIR`, apply.
///
/// # Errors
/// It does not build, or is no policy.
pub fn policy(package: &str) -> Result<Vec<u8>, BuildError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = here.ancestors().nth(2).unwrap_or(here);
    policy_in(workspace, package)
}

/// The name of the crate whose manifest lies in a directory.
///
/// # Errors
/// There is none, or cargo cannot read it.
pub fn crate_in(directory: &Path) -> Result<String, BuildError> {
    let output = cargo()
        .current_dir(directory)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(BuildError::NoCrate(format!("no crate in {}: {}", directory.display(), why.trim())));
    }
    let known: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let packages = known["packages"].as_array().cloned().unwrap_or_default();
    let manifest = directory.join("Cargo.toml");
    let here = packages
        .iter()
        .find(|package| package["manifest_path"].as_str().is_some_and(|path| manifest == Path::new(path)));
    let name = here.and_then(|package| package["name"].as_str());
    name.map(str::to_owned).ok_or_else(|| {
        let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
        let here = directory.display();
        BuildError::NoCrate(format!("{here} is a workspace and no crate; say which to build: {}", names.join(", ")))
    })
}

/// Builds a policy of another workspace, which must have a profile `policy`.
///
/// # Errors
/// It does not build, or is no policy.
pub fn policy_in(workspace: &Path, package: &str) -> Result<Vec<u8>, BuildError> {
    let core = core_module(workspace, package)?;
    encode(&core).map_err(|why| BuildError::Encode { package: package.to_owned(), why })
}

/// Makes a component of a core module, whatever language it was written in.
///
/// # Errors
/// It does not carry the contract, or does not export what that asks for.
pub fn component(core: &[u8]) -> Result<Vec<u8>, BuildError> {
    encode(core).map_err(BuildError::Core)
}

fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = wit_component::ComponentEncoder::default();
    let encoded = encoder.validate(true).module(core).and_then(|encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}"))
}

/// Packs a component the way ConfigMaps carry it: zstd at level 19, the highest that needs no special decoder.
///
/// # Errors
/// Memory ran out.
pub fn pack(component: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(component, 19)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn core_module(workspace: &Path, package: &str) -> Result<Vec<u8>, BuildError> {
    let output = cargo()
        .current_dir(workspace)
        .args(["rustc", "--quiet", "--package", package, "--lib", "--profile", "policy"])
        .args(["--target", "wasm32-unknown-unknown", "--crate-type", "cdylib"])
        .args(["--message-format", "json-render-diagnostics"])
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace).join("\x1f"))
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BuildError::Failed { package: package.to_owned(), output });
    }
    let module = module_path(&output.stdout, package).ok_or_else(|| BuildError::NoModule(package.to_owned()))?;
    Ok(std::fs::read(module)?)
}

/// Panic messages carry paths of source files: without these, the bytes would depend on where the tree lies.
fn flags(workspace: &Path) -> Vec<String> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=/policy", workspace.display())];
    flags.extend(cargo_home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
    flags
}

/// Finds the module among the artifacts that cargo reports.
fn module_path(messages: &[u8], package: &str) -> Option<PathBuf> {
    let wanted = package.replace('-', "_");
    String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == wanted.as_str())
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|end| end == "wasm"))
}

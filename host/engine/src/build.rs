//! Builds a policy crate into a component, the same bytes wherever the tree lies.
//!
//! For tests, demos, benchmarks and `grampus policy build`. It runs cargo, so it must never be part of deciding.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::abi::Abi;

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
    /// What should become a component is not WebAssembly, or a component already.
    #[error("expected a core WebAssembly module, found {found}")]
    NotCore {
        /// What it looks like.
        found: &'static str,
    },
    /// A core module does not say what it exports.
    #[error(
        "the core module carries no contract: it has no custom section `component-type…`, so that nobody can tell what it \
         decides. Link the object file into it that the generator of bindings wrote beside its sources (of `wit-bindgen c`: \
         `…_component_type.o`), or add the section afterwards: `wasm-tools component embed --world WORLD DIRECTORY CORE.wasm \
         -o EMBEDDED.wasm`, with a directory of the contracts in wit/ (`grampus policy new` writes them beside a crate) and \
         one of the worlds {worlds}"
    )]
    NoContract {
        /// The worlds of the contracts that are known.
        worlds: String,
    },
    /// A core module says that it exports something else.
    #[error(
        "the core module carries the contract of another world: expected that it exports one of {expected}, found {found}. \
         Generate its bindings from one of the contracts in wit/, unchanged"
    )]
    OtherContract {
        /// The interfaces of the contracts that are known.
        expected: String,
        /// What it says that it exports.
        found: String,
    },
    /// A core module carries a contract and does not keep it.
    #[error(
        "the core module carries the contract and does not keep it: {0}. It has to export every function of the contract, and \
         may import nothing but the log"
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
    let no_policy = |why: String| BuildError::Encode { package: package.to_owned(), why };
    expect_contract(&core).map_err(|lacks| match lacks {
        BuildError::NoContract { .. } => no_policy("it carries no contract".to_owned()),
        other => no_policy(other.to_string()),
    })?;
    encode(&core).map_err(no_policy)
}

/// Makes a component of a core module, whatever language it was written in.
///
/// # Errors
/// It does not carry a contract that is known, or does not export what that asks for.
pub fn component(core: &[u8]) -> Result<Vec<u8>, BuildError> {
    expect_contract(core)?;
    encode(core).map_err(BuildError::Core)
}

/// Componentizing makes something of any core module: without a contract a component that exports nothing, which would
/// only be refused where it is loaded.
fn expect_contract(core: &[u8]) -> Result<(), BuildError> {
    /// What a core module begins with. A component has the same first four bytes.
    const CORE: &[u8] = b"\0asm\x01\0\0\0";
    if !core.starts_with(CORE) {
        let found =
            if core.starts_with(&CORE[..4]) { "a component, which needs no further step" } else { "something else" };
        return Err(BuildError::NotCore { found });
    }
    let decoded = wit_component::metadata::decode(core).map_err(|error| BuildError::Core(format!("{error:#}")))?;
    let (Some(_), carried) = decoded else {
        return Err(BuildError::NoContract { worlds: listed(Abi::world) });
    };
    let world = &carried.resolve.worlds[carried.world];
    let exports: Vec<String> = world.exports.keys().map(|key| carried.resolve.name_world_key(key)).collect();
    if Abi::ALL.iter().any(|abi| exports.iter().any(|export| export == abi.interface())) {
        return Ok(());
    }
    let found = if exports.is_empty() { "nothing".to_owned() } else { format!("`{}`", exports.join("`, `")) };
    Err(BuildError::OtherContract { expected: listed(Abi::interface), found })
}

fn listed(name: fn(Abi) -> &'static str) -> String {
    format!("`{}`", Abi::ALL.map(name).join("`, `"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CORE_MODULE, NOT_WASM, other_world};

    /// A core module that says that it was built for a world.
    fn built_for(wit: &str) -> Vec<u8> {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("contract.wit", wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut core = CORE_MODULE.to_vec();
        let utf8 = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut core, &resolve, world, utf8, false).unwrap();
        core
    }

    fn told(core: &[u8]) -> String {
        component(core).unwrap_err().to_string()
    }

    #[test]
    fn a_core_module_without_a_contract_of_ours_is_told_what_it_lacks_and_how_to_add_it() {
        let bare = told(CORE_MODULE);
        for words in ["no custom section", "_component_type.o", "component embed", Abi::ScalingV0_1.world()] {
            assert!(bare.contains(words), "{words}: {bare}");
        }
        let foreign = told(&built_for("package a:b@1.0.0; interface c { d: func(); } world e { export c; }"));
        for words in ["found `a:b/c@1.0.0`", Abi::PrimarySelectionV0_2.interface(), "wit/"] {
            assert!(foreign.contains(words), "{words}: {foreign}");
        }
        assert!(told(&built_for("package a:b; world e {}")).contains("found nothing"));
        let ours =
            "package grampus:scaling@0.1.0; interface policy { decide: func(); } world scaling { export policy; }";
        let empty = told(&built_for(ours));
        assert!(empty.contains("does not keep it") && empty.contains("decide"), "{empty}");
    }

    #[test]
    fn what_is_no_core_module_is_told_what_it_is() {
        assert!(told(&other_world()).contains("a component, which needs no further step"));
        assert!(told(NOT_WASM).contains("expected a core WebAssembly module"));
    }
}

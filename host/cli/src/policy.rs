//! `policy`: what people do with modules outside of a cluster's loop.
//!
//! A module climbs the same ladder here as in the operator, so that what is wrong with it is told before a cluster
//! is told.

mod bench;
mod build;
mod copies;
mod history;
mod inspect;
mod keygen;
mod new;
mod push;
mod replay;
mod rollback;
mod sign;
mod snippet;
mod test;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use engine::{Compiler, Engine, Module, Options};

/// The subcommand under which this program compiles modules, with limits on what that may cost.
const COMPILE: &str = "compile-policy";

/// What zstd's format begins with.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What WebAssembly begins with.
const WASM: &[u8] = b"\0asm";

/// Something for the decision that a module makes, with the type of its question.
macro_rules! of_kind {
    ($kind:expr, $question:ident => $body:expr) => {
        match $kind {
            engine::Kind::PrimarySelection => {
                type $question = topology::decision::Question;
                $body
            }
            engine::Kind::Scaling => {
                type $question = topology::scaling::Question;
                $body
            }
            engine::Kind::ConfigTuning => {
                type $question = topology::tuning::Question;
                $body
            }
            engine::Kind::BackupWindow => {
                type $question = topology::backup_window::Question;
                $body
            }
        }
    };
}
use of_kind;

/// A command about modules.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a policy crate that builds at once, wherever it lies.
    New(new::Arguments),
    /// Build a policy crate in this directory, or of the workspace in it, into a component.
    Build(build::Arguments),
    /// Load a module as the operator would, and show what it says about itself.
    Inspect(inspect::Arguments),
    /// Ask a module in situations that somebody wrote down, and compare with what is expected.
    Test(test::Arguments),
    /// Measure what a decision of a module costs: time, fuel, memory, size.
    Bench(bench::Arguments),
    /// Put a module into a ConfigMap that clusters can name.
    Push(push::Arguments),
    /// Make a pair of keys with which modules are signed and verified.
    Keygen(keygen::Arguments),
    /// Sign a module for a decision, and print what a cluster's spec needs.
    Sign(sign::Arguments),
    /// Say whether a module was signed for a decision by one of some keys.
    Verify(verify::Arguments),
    /// List the modules and settings that were in force in a cluster and that it can go back to.
    History(history::Arguments),
    /// Bring back a module and settings that were in force, by changing the cluster's spec.
    Rollback(rollback::Arguments),
    /// Ask a module what was asked in a journal, and show where it would have decided otherwise.
    Replay(replay::Arguments),
}

/// Carries out a command.
///
/// # Errors
/// What could not be done, and what to do next.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::New(arguments) => new::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Inspect(arguments) => inspect::run(arguments).await,
        Command::Test(arguments) => test::run(arguments).await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Push(arguments) => push::run(arguments).await,
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Sign(arguments) => sign::run(arguments).await,
        Command::Verify(arguments) => verify::run(&arguments),
        Command::History(arguments) => history::run(arguments).await,
        Command::Rollback(arguments) => rollback::run(arguments).await,
        Command::Replay(arguments) => replay::run(arguments).await,
    }
}

/// An argument that is JSON.
fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

/// Loads a module as the operator would.
async fn load(bytes: Vec<u8>) -> anyhow::Result<(Engine, Arc<Module>)> {
    let loaded = tokio::task::spawn_blocking(move || {
        let engine = Engine::new(Options::new(Compiler::this_program(COMPILE)))?;
        let module = engine.load(&bytes)?;
        Ok((engine, module))
    });
    loaded.await.context("loading the module ended unexpectedly")?
}

/// A component the way ConfigMaps carry it. What is packed with zstd already stays as it is.
fn packed(bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    if bytes.starts_with(ZSTD) {
        return Ok(bytes);
    }
    anyhow::ensure!(bytes.starts_with(WASM), "expected a component, plain or packed with zstd; unpack it first");
    engine::build::pack(&bytes).context("the module could not be packed")
}

/// An argument that names a decision.
fn decision(text: &str) -> Result<String, String> {
    let known = engine::Kind::ALL.map(engine::Kind::name);
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("no module decides that; name one of: {}", known.join(", ")))
}

/// Reads a file with a key, or with anything else that is text.
fn read_text(path: &std::path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))
}

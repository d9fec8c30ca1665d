//! The binary: one program that is the operator, the agent, the compiler of policies and what people type.
//!
//! It wires arguments to crates and does nothing else. Called as `kubectl-grampus` it is a plugin of kubectl.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// musl's own allocator is slow with many small allocations, which is what a JSON codec makes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// MySQL on Kubernetes, with replaceable judgement.
#[derive(Parser)]
#[command(name = "grampus", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Operator {
        #[command(flatten)]
        options: operator::Options,
        #[command(flatten)]
        log: Log,
    },
    /// Supervise one mysqld: what runs in every MySQL container.
    Agent {
        #[command(flatten)]
        config: Box<agent::Config>,
        #[command(flatten)]
        log: Log,
    },
    /// Copy this binary to where the MySQL container finds it.
    #[command(hide = true)]
    Install {
        /// The file to write.
        to: PathBuf,
    },
    /// Compile the policy on standard input, under limits. The operator calls this.
    #[command(hide = true)]
    CompilePolicy,
    #[command(flatten)]
    Cli(cli::Command),
}

#[derive(clap::Args)]
struct Log {
    /// How log lines look.
    #[arg(long, env = "GRAMPUS_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
    /// What is logged, e.g. `info` or `info,operator=debug`.
    #[arg(long, env = "GRAMPUS_LOG", default_value = "info")]
    log: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Log {
    fn start(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log).with_context(|| format!("--log: `{}` is not a filter", self.log))?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter);
        match self.log_format {
            LogFormat::Json => lines.json().flatten_event(true).init(),
            LogFormat::Text => lines.init(),
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    // Two crypto providers are linked by different libraries; everything of ours uses this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    match arguments().command {
        Command::CompilePolicy => Ok(engine::compile_child_main()),
        Command::Install { to } => install(&to).map(|()| ExitCode::SUCCESS),
        Command::Operator { options, log } => {
            log.start()?;
            let compiler = std::env::current_exe().context("the path of this binary is not known")?;
            runtime()?.block_on(async { operator::run(options, compiler, until_told()?).await })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Agent { config, log } => {
            log.start()?;
            runtime()?.block_on(async { agent::run(*config, until_told()?).await })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Cli(command) => runtime()?.block_on(cli::run(command)),
    }
}

/// As a plugin the program is called by another name, which help and errors should show.
fn arguments() -> Arguments {
    let called = std::env::args_os().next().map(PathBuf::from);
    let plugin = called.as_deref().and_then(|path| path.file_name()).is_some_and(|name| name == "kubectl-grampus");
    let command = if plugin { Arguments::command().bin_name("kubectl grampus") } else { Arguments::command() };
    let matches = command.get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")
}

/// Cancelled when the process is asked to end.
fn until_told() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

/// Copies the running binary. An image made from scratch has no `cp`.
fn install(to: &std::path::Path) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("the path of this binary is not known")?;
    let directory = to.parent().context("the file to write has no directory")?;
    let part = directory.join(".grampus.part");
    std::fs::copy(&own, &part).with_context(|| format!("copying {} to {}", own.display(), part.display()))?;
    std::fs::rename(&part, to).with_context(|| format!("renaming {} to {}", part.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_can_be_parsed() {
        Arguments::command().debug_assert();
        let operator = ["grampus", "operator", "--image", "x", "--policy-key", "a,b", "--policy-key", "c"];
        let defaults = ["--default-policy", "primary-selection=zones/policy.wasm.zst", "--require-signed-policies"];
        let arguments = Arguments::try_parse_from(operator.iter().chain(&defaults)).expect("an operator's arguments");
        let Command::Operator { options, .. } = arguments.command else { panic!("another command") };
        assert_eq!((options.policies.keys.len(), options.policies.defaults.len()), (3, 1));
        assert!(options.policies.require_signed);
    }
}

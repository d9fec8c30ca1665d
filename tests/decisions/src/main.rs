//! What a decision costs and what swapping modules costs, in numbers, on an optimised binary of the kind that ships.
//!
//! Prints one JSON object that the bench turns into rows of its table. It asserts no time; it fails where two ways to
//! ask do not give the same answer, and where a decision fails or is torn by a swap.

mod contest;
mod figures;
mod http;
mod many;
mod modules;
mod question;
mod swaps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use figures::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured.
#[derive(Parser)]
struct Arguments {
    /// How many decisions each way to ask is timed for; those that take a millisecond or more are asked a tenth.
    #[arg(long, default_value_t = 10_000)]
    calls: usize,
    /// The policy server `opa`; it is left out if not given.
    #[arg(long)]
    opa: Option<PathBuf>,
    /// How often a module is swapped while eight threads decide; none if 0.
    #[arg(long, default_value_t = 10_000)]
    swaps: usize,
    /// How many different modules are loaded at once, and in how many clusters one is used; none if 0.
    #[arg(long, default_value_t = 500)]
    modules: usize,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What this program does as a child of itself.
#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Answers decisions over HTTP, natively.
    #[command(name = http::SERVE, hide = true)]
    Serve,
    /// Compiles a module, as the operator's own child does.
    #[command(name = modules::COMPILE, hide = true)]
    Compile,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Compile) => engine::compile_child_main(),
        Some(Command::Serve) => ended(http::serve()),
        None => ended(measure(&arguments)),
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let mut report = Report::default();
    // Memory first, while the process has none that it could use again.
    if arguments.modules > 0 {
        many::measure(arguments.modules, &mut report)?;
    }
    if arguments.swaps > 0 {
        swaps::measure(arguments.swaps, &mut report)?;
    }
    if arguments.calls > 0 {
        contest::measure(arguments.calls, arguments.opa.as_deref(), &mut report)?;
    }
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

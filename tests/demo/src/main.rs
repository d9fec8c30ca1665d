//! The demos: a cluster comes up, loses its primary under load, and gets another judgement while it runs; or it is
//! archived, loses a table, its volumes and itself, and comes back from the store alone.
//!
//! Everything that is shown is looked up, and everything that is claimed is checked: a demo ends with an error
//! when something it shows did not hold. It leaves the lab running for whoever wants to look around.

mod act;
mod fit;
mod recovery;
mod stage;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use kit::{Environment, PolicyModule, Steps};
use stage::Stage;

/// Shows what Grampus does, in a Kubernetes of its own.
#[derive(Parser)]
struct Arguments {
    /// What is shown.
    #[arg(value_enum, default_value_t = Story::Failover)]
    story: Story,
}

#[derive(Clone, Copy, ValueEnum)]
enum Story {
    /// A primary that is killed, and another policy.
    Failover,
    /// A dropped table, and a recovery from the store alone.
    Backup,
}

fn main() -> ExitCode {
    let Arguments { story } = Arguments::parse();
    let stage = Stage::new(Steps::new(true));
    let shown = match story {
        Story::Failover => failover(&stage),
        Story::Backup => backup(&stage),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stage.failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn failover(stage: &Stage) -> Result<()> {
    stage.title("Grampus: MySQL on Kubernetes, with replaceable judgement");
    stage.chapter("A Kubernetes with Grampus in it");
    // Cargo runs for this, so it comes before the lab's network is entered.
    let policy =
        stage.steps.step("building the policy prefer-zone to WebAssembly", || PolicyModule::build("prefer-zone"))?;
    let env = Arc::new(Environment::up(&stage.steps)?);
    env.block_on(act::play(stage, &env, &policy))
}

fn backup(stage: &Stage) -> Result<()> {
    stage.title("Grampus: MySQL on Kubernetes, back from the store alone");
    stage.chapter("A Kubernetes with Grampus in it");
    let env = Arc::new(Environment::up(&stage.steps)?);
    env.block_on(recovery::play(stage, &env))
}

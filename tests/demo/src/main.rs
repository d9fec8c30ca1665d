//! The demo: a cluster comes up, loses its primary under load, and gets another judgement while it runs.
//!
//! Everything that is shown is looked up, and everything that is claimed is checked: the demo ends with an error
//! when something it shows did not hold. It leaves the lab running for whoever wants to look around.

mod act;
mod fit;
mod stage;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use kit::{Environment, PolicyModule, Steps};
use stage::Stage;

fn main() -> ExitCode {
    let stage = Stage::new(Steps::new(true));
    match run(&stage) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stage.failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(stage: &Stage) -> Result<()> {
    stage.title("Grampus: MySQL on Kubernetes, with replaceable judgement");
    stage.chapter("A Kubernetes with Grampus in it");
    // Cargo runs for this, so it comes before the lab's network is entered.
    let policy =
        stage.steps.step("building the policy prefer-zone to WebAssembly", || PolicyModule::build("prefer-zone"))?;
    let env = Arc::new(Environment::up(&stage.steps)?);
    env.block_on(act::play(stage, &env, &policy))
}

//! Decisions and swaps of modules: measured by a program of their own, because that is an optimised musl binary and
//! nothing else shares its process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use kit::{Steps, optimised};

use crate::figures::Report;

/// How much of it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Amounts {
    /// Decisions of each kind; none if 0.
    pub decisions: usize,
    /// Swaps of a module while decisions run; none if 0.
    pub swaps: usize,
    /// Modules loaded at once, and clusters that use one; none if 0.
    pub modules: usize,
}

/// Runs the program and takes its figures over.
pub fn measure(steps: &Steps, amounts: Amounts, report: &mut Report) -> Result<()> {
    let opa = steps.step("the policy server that decisions are compared with", policy_server)?;
    let program = steps.step("building what decides, optimised", || optimised("decisions"))?;
    let output = steps.step("timing decisions, and swapping modules beside them", || {
        let mut command = Command::new(program);
        command.arg("--opa").arg(opa).args(["--calls", &amounts.decisions.to_string()]);
        command.args(["--swaps", &amounts.swaps.to_string(), "--modules", &amounts.modules.to_string()]);
        run(command)
    })?;
    report.join(serde_json::from_slice(&output.stdout).context("the program `decisions` printed no JSON")?);
    Ok(())
}

/// Builds the policy server where it is not there yet.
fn policy_server() -> Result<PathBuf> {
    let mut command = Command::new(here().join("../lab/setup.sh"));
    command.arg("opa");
    let output = run(command)?;
    let path = String::from_utf8(output.stdout).context("setup.sh printed no path")?;
    Ok(PathBuf::from(path.trim()))
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(mut command: Command) -> Result<Output> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} failed; see above");
    Ok(output)
}

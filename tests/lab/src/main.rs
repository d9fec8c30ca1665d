//! `lab` on the command line: what people and scripts do with the library, one word each.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use lab::{Lab, MachineStatus, Options, Power};
use owo_colors::OwoColorize;

/// A real Kubernetes on this computer, with nodes that can be killed.
#[derive(Parser)]
#[command(name = "lab", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring the lab up, or back to health: start nodes, end hangs, heal links
    Up {
        /// How many worker nodes
        #[arg(long, default_value_t = 3)]
        nodes: u8,
    },
    /// Take the lab away; downloads and builds stay
    Down,
    /// Show machines and cut links
    Status,
    /// Print shell variables: eval "$(./lab env)"
    Env,
    /// Run kubectl against the lab
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a program of this computer in a machine's network, with the cluster's names
    Exec {
        /// Whose network: client, control-plane or a node
        #[arg(long, default_value = lab::CLIENT)]
        node: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Work with images
    #[command(subcommand)]
    Image(ImageAction),
    /// Do something to a machine
    #[command(subcommand)]
    Node(NodeAction),
    /// Cut or heal links
    #[command(subcommand)]
    Link(LinkAction),
}

#[derive(Subcommand)]
enum ImageAction {
    /// Load a docker-archive on every node
    Load { archive: PathBuf },
    /// Pack files of this computer into a docker-archive without a base
    Pack {
        /// The image's name and tag
        #[arg(long)]
        tag: String,
        /// What its containers start as
        #[arg(long)]
        entrypoint: String,
        /// The archive to write
        #[arg(long)]
        output: PathBuf,
        /// Each as SOURCE=PATH-IN-IMAGE; all become executable
        #[arg(required = true)]
        files: Vec<String>,
    },
}

#[derive(Subcommand)]
enum NodeAction {
    /// Cut its power: everything on it is gone at once, its disk stays
    Crash { node: String },
    /// Switch it on and wait until it is Ready
    Start { node: String },
    /// Hang it: stop all its processes where they are
    Pause { node: String },
    /// End a hang
    Resume { node: String },
}

#[derive(Subcommand)]
enum LinkAction {
    /// Let nothing pass between A and B, or between A and everybody
    Cut {
        a: String,
        b: Option<String>,
        /// Only what goes from A
        #[arg(long)]
        one_way: bool,
    },
    /// Let it pass again; without names, everything
    Heal {
        a: Option<String>,
        b: Option<String>,
        /// Only what goes from A
        #[arg(long)]
        one_way: bool,
    },
}

fn main() -> ExitCode {
    match act(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<ExitCode> {
    match action {
        Action::Up { nodes } => Lab::up(Options { nodes, progress: true }).map(drop)?,
        Action::Down => Lab::down()?,
        Action::Status => status(&Lab::attach()?)?,
        Action::Env => environment(&Lab::attach()?),
        Action::Kubectl { arguments } => {
            return become_program(Lab::attach()?.kubectl_command()?.args(arguments));
        }
        Action::Exec { node, command } => {
            let lab = Lab::attach()?;
            return become_program(lab.exec_command(Some(&node), &command[0])?.args(&command[1..]));
        }
        Action::Image(ImageAction::Load { archive }) => Lab::attach()?.load_image(&archive)?,
        Action::Image(ImageAction::Pack { tag, entrypoint, output, files }) => {
            pack(&tag, &entrypoint, &output, &files)?
        }
        Action::Node(action) => node(&Lab::attach()?, action)?,
        Action::Link(action) => link(&Lab::attach()?, action)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Signals, terminal and exit code are then the program's own.
fn become_program(command: &mut Command) -> Result<ExitCode> {
    let error = command.exec();
    anyhow::bail!("cannot run {}: {error}", command.get_program().display())
}

fn pack(tag: &str, entrypoint: &str, output: &Path, files: &[String]) -> Result<()> {
    let mut entries = Vec::new();
    for file in files {
        let (source, target) =
            file.split_once('=').with_context(|| format!("expected SOURCE=PATH-IN-IMAGE, not {file}"))?;
        entries.push((Path::new(source), target, 0o755));
    }
    lab::image::pack(tag, &entries, &[entrypoint], output)
}

fn node(lab: &Lab, action: NodeAction) -> Result<()> {
    match action {
        NodeAction::Crash { node } => lab.node(&node)?.crash(),
        NodeAction::Pause { node } => lab.node(&node)?.pause(),
        NodeAction::Resume { node } => lab.node(&node)?.resume(),
        NodeAction::Start { node } => {
            let node = lab.node(&node)?;
            node.start()?;
            node.wait_ready(Duration::from_secs(90))
        }
    }
}

fn link(lab: &Lab, action: LinkAction) -> Result<()> {
    match action {
        LinkAction::Cut { a, b, one_way } => lab.cut(&a, b.as_deref(), one_way),
        LinkAction::Heal { a: Some(a), b, one_way } => lab.heal(&a, b.as_deref(), one_way),
        LinkAction::Heal { a: None, .. } => lab.heal_all(),
    }
}

fn status(lab: &Lab) -> Result<()> {
    let status = lab.status()?;
    for machine in &status.machines {
        let zone = machine.zone.as_deref().map(|zone| format!("zone {zone}")).unwrap_or_default();
        println!("{:<15}{:<14}{:<8}{}", machine.name, machine.address, zone, state(machine));
    }
    for (from, to) in &status.cuts {
        println!("cut: nothing passes from {from} to {to}");
    }
    Ok(())
}

fn state(machine: &MachineStatus) -> String {
    let (word, good) = match (machine.power, machine.ready) {
        (Power::Off, _) => ("off", false),
        (Power::Paused, _) => ("paused", false),
        (Power::On, Some(false)) => ("on, not ready", false),
        (Power::On, Some(true)) => ("ready", true),
        (Power::On, None) => ("on", true),
    };
    match (std::io::stdout().is_terminal(), good) {
        (false, _) => word.to_owned(),
        (true, true) => word.green().to_string(),
        (true, false) => word.red().to_string(),
    }
}

fn environment(lab: &Lab) {
    println!("# The API server is reachable from inside the lab's networks only: `lab exec -- COMMAND`");
    for (name, value) in lab.environment() {
        let value = value.to_string_lossy().replace('\'', r"'\''");
        println!("export {name}='{value}'");
    }
}

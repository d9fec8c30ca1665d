//! Runs the machine's own tools (`ip`, `nft`, `ctr`) and turns a failure into words. It must never
//! be used for what runs inside the lab: that goes through `enter`.

use std::fs::{File, metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

/// Runs a command to its end and returns its standard output.
pub fn run(command: &mut Command) -> Result<String> {
    outside(command)?;
    let output = command.stdin(Stdio::null()).output().with_context(|| missing(command))?;
    finish(command, output)
}

/// The same with `input` on the command's standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    outside(command)?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| missing(command))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends without reading says why in its own words.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    finish(command, output)
}

/// The mounts of the calling thread.
const MOUNTS: &str = "/proc/thread-self/ns/mnt";

/// The mounts that the process had before one of its threads went into a machine's network.
static OUTSIDE: OnceLock<File> = OnceLock::new();

/// Remembers the calling thread's mounts as the process's, unless another thread went before.
pub fn remember_outside() -> io::Result<()> {
    let mounts = File::open(MOUNTS)?;
    OUTSIDE.get_or_init(|| mounts);
    Ok(())
}

/// A thread in a machine's network has mounts of its own, and what is mounted there is seen by nobody else: a
/// namespace that `ip` made would be lost. So the command goes where the process was before.
fn outside(command: &mut Command) -> Result<()> {
    let Some(outside) = OUTSIDE.get() else { return Ok(()) };
    if outside.metadata()?.ino() == metadata(MOUNTS)?.ino() {
        return Ok(());
    }
    // SAFETY: between fork and exec only one system call is made, on a descriptor that is open already.
    unsafe {
        command.pre_exec(move || setns(outside, CloneFlags::CLONE_NEWNS).map_err(io::Error::from));
    }
    Ok(())
}

/// `ip` with words separated by blanks.
pub fn ip(words: &str) -> Result<String> {
    run(Command::new("ip").args(words.split_whitespace()))
}

fn finish(command: &Command, output: std::process::Output) -> Result<String> {
    if !output.status.success() {
        bail!("{} failed ({}): {}", describe(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn missing(command: &Command) -> String {
    format!(
        "cannot run {}: is it installed? tests/lab/setup.sh installs what the lab needs",
        command.get_program().display()
    )
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

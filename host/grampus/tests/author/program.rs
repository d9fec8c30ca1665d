//! The program as it was built for this test, run in a directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The program.
pub const GRAMPUS: &str = env!("CARGO_BIN_EXE_grampus");

/// What a packed policy of a few rules may have at most: a twenty-fifth of what a ConfigMap holds.
pub const PACKED_BYTES: usize = 40_000;

/// The root of this tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Where `make setup` puts the tools of authors in other languages than Rust.
pub fn tools() -> PathBuf {
    let cache = std::env::var_os("GRAMPUS_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/grampus"))).unwrap();
    cache.join("tools/bin")
}

/// What a command came to.
pub struct Ended {
    pub code: Option<i32>,
    /// What it wrote, to standard output and then to standard error.
    pub text: String,
}

/// To be held by a test that builds crates. All share one directory of what was built, and the documentation's tests of one
/// crate read it after cargo has let go of it.
pub fn building() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command whose cargo stays off the network: whatever a policy needs was needed to build this tree. What it
/// builds is kept between runs.
pub fn offline(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies"));
    command
}

/// Runs a command to its end.
pub fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ended { code: output.status.code(), text }
}

/// Runs the program with some arguments.
pub fn grampus(directory: &Path, arguments: &[&str]) -> Ended {
    let mut command = offline(GRAMPUS, directory);
    command.args(arguments);
    ended(command)
}

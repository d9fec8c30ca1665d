//! Compiling, in a process of its own.
//!
//! Fuel bounds what a module runs, not what it costs to compile. So a child of the same binary compiles under
//! limits of memory and processor time, and the parent takes nothing but what that child wrote to its pipe,
//! checked by digest. This must never read machine code from anywhere else: deserializing it is trusting it.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::call::{clean, wants_too_much};
use crate::error::LoadError;
use crate::limits::Limits;
use crate::runtime::config;

/// What the child's answer begins with. Changes with the format, so that a wrong program is noticed.
const MAGIC: &[u8; 8] = b"GRMPOBJ1";

/// The child's exit code for a module that does not compile, as opposed to a child that failed.
const REJECTED: u8 = 3;

/// Bytes of machine code the parent takes, and has in its memory more than once for a moment. Compiling multiplies size
/// by about four, and what is larger than some 4 MB does not compile within its limits anyway.
const MAX_OBJECT_BYTES: u64 = 24 << 20;

/// Bytes of the child's complaints that are kept.
const MAX_STDERR_BYTES: u64 = 4 << 10;

/// The steps nicer than its parent the compiling process is, of 19: decisions come first. At 5 it still gets a
/// third of what a process beside it gets, so that a busy machine does not keep a new module waiting for long.
const NICENESS: i32 = 5;

/// The allocator of the shipped binary reserves address space by the gigabyte at its first allocation, before any
/// limit can be taken on. With small arenas the limit bounds what is really used; other allocators ignore this.
const SMALL_ARENAS: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "16MiB");

/// The program that compiles: one whose `main` calls [`compile_child_main`] when started with these arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The program. `/proc/self/exe` is this very binary, even after an upgrade replaced the file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Compiler {
    /// This very binary with a hidden subcommand.
    pub fn this_program(subcommand: &str) -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), arguments: vec![subcommand.to_owned()] }
    }
}

/// The machine code of a component, as a child wrote it. Any engine of this program can use it.
pub struct MachineCode(Vec<u8>);

/// Compiles a component in this process, which bounds neither time nor memory.
pub fn here(engine: &wasmtime::Engine, bytes: &[u8], limits: &Limits) -> Result<Component, LoadError> {
    Component::from_binary(engine, bytes)
        .map_err(|error| LoadError::Invalid { why: clean(&format!("{error:#}"), limits.text_bytes) })
}

/// Compiles a component in a child.
pub fn apart(compiler: &Compiler, bytes: &[u8], limits: &Limits) -> Result<MachineCode, LoadError> {
    in_child(compiler, bytes, limits).map(MachineCode)
}

impl MachineCode {
    /// Takes it into an engine.
    pub fn take(&self, engine: &wasmtime::Engine, limits: &Limits) -> Result<Component, LoadError> {
        // SAFETY: these bytes came through a private pipe from a process this one started, carry the digest of their
        // component, and are whole; see `receive_object`. Nothing else makes this type, and nobody changes it.
        unsafe { Component::deserialize(engine, &self.0) }.map_err(|error| {
            // The pool of instances has its say here. Its words for people are the innermost ones.
            let why = clean(&error.root_cause().to_string(), limits.text_bytes);
            if wants_too_much(&why) {
                return LoadError::OverLimits { why };
            }
            let why = clean(&format!("{error:#}"), limits.text_bytes);
            broken(format!("what it wrote does not fit this program: {why}"))
        })
    }
}

fn broken(why: impl Into<String>) -> LoadError {
    LoadError::Compiler { why: why.into() }
}

fn in_child(compiler: &Compiler, bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, LoadError> {
    let mut child = Command::new(&compiler.program)
        .args(&compiler.arguments)
        .env_clear()
        .env(SMALL_ARENAS.0, SMALL_ARENAS.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| broken(format!("cannot start {}: {error}", compiler.program.display())))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(broken("it has no pipes"));
    };
    let header = [limits.compile_address_space_bytes, limits.compile_cpu_seconds].map(u64::to_le_bytes).concat();
    std::thread::scope(|scope| {
        // A child that dies early closes the pipe; its exit status says more than the failed write.
        scope.spawn(move || stdin.write_all(&header).and_then(|()| stdin.write_all(bytes)));
        let complaint = scope.spawn(move || read(stderr, MAX_STDERR_BYTES));
        let (send, receive) = mpsc::channel();
        scope.spawn(move || send.send(read(stdout, MAX_OBJECT_BYTES)));
        let written = receive.recv_timeout(Duration::from_millis(limits.compile_time_ms));
        let status = end(&mut child, written.is_err())?;
        let complaint = String::from_utf8_lossy(&complaint.join().unwrap_or_default()).into_owned();
        let Ok(written) = written else {
            return Err(LoadError::CompileLimit { limit: format!("{} ms", limits.compile_time_ms) });
        };
        if written.len() as u64 == MAX_OBJECT_BYTES {
            return Err(LoadError::CompileLimit { limit: format!("{MAX_OBJECT_BYTES} bytes of machine code") });
        }
        judge(status, &complaint, limits)?;
        receive_object(written, bytes)
    })
}

/// Waits for the child, killing it first where it is late. It must never stay behind as a zombie.
fn end(child: &mut Child, late: bool) -> Result<ExitStatus, LoadError> {
    if late {
        // It may have ended by itself in the meantime.
        let _ = child.kill();
    }
    child.wait().map_err(|error| broken(format!("cannot wait for it: {error}")))
}

fn read(from: impl Read, limit: u64) -> Vec<u8> {
    let mut out = Vec::new();
    // A pipe that breaks ends what there is to read; the digest shows whether it was all.
    let _ = from.take(limit).read_to_end(&mut out);
    out
}

/// Turns the child's end into the rung of the ladder it stands for.
fn judge(status: ExitStatus, complaint: &str, limits: &Limits) -> Result<(), LoadError> {
    if status.success() {
        return Ok(());
    }
    let complaint = clean(complaint.trim(), limits.text_bytes);
    if status.code() == Some(i32::from(REJECTED)) {
        return Err(LoadError::Invalid { why: complaint });
    }
    match status.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        Some(Signal::SIGXCPU | Signal::SIGKILL) => Err(LoadError::CompileLimit {
            limit: format!("{} s of processor time, or of the container's memory", limits.compile_cpu_seconds),
        }),
        // How Rust ends where no memory is left.
        Some(Signal::SIGABRT | Signal::SIGSEGV) => {
            Err(LoadError::CompileLimit { limit: format!("{} bytes of memory", limits.compile_address_space_bytes) })
        }
        _ => Err(broken(format!("it ended with {status}: {complaint}"))),
    }
}

/// Takes machine code only if it is whole and belongs to this component.
fn receive_object(mut written: Vec<u8>, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&Sha256::digest(bytes));
    let rest = written.strip_prefix(head.as_slice()).ok_or_else(|| {
        broken("it wrote something else than this module's machine code. Is the program the right one?")
    })?;
    match rest.split_at_checked(32) {
        Some((digest, object)) if Sha256::digest(object).as_slice() == digest => {
            let before = written.len() - object.len();
            written.drain(..before);
            Ok(written)
        }
        _ => Err(broken("what it wrote is incomplete")),
    }
}

/// The compiling child: reads limits and a component from standard input, writes machine code to standard output.
///
/// Call this first thing in `main` for the hidden subcommand named in [`Compiler::arguments`]; it starts no
/// threads and reads no arguments.
pub fn compile_child_main() -> ExitCode {
    match child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Rejected(why)) => {
            complain(&why);
            ExitCode::from(REJECTED)
        }
        Err(Ended::Failed(why)) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// Says why, in no more bytes than the parent reads: it would be taken for a failure of this process if it could not
/// say all of it.
fn complain(why: &str) {
    let mut end = why.len().min(MAX_STDERR_BYTES as usize - 1);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    // Where nobody listens, the exit code says what matters.
    let _ = writeln!(std::io::stderr(), "{}", &why[..end]);
}

enum Ended {
    Rejected(String),
    Failed(String),
}

fn child() -> Result<(), Ended> {
    fn failed<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> Ended {
        move |error| Ended::Failed(format!("{what}: {error}"))
    }
    let mut input = std::io::stdin().lock();
    let mut header = [0; 16];
    input.read_exact(&mut header).map_err(failed("reading the limits"))?;
    let (space, seconds) = header.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    humble(number(space), number(seconds)).map_err(failed("taking on the limits"))?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(failed("reading the component"))?;
    let engine = wasmtime::Engine::new(&config()).map_err(failed("starting the compiler"))?;
    let object = engine.precompile_component(&bytes).map_err(|error| Ended::Rejected(format!("{error:#}")))?;
    let mut out = std::io::stdout().lock();
    let parts: [&[u8]; 4] = [MAGIC, &Sha256::digest(&bytes), &Sha256::digest(&object), &object];
    parts.into_iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.flush()).map_err(failed("writing"))
}

/// Gives up what a compiler does not need.
fn humble(address_space: u64, cpu_seconds: u64) -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_AS, address_space, address_space)?;
    setrlimit(Resource::RLIMIT_CPU, cpu_seconds, cpu_seconds)?;
    // SAFETY: no memory is involved. Not being nicer is no reason not to compile.
    unsafe { nix::libc::nice(NICENESS) };
    // Where memory runs out all the same, this process is the one to lose. Best effort: /proc may be missing.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

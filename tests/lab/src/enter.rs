//! Runs programs of this computer inside a machine's network, and takes a thread of a test there. It
//! always goes by explicit paths, so it works from wherever the caller already is.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::machine::Machine;
use crate::paths::Paths;
use crate::run;

/// What must never be sent through a proxy of this computer.
const NO_PROXY: &str = "198.18.0.0/15,localhost,127.0.0.1,.svc,.cluster.local";

/// Moves the calling thread into a machine's network, where it also resolves the cluster's names.
/// Threads it starts from now on are there too.
pub fn thread(machine: &Machine) -> Result<()> {
    let path = machine.namespace();
    let space = File::open(&path).with_context(|| absent(machine, &path))?;
    run::remember_outside()?;
    enter(&space, &resolver(machine)?).with_context(|| format!("cannot enter {}: this needs root", path.display()))
}

/// A command that will run in the machine's network, with the cluster's names, the lab's kubeconfig
/// and the lab's programs. Working directory and standard streams are the caller's to choose.
pub fn command(machine: &Machine, paths: &Paths, program: &str) -> Result<Command> {
    let path = machine.namespace();
    let space = File::open(&path).with_context(|| absent(machine, &path))?;
    let resolver = resolver(machine)?;
    let mut command = Command::new(program);
    command.envs(environment(paths));
    // SAFETY: between fork and exec only system calls are made; all memory they use exists already.
    unsafe {
        command.pre_exec(move || enter(&space, &resolver).map_err(io::Error::from));
    }
    Ok(command)
}

/// What a program needs to find the cluster and its tools.
pub fn environment(paths: &Paths) -> Vec<(&'static str, OsString)> {
    let mut path = paths.plugins().into_os_string();
    path.push(":");
    path.push(paths.programs());
    path.push(":");
    path.push(paths.mysql());
    path.push(":/usr/sbin:/sbin:");
    path.push(std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
    vec![
        ("KUBECONFIG", paths.kubeconfig().into_os_string()),
        ("NO_PROXY", NO_PROXY.into()),
        ("no_proxy", NO_PROXY.into()),
        ("PATH", path),
    ]
}

fn resolver(machine: &Machine) -> Result<CString> {
    let file = machine.etc().join("resolv.conf");
    CString::new(file.as_os_str().as_bytes()).context("the lab's directory has a NUL in its name")
}

fn enter(space: &File, resolver: &CString) -> nix::Result<()> {
    setns(space, CloneFlags::CLONE_NEWNET)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    // Slave, not private: namespaces made later stay visible, and nothing goes back.
    mount(none, c"/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?;
    let flags = MsFlags::MS_BIND;
    mount(Some(resolver.as_c_str()), c"/etc/resolv.conf", none, flags, none)
}

fn absent(machine: &Machine, path: &Path) -> String {
    let name = &machine.name;
    format!("{name} has no network at {}: is it switched on? `lab status` shows it", path.display())
}

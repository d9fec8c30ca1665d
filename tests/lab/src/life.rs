//! How a lab comes up and goes. Both can be repeated at any time and after any failure; `down` must
//! leave nothing but the cache of built things.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Group};
use crate::machine::{Machine, Power, Role};
use crate::paths::Paths;
use crate::pki::Authority;
use crate::steps::Steps;
use crate::{api, images, network, templates};

/// What kubelets set for the whole computer; given back by `down`.
const SYSCTLS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// What is known of a lab that came up.
#[derive(Serialize, Deserialize)]
struct Record {
    nodes: u8,
}

/// The number of nodes of the lab that is up, if one is.
pub fn recorded_nodes(paths: &Paths) -> Option<u8> {
    let text = fs::read_to_string(paths.state().join("record.json")).ok()?;
    let record: Record = serde_json::from_str(&text).ok()?;
    network::exists().then_some(record.nodes)
}

/// Keeps everybody else from changing the lab as long as the value lives.
pub fn lock(paths: &Paths) -> Result<Flock<fs::File>> {
    fs::create_dir_all(paths.cache())?;
    let path = paths.lock();
    let file = fs::File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("cannot lock {}", path.display()))
}

/// Brings a lab with at least so many nodes to health: makes what is missing, switches on what is
/// off, ends hangs, heals links.
pub fn up(paths: &Paths, wanted: u8, steps: &Steps) -> Result<u8> {
    prepare(paths, wanted)?;
    let _lock = lock(paths)?;
    let recorded = recorded_nodes(paths);
    if recorded.is_none() {
        steps.step("clean up what an earlier lab left", || clean(paths))?;
    }
    let nodes = wanted.max(recorded.unwrap_or(0));
    let machines = Machine::all(paths, nodes);
    let workers: Vec<&Machine> = machines.iter().filter(|m| m.is_node()).collect();
    let [control_plane, client] = [&machines[0], &machines[1]];

    let authority = steps.step("certificates and configuration", || {
        save_sysctls(paths)?;
        equip(paths, &machines)
    })?;
    steps.step("images", || {
        let stock = images::Stock::prepare(paths)?;
        workers.iter().try_for_each(|worker| stock.give(worker))
    })?;
    steps.step("network", || {
        network::create_fabric()?;
        network::heal(&network::cuts()?)?;
        machines.iter().try_for_each(|machine| {
            // What runs there without a network that others can see would never be reached again.
            if !network::plugged(&machine.name) && machine.power()? != Power::Off {
                machine.crash()?;
            }
            network::plug(machine, &machines)
        })
    })?;
    steps.step("control plane", || {
        switch_on(control_plane)?;
        authority.kubeconfig(&control_plane.address(), &paths.kubeconfig())?;
        workers.iter().try_for_each(|worker| switch_on(worker))?;
        api::wait_until_served(control_plane, paths)?;
        if recorded != Some(nodes) {
            api::apply(control_plane, paths, &templates::cluster(&machines))?;
        }
        switch_on(client)?;
        // A node from before a new MySQL image has only the old one.
        images::load(&workers, &paths.mysql_image())
    })?;
    steps.step(&format!("{nodes} nodes ready"), || {
        let limit = Duration::from_secs(240);
        api::wait_until_ready(control_plane, paths, &workers, limit)?;
        api::wait_until_usable(control_plane, paths)
    })?;
    let record = serde_json::to_string(&Record { nodes })?;
    fs::write(paths.state().join("record.json"), record)?;
    Ok(nodes)
}

/// Takes everything away that `up` made.
pub fn down(paths: &Paths) -> Result<()> {
    let _lock = lock(paths)?;
    clean(paths)
}

fn prepare(paths: &Paths, nodes: u8) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the lab makes namespaces, mounts and control groups: run it as root");
    }
    if !(1..=26).contains(&nodes) {
        bail!("a lab has 1 to 26 nodes, not {nodes}");
    }
    let programs = ["coredns", "pause", "kubelet"].map(|name| paths.programs().join(name));
    let files = [paths.mysql_image(), "/usr/bin/containerd".into(), "/usr/lib/cni/ptp".into()];
    if programs.iter().chain(&files).all(|file| file.exists()) {
        return Ok(());
    }
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("setup.sh");
    let status = Command::new(&setup).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot run {}", setup.display()))?;
    if !status.success() {
        bail!("{} failed ({status}): what it wrote above says why", setup.display());
    }
    Ok(())
}

fn equip(paths: &Paths, machines: &[Machine]) -> Result<Authority> {
    fs::create_dir_all(paths.state())?;
    fs::create_dir_all(paths.plugins())?;
    let authority = Authority::open(&paths.state())?;
    for machine in machines {
        if !machine.etc().join("ca.crt").exists() {
            authority.equip(machine, &machines[0].address())?;
        }
        machine.configure()?;
        if let Role::Node(_) = machine.role {
            for volume in templates::volumes(machine) {
                make_volume(&machine.home().join("lib/volumes").join(volume))?;
            }
        }
    }
    Ok(authority)
}

/// Any user of a pod may write to its volume; with fsGroup the kubelet narrows that.
fn make_volume(directory: &Path) -> Result<()> {
    if directory.exists() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777))
        .with_context(|| format!("cannot open {} to pods", directory.display()))
}

fn switch_on(machine: &Machine) -> Result<()> {
    match machine.power()? {
        Power::On => Ok(()),
        Power::Paused => machine.resume(),
        Power::Off => machine.launch(),
    }
}

fn clean(paths: &Paths) -> Result<()> {
    for name in cgroup::existing()? {
        Group::of(&name)?.kill()?;
    }
    end_guests()?;
    unmount(&paths.state())?;
    network::destroy()?;
    for name in cgroup::existing()? {
        Group::of(&name)?.remove(true);
    }
    restore_sysctls(paths);
    match fs::remove_dir_all(paths.state()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("cannot remove {}", paths.state().display())),
    }
}

/// Programs that were run with `lab exec` are in the lab's networks without being in its groups.
fn end_guests() -> Result<()> {
    let inode = |path: &Path| fs::metadata(path).map(|data| data.ino()).ok();
    let spaces: Vec<u64> = network::namespaces().iter().filter_map(|path| inode(path)).collect();
    let spared = [Pid::this(), getppid()].map(Pid::as_raw);
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let inside = inode(&entry.path().join("ns/net")).is_some_and(|own| spaces.contains(&own));
        if inside && !spared.contains(&process) {
            // It may have ended in between, which is what is wanted.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
    Ok(())
}

/// The lab mounts in its own namespaces only; this is for what somebody mounted by hand.
fn unmount(state: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<&str> = points.filter(|point| Path::new(point).starts_with(state)).collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in below {
        umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {point}"))?;
    }
    Ok(())
}

fn save_sysctls(paths: &Paths) -> Result<()> {
    let file = paths.state().join("sysctls.json");
    if file.exists() {
        return Ok(());
    }
    fs::create_dir_all(paths.state())?;
    let read = |name: &&str| fs::read_to_string(Path::new("/proc/sys").join(name)).ok();
    let values: BTreeMap<&str, String> = SYSCTLS.iter().filter_map(|name| Some((*name, read(name)?))).collect();
    fs::write(&file, serde_json::to_string(&values)?).with_context(|| format!("cannot write {}", file.display()))
}

fn restore_sysctls(paths: &Paths) {
    let text = fs::read_to_string(paths.state().join("sysctls.json")).unwrap_or_default();
    let values: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
    for (name, value) in values {
        // Some computers forbid it; then kubelet could not have changed it either.
        let _ = fs::write(Path::new("/proc/sys").join(name), value);
    }
}

//! The lab's network: one namespace per machine, all plugged into a bridge that lives in a namespace
//! of its own, the fabric. It must never put an address or a route into the machine's own namespace.
//!
//! Links are cut in the fabric, between two ports of the bridge. A machine therefore sees what it
//! would see of a broken switch, silence, and no error of its own kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::run::{ip, run, run_with_input};

/// 198.18.0.0/15 is reserved for benchmarks: it exists nowhere else.
pub const ALL_PODS: &str = "198.19.0.0/17";
/// The range of ClusterIPs.
pub const SERVICES: &str = "198.19.128.0/20";
/// The ClusterIP of the API server.
pub const API_SERVICE: &str = "198.19.128.1";

const PREFIX: &str = "grampus-";
const FABRIC: &str = "grampus-fabric";
const NAMESPACES: &str = "/run/netns";

/// The path of a machine's network namespace.
pub fn namespace(name: &str) -> PathBuf {
    Path::new(NAMESPACES).join(format!("{PREFIX}{name}"))
}

/// Whether the fabric is there, that is whether a lab is up or was not taken down.
pub fn exists() -> bool {
    alive(&Path::new(NAMESPACES).join(FABRIC))
}

/// Whether a network namespace is mounted there: whoever was ended half-way through making one leaves a plain file.
fn alive(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Makes the bridge which joins the machines, and the table of cut links.
pub fn create_fabric() -> Result<()> {
    if !exists() {
        forget(FABRIC)?;
        ip(&format!("netns add {FABRIC}"))?;
        ip(&format!("-n {FABRIC} link add lab type bridge"))?;
        ip(&format!("-n {FABRIC} link set lab up"))?;
    }
    nft("table bridge lab {
            set cuts { type ifname . ifname; }
            chain forward {
                type filter hook forward priority 0; policy accept;
            }
        }
        flush chain bridge lab forward
        add rule bridge lab forward iifname . oifname @cuts counter drop")
    .map(drop)
}

/// Plugs a machine into the fabric, with a route to every other machine's pods.
pub fn plug(machine: &Machine, everybody: &[Machine]) -> Result<()> {
    let name = &machine.name;
    let space = format!("{PREFIX}{name}");
    let address = machine.address();
    if !plugged(name) {
        unplug(name)?;
        ip(&format!("netns add {space}"))?;
        let card = machine.hardware_address();
        ip(&format!("-n {FABRIC} link add {name} type veth peer name eth0 address {card} netns {space}"))?;
        ip(&format!("-n {space} link set lo up"))?;
        ip(&format!("-n {space} address add {address}/24 dev eth0"))?;
        ip(&format!("-n {space} link set eth0 up"))?;
        run(Command::new("nsenter").arg(format!("--net={}", namespace(name).display())).args([
            "sh",
            "-c",
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
        ]))?;
        if machine.name != crate::machine::CONTROL_PLANE {
            // Never followed: kube-proxy rewrites the address. But the kernel looks for a route first.
            ip(&format!("-n {space} route add {SERVICES} dev eth0"))?;
        }
        // Last, because it is what says that all of the above was done.
        ip(&format!("-n {FABRIC} link set {name} master lab up"))?;
    }
    for other in everybody.iter().filter(|other| other.name != *name) {
        if let Some(pods) = other.pods() {
            let via = other.address();
            ip(&format!("-n {space} route replace {pods} via {via} dev eth0"))?;
        }
    }
    Ok(())
}

/// Whether a machine has its namespace and its port on the bridge.
pub fn plugged(name: &str) -> bool {
    let ports = || ip(&format!("-n {FABRIC} -o link show master lab")).unwrap_or_default();
    alive(&namespace(name)) && ports().split([':', '@', ' ']).any(|word| word == name)
}

/// Pulls a machine's plug: from this moment nothing of it reaches anybody.
pub fn darken(name: &str) -> Result<()> {
    if has_port(name) { ip(&format!("-n {FABRIC} link set {name} down")).map(drop) } else { Ok(()) }
}

fn has_port(name: &str) -> bool {
    exists() && ip(&format!("-n {FABRIC} link show {name}")).is_ok()
}

/// Takes a machine off the fabric and forgets its namespace with every connection in it.
pub fn unplug(name: &str) -> Result<()> {
    if has_port(name) {
        ip(&format!("-n {FABRIC} link delete {name}"))?;
    }
    forget(&format!("{PREFIX}{name}"))
}

fn forget(space: &str) -> Result<()> {
    if Path::new(NAMESPACES).join(space).exists() {
        ip(&format!("netns delete {space}"))?;
    }
    Ok(())
}

/// All namespaces of the lab.
pub fn namespaces() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else {
        return Vec::new();
    };
    let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(PREFIX);
    let entries = entries.flatten().filter(|entry| ours(&entry.file_name()));
    entries.map(|entry| entry.path()).collect()
}

/// Deletes all namespaces of the lab, and the mount `ip netns` made for them if it is empty now.
pub fn destroy() -> Result<()> {
    for path in namespaces() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ip(&format!("netns delete {name}"))?;
    }
    let empty = std::fs::read_dir(NAMESPACES).is_ok_and(|mut entries| entries.next().is_none());
    if empty {
        // Not ours alone: if somebody else holds it, it simply stays.
        let _ = nix::mount::umount2(NAMESPACES, nix::mount::MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(NAMESPACES);
    }
    Ok(())
}

/// Drops everything from each first to each second name.
pub fn cut(pairs: &[(String, String)]) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    nft(&format!("add element bridge lab cuts {{ {} }}", elements(pairs))).map(drop)
}

/// Lets everything pass again from each first to each second name.
pub fn heal(pairs: &[(String, String)]) -> Result<()> {
    let present = cuts()?;
    let both: Vec<_> = pairs.iter().filter(|pair| present.contains(pair)).cloned().collect();
    if both.is_empty() {
        return Ok(());
    }
    nft(&format!("delete element bridge lab cuts {{ {} }}", elements(&both))).map(drop)
}

/// The directions that are cut.
pub fn cuts() -> Result<Vec<(String, String)>> {
    let text = run(
        Command::new("ip").args(["netns", "exec", FABRIC, "nft", "--json", "list", "set", "bridge", "lab", "cuts"])
    )?;
    let value: serde_json::Value = serde_json::from_str(&text).context("nft spoke no JSON")?;
    let mut found = Vec::new();
    for part in value["nftables"].as_array().into_iter().flatten() {
        for element in part["set"]["elem"].as_array().into_iter().flatten() {
            if let [Some(from), Some(to)] = [0, 1].map(|i| element["concat"][i].as_str()) {
                found.push((from.to_owned(), to.to_owned()));
            }
        }
    }
    Ok(found)
}

fn elements(pairs: &[(String, String)]) -> String {
    let words = pairs.iter().map(|(from, to)| format!("\"{from}\" . \"{to}\""));
    words.collect::<Vec<_>>().join(", ")
}

fn nft(script: &str) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", FABRIC, "nft", "-f", "-"]);
    run_with_input(&mut command, &format!("{script}\n"))
}

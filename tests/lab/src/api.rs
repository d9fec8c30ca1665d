//! What the lab itself asks the API server, through kubectl in the control plane's network, where no
//! cut link is in the way.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::enter;
use crate::machine::Machine;
use crate::paths::Paths;
use crate::run::{run, run_with_input};

/// kubectl of the lab; `control_plane` is the machine it runs in.
pub fn kubectl(control_plane: &Machine, paths: &Paths) -> Result<Command> {
    let program = paths.programs().join("kubectl");
    enter::command(control_plane, paths, &program.to_string_lossy())
}

/// Waits until the API server serves.
pub fn wait_until_served(control_plane: &Machine, paths: &Paths) -> Result<()> {
    let log = control_plane.home().join("log/kube-apiserver.log");
    poll(Duration::from_secs(90), "the API server to be ready", &log, || {
        let mut command = kubectl(control_plane, paths)?;
        Ok(run(command.args(["get", "--raw", "/readyz"])).is_ok())
    })
}

/// Applies manifests.
pub fn apply(control_plane: &Machine, paths: &Paths, manifests: &str) -> Result<()> {
    let mut command = kubectl(control_plane, paths)?;
    command.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    run_with_input(&mut command, manifests).map(drop)
}

/// Waits until pods can be made in the default namespace.
pub fn wait_until_usable(control_plane: &Machine, paths: &Paths) -> Result<()> {
    let log = control_plane.home().join("log/kube-controller-manager.log");
    poll(Duration::from_secs(60), "the default service account", &log, || {
        let mut command = kubectl(control_plane, paths)?;
        Ok(run(command.args(["get", "serviceaccount", "default"])).is_ok())
    })
}

/// Waits until these nodes are Ready since their last start; an answer from before does not count.
pub fn wait_until_ready(control_plane: &Machine, paths: &Paths, nodes: &[&Machine], limit: Duration) -> Result<()> {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let log = Path::new("log/kubelet.log").to_owned();
    let log = nodes.first().map_or(log.clone(), |node| node.home().join(log));
    poll(limit, &format!("{} to be Ready", names.join(", ")), &log, || {
        let Ok(known) = nodes_by_name(control_plane, paths) else {
            return Ok(false);
        };
        Ok(nodes.iter().all(|node| {
            let found = known.iter().find(|known| known.name == node.name);
            found.is_some_and(|found| found.ready && found.boot_id == boot_id(node))
        }))
    })
}

/// A node as the API server knows it.
pub struct KnownNode {
    /// Its name.
    pub name: String,
    /// Whether its Ready condition is True.
    pub ready: bool,
    boot_id: String,
}

/// The nodes the API server knows.
pub fn nodes_by_name(control_plane: &Machine, paths: &Paths) -> Result<Vec<KnownNode>> {
    let mut command = kubectl(control_plane, paths)?;
    command.args(["get", "nodes", "--output", "json", "--request-timeout", "5s"]);
    let list: serde_json::Value = serde_json::from_str(&run(&mut command)?).context("kubectl spoke no JSON")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = list["items"].as_array().into_iter().flatten().map(|node| {
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        KnownNode {
            name: text(&node["metadata"]["name"]),
            ready: conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True"),
            boot_id: text(&node["status"]["nodeInfo"]["bootID"]),
        }
    });
    Ok(nodes.collect())
}

fn boot_id(node: &Machine) -> String {
    let file = node.etc().join("boot_id");
    std::fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

fn poll(limit: Duration, what: &str, log: &Path, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !done()? {
        if Instant::now() > deadline {
            bail!("waited {} s for {what}: see {}", limit.as_secs(), log.display());
        }
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

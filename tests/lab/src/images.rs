//! Puts images on nodes. There is no registry: a pod whose image was not loaded here stays in
//! ErrImagePull, so tests load before they apply.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::image;
use crate::machine::Machine;
use crate::paths::Paths;
use crate::run::run;

/// The image every pod's first container is made of.
const PAUSE: &str = "grampus.dev/lab/pause:1";

/// Loads an archive on these nodes at once, except where exactly it is already.
pub fn load(nodes: &[&Machine], archive: &Path) -> Result<()> {
    let (tag, digest) = image::identify(archive)?;
    let missing: Vec<_> = nodes.iter().filter(|node| !has(node, &tag, &digest)).collect();
    thread::scope(|scope| {
        let loads: Vec<_> = missing
            .into_iter()
            .map(|node| scope.spawn(|| load_one(node, archive, &tag, &digest)))
            .collect();
        for load in loads {
            match load.join() {
                Ok(result) => result?,
                Err(_) => bail!("loading {tag} panicked"),
            }
        }
        Ok(())
    })
}

/// Packs the pause image of the programs in use, and loads it.
pub fn load_pause(nodes: &[&Machine], paths: &Paths) -> Result<()> {
    let archive = paths.state().join("pause.tar");
    if !archive.exists() {
        let program = paths.programs().join("pause");
        image::pack(PAUSE, &[(&program, "/pause", 0o755)], &["/pause"], &archive)?;
    }
    load(nodes, &archive)
}

fn load_one(node: &Machine, archive: &Path, tag: &str, digest: &str) -> Result<()> {
    let mut command = ctr(node)?;
    command.args(["images", "import"]).arg(archive);
    run(&mut command).with_context(|| format!("{} does not take the image {tag}", node.name))?;
    let note = note(node, tag);
    fs::create_dir_all(note.parent().unwrap_or(&note))?;
    fs::write(&note, digest).with_context(|| format!("cannot write {}", note.display()))
}

/// The note is on the node's disk as the image is, so both live and go together.
fn has(node: &Machine, tag: &str, digest: &str) -> bool {
    fs::read_to_string(note(node, tag)).is_ok_and(|noted| noted == digest)
}

fn note(node: &Machine, tag: &str) -> PathBuf {
    node.etc().join("images").join(tag.replace('/', "_"))
}

fn ctr(node: &Machine) -> Result<Command> {
    let socket = socket(node)?;
    let mut command = Command::new("ctr");
    command.args(["--namespace", "k8s.io", "--address"]).arg(socket);
    Ok(command)
}

/// containerd's socket lies in the node's own /run; its first process leads there.
fn socket(node: &Machine) -> Result<PathBuf> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let init = node.init()?;
        let init = init.with_context(|| format!("{} is off: start it first", node.name))?;
        let socket = PathBuf::from(format!("/proc/{init}/root/run/containerd/containerd.sock"));
        if socket.exists() {
            return Ok(socket);
        }
        if Instant::now() > deadline {
            let log = node.home().join("log/containerd.log");
            bail!("containerd of {} did not start: see {}", node.name, log.display());
        }
        sleep(Duration::from_millis(50));
    }
}

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
        let loads: Vec<_> =
            missing.into_iter().map(|node| scope.spawn(|| load_one(node, archive, &tag, &digest))).collect();
        for load in loads {
            match load.join() {
                Ok(result) => result?,
                Err(_) => bail!("loading {tag} panicked"),
            }
        }
        Ok(())
    })
}

/// What every node has from the start.
pub struct Stock {
    store: PathBuf,
    images: Vec<(String, String)>,
}

impl Stock {
    /// Unpacks the pause image and MySQL's into a containerd store in the cache, once for all nodes.
    pub fn prepare(paths: &Paths) -> Result<Self> {
        let pause = paths.cache().join("images/pause.tar");
        let program = paths.programs().join("pause");
        image::pack(PAUSE, &[(&program, "/pause", 0o755)], &["/pause"], &pause)?;
        let archives = [pause, paths.mysql_image()];
        let images: Vec<_> = archives.iter().map(|file| image::identify(file)).collect::<Result<_>>()?;
        let digests: Vec<&str> = images.iter().map(|(_, digest)| &digest[..12]).collect();
        let store = paths.cache().join(format!("images/store-{}", digests.join("-")));
        if !store.exists() {
            fill(&store, &archives)?;
            forget_others(&store)?;
        }
        Ok(Self { store, images })
    }

    /// Gives a new node its images. The files are linked, not copied: nobody writes to an unpacked
    /// layer, and the nodes share one page cache. Only containerd's databases are the node's own.
    pub fn give(&self, node: &Machine) -> Result<()> {
        let target = node.home().join("lib/containerd");
        if target.exists() {
            return Ok(());
        }
        let part = target.with_extension("part");
        run(Command::new("cp").args(["--archive", "--link"]).arg(&self.store).arg(&part))?;
        let databases =
            ["io.containerd.metadata.v1.bolt/meta.db", "io.containerd.snapshotter.v1.overlayfs/metadata.db"];
        for database in databases {
            fs::remove_file(part.join(database))?;
            fs::copy(self.store.join(database), part.join(database))?;
        }
        for (tag, digest) in &self.images {
            take_note(node, tag, digest)?;
        }
        fs::rename(&part, &target).with_context(|| format!("cannot make {}", target.display()))
    }
}

/// Stores of images that were packed anew since. Nodes have links of their own.
fn forget_others(store: &Path) -> Result<()> {
    let directory = store.parent().unwrap_or(store);
    for entry in fs::read_dir(directory)?.flatten() {
        let old = entry.file_name().to_string_lossy().starts_with("store-");
        if old && entry.path() != store {
            fs::remove_dir_all(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn fill(store: &Path, archives: &[PathBuf]) -> Result<()> {
    let part = store.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    let script = include_str!("templates/store.sh");
    run(Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .args(["sh", "-c", script, "sh"])
        .arg(&part)
        .args(archives))?;
    fs::rename(&part, store).with_context(|| format!("cannot make {}", store.display()))
}

fn load_one(node: &Machine, archive: &Path, tag: &str, digest: &str) -> Result<()> {
    let mut command = ctr(node)?;
    command.args(["images", "import"]).arg(archive);
    run(&mut command).with_context(|| format!("{} does not take the image {tag}", node.name))?;
    take_note(node, tag, digest)
}

fn take_note(node: &Machine, tag: &str, digest: &str) -> Result<()> {
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

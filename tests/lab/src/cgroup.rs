//! The control groups of the lab's machines: `grampus/NAME/system` for its services, and below
//! `grampus/NAME` what its kubelet makes for pods. Membership is how processes are found again; the
//! lab must never look for a process by its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROOT: &str = "grampus";
/// A group competes with every process beside it as if it were one process itself: a compiler with
/// ten children would leave a whole cluster a tenth of a core. In v1's and v2's units.
const CPU_SHARES: [(&str, &str); 2] = [("cpu.shares", "16384"), ("cpu.weight", "1600")];
/// What a node's kubelet needs of cgroup v2.
const CONTROLLERS_V2: &str = "+cpu +cpuset +memory +pids +io";

/// The group of one machine.
#[derive(Clone, Debug)]
pub struct Group {
    name: String,
    hierarchies: Vec<Hierarchy>,
}

#[derive(Clone, Debug)]
struct Hierarchy {
    mount: PathBuf,
    unified: bool,
    /// Whether this is cgroup v2 with controllers to hand down.
    delegates: bool,
}

impl Group {
    /// The group of the machine `name`; nothing is made yet.
    pub fn of(name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), hierarchies: hierarchies()? })
    }

    /// The path a kubelet calls its root, below every hierarchy.
    pub fn path(&self) -> String {
        format!("{ROOT}/{}", self.name)
    }

    /// Makes the group in every hierarchy.
    pub fn create(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let mut directory = hierarchy.mount.clone();
            for part in [ROOT, &self.name, "system"] {
                if hierarchy.delegates {
                    let control = directory.join("cgroup.subtree_control");
                    fs::write(&control, CONTROLLERS_V2)
                        .with_context(|| format!("cannot delegate in {}", control.display()))?;
                }
                let parent = directory.clone();
                directory.push(part);
                create_directory(&directory)?;
                inherit_cpuset(&parent, &directory)?;
                if part == ROOT {
                    raise_priority(&directory)?;
                }
            }
        }
        Ok(())
    }

    /// The files a process writes its id to in order to join.
    pub fn task_files(&self) -> Vec<PathBuf> {
        let file = |h: &Hierarchy| h.mount.join(self.path()).join("system/cgroup.procs");
        self.hierarchies.iter().map(file).collect()
    }

    /// Every process of the machine, its pods' included.
    pub fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for hierarchy in &self.hierarchies {
            collect(&hierarchy.mount.join(self.path()), &mut found);
        }
        found
    }

    /// Stops all processes where they are, as a hang does, and returns when they are stopped.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.is_frozen() {
            if Instant::now() > deadline {
                bail!("{} did not freeze within 10 s", self.name);
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Lets the processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    /// Whether all processes are stopped.
    pub fn is_frozen(&self) -> bool {
        let Ok((file, unified)) = self.freezer() else {
            return false;
        };
        if unified {
            let events = file.with_file_name("cgroup.events");
            return fs::read_to_string(events).is_ok_and(|text| text.contains("frozen 1"));
        }
        fs::read_to_string(file).is_ok_and(|text| text.trim() == "FROZEN")
    }

    /// Kills every process, frozen or not, and waits until the last is gone.
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return Ok(());
            }
            for process in &processes {
                // It may have ended in between, which is what is wanted.
                let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
            }
            self.thaw()?;
            if Instant::now() > deadline {
                bail!("processes of {} outlived SIGKILL: {processes:?}", self.name);
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Removes what pods left, or (`all`) the whole group.
    pub fn remove(&self, all: bool) {
        for hierarchy in &self.hierarchies {
            let top = hierarchy.mount.join(self.path());
            for child in directories(&top) {
                if all || child.file_name().is_some_and(|name| name != "system") {
                    remove_tree(&child);
                }
            }
            if all {
                remove_tree(&top);
                // Succeeds for the last machine only.
                let _ = fs::remove_dir(hierarchy.mount.join(ROOT));
            }
        }
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let (file, unified) = self.freezer()?;
        let word = match (unified, frozen) {
            (true, true) => "1",
            (true, false) => "0",
            (false, true) => "FROZEN",
            (false, false) => "THAWED",
        };
        match fs::write(&file, word) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !frozen => Ok(()),
            other => other.with_context(|| format!("cannot write {word} to {}", file.display())),
        }
    }

    fn freezer(&self) -> Result<(PathBuf, bool)> {
        for hierarchy in &self.hierarchies {
            let top = hierarchy.mount.join(self.path());
            if hierarchy.unified {
                return Ok((top.join("cgroup.freeze"), true));
            }
            if hierarchy.mount.ends_with("freezer") {
                return Ok((top.join("freezer.state"), false));
            }
        }
        bail!("no freezer among the mounted control groups: mount cgroup2, or v1 with freezer")
    }
}

/// The names of all groups there are, also those of a lab that was forgotten half-way.
pub fn existing() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for hierarchy in hierarchies()? {
        for directory in directories(&hierarchy.mount.join(ROOT)) {
            if let Some(name) = directory.file_name().and_then(|name| name.to_str()) {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}

/// Every mounted hierarchy, v1 first. On a hybrid machine the unified one has no controllers, but
/// runc makes groups in it all the same.
fn hierarchies() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let of_type = |wanted: &str| -> Vec<PathBuf> {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        fields
            .filter(|fields| fields.get(2) == Some(&wanted))
            .filter_map(|fields| fields.get(1).map(PathBuf::from))
            .collect()
    };
    let (v1, v2) = (of_type("cgroup"), of_type("cgroup2"));
    if v1.is_empty() && v2.is_empty() {
        bail!("no control groups are mounted: the lab needs cgroup v1 or v2 below /sys/fs/cgroup");
    }
    let delegates = v1.is_empty();
    let v1 = v1.into_iter().map(|mount| Hierarchy { mount, unified: false, delegates: false });
    let v2 = v2.into_iter().map(|mount| Hierarchy { mount, unified: true, delegates });
    Ok(v1.chain(v2).collect())
}

fn create_directory(directory: &Path) -> Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.with_context(|| format!("cannot make the group {}", directory.display())),
    }
}

fn raise_priority(directory: &Path) -> Result<()> {
    for (file, value) in CPU_SHARES {
        let file = directory.join(file);
        if file.exists() {
            fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

/// A new v1 cpuset is empty, and nothing can run in it until somebody says where it may.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let Ok(current) = fs::read_to_string(child.join(file)) else {
            continue;
        };
        if current.trim().is_empty() && !child.join("cgroup.controllers").exists() {
            let value = fs::read_to_string(parent.join(file))?;
            fs::write(child.join(file), value.trim())
                .with_context(|| format!("cannot set {file} of {}", child.display()))?;
        }
    }
    Ok(())
}

fn collect(directory: &Path, found: &mut BTreeSet<i32>) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in directories(directory) {
        collect(&child, found);
    }
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let entries = entries.flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Deepest first. A group just emptied stays busy for a moment.
fn remove_tree(directory: &Path) {
    for child in directories(directory) {
        remove_tree(&child);
    }
    for _ in 0..100 {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                sleep(Duration::from_millis(10));
            }
            _ => return,
        }
    }
}

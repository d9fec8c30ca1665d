//! One machine of the lab: a network, PID, mount and host-name namespace with its own /run, /var/lib
//! and /var/log. It can lose power, hang and come back; its /var/lib is its disk and outlives that.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cgroup::Group;
use crate::network;
use crate::paths::Paths;
use crate::run::run;
use crate::templates;

/// The name of the machine with etcd and the API server.
pub const CONTROL_PLANE: &str = "control-plane";
/// The name of the machine tests and people look from.
pub const CLIENT: &str = "client";

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// etcd, API server, controllers, scheduler.
    ControlPlane,
    /// No kubelet: a place in the network from which pods, Services and names are reachable.
    Client,
    /// The numbered worker, from 1.
    Node(u8),
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Its processes run.
    On,
    /// Its processes are stopped where they are.
    Paused,
    /// It has no processes.
    Off,
}

/// One machine of the lab.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `control-plane`, `client`, `node-1`…
    pub name: String,
    /// What it is for.
    pub role: Role,
    paths: Paths,
}

impl Machine {
    /// All machines of a lab with so many nodes.
    pub fn all(paths: &Paths, nodes: u8) -> Vec<Self> {
        let roles = [Role::ControlPlane, Role::Client].into_iter();
        let roles = roles.chain((1..=nodes).map(Role::Node));
        roles.map(|role| Self::new(paths, role)).collect()
    }

    fn new(paths: &Paths, role: Role) -> Self {
        let name = match role {
            Role::ControlPlane => CONTROL_PLANE.to_owned(),
            Role::Client => CLIENT.to_owned(),
            Role::Node(number) => format!("node-{number}"),
        };
        Self { name, role, paths: paths.clone() }
    }

    /// Its address in the fabric.
    pub fn address(&self) -> String {
        format!("198.18.0.{}", self.number())
    }

    /// A reboot does not change the network card: with another address its neighbours would go on
    /// talking to the old one for many seconds.
    pub fn hardware_address(&self) -> String {
        format!("02:00:c6:12:00:{:02x}", self.number())
    }

    fn number(&self) -> u8 {
        match self.role {
            Role::ControlPlane => 2,
            Role::Client => 3,
            Role::Node(number) => 10 + number,
        }
    }

    /// The range its pods have addresses from.
    pub fn pods(&self) -> Option<String> {
        match self.role {
            Role::Node(number) => Some(format!("198.19.{number}.0/24")),
            Role::ControlPlane | Role::Client => None,
        }
    }

    /// Its `topology.kubernetes.io/zone`: a, b, c…
    pub fn zone(&self) -> Option<String> {
        match self.role {
            Role::Node(number) => Some(char::from(b'a' + number - 1).to_string()),
            Role::ControlPlane | Role::Client => None,
        }
    }

    /// Whether it is a worker of the cluster.
    pub fn is_node(&self) -> bool {
        matches!(self.role, Role::Node(_))
    }

    /// Its files, as this machine sees them.
    pub fn home(&self) -> PathBuf {
        self.paths.machine(&self.name)
    }

    /// What it calls /var/lib/grampus: certificates and configuration.
    pub fn etc(&self) -> PathBuf {
        self.home().join("lib/grampus")
    }

    /// Its network namespace.
    pub fn namespace(&self) -> PathBuf {
        network::namespace(&self.name)
    }

    /// Its control group.
    pub fn group(&self) -> Result<Group> {
        Group::of(&self.name)
    }

    /// The id of its first process as this machine counts. Found by its place in the namespaces, so
    /// that a number that was given to somebody else since is never mistaken for it.
    pub fn init(&self) -> Result<Option<i32>> {
        let processes = self.group()?.processes();
        Ok(processes.into_iter().find(|process| is_init(*process)))
    }

    /// What it is doing now.
    pub fn power(&self) -> Result<Power> {
        let group = self.group()?;
        Ok(match self.init()? {
            None => Power::Off,
            Some(_) if group.is_frozen() => Power::Paused,
            Some(_) => Power::On,
        })
    }

    /// Writes its configuration; the certificates are there already.
    pub fn configure(&self) -> Result<()> {
        let etc = self.etc();
        for directory in [self.home().join("log/pods"), etc.join("cni")] {
            fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let resolver = match self.role {
            // It runs no name server of its own.
            Role::ControlPlane => Self::new(&self.paths, Role::Client).address(),
            Role::Client | Role::Node(_) => self.address(),
        };
        write(etc.join("resolv.conf"), &templates::resolv_conf(&resolver))?;
        for (file, text) in templates::files(self, &self.paths) {
            write(self.home().join(file), &text)?;
        }
        Ok(())
    }

    /// Switches it on; returns when its first process runs, not when it is ready.
    pub fn launch(&self) -> Result<()> {
        let group = self.group()?;
        group.create()?;
        // A new one for every start, as after a reboot; run.sh mounts it over the kernel's.
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        write(self.etc().join("boot_id"), &boot_id)?;
        let script = self.home().join("launch.sh");
        write(script.clone(), &templates::launch(self, &group.task_files()))?;
        // The machine's own proxies and settings are no business of the lab's.
        run(Command::new("setsid")
            .args(["--fork", "sh", "-eu"])
            .arg(&script)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/run")
            .current_dir("/")
            .stdout(Stdio::null()))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.init()?.is_none() {
            if Instant::now() > deadline {
                let log = self.home().join("log/init.log");
                bail!("{} did not start within 10 s: see {}", self.name, log.display());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Loss of power: first the network, so that no dying connection says goodbye, then everything.
    pub fn crash(&self) -> Result<()> {
        network::darken(&self.name)?;
        let group = self.group()?;
        if group.is_frozen() {
            group.thaw()?;
        }
        group.kill()?;
        group.remove(false);
        network::unplug(&self.name)
    }

    /// Hangs: nothing runs any more, though its kernel goes on answering.
    pub fn pause(&self) -> Result<()> {
        if self.power()? == Power::Off {
            bail!("{} is off: start it before pausing it", self.name);
        }
        self.group()?.freeze()
    }

    /// Ends a hang.
    pub fn resume(&self) -> Result<()> {
        self.group()?.thaw()
    }
}

/// PID 1 of a namespace directly below this machine's: two levels, and first on the inner one.
fn is_init(process: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else {
        return false;
    };
    let mut lines = status.lines();
    let ids = lines.find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    let own = own_levels();
    ids.len() == own + 1 && ids.last() == Some(&"1") && !status.contains("State:\tZ")
}

fn own_levels() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.map_or(1, |ids| ids.split_whitespace().count())
}

fn write(path: PathBuf, text: &str) -> Result<()> {
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

//! A real Kubernetes on one computer, for tests, benchmarks and the demo: every node is a set of
//! namespaces which can lose power, hang or lose its network without touching the others.
//!
//! All calls block. Several processes may use the one lab at the same time; nothing here keeps state
//! in memory that another process would not see. No traffic ever leaves the lab's namespaces, and no
//! process is ever looked for by its name.

mod api;
mod cgroup;
mod enter;
pub mod image;
mod images;
mod life;
mod machine;
mod network;
mod paths;
mod pki;
mod run;
pub mod s3;
mod steps;
mod templates;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use machine::{CLIENT, CONTROL_PLANE, Power};
use machine::{Machine, Role};
use paths::Paths;
use steps::Steps;

/// How a lab comes up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many worker nodes there are at least. A lab that has more keeps them.
    pub nodes: u8,
    /// Whether steps are shown on standard error.
    pub progress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 3, progress: true }
    }
}

/// The lab, which is up.
#[derive(Clone, Debug)]
pub struct Lab {
    paths: Paths,
    machines: Vec<Machine>,
}

/// A machine of the lab and what can be done to it.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    lab: &'a Lab,
    machine: &'a Machine,
}

/// What a machine is and does.
#[derive(Clone, Debug)]
pub struct MachineStatus {
    /// `control-plane`, `client`, `node-1`…
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its zone, if it is a worker.
    pub zone: Option<String>,
    /// What its processes do.
    pub power: Power,
    /// What the API server says of it, if it knows it.
    pub ready: Option<bool>,
}

/// What the whole lab does.
#[derive(Clone, Debug)]
pub struct Status {
    /// All machines.
    pub machines: Vec<MachineStatus>,
    /// The directions in which nothing passes: from, to.
    pub cuts: Vec<(String, String)>,
}

impl Lab {
    /// MySQL's own programs, for this computer.
    pub fn mysql_programs(&self) -> std::path::PathBuf {
        self.paths.mysql()
    }

    /// The address of the machine that tests and people look from: programs that they start there are reached by it.
    pub fn client_address(&self) -> Result<std::net::IpAddr> {
        let machine = self.machines.iter().find(|machine| machine.role == Role::Client);
        let machine = machine.context("the lab has no machine for clients")?;
        machine.address().parse().context("its address is none")
    }

    /// Brings the lab up, or back to health: starts what is off, ends hangs, heals links.
    pub fn up(options: Options) -> Result<Self> {
        let paths = Paths::from_environment()?;
        let nodes = life::up(&paths, options.nodes, &Steps::new(options.progress))?;
        Ok(Self::with(paths, nodes))
    }

    /// The lab as it is, with whatever is broken in it.
    pub fn attach() -> Result<Self> {
        let paths = Paths::from_environment()?;
        let nodes = life::recorded_nodes(&paths).context("no lab is up: run `./lab up`")?;
        Ok(Self::with(paths, nodes))
    }

    /// Takes the lab away; what was built and downloaded stays.
    pub fn down() -> Result<()> {
        life::down(&Paths::from_environment()?)
    }

    /// What all machines do and which links are cut.
    pub fn status(&self) -> Result<Status> {
        let known = api::nodes_by_name(self.control_plane(), &self.paths).unwrap_or_default();
        let machines = self.machines.iter().map(|machine| {
            let ready = known.iter().find(|node| node.name == machine.name);
            Ok(MachineStatus {
                name: machine.name.clone(),
                address: machine.address(),
                zone: machine.zone(),
                power: machine.power()?,
                ready: ready.map(|node| node.ready),
            })
        });
        Ok(Status { machines: machines.collect::<Result<_>>()?, cuts: network::cuts()? })
    }

    /// The names of the worker nodes.
    pub fn nodes(&self) -> Vec<&str> {
        self.workers().iter().map(|node| node.name.as_str()).collect()
    }

    /// The administrator's kubeconfig, usable from inside the lab's networks.
    pub fn kubeconfig(&self) -> PathBuf {
        self.paths.kubeconfig()
    }

    /// Variables with which a program finds the cluster and its tools.
    pub fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        enter::environment(&self.paths)
    }

    /// Runs kubectl to its end. A failure of kubectl is in the output, not an error.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.kubectl_command()?;
        command.args(arguments).stdin(Stdio::null());
        command.output().context("cannot run the lab's kubectl")
    }

    /// kubectl, for callers who choose its working directory and streams.
    pub fn kubectl_command(&self) -> Result<Command> {
        api::kubectl(self.control_plane(), &self.paths)
    }

    /// Runs a program of this computer to its end in a machine's network (the client's if none is named).
    pub fn exec(&self, machine: Option<&str>, command: &[&str]) -> Result<Output> {
        let (program, arguments) = command.split_first().context("exec needs a program to run")?;
        let mut command = self.exec_command(machine, program)?;
        command.args(arguments).stdin(Stdio::null());
        command.output().with_context(|| format!("cannot run {program} in the lab"))
    }

    /// The same for callers who choose working directory and streams.
    pub fn exec_command(&self, machine: Option<&str>, program: &str) -> Result<Command> {
        enter::command(self.machine(machine.unwrap_or(CLIENT))?, &self.paths, program)
    }

    /// Moves the calling thread into the client's network, so that it reaches the API server, pods
    /// and ClusterIPs, and resolves the cluster's names. Threads it starts afterwards are there too;
    /// threads that exist already are not: build a runtime after this, not before.
    pub fn enter_client_network(&self) -> Result<()> {
        enter::thread(self.machine(CLIENT)?)
    }

    /// A machine by name; workers, and also `control-plane` and `client`.
    pub fn node(&self, name: &str) -> Result<Node<'_>> {
        Ok(Node { lab: self, machine: self.machine(name)? })
    }

    /// Lets nothing pass between `a` and `b`, or between `a` and everybody. With `one_way` only what
    /// goes from `a` is dropped. The traffic of the machines' pods is theirs.
    pub fn cut(&self, a: &str, b: Option<&str>, one_way: bool) -> Result<()> {
        network::cut(&self.directions(a, b, one_way)?)
    }

    /// Undoes `cut`.
    pub fn heal(&self, a: &str, b: Option<&str>, one_way: bool) -> Result<()> {
        network::heal(&self.directions(a, b, one_way)?)
    }

    /// Undoes every cut.
    pub fn heal_all(&self) -> Result<()> {
        network::heal(&network::cuts()?)
    }

    /// Loads an image archive on all nodes that are on; one that is there already costs nothing.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let mut on = Vec::new();
        for node in self.workers() {
            if node.power()? == Power::On {
                on.push(node);
            }
        }
        images::load(&on, archive)
    }

    /// Waits until all nodes are Ready, each since its last start.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        api::wait_until_ready(self.control_plane(), &self.paths, &self.workers(), limit)
    }

    fn with(paths: Paths, nodes: u8) -> Self {
        let machines = Machine::all(&paths, nodes);
        Self { paths, machines }
    }

    fn control_plane(&self) -> &Machine {
        &self.machines[0]
    }

    fn workers(&self) -> Vec<&Machine> {
        self.machines.iter().filter(|machine| machine.is_node()).collect()
    }

    fn machine(&self, name: &str) -> Result<&Machine> {
        let found = self.machines.iter().find(|machine| machine.name == name);
        found.with_context(|| {
            let names: Vec<_> = self.machines.iter().map(|machine| machine.name.as_str()).collect();
            format!("no machine is called {name}: there are {}", names.join(", "))
        })
    }

    fn directions(&self, a: &str, b: Option<&str>, one_way: bool) -> Result<Vec<(String, String)>> {
        let a = &self.machine(a)?.name;
        let others: Vec<&String> = match b {
            Some(b) if b == a => bail!("{a} has no link to itself: name two machines, or one"),
            Some(b) => vec![&self.machine(b)?.name],
            None => self.machines.iter().map(|m| &m.name).filter(|name| *name != a).collect(),
        };
        let there = others.iter().map(|b| (a.clone(), (*b).clone()));
        let back = others.iter().map(|b| ((*b).clone(), a.clone()));
        Ok(if one_way { there.collect() } else { there.chain(back).collect() })
    }
}

impl Node<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.machine.name
    }

    /// Its address.
    pub fn address(&self) -> String {
        self.machine.address()
    }

    /// What it is doing.
    pub fn power(&self) -> Result<Power> {
        self.machine.power()
    }

    /// The ids, as this computer counts, of everything that runs on it, its pods included.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Ok(self.machine.group()?.processes().into_iter().collect())
    }

    /// Its directory of logs.
    pub fn logs(&self) -> PathBuf {
        self.machine.home().join("log")
    }

    /// Loss of power: all its processes are gone at once and its peers hear nothing more. What is on
    /// its disk stays, volumes and images included.
    pub fn crash(&self) -> Result<()> {
        self.machine.crash()
    }

    /// Switches it on again; returns as soon as it boots. `wait_ready` waits for the rest.
    pub fn start(&self) -> Result<()> {
        let _lock = life::lock(&self.lab.paths)?;
        if self.power()? != Power::Off {
            return self.machine.resume();
        }
        network::unplug(self.name())?;
        network::plug(self.machine, &self.lab.machines)?;
        self.machine.launch()
    }

    /// A hang: none of its processes runs any more, though its kernel still answers pings.
    pub fn pause(&self) -> Result<()> {
        self.machine.pause()
    }

    /// Ends a hang.
    pub fn resume(&self) -> Result<()> {
        self.machine.resume()
    }

    /// Waits until the API server says it is Ready since its last start.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        let worker = matches!(self.machine.role, Role::Node(_));
        if !worker {
            return api::wait_until_served(self.lab.control_plane(), &self.lab.paths);
        }
        let control_plane = self.lab.control_plane();
        api::wait_until_ready(control_plane, &self.lab.paths, &[self.machine], limit)
    }
}

//! The lab with this tree's Grampus installed in it, and a way into the lab's network.
//!
//! Everything is done again on every call and costs next to nothing when nothing changed: an operator that runs
//! the image of this tree already is never restarted. Programs take turns in the lab: each installs an operator of its
//! own and hurts nodes, and tests make the one cluster that they share anew.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use lab::{Lab, Options};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::image::{self, Image};
use crate::operator::{FAILURE_POINTS, OPERATOR_DEPLOYMENT, OPERATOR_NAMESPACE};
use crate::{MYSQL_IMAGE, Steps};

/// How long an operator that has just been installed may take to run.
const ROLLOUT: Duration = Duration::from_secs(120);

/// The lab sees in minutes what other places see in weeks.
const DISRUPTIONS_PER_HOUR: &str = "3600";

/// A lab in which Grampus runs.
pub struct Environment {
    /// The lab.
    pub lab: Lab,
    /// The image of the operator and the agents.
    pub image: String,
    runtime: Runtime,
    client: Client,
    /// Held for as long as this lives.
    _turn: File,
}

impl Environment {
    /// Brings it all up. The calling thread is moved into the lab's client network and stays there, so everything
    /// that needs the world outside has to be done before.
    ///
    /// # Errors
    /// A step failed; the error names it.
    pub fn up(steps: &Steps) -> Result<Self> {
        Self::with_build(steps, false)
    }

    /// The same with an optimised binary, for measurements.
    ///
    /// # Errors
    /// A step failed; the error names it.
    pub fn up_optimised(steps: &Steps) -> Result<Self> {
        Self::with_build(steps, true)
    }

    fn with_build(steps: &Steps, release: bool) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let binary = steps.step("building Grampus", || image::build(release))?;
        let (image, stripped) = steps.step("packing its image", || image::pack(&binary))?;
        let turn = turn(steps)?;
        image::install_plugin(&stripped)?;
        let lab = steps.step("a Kubernetes of three nodes", || Lab::up(Options { nodes: 3, progress: false }))?;
        lab.wait_ready(ROLLOUT)?;
        steps.step("loading the images on every node", || load(&lab, &image))?;
        steps.step("installing Grampus", || install(&lab, &image.tag))?;
        lab.enter_client_network()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
        let client = runtime.block_on(client(&lab.kubeconfig()))?;
        Ok(Self { lab, image: image.tag, runtime, client, _turn: turn })
    }

    /// A client of the lab's API server.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs something inside the lab's client network.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// Runs something there for callers on other threads.
    pub fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// Runs kubectl and gives what it printed.
    ///
    /// # Errors
    /// kubectl failed; the error has what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&self.lab, arguments)
    }

    /// Runs kubectl with something on its standard input.
    ///
    /// # Errors
    /// kubectl failed; the error has what it said.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        kubectl_with(&self.lab, arguments, input)
    }

    /// Runs `kubectl grampus …` as a person would. A failure is in the output.
    ///
    /// # Errors
    /// It could not be run.
    pub fn plugin(&self, arguments: &[&str]) -> Result<std::process::Output> {
        self.lab.kubectl(&[&["grampus"], arguments].concat())
    }
}

/// Waits until no other program that hurts the lab is at work in it.
fn turn(steps: &Steps) -> Result<File> {
    let path = image::cache()?.join("turn.lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let taken = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            steps.step("another program works in the lab: waiting for its end", || file.lock())
        }
        Err(TryLockError::Error(error)) => Err(error),
    };
    taken.with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig).context("the lab's kubeconfig cannot be read")?;
    let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    // Nothing in the lab is behind a proxy of this computer.
    config.proxy_url = None;
    Client::try_from(config).context("no client for the lab's API server")
}

fn load(lab: &Lab, image: &Image) -> Result<()> {
    lab.load_image(&image.archive)?;
    lab.load_image(&image::cache()?.join("images/mysql-9.7.tar"))
}

/// Applies what `deploy/` has, with the images of the lab put in. Applying the same again changes nothing.
fn install(lab: &Lab, image: &str) -> Result<()> {
    let deploy = image::workspace().join("deploy");
    let crds = deploy.join("crds").display().to_string();
    kubectl(lab, &["apply", "--server-side", "--force-conflicts", "-f", &crds])?;
    kubectl(lab, &["wait", "--for=condition=Established", "--timeout=30s", "-f", &crds])?;
    let manifest = manifest(&deploy.join("operator.yaml"), image)?;
    let text = manifest.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
    kubectl_with(lab, &["apply", "--server-side", "--force-conflicts", "-f", "-"], &text)?;
    let limit = format!("--timeout={}s", ROLLOUT.as_secs());
    let rollout = kubectl(lab, &["-n", OPERATOR_NAMESPACE, "rollout", "status", OPERATOR_DEPLOYMENT, &limit]);
    rollout.map(drop).map_err(|error| {
        let pods = kubectl(lab, &["-n", OPERATOR_NAMESPACE, "get", "pods,events"]).unwrap_or_default();
        let logs =
            kubectl(lab, &["-n", OPERATOR_NAMESPACE, "logs", OPERATOR_DEPLOYMENT, "--tail=20"]).unwrap_or_default();
        error.context(format!("the operator does not become available:\n{pods}\n{logs}"))
    })
}

/// The objects of a manifest with our image in its Deployments.
fn manifest(path: &PathBuf, image: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut objects: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("{} is no list of objects", path.display()))?;
    objects.retain(|object| !object.is_null());
    for object in objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
        let containers = object["spec"]["template"]["spec"]["containers"].as_array_mut();
        for container in containers.context("the operator's Deployment has no containers")? {
            container["image"] = image.into();
            container["imagePullPolicy"] = "IfNotPresent".into();
            set_variable(container, "GRAMPUS_IMAGE", image);
            set_variable(container, "GRAMPUS_MYSQL_IMAGE", MYSQL_IMAGE);
            set_variable(container, "GRAMPUS_FAILURE_POINTS", FAILURE_POINTS);
            set_variable(container, "GRAMPUS_DISRUPTIONS_PER_HOUR", DISRUPTIONS_PER_HOUR);
        }
    }
    Ok(objects)
}

fn set_variable(container: &mut Value, name: &str, value: &str) {
    let entry = serde_json::json!({ "name": name, "value": value });
    match container["env"].as_array_mut() {
        Some(variables) => {
            variables.retain(|variable| variable["name"] != name);
            variables.push(entry);
        }
        None => container["env"] = Value::Array(vec![entry]),
    }
}

fn kubectl(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let output = lab.kubectl(arguments)?;
    told(arguments, &output)
}

fn kubectl_with(lab: &Lab, arguments: &[&str], input: &str) -> Result<String> {
    use std::io::Write as _;
    let mut command = lab.kubectl_command()?;
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run the lab's kubectl")?;
    child.stdin.take().context("kubectl has no input")?.write_all(input.as_bytes())?;
    told(arguments, &child.wait_with_output()?)
}

fn told(arguments: &[&str], output: &std::process::Output) -> Result<String> {
    if !output.status.success() {
        bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

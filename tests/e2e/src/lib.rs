//! The world that the end-to-end tests share: one lab, and one cluster that each test takes healthy and returns
//! healthy.
//!
//! Tests of one binary run on threads of their own, and only some threads are in the lab's network. So a test
//! hands its work over to [`World::run`]; nothing here must touch the network from the caller's thread.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Cluster, Environment, PolicyModule, Steps};
use serde_json::json;
use tokio::sync::Mutex;

/// The namespace of every object that the tests make.
pub const NAMESPACE: &str = "grampus-e2e";

/// How long a cluster may take to come up or to become whole again. Generous: it bounds a wait and tests nothing.
pub const WHOLE: Duration = Duration::from_secs(240);

/// How long a failover may take before a test gives up.
pub const FAILOVER: Duration = Duration::from_secs(60);

/// How long a condition may take to tell of a change.
pub const TOLD: Duration = Duration::from_secs(30);

/// What all tests share.
pub struct World {
    /// The lab with Grampus in it.
    pub env: Arc<Environment>,
    /// The second policy of this tree.
    pub prefer_zone: PolicyModule,
    /// A policy that misbehaves as its settings say.
    pub hostile: PolicyModule,
    /// The policy of this tree that scales.
    pub read_load: PolicyModule,
    /// The policy of this tree that tunes.
    pub memory_budget: PolicyModule,
    /// A policy that has backups wait.
    pub quiet_hours: PolicyModule,
    made: Mutex<bool>,
}

/// The one world; made by whoever asks first.
///
/// # Panics
/// The lab did not come up. Every test says so then.
pub fn world() -> &'static World {
    static WORLD: OnceLock<std::result::Result<World, String>> = OnceLock::new();
    let world = WORLD.get_or_init(|| {
        let made = std::thread::spawn(World::make).join();
        let made = made.unwrap_or_else(|_| Err(anyhow::anyhow!("making the world panicked")));
        made.map_err(|error| format!("{error:#}"))
    });
    match world {
        Ok(world) => world,
        Err(error) => panic!("there is no lab to test in: {error}"),
    }
}

impl World {
    fn make() -> Result<Self> {
        let prefer_zone = PolicyModule::build("prefer-zone")?;
        let hostile = PolicyModule::build("hostile")?;
        let read_load = PolicyModule::build("read-load")?;
        let memory_budget = PolicyModule::build("memory-budget")?;
        let quiet_hours = PolicyModule::build("quiet-hours")?;
        let env = Arc::new(Environment::up(&Steps::new(true))?);
        Ok(Self { env, prefer_zone, hostile, read_load, memory_budget, quiet_hours, made: Mutex::new(false) })
    }

    /// Another cluster of the tests' namespace, which the caller makes and removes.
    pub fn cluster(&self, name: &str) -> Cluster {
        Cluster::named(&self.env, NAMESPACE, name)
    }

    /// Does a test's work on the shared cluster, one test after the other, and sees that it is whole before and
    /// after.
    ///
    /// # Panics
    /// The work failed, or left the cluster broken.
    pub fn run<F, Fut>(&'static self, work: F)
    where
        F: FnOnce(Cluster) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let (done, result) = std::sync::mpsc::channel();
        self.env.handle().spawn(async move {
            let _ = done.send(self.take_turn(work).await);
        });
        match result.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{error:#}"),
            Err(_) => panic!("the test's work panicked"),
        }
    }

    async fn take_turn<F, Fut>(&self, work: F) -> Result<()>
    where
        F: FnOnce(Cluster) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let mut made = self.made.lock().await;
        let cluster = self.cluster("pool");
        self.ready(&cluster, &mut made).await?;
        // Whatever a failed test leaves behind must not fail the ones after it.
        *made = false;
        work(cluster.clone()).await?;
        cluster.wait_serving(3, WHOLE).await.context("the test left the cluster broken")?;
        *made = true;
        Ok(())
    }

    /// The shared cluster is made anew by the first test, and after a test that broke it.
    async fn ready(&self, cluster: &Cluster, made: &mut bool) -> Result<()> {
        if *made && cluster.wait_serving(3, WHOLE).await.is_ok() {
            return Ok(());
        }
        cluster.make_namespace().await?;
        cluster.remove().await?;
        cluster.apply(spec()).await?;
        cluster.wait_serving(3, WHOLE).await?;
        *made = true;
        Ok(())
    }
}

/// The spec of the shared cluster.
pub fn spec() -> serde_json::Value {
    json!({
        "replicas": 3,
        "storage": { "size": "1Gi" },
        "resources": { "requests": { "cpu": "100m", "memory": "1Gi" }, "limits": { "memory": "2Gi" } },
    })
}

//! The operator: controllers over MysqlClusters, the policies they ask, and what watches them.
//!
//! *Resources* writes the children of a cluster, *topology* moves its roles, and *backups* has backups made, so that a
//! slow write of a child or a slow store never delays a failover. Nothing here decides who leads: that is a policy's answer and [`topology::guard`]'s verdict.

pub mod agents;
mod backups;
pub mod cache;
pub mod certificates;
mod failure_points;
mod http;
pub mod journal;
mod lease;
pub mod limits;
pub mod metrics;
mod ownership;
pub mod policies;
pub mod resources;
pub mod roles;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// What an operator is told when it starts.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The namespace the operator runs in, for its Lease.
    #[arg(long, env = "GRAMPUS_OPERATOR_NAMESPACE", default_value = "grampus-system")]
    pub namespace: String,
    /// A name that tells this operator from the others: its pod's.
    #[arg(long, env = "GRAMPUS_OPERATOR_NAME", default_value = "operator")]
    pub name: String,
    /// The image with the grampus binary, from which pods take their agent.
    #[arg(long, env = "GRAMPUS_IMAGE")]
    pub image: String,
    /// The MySQL image of clusters that name none.
    #[arg(long, env = "GRAMPUS_MYSQL_IMAGE", default_value = "mysql:9.7")]
    pub mysql_image: String,
    /// How many planned disruptions an hour there may be over all clusters, on average; ten may come at once. Restarts,
    /// moves away from nodes that are closed to new pods, and copies that replace data count; failovers never do.
    #[arg(long, env = "GRAMPUS_DISRUPTIONS_PER_HOUR", default_value_t = 60)]
    pub disruptions_per_hour: u32,
    /// Whose policies are taken, and which decides where a cluster names none.
    #[command(flatten)]
    pub policies: policies::PolicyOptions,
    /// Where health and metrics are served.
    #[arg(long, env = "GRAMPUS_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// For tests only: a file that names a place at which this operator ends itself.
    #[arg(long, env = "GRAMPUS_FAILURE_POINTS", hide = true)]
    pub failure_points: Option<PathBuf>,
}

/// What every part of the operator shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What it last said.
    pub cache: Arc<cache::Cache>,
    /// Whether this operator acts.
    pub leads: watch::Receiver<bool>,
    /// Whether the API server is in this operator's reach.
    pub in_reach: watch::Receiver<bool>,
    /// Asks this operator to give the Lease up, because another one sees more.
    pub resign: Arc<Notify>,
    /// The policies in force.
    pub policies: Arc<policies::Policies>,
    /// How many planned disruptions there may be.
    pub limits: limits::Limits,
    /// Where decisions are kept.
    pub journal: Arc<journal::Journal>,
    /// Writes Events.
    pub recorder: Recorder,
    /// What Prometheus is told.
    pub metrics: Arc<metrics::Metrics>,
    /// Where this operator ends in a test.
    pub failure_points: failure_points::FailurePoints,
}

/// Runs the operator until told to stop.
///
/// # Errors
/// The API server could not be reached at the start, the address could not be listened on, or the engine could
/// not be made.
pub async fn run(options: Options, compiler: PathBuf, stop: CancellationToken) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("no Kubernetes API server is configured")?;
    let metrics = Arc::new(metrics::Metrics::zero());
    let (leads_writer, leads) = watch::channel(false);
    let (in_reach_writer, in_reach) = watch::channel(true);
    let standing = lease::Standing { leads: leads_writer, in_reach: in_reach_writer };
    let resign = Arc::new(Notify::new());
    let policies = policies::Policies::new(client.clone(), compiler, &options.namespace, options.policies.clone())
        .context("the policy engine could not be made")?;
    let reporter = Reporter { controller: "grampus".to_owned(), instance: Some(options.name.clone()) };
    let (cache, appeared) = cache::Cache::start(&client, &stop);
    let recorder = Recorder::new(client.clone(), reporter);
    let journal = journal::Journal::new(client.clone(), recorder.clone(), metrics.clone());
    let context = Arc::new(Context {
        limits: limits::Limits::per_hour(options.disruptions_per_hour),
        recorder,
        client: client.clone(),
        cache: cache.clone(),
        leads: leads.clone(),
        in_reach,
        resign: resign.clone(),
        policies: policies.clone(),
        journal: journal.clone(),
        metrics: metrics.clone(),
        failure_points: failure_points::FailurePoints::new(options.failure_points.clone()),
    });
    let serving = tokio::spawn(http::serve(options.listen, context.clone(), stop.clone()));
    let campaign = {
        let (client, stop) = (client.clone(), stop.clone());
        let (namespace, name) = (options.namespace.clone(), options.name.clone());
        tokio::spawn(async move { lease::campaign(client, &namespace, name, standing, &resign, stop).await })
    };
    cache.ready().await;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the operator is up");
    let children = tokio::spawn(resources::run(resources::Settings::of(&options), context.clone(), stop.clone()));
    let backups = tokio::spawn(backups::run(context.clone(), stop.clone()));
    let modules = tokio::spawn(policies.clone().run(cache.clone(), stop.clone()));
    let shadows = tokio::spawn(policies.run_shadows(cache.clone(), stop.clone()));
    let keeping = tokio::spawn(journal.run(cache, stop.clone()));
    let roles = tokio::spawn(roles::run(context, appeared, stop.clone()));
    let ended = tokio::select! {
        ended = serving => ended.context("the health server panicked")?.context("the health server ended"),
        ended = children => ended.context("the resources controller panicked")?.context("the resources controller ended"),
        ended = backups => ended.context("the backups controller panicked")?.context("the backups controller ended"),
        ended = modules => ended.context("the policy loader panicked"),
        ended = shadows => ended.context("the loader of shadows panicked"),
        ended = roles => ended.context("the topology controller panicked"),
    };
    stop.cancel();
    // Gives the Lease back.
    let _ = campaign.await;
    // Writes what was decided last. A journal that panicked has already said so.
    let _ = keeping.await;
    ended
}

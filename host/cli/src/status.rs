//! `status`: one cluster on one screen, from the objects that Grampus keeps.
//!
//! It shows what the operator reported and what the record promises, and says so where the two are not of the
//! same moment. It asks no member itself.

mod render;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Api;
use kube::runtime::watcher::watch_object;
use objects::api::{MysqlCluster, MysqlTopology};

use crate::site::{Site, Target, explained};
use crate::style::Style;
pub use render::ago;
use render::{View, render};

/// How often a watched status is drawn again on a terminal while nothing changes: ages go on.
const REDRAW: Duration = Duration::from_secs(1);

/// To the upper left corner, then clear what is below: that flickers less than clearing first.
const HOME: &str = "\x1b[H\x1b[J";

/// Which cluster to show.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlCluster.
    cluster: String,
    #[command(flatten)]
    target: Target,
    /// Go on showing it as it changes.
    #[arg(short, long)]
    watch: bool,
}

/// Shows a cluster.
///
/// # Errors
/// There is no such cluster, or the API server could not be asked.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.target.connect().await?;
    let name = arguments.cluster.as_str();
    let cluster = site.cluster(name).await?;
    if arguments.watch {
        return watch(&site, name, cluster).await;
    }
    let records: Api<MysqlTopology> = site.api();
    let record =
        records.get_opt(name).await.map_err(|error| explained(error, "MysqlTopology", name, &site.namespace))?;
    show(&cluster, record.as_ref(), "")?;
    Ok(ExitCode::SUCCESS)
}

async fn watch(site: &Site, name: &str, first: MysqlCluster) -> anyhow::Result<ExitCode> {
    let terminal = std::io::stdout().is_terminal();
    let mut clusters = Box::pin(watch_object(site.api::<MysqlCluster>(), name));
    let mut records = Box::pin(watch_object(site.api::<MysqlTopology>(), name));
    let mut cluster = first;
    let mut record = None;
    let mut begun = false;
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            seen = clusters.next() => match seen.context("the watch ended")? {
                Ok(Some(seen)) => cluster = seen,
                Ok(None) => bail!("MysqlCluster {name} was deleted"),
                Err(error) => lost(&error),
            },
            seen = records.next() => match seen.context("the watch ended")? {
                Ok(seen) => { record = seen; begun = true; }
                Err(error) => lost(&error),
            },
            _ = redraw.tick(), if terminal => {}
        }
        // Without the record half of the picture would be missing, and it arrives at once.
        if begun {
            show(&cluster, record.as_ref(), if terminal { HOME } else { "\n" })?;
        }
    }
}

/// The watch begins again by itself.
fn lost(error: &kube::runtime::watcher::Error) {
    eprintln!("the API server does not answer: {error}");
}

fn show(cluster: &MysqlCluster, record: Option<&MysqlTopology>, before: &str) -> anyhow::Result<()> {
    let view = View { cluster, record: record.map(|object| &object.spec.record), now: Timestamp::now() };
    let text = render(&view, Style::of_stdout());
    let mut out = std::io::stdout().lock();
    write!(out, "{before}{text}")?;
    out.flush()?;
    Ok(())
}

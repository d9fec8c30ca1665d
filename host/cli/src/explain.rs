//! `explain`: who would lead if the primary died now, why, what was decided last, what would be scaled and tuned, and
//! whether a backup waits.
//!
//! It shows what the operator keeps beside the cluster, and asks neither a module nor a member itself.

mod advice;
mod render;
mod troubles;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use engine::Outlook;
use jiff::Timestamp;

use crate::journal::Kept;
use crate::site::Target;
use crate::style::Style;
use advice::Consulted;
use render::{View, render};

/// Which cluster to explain.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlCluster.
    cluster: String,
    /// How many of the last decisions to show.
    #[arg(long, value_name = "N", default_value_t = 5)]
    decisions: usize,
    #[command(flatten)]
    target: Target,
}

/// Explains a cluster.
///
/// # Errors
/// There is no such cluster, what is kept of it cannot be read, or the API server could not be asked.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.target.connect().await?;
    let cluster = site.cluster(&arguments.cluster).await?;
    let kept = Kept::fetch(&site, &arguments.cluster).await?;
    let outlook: Option<Outlook> = kept
        .outlook
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .context("what the operator would decide cannot be read; is it a later version than this program?")?;
    let mut decisions: Vec<_> = kept.ring.entries().rev().take(arguments.decisions).collect();
    decisions.reverse();
    let primary = cluster.status.as_ref().and_then(|status| status.primary_name());
    let name = format!("{}/{}", site.namespace, arguments.cluster);
    let policies = cluster.status.as_ref().and_then(|status| status.policies.as_ref());
    let (scaling, tuning) = (kept.advice.entries_of().next_back(), kept.advice.entries_of().next_back());
    let window = kept.advice.entries_of().next_back();
    let view = View {
        name,
        primary,
        policy: policies.and_then(|policies| policies.primary_selection.as_ref()),
        outlook: outlook.as_ref(),
        scaling: Consulted { policy: policies.and_then(|policies| policies.scaling.as_ref()), last: scaling.as_ref() },
        tuning: Consulted {
            policy: policies.and_then(|policies| policies.config_tuning.as_ref()),
            last: tuning.as_ref(),
        },
        backup_window: Consulted {
            policy: policies.and_then(|policies| policies.backup_window.as_ref()),
            last: window.as_ref(),
        },
        decisions: &decisions,
        now: Timestamp::now(),
    };
    std::io::stdout().lock().write_all(render(&view, Style::of_stdout()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

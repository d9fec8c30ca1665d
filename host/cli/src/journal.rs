//! `journal`: the last decisions of a cluster's policies, as the operator keeps them.
//!
//! One JSON object a line, oldest first, with everything that was asked and answered: what `policy replay` reads.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use engine::Ring;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use objects::api::{journal, names};
use serde::Deserialize;

use crate::site::{Site, Target, explained};

/// Whose decisions to print.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlCluster.
    cluster: String,
    /// Only so many, the newest.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    #[command(flatten)]
    target: Target,
}

/// Prints decisions.
///
/// # Errors
/// There is no such cluster, its journal cannot be read, or the API server could not be asked.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.target.connect().await?;
    let name = arguments.cluster.as_str();
    site.cluster(name).await?;
    let kept = Kept::fetch(&site, name).await?;
    let mut lines: Vec<_> = kept.ring.lines().chain(kept.advice.lines()).collect();
    lines.sort_by_key(|line| at_unix_ms(line));
    let from = arguments.last.map_or(0, |last| lines.len().saturating_sub(last));
    let mut out = std::io::stdout().lock();
    for line in &lines[from..] {
        writeln!(out, "{line}")?;
    }
    if lines.is_empty() {
        eprintln!("nothing was decided yet for {name}, or its operator keeps no journal");
    }
    Ok(ExitCode::SUCCESS)
}

/// What every line of every version says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated {
    at_unix_ms: u64,
}

fn at_unix_ms(line: &str) -> u64 {
    serde_json::from_str(line).map_or(0, |Dated { at_unix_ms }| at_unix_ms)
}

/// What the operator keeps beside a cluster.
pub struct Kept {
    /// The last decisions.
    pub ring: Ring,
    /// What policies said last that nobody follows.
    pub advice: Ring,
    /// What would be decided, as JSON.
    pub outlook: Option<String>,
}

impl Kept {
    /// Reads it. Where there is nothing yet, nothing was decided.
    ///
    /// # Errors
    /// The API server could not be asked, or what lies there is no journal.
    pub async fn fetch(site: &Site, cluster: &str) -> anyhow::Result<Self> {
        let name = names::journal(cluster);
        let maps: Api<ConfigMap> = site.api();
        let map = maps.get_opt(&name).await.map_err(|error| explained(error, "ConfigMap", &name, &site.namespace))?;
        let Some(map) = map else {
            return Ok(Self { ring: Ring::default(), advice: Ring::default(), outlook: None });
        };
        let mut binary = map.binary_data.unwrap_or_default();
        let mut ring = |key: &str| {
            let ring = binary.remove(key).map(|packed| Ring::unpack(&packed.0)).transpose();
            anyhow::Ok(ring.with_context(|| format!("ConfigMap {name}, key {key}"))?.unwrap_or_default())
        };
        let (ring, advice) = (ring(journal::DECISIONS)?, ring(journal::ADVICE)?);
        Ok(Self { ring, advice, outlook: map.data.unwrap_or_default().remove(journal::OUTLOOK) })
    }
}

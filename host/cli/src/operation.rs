//! Operations, as the commands that create them need them: asks, follows to the end, and says in words what a person
//! may have meant.
//!
//! An operation is the operator's to carry out; ending a command changes nothing about it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt as _};
use objects::api::{
    MysqlCluster, MysqlOperation, MysqlOperationSpec, MysqlOperationStatus, MysqlTopology, Outcome, names,
};
use tokio::time::{Instant, sleep_until};

use crate::site::{Site, Target, explained};
use crate::style::{Style, Tone};

/// How long an operation may lie untouched before it is said that nobody seems to work.
const UNTOUCHED: Duration = Duration::from_secs(5);

/// How much longer than the operation's own time its end is waited for.
const GRACE: Duration = Duration::from_secs(15);

/// How an operation is waited for.
#[derive(Debug, clap::Args)]
pub struct Patience {
    /// How long it may take before it is given up, from 1s to 1h. 30s if not given, 10m for a restart,
    /// and what the spec says for a drill.
    #[arg(long, value_parser = seconds)]
    pub timeout: Option<i32>,
    /// Return as soon as the operation exists.
    #[arg(long)]
    no_wait: bool,
}

/// For which cluster something is to be carried out.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// The name of the MysqlCluster.
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    #[command(flatten)]
    target: Target,
}

impl Subject {
    /// The cluster, and where it is.
    ///
    /// # Errors
    /// There is none of that name, or it is paused.
    pub async fn open(&self) -> anyhow::Result<(Site, MysqlCluster)> {
        let site = self.target.connect().await?;
        let cluster = site.cluster(&self.name).await?;
        if cluster.spec.paused {
            let name = &self.name;
            bail!("MysqlCluster {name} is paused, so nobody would carry this out; set spec.paused to false first");
        }
        Ok((site, cluster))
    }
}

/// Asks for an operation, follows it to its end and says, by `outcome`, what came of it and whether that is what was
/// asked for.
///
/// # Errors
/// It could not be asked for, or was not finished in time. One that failed is told by the exit code.
pub async fn carry_out(
    site: &Site,
    spec: MysqlOperationSpec,
    verb: &str,
    patience: &Patience,
    outcome: impl FnOnce(&MysqlOperationStatus, Style) -> (String, bool),
) -> anyhow::Result<ExitCode> {
    let Some(status) = ask(site, spec, verb, patience).await? else { return Ok(ExitCode::SUCCESS) };
    let (text, succeeded) = outcome(&status, Style::of_stdout());
    println!("{text}");
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks for an operation and follows it to its end, which is None where nobody wants to wait.
async fn ask(
    site: &Site,
    spec: MysqlOperationSpec,
    verb: &str,
    patience: &Patience,
) -> anyhow::Result<Option<MysqlOperationStatus>> {
    let (name, timeout) = (spec.cluster.clone(), spec.patience_seconds());
    let metadata = ObjectMeta { generate_name: Some(format!("{name}-{verb}-")), ..ObjectMeta::default() };
    let operations: Api<MysqlOperation> = site.api();
    let created = operations.create(&PostParams::default(), &MysqlOperation { metadata, spec, status: None }).await;
    let created = created.map_err(|error| explained(error, "a MysqlOperation for", &name, &site.namespace))?;
    let created = created.name_any();
    if patience.no_wait {
        println!("mysqloperation.grampus.dev/{created} created");
        return Ok(None);
    }
    eprintln!("mysqloperation.grampus.dev/{created}");
    follow(operations, &created, timeout).await.map(Some)
}

/// The voting member of a cluster that a person means, as [`member`] says.
///
/// # Errors
/// The record could not be read, or there is no such member.
pub async fn named(site: &Site, cluster: &MysqlCluster, argument: &str, wanted: &str) -> anyhow::Result<String> {
    member(argument, &cluster.name_any(), wanted, &voters(site, cluster).await?)
}

/// What came of an operation that only its message tells of, and whether it is what was asked for. `failed` is what is
/// said before the reason where it is not.
pub fn told(status: &MysqlOperationStatus, style: Style, failed: &str) -> (String, bool) {
    let message = status.message.as_deref().unwrap_or("no reason was given");
    if status.outcome == Some(Outcome::Succeeded) {
        return (style.text(message, Tone::Leading), true);
    }
    (style.text(&format!("{failed}: {message}"), Tone::Bad), false)
}

/// The members that vote by the record or, before there is one, those that the operator knows of.
///
/// # Errors
/// The record could not be read.
async fn voters(site: &Site, cluster: &MysqlCluster) -> anyhow::Result<Vec<String>> {
    let name = cluster.name_any();
    let records: Api<MysqlTopology> = site.api();
    let record = records.get_opt(&name).await;
    let record = record.map_err(|error| explained(error, "MysqlTopology", &name, &site.namespace))?;
    Ok(match record {
        Some(record) => record.spec.record.members.into_iter().map(|member| member.name).collect(),
        None => cluster.status.iter().flat_map(|status| &status.members).map(|member| member.name.clone()).collect(),
    })
}

/// The voting member that a person means by a name or a number.
///
/// # Errors
/// There is no such member; the error names those there are.
fn member(argument: &str, cluster: &str, wanted: &str, voters: &[String]) -> anyhow::Result<String> {
    let meant = match wanted.parse::<u32>() {
        Ok(ordinal) => names::member(cluster, ordinal),
        Err(_) => wanted.to_owned(),
    };
    if voters.contains(&meant) {
        return Ok(meant);
    }
    if voters.is_empty() {
        bail!("{argument}: {cluster} has no voting members yet; see: grampus status {cluster}");
    }
    bail!("{argument}: `{wanted}` is no voting member of {cluster}; name one of {}", voters.join(", "))
}

/// Waits until the operation is finished.
async fn follow(operations: Api<MysqlOperation>, name: &str, timeout: i32) -> anyhow::Result<MysqlOperationStatus> {
    let begun = Instant::now();
    let own = Duration::from_secs(u64::try_from(timeout).unwrap_or_default());
    let mut watch = Box::pin(watch_object(operations, name));
    let mut told = None;
    let mut untouched = true;
    loop {
        tokio::select! {
            seen = watch.next() => match seen.context("the watch ended")? {
                Ok(Some(operation)) => {
                    let status = operation.status.unwrap_or_default();
                    if status.is_finished() {
                        return Ok(status);
                    }
                    untouched = untouched && status.outcome.is_none();
                    if status.message != told {
                        eprintln!("{}", status.message.as_deref().unwrap_or_default());
                        told = status.message;
                    }
                }
                Ok(None) => bail!("MysqlOperation {name} was deleted; what it had begun may go on: look at the cluster's status"),
                Err(error) => eprintln!("the API server does not answer: {error}"),
            },
            () = sleep_until(begun + UNTOUCHED), if untouched => {
                eprintln!("nobody has taken it up yet; is the operator running, or busy with another operation?");
                untouched = false;
            }
            () = sleep_until(begun + own + GRACE) => bail!(
                "MysqlOperation {name} has not ended in {timeout} s and is not given up by this; see: kubectl get mysqloperation {name}"
            ),
        }
    }
}

/// `30s`, `1m30s`, or a bare number of seconds.
fn seconds(text: &str) -> Result<i32, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(seconds),
        Err(_) => objects::duration::parse(text).map(|duration| duration.as_secs()),
    };
    match parsed.and_then(|seconds| i32::try_from(seconds).ok()) {
        Some(seconds @ 1..=3600) => Ok(seconds),
        _ => Err("write it as in 30s or 1m30s, from 1s to 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<String> {
        (0..3).map(|ordinal| names::member("shop", ordinal)).collect()
    }

    #[test]
    fn a_member_may_be_named_by_its_number() {
        assert_eq!(member("--to", "shop", "2", &three()).unwrap(), "shop-2");
        assert_eq!(member("--to", "shop", "shop-0", &three()).unwrap(), "shop-0");
    }

    #[test]
    fn a_stranger_is_refused_before_anything_is_asked() {
        let error = member("--to", "shop", "shop-9", &three()).unwrap_err().to_string();
        assert_eq!(error, "--to: `shop-9` is no voting member of shop; name one of shop-0, shop-1, shop-2");
        assert!(member("--to", "shop", "0", &[]).unwrap_err().to_string().contains("no voting members yet"));
    }

    #[test]
    fn a_timeout_is_in_whole_seconds_and_in_bounds() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("1m30s"), Ok(90));
        for wrong in ["0", "500ms", "2h", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}

//! `restore`: makes a new cluster from a backup and follows it until it serves.
//!
//! It only creates a MysqlCluster, and never one over another. What the backup's cluster asked for is taken over as far
//! as that cluster is still there.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use indicatif::ProgressBar;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::watcher::watch_object;
use objects::api::{BackupPhase, Bootstrap, MysqlBackup, MysqlCluster, MysqlClusterSpec, Recovery, Storage};

use crate::backup::tell;
use crate::site::{Target, explained};
use crate::style::{Style, Tone};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);

/// Which backup, and what to call the cluster.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlBackup; see: grampus backups.
    backup: String,
    /// The name of the new MysqlCluster.
    #[arg(value_name = "NEW_CLUSTER")]
    cluster: String,
    /// How large each volume is, as in 10Gi. That of the backup's cluster if not given.
    #[arg(long, value_name = "SIZE")]
    storage: Option<String>,
    /// The number of voting members. That of the backup's cluster if not given.
    #[arg(long)]
    replicas: Option<i32>,
    /// Print the MysqlCluster and create nothing.
    #[arg(long)]
    dry_run: bool,
    /// Return as soon as the MysqlCluster exists.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    target: Target,
}

/// Makes a cluster from a backup.
///
/// # Errors
/// There is no such backup, it has not succeeded, or the cluster could not be created.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.target.connect().await?;
    let name = arguments.backup.as_str();
    let backup = site.api::<MysqlBackup>().get_opt(name).await;
    let backup = backup.map_err(|error| explained(error, "MysqlBackup", name, &site.namespace))?;
    let backup = backup.with_context(|| {
        format!("there is no MysqlBackup {name} in namespace {}; see: grampus backups", site.namespace)
    })?;
    let clusters: Api<MysqlCluster> = site.api();
    let source = clusters.get_opt(&backup.spec.cluster).await;
    let source = source.map_err(|error| explained(error, "MysqlCluster", &backup.spec.cluster, &site.namespace))?;
    let spec = wanted(&backup, source.map(|source| source.spec), &arguments)?;
    let cluster = MysqlCluster::new(&arguments.cluster, spec);
    if arguments.dry_run {
        print!("{}", serde_saphyr::to_string(&cluster)?);
        return Ok(ExitCode::SUCCESS);
    }
    let created = clusters.create(&PostParams::default(), &cluster).await;
    created.map_err(|error| explained(error, "MysqlCluster", &arguments.cluster, &site.namespace))?;
    if arguments.no_wait {
        println!("mysqlcluster.grampus.dev/{} created", arguments.cluster);
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("mysqlcluster.grampus.dev/{}", arguments.cluster);
    let primary = follow(clusters, &arguments.cluster).await?;
    let text = format!("{} serves what {name} holds; {primary} leads", arguments.cluster);
    println!("{}", Style::of_stdout().text(&text, Tone::Leading));
    Ok(ExitCode::SUCCESS)
}

/// The spec of the new cluster.
///
/// # Errors
/// The backup is none, or nobody said how large the volumes are.
fn wanted(
    backup: &MysqlBackup,
    source: Option<MysqlClusterSpec>,
    arguments: &Arguments,
) -> anyhow::Result<MysqlClusterSpec> {
    let phase = backup.status.as_ref().and_then(|status| status.phase);
    if phase != Some(BackupPhase::Succeeded) {
        bail!(
            "MysqlBackup {} has not succeeded, so there is nothing to restore; see: grampus backups",
            arguments.backup
        );
    }
    let mut spec = source.unwrap_or_default();
    match &arguments.storage {
        Some(size) => spec.storage = Storage { size: size.clone(), ..spec.storage },
        None if spec.storage.size.is_empty() => bail!(
            "MysqlCluster {} is not there any more, so say how large the volumes shall be: --storage 10Gi",
            backup.spec.cluster
        ),
        None => {}
    }
    spec.replicas = arguments.replicas.or(spec.replicas);
    if arguments.replicas.is_some() {
        // What was chosen for another number of members need not be possible with this one.
        spec.durability = None;
    }
    let before = spec.bootstrap.take().unwrap_or_default();
    let (new, recovered) = (before.new.unwrap_or_default(), before.recovery.unwrap_or_default());
    let recovery = Recovery {
        backup: Some(arguments.backup.clone()),
        store: None,
        path: None,
        database: new.database.or(recovered.database),
        user: new.user.or(recovered.user),
        lower_case_table_names: new.lower_case_table_names.or(recovered.lower_case_table_names),
    };
    spec.bootstrap = Some(Bootstrap { new: None, recovery: Some(recovery) });
    Ok(spec)
}

/// Waits until somebody leads, and says meanwhile what is being done.
async fn follow(clusters: Api<MysqlCluster>, name: &str) -> anyhow::Result<String> {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(TURN);
    let mut told = None;
    let mut watch = Box::pin(watch_object(clusters, name));
    loop {
        match watch.next().await.context("the watch ended")? {
            Ok(Some(cluster)) => {
                let status = cluster.status.unwrap_or_default();
                if let Some(primary) = status.primary_name() {
                    spinner.finish_and_clear();
                    return Ok(primary.to_owned());
                }
                let unmet = status.conditions.iter().find(|condition| condition.status == "False");
                tell(&spinner, &unmet.map(|condition| condition.message.clone()), &mut told);
            }
            Ok(None) => bail!("MysqlCluster {name} was deleted"),
            Err(error) => spinner.suspend(|| eprintln!("the API server does not answer: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(more: &[&str]) -> Arguments {
        Program::parse_from([&["x", "shop-abc", "shop2"], more].concat()).arguments
    }

    fn backup(phase: &str) -> MysqlBackup {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlBackup", "metadata": { "name": "shop-abc" },
            "spec": { "cluster": "shop" }, "status": { "phase": phase },
        });
        serde_json::from_value(object).unwrap()
    }

    fn source() -> MysqlClusterSpec {
        let spec = serde_json::json!({
            "replicas": 5, "storage": { "size": "20Gi", "className": "fast" }, "durability": { "acks": 3 },
            "bootstrap": { "new": { "database": "orders", "user": "till" } },
        });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn the_new_cluster_is_like_the_old_one() {
        let spec = wanted(&backup("Succeeded"), Some(source()), &arguments(&[])).unwrap();
        let recovery = spec.bootstrap.clone().unwrap().recovery.unwrap();
        assert_eq!((recovery.backup.as_deref(), recovery.database.as_deref()), (Some("shop-abc"), Some("orders")));
        assert_eq!((spec.replicas, spec.storage.size.as_str()), (Some(5), "20Gi"));
        assert!(spec.durability.is_some());
        let fewer = wanted(&backup("Succeeded"), Some(source()), &arguments(&["--replicas", "3"])).unwrap();
        assert_eq!((fewer.replicas, fewer.durability), (Some(3), None));
    }

    #[test]
    fn without_the_old_cluster_its_size_has_to_be_said() {
        let refused = wanted(&backup("Succeeded"), None, &arguments(&[])).unwrap_err().to_string();
        assert!(refused.contains("--storage"), "{refused}");
        assert!(wanted(&backup("Succeeded"), None, &arguments(&["--storage", "10Gi"])).is_ok());
    }

    #[test]
    fn what_has_not_succeeded_is_not_restored() {
        assert!(wanted(&backup("Running"), Some(source()), &arguments(&[])).is_err());
    }
}

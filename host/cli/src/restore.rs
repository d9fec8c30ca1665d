//! `restore`: makes a new cluster from a backup and follows it until it serves.
//!
//! It creates a MysqlCluster, and never one over another: where it shall have the name of one that is there, that one has
//! to give way first. What the backup's cluster asked for is taken over as far as that cluster is still there.

mod in_place;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::StreamExt as _;
use indicatif::ProgressBar;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::watcher::watch_object;
use objects::api::{
    BackupEncryption, BackupPhase, Bootstrap, MysqlBackup, MysqlCluster, MysqlClusterSpec, Recovery, RecoveryTarget,
    Storage,
};
use objects::validate::recovery_target;

use self::in_place::Before;
use crate::backup::tell;
use crate::site::{Target, explained};
use crate::style::{Style, Tone};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);

/// Which backup, how far to go on from it, and what to call the cluster.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of a MysqlBackup; see: grampus backups. Or that of a MysqlCluster: the newest of its backups from which
    /// the target can be reached.
    #[arg(value_name = "BACKUP_OR_CLUSTER")]
    from: String,
    /// The name of the new MysqlCluster.
    #[arg(value_name = "NEW_CLUSTER")]
    cluster: String,
    /// Recover everything that was committed until this moment, as in 2026-11-21T09:30:00Z.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["before_gtid", "to_end"])]
    to_time: Option<String>,
    /// Recover everything that was committed before this transaction, as in
    /// 3e11fa47-71ca-11e1-9e33-c80aa9429562:23.
    #[arg(long, value_name = "GTID", conflicts_with = "to_end")]
    before_gtid: Option<String>,
    /// Recover everything that was archived. A backup is restored alone if no target is given.
    #[arg(long)]
    to_end: bool,
    /// How large each volume is, as in 10Gi. That of the backup's cluster if not given.
    #[arg(long, value_name = "SIZE")]
    storage: Option<String>,
    /// The number of voting members. That of the backup's cluster if not given.
    #[arg(long)]
    replicas: Option<i32>,
    /// The Secret with the keys that an encrypted backup is opened with. The one that the backup's cluster names if not given.
    #[arg(long, value_name = "SECRET")]
    keys_secret: Option<String>,
    /// Put the new cluster in the place of the one that has its name: that one is deleted, its volumes stay, and the new
    /// one begins on volumes of its own. The names of Services, passwords and the certificate authority stay what they
    /// are. Nobody can write from when the old one ends until the recovery is done.
    #[arg(long)]
    in_place: bool,
    /// The directory in which --in-place leaves the manifests of both, which lead on if it is interrupted, and back.
    #[arg(long, value_name = "DIRECTORY", default_value = ".", requires = "in_place")]
    keep_in: PathBuf,
    /// Print the MysqlCluster and create nothing.
    #[arg(long)]
    dry_run: bool,
    /// Return as soon as the MysqlCluster exists.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    site: Target,
}

/// Makes a cluster from a backup.
///
/// # Errors
/// There is no such backup, it has not succeeded, the target is none, or the cluster could not be created.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let target = arguments.target()?;
    let site = arguments.site.connect().await?;
    let name = arguments.from.as_str();
    let clusters: Api<MysqlCluster> = site.api();
    let backup = site.api::<MysqlBackup>().get_opt(name).await;
    let backup = backup.map_err(|error| explained(error, "MysqlBackup", name, &site.namespace))?;
    let of = backup.as_ref().map_or(name, |backup| &backup.spec.cluster);
    let source = clusters.get_opt(of).await;
    let source = source.map_err(|error| explained(error, "MysqlCluster", of, &site.namespace))?.map(|found| found.spec);
    let from = match &backup {
        Some(backup) => from_backup(name, backup)?,
        None => from_cluster(name, &site.namespace, source.as_ref())?,
    };
    let place = match arguments.in_place {
        true => Some(Before::of(&site, &arguments.cluster).await?),
        false => None,
    };
    // What takes the place of a cluster is like that one, whoever made the backup.
    let like = place.as_ref().map(|place| place.cluster().spec.clone()).or(source);
    let spec = wanted(Recovery { target, ..from }, of, like, &arguments)?;
    let cluster = match &place {
        Some(place) => place.followed_by(spec),
        None => MysqlCluster::new(&arguments.cluster, spec),
    };
    if arguments.dry_run {
        print!("{}", serde_saphyr::to_string(&cluster)?);
        return Ok(ExitCode::SUCCESS);
    }
    let manifests = match &place {
        Some(place) => Some(place.give_way(&site, &cluster, &arguments.keep_in).await?),
        None => None,
    };
    let created = clusters.create(&PostParams::default(), &cluster).await;
    created.map_err(|error| refused(error, &arguments, &site.namespace))?;
    let made = format!("mysqlcluster.grampus.dev/{}", arguments.cluster);
    if arguments.no_wait {
        println!("{made} created");
    } else {
        eprintln!("{made}");
        let primary = follow(clusters, &arguments.cluster).await?;
        let text = format!("{} serves what {name} held{}; {primary} leads", arguments.cluster, arguments.until());
        println!("{}", Style::of_stdout().text(&text, Tone::Leading));
    }
    if let (Some(place), Some(manifests)) = (&place, &manifests) {
        println!("{}", manifests.told(&arguments.cluster, &place.left()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Why the cluster was not created.
fn refused(error: kube::Error, arguments: &Arguments, namespace: &str) -> anyhow::Error {
    let name = &arguments.cluster;
    match &error {
        kube::Error::Api(status) if status.code == 409 && !arguments.in_place => anyhow!(
            "there is a MysqlCluster {name} in namespace {namespace} already; name another, or have this one take its place: \
             --in-place"
        ),
        _ => explained(error, "MysqlCluster", name, namespace),
    }
}

impl Arguments {
    /// Where the recovery ends, as the spec says it.
    ///
    /// # Errors
    /// What was given is no such thing.
    fn target(&self) -> anyhow::Result<Option<RecoveryTarget>> {
        let (time, before_gtid) = (self.to_time.clone(), self.before_gtid.clone());
        let end = self.to_end.then_some(true);
        if time.is_none() && before_gtid.is_none() && end.is_none() {
            return Ok(None);
        }
        let option = if time.is_some() { "--to-time" } else { "--before-gtid" };
        let target = RecoveryTarget { time, before_gtid, end, within_gtids: None };
        match recovery_target(&target) {
            Ok(_) => Ok(Some(target)),
            Err(problem) => bail!("{option}: {}; {}", problem.message, problem.remedy),
        }
    }

    fn until(&self) -> String {
        match (&self.to_time, &self.before_gtid, self.to_end) {
            (Some(time), _, _) => format!(" at {time}"),
            (_, Some(gtid), _) => format!(" before {gtid}"),
            (_, _, true) => " at the end of its archive".to_owned(),
            _ => String::new(),
        }
    }
}

/// What a MysqlBackup names.
///
/// # Errors
/// It is none.
fn from_backup(name: &str, backup: &MysqlBackup) -> anyhow::Result<Recovery> {
    let phase = backup.status.as_ref().and_then(|status| status.phase);
    if phase != Some(BackupPhase::Succeeded) {
        bail!("MysqlBackup {name} has not succeeded, so there is nothing to restore; see: grampus backups");
    }
    Ok(Recovery { backup: Some(name.to_owned()), ..Recovery::default() })
}

/// Everything that there is of a cluster in its store.
///
/// # Errors
/// There is no such cluster, or it has no store.
fn from_cluster(name: &str, namespace: &str, cluster: Option<&MysqlClusterSpec>) -> anyhow::Result<Recovery> {
    let cluster = cluster.with_context(|| {
        format!(
            "there is neither a MysqlBackup nor a MysqlCluster {name} in namespace {namespace}; see: grampus backups"
        )
    })?;
    let backup = cluster.backup.as_ref().with_context(|| {
        format!("MysqlCluster {name} does not say where its backups are; name a MysqlBackup, see: grampus backups")
    })?;
    let (store, path) = (Some(backup.store.clone()), Some(format!("{namespace}/{name}")));
    Ok(Recovery { store, path, ..Recovery::default() })
}

/// The spec of the new cluster, like that of the old one, if that is still there.
///
/// # Errors
/// Nobody said how large the volumes are.
fn wanted(
    from: Recovery,
    of: &str,
    source: Option<MysqlClusterSpec>,
    arguments: &Arguments,
) -> anyhow::Result<MysqlClusterSpec> {
    let mut spec = source.unwrap_or_default();
    match &arguments.storage {
        Some(size) => spec.storage = Storage { size: size.clone(), ..spec.storage },
        None if spec.storage.size.is_empty() => {
            bail!("MysqlCluster {of} is not there any more, so say how large the volumes shall be: --storage 10Gi")
        }
        None => {}
    }
    spec.replicas = arguments.replicas.or(spec.replicas);
    if arguments.replicas.is_some() {
        // What was chosen for another number of members need not be possible with this one.
        spec.durability = None;
    }
    let before = spec.bootstrap.take().unwrap_or_default();
    let (new, recovered) = (before.new.unwrap_or_default(), before.recovery.unwrap_or_default());
    // What it was itself recovered with opens nothing that it made.
    let of_source = spec.backup.as_ref().and_then(|backup| backup.encryption.clone());
    let named = arguments.keys_secret.clone().map(|keys_secret| BackupEncryption { keys_secret });
    let recovery = Recovery {
        encryption: named.or(of_source),
        database: new.database.or(recovered.database),
        user: new.user.or(recovered.user),
        lower_case_table_names: new.lower_case_table_names.or(recovered.lower_case_table_names),
        ..from
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
            "backup": { "store": { "s3": { "bucket": "b", "credentialsSecret": "c" } } },
        });
        serde_json::from_value(spec).unwrap()
    }

    fn from() -> Recovery {
        from_backup("shop-abc", &backup("Succeeded")).unwrap()
    }

    #[test]
    fn the_new_cluster_is_like_the_old_one() {
        let spec = wanted(from(), "shop", Some(source()), &arguments(&[])).unwrap();
        let recovery = spec.bootstrap.clone().unwrap().recovery.unwrap();
        assert_eq!((recovery.backup.as_deref(), recovery.database.as_deref()), (Some("shop-abc"), Some("orders")));
        assert_eq!((spec.replicas, spec.storage.size.as_str()), (Some(5), "20Gi"));
        assert!(spec.durability.is_some());
        let fewer = wanted(from(), "shop", Some(source()), &arguments(&["--replicas", "3"])).unwrap();
        assert_eq!((fewer.replicas, fewer.durability), (Some(3), None));
    }

    #[test]
    fn what_it_is_opened_with_is_what_the_old_cluster_names_or_what_is_said() {
        let keys = |source, more: &[&str]| {
            let spec = wanted(from(), "shop", source, &arguments(more)).unwrap();
            spec.bootstrap.unwrap().recovery.unwrap().encryption.map(|keys| keys.keys_secret)
        };
        let mut encrypted = source();
        encrypted.backup.as_mut().unwrap().encryption = Some(BackupEncryption { keys_secret: "ours".to_owned() });
        assert_eq!(keys(Some(source()), &[]), None);
        assert_eq!(keys(Some(encrypted.clone()), &[]).as_deref(), Some("ours"));
        assert_eq!(keys(Some(encrypted), &["--keys-secret", "old"]).as_deref(), Some("old"));
        assert_eq!(keys(None, &["--storage", "1Gi", "--keys-secret", "old"]).as_deref(), Some("old"));
    }

    #[test]
    fn without_the_old_cluster_its_size_has_to_be_said() {
        let refused = wanted(from(), "shop", None, &arguments(&[])).unwrap_err().to_string();
        assert!(refused.contains("--storage"), "{refused}");
        assert!(wanted(from(), "shop", None, &arguments(&["--storage", "10Gi"])).is_ok());
    }

    #[test]
    fn what_has_not_succeeded_is_not_restored() {
        assert!(from_backup("shop-abc", &backup("Running")).is_err());
    }

    #[test]
    fn a_cluster_stands_for_everything_that_there_is_of_it() {
        let from = from_cluster("shop", "store", Some(&source())).unwrap();
        assert_eq!((from.path.as_deref(), from.store.is_some(), from.backup), (Some("store/shop"), true, None));
        let nowhere = from_cluster("shop", "store", Some(&MysqlClusterSpec::default())).unwrap_err().to_string();
        assert!(nowhere.contains("where its backups are"), "{nowhere}");
        assert!(from_cluster("shop", "store", None).unwrap_err().to_string().contains("neither"));
    }

    #[test]
    fn a_target_is_checked_before_anything_is_asked_for() {
        assert_eq!(arguments(&[]).target().unwrap(), None);
        let target = arguments(&["--to-time", "2026-11-21T09:30:00Z"]).target().unwrap().unwrap();
        assert_eq!((target.time.as_deref(), target.end), (Some("2026-11-21T09:30:00Z"), None));
        assert_eq!(arguments(&["--to-end"]).target().unwrap().unwrap().end, Some(true));
        for (option, value) in
            [("--to-time", "yesterday"), ("--before-gtid", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-2")]
        {
            let refused = arguments(&[option, value]).target().unwrap_err().to_string();
            assert!(refused.starts_with(option), "{refused}");
        }
        let both = ["x", "shop-abc", "shop2", "--to-end", "--to-time", "2026-11-21T09:30:00Z"];
        assert!(Program::try_parse_from(both).is_err());
    }
}

//! `backups`: the backups of a cluster, newest first, as MysqlBackups tell of them; with `--retention`, what is kept of what
//! lies in the store, and why, as the operator saw it there.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use objects::api::{BackupPhase, MysqlBackup, MysqlCluster, RetentionAction, RetentionStatus};

use crate::site::{Target, explained};
use crate::status::ago;
use crate::style::{Style, Tone};

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlCluster, which need not exist any more. Those of every cluster if not given.
    cluster: Option<String>,
    /// Show what is kept in the store, what is to be removed, and why. With `spec.backup.retention.dryRun: true` nothing is
    /// removed, and this is what would be.
    #[arg(long, requires = "cluster")]
    retention: bool,
    #[command(flatten)]
    target: Target,
}

/// Lists backups.
///
/// # Errors
/// The API server could not be asked.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.target.connect().await?;
    if let Some(name) = arguments.cluster.as_ref().filter(|_| arguments.retention) {
        let cluster = site.cluster(name).await?;
        let seen = retention(&cluster)?;
        println!("{}", kept(seen, is_dry(&cluster), Timestamp::now(), Style::of_stdout()));
        return Ok(if seen.problem.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let backups: Api<MysqlBackup> = site.api();
    let found = backups.list(&ListParams::default()).await;
    let mut found = found.map_err(|error| explained(error, "MysqlBackups", "of any name", &site.namespace))?.items;
    found.retain(|backup| arguments.cluster.as_ref().is_none_or(|cluster| *cluster == backup.spec.cluster));
    if found.is_empty() {
        let of = arguments.cluster.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        eprintln!("there are no backups{of} in namespace {}", site.namespace);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", render(found, Timestamp::now(), Style::of_stdout()));
    Ok(ExitCode::SUCCESS)
}

fn render(mut backups: Vec<MysqlBackup>, now: Timestamp, style: Style) -> String {
    backups.sort_by_key(|backup| std::cmp::Reverse((backup.creation_timestamp(), backup.name_any())));
    let mut table = style.table();
    table.set_header(["NAME", "CLUSTER", "PHASE", "SIZE", "DURATION", "MEMBER", "AGE", "MESSAGE"]);
    for backup in backups {
        let age = backup.creation_timestamp().map(|time| ago(now, time.0)).unwrap_or_default();
        let name = backup.name_any();
        let status = backup.status.unwrap_or_default();
        let (phase, tone) = match status.phase {
            Some(BackupPhase::Succeeded) => ("Succeeded", Tone::Good),
            Some(BackupPhase::Failed) => ("Failed", Tone::Bad),
            Some(BackupPhase::Removed) => ("Removed", Tone::Quiet),
            Some(BackupPhase::Running) => ("Running", Tone::Leading),
            Some(BackupPhase::Pending) | None => ("Pending", Tone::Doubtful),
        };
        let plain = |text: Option<String>| style.cell(text.unwrap_or_default(), Tone::Plain);
        let message = status.message.filter(|_| status.phase != Some(BackupPhase::Succeeded));
        table.add_row([
            style.cell(name, Tone::Plain),
            style.cell(backup.spec.cluster, Tone::Plain),
            style.cell(phase, tone),
            plain(status.size),
            plain(status.duration),
            plain(status.member),
            style.cell(age, Tone::Quiet),
            plain(message),
        ]);
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// What the operator told.
///
/// # Errors
/// Nothing is removed of this cluster, or the operator has not looked yet.
fn retention(cluster: &MysqlCluster) -> anyhow::Result<&RetentionStatus> {
    let name = cluster.name_any();
    if cluster.spec.backup.as_ref().is_none_or(|backup| backup.retention.is_none()) {
        bail!("MysqlCluster {name} does not say for how long, so all backups are kept; set spec.backup.retention");
    }
    let told = cluster.status.as_ref().and_then(|status| status.backup.as_ref()?.retention.as_ref());
    told.with_context(|| {
        format!("the operator has not looked at the backups of MysqlCluster {name} yet; it does so within a minute")
    })
}

fn is_dry(cluster: &MysqlCluster) -> bool {
    let retention = cluster.spec.backup.as_ref().and_then(|backup| backup.retention.as_ref());
    retention.is_some_and(|retention| retention.dry_run.unwrap_or(false))
}

fn kept(seen: &RetentionStatus, dry: bool, now: Timestamp, style: Style) -> String {
    let mut table = style.table();
    table.set_header(["BACKUP", "ACTION", "REASON"]);
    for backup in &seen.backups {
        let (action, tone) = match backup.action {
            RetentionAction::Keep => ("keep", Tone::Good),
            RetentionAction::Remove if dry => ("would remove", Tone::Doubtful),
            RetentionAction::Remove => ("remove", Tone::Doubtful),
            RetentionAction::Leave => ("leave", Tone::Quiet),
        };
        table.add_row([
            style.cell(&backup.name, Tone::Plain),
            style.cell(action, tone),
            style.cell(&backup.reason, Tone::Plain),
        ]);
    }
    let mut lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.extend(seen.archive.as_ref().map(|archive| format!("archive: {archive}")));
    if let Some(oldest) = &seen.oldest {
        lines.push(format!("nothing from before {} ({}) can be recovered", oldest.0, ago(now, oldest.0)));
    }
    lines.extend(seen.problem.as_ref().map(|problem| style.text(&format!("problem: {problem}"), Tone::Bad)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use objects::api::RetainedStatus;

    use super::*;

    const PLAIN: Style = Style { colour: false, width: None };

    #[test]
    fn what_is_kept_and_what_is_not_is_told_with_the_reason() {
        let backup = |name: &str, action, reason: &str| RetainedStatus {
            name: name.to_owned(),
            action,
            reason: reason.to_owned(),
        };
        let seen = RetentionStatus {
            oldest: Some(Time("2026-11-26T18:00:00Z".parse().unwrap())),
            backups: vec![
                backup("b", RetentionAction::Keep, "it is the newest"),
                backup("a", RetentionAction::Remove, "1 newer ones are kept"),
            ],
            archive: Some("kept from segment 9 on".to_owned()),
            problem: Some("the store".to_owned()),
            ..RetentionStatus::default()
        };
        let text = kept(&seen, true, "2026-11-26T19:00:00Z".parse().unwrap(), PLAIN);
        assert!(text.contains("would remove") && text.contains("it is the newest"), "{text}");
        assert!(text.contains("archive: kept from segment 9 on") && text.ends_with("problem: the store"), "{text}");
        assert!(text.contains("nothing from before 2026-11-26T18:00:00Z"), "{text}");
        assert!(!kept(&seen, false, Timestamp::UNIX_EPOCH, PLAIN).contains("would"));
    }

    #[test]
    fn without_a_policy_it_is_said_that_everything_is_kept() {
        let cluster = |retention: serde_json::Value| -> MysqlCluster {
            let object = serde_json::json!({
                "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster", "metadata": { "name": "shop" },
                "spec": { "storage": { "size": "1Gi" }, "backup": { "store": {}, "retention": retention } },
            });
            serde_json::from_value(object).unwrap()
        };
        let all = retention(&cluster(serde_json::Value::Null)).unwrap_err().to_string();
        assert!(all.contains("all backups are kept"), "{all}");
        let not_yet = cluster(serde_json::json!({ "fulls": 7, "dryRun": true }));
        assert!(retention(&not_yet).unwrap_err().to_string().contains("not looked") && is_dry(&not_yet));
    }
}

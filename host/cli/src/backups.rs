//! `backups`: the backups of a cluster, newest first, as MysqlBackups tell of them.

use std::process::ExitCode;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use objects::api::{BackupPhase, MysqlBackup};

use crate::site::{Target, explained};
use crate::status::ago;
use crate::style::{Style, Tone};

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlCluster, which need not exist any more. Those of every cluster if not given.
    cluster: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Lists backups.
///
/// # Errors
/// The API server could not be asked.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.target.connect().await?;
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

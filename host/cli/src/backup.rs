//! `backup`: asks for a full backup now and follows it.
//!
//! Ending the command changes nothing about the backup.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt as _};
use objects::api::{BackupMethod, BackupPhase, MysqlBackup, MysqlBackupSpec, MysqlBackupStatus};
use tokio::time::{Instant, sleep_until};

use crate::operation::Subject;
use crate::site::explained;
use crate::style::{Style, Tone};

/// How long a backup may lie untouched before it is said that nobody seems to work.
const UNTOUCHED: Duration = Duration::from_secs(10);

/// How a backup is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// By MySQL's clone plugin.
    Clone,
    /// By mysqldump.
    Logical,
}

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// How it is made: a copy of the data files, or the statements that make the databases again, for a server of another
    /// version.
    #[arg(long, value_enum, default_value_t = Method::Clone)]
    method: Method,
    /// Return as soon as the MysqlBackup exists.
    #[arg(long)]
    no_wait: bool,
}

/// Asks for a backup and follows it.
///
/// # Errors
/// It could not be asked for. One that failed is told by the exit code.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (site, cluster) = arguments.subject.open().await?;
    let name = arguments.subject.name.as_str();
    if cluster.spec.backup.is_none() {
        bail!("MysqlCluster {name} does not say where backups go; set spec.backup.store first");
    }
    let backups: Api<MysqlBackup> = site.api();
    let backup = MysqlBackup {
        metadata: ObjectMeta { generate_name: Some(format!("{name}-")), ..ObjectMeta::default() },
        spec: MysqlBackupSpec { cluster: name.to_owned(), method: arguments.method.asked() },
        status: None,
    };
    let created = backups.create(&PostParams::default(), &backup).await;
    let created = created.map_err(|error| explained(error, "a MysqlBackup of", name, &site.namespace))?.name_any();
    if arguments.no_wait {
        println!("mysqlbackup.grampus.dev/{created} created");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("mysqlbackup.grampus.dev/{created}");
    let status = follow(backups, &created).await?;
    let (text, succeeded) = outcome(&created, &status, Style::of_stdout());
    println!("{text}");
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Method {
    /// As the spec says it, which says nothing of what is meant anyway.
    fn asked(self) -> Option<BackupMethod> {
        match self {
            Self::Clone => None,
            Self::Logical => Some(BackupMethod::Logical),
        }
    }
}

/// What came of it, and whether it is what was asked for.
fn outcome(name: &str, status: &MysqlBackupStatus, style: Style) -> (String, bool) {
    let message = status.message.as_deref().unwrap_or("no reason was given");
    if status.phase != Some(BackupPhase::Succeeded) {
        return (style.text(&format!("there is no backup: {message}"), Tone::Bad), false);
    }
    let path = status.path.as_deref().unwrap_or_default();
    let took = status.duration.as_deref().unwrap_or("unknown");
    let headline = style.text(&format!("{name}: {message}, in {took}"), Tone::Leading);
    (format!("{headline}\nat: {path}\nholds: {}", status.gtids.as_deref().unwrap_or_default()), true)
}

async fn follow(backups: Api<MysqlBackup>, name: &str) -> anyhow::Result<MysqlBackupStatus> {
    let bar = bar(ProgressDrawTarget::stderr());
    let untouched_at = Instant::now() + UNTOUCHED;
    let mut watch = Box::pin(watch_object(backups, name));
    let mut untouched = true;
    let mut told = None;
    loop {
        tokio::select! {
            seen = watch.next() => match seen.context("the watch ended")? {
                Ok(Some(backup)) => {
                    let status = backup.status.unwrap_or_default();
                    if status.is_finished() {
                        bar.finish_and_clear();
                        return Ok(status);
                    }
                    untouched = untouched && status.phase.is_none();
                    show(&bar, &status, &mut told);
                }
                Ok(None) => bail!("MysqlBackup {name} was deleted; what it had begun goes on to its end"),
                Err(error) => bar.suspend(|| eprintln!("the API server does not answer: {error}")),
            },
            () = sleep_until(untouched_at), if untouched => {
                bar.suspend(|| eprintln!("nobody has taken it up yet; is the operator running?"));
                untouched = false;
            }
        }
    }
}

/// A bar with bytes, rate and what remains. It draws nothing where there is no terminal.
pub fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let template = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}";
    // The template is a constant; one that indicatif refused would only look plainer.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, status: &MysqlBackupStatus, told: &mut Option<String>) {
    let amount = |bytes: Option<i64>| u64::try_from(bytes.unwrap_or_default()).unwrap_or_default();
    let (done, total) = (amount(status.bytes_done), amount(status.bytes));
    bar.set_length(total.max(done));
    bar.set_position(done);
    tell(bar, &status.message, told);
}

/// Says what is new, beside the bar or, where nobody sees one, on a line.
pub fn tell(bar: &ProgressBar, message: &Option<String>, told: &mut Option<String>) {
    if message != told {
        let text = message.clone().unwrap_or_default();
        if bar.is_hidden() {
            eprintln!("{text}");
        }
        bar.set_message(text);
        told.clone_from(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, width: None };

    #[test]
    fn a_backup_is_told_with_where_it_is_and_what_it_holds() {
        let status = MysqlBackupStatus {
            phase: Some(BackupPhase::Succeeded),
            message: Some("made from shop-2, 8.0 MiB of 74.0 MiB in the store".to_owned()),
            path: Some("store/shop/full/1-shop-2".to_owned()),
            gtids: Some("u:1-9".to_owned()),
            duration: Some("3.1s".to_owned()),
            ..MysqlBackupStatus::default()
        };
        let (text, succeeded) = outcome("shop-abc", &status, PLAIN);
        assert!(succeeded);
        assert_eq!(
            text,
            "shop-abc: made from shop-2, 8.0 MiB of 74.0 MiB in the store, in 3.1s\nat: store/shop/full/1-shop-2\nholds: u:1-9"
        );
    }

    #[test]
    fn a_failure_is_told_and_is_one() {
        let status = MysqlBackupStatus {
            phase: Some(BackupPhase::Failed),
            message: Some("shop-2: the data volume has no room for it".to_owned()),
            ..MysqlBackupStatus::default()
        };
        let (text, succeeded) = outcome("shop-abc", &status, PLAIN);
        assert!(!succeeded && text.ends_with("no room for it"), "{text}");
    }
}

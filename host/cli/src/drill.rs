//! `drill`: has the newest backup restored, compared and removed, and says what that proved.
//!
//! It only asks; what a drill has proved is for the operator to say. Ending the command changes nothing about the drill.

use std::process::ExitCode;

use anyhow::bail;
use objects::api::{MysqlOperationSpec, MysqlOperationStatus, OperationType};

use crate::operation::{self, Patience, Subject};
use crate::style::Style;

/// Whose backup.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    patience: Patience,
}

/// Asks for a drill and follows it.
///
/// # Errors
/// It could not be asked for, or was not finished in time. One that failed is told by the exit code.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (site, cluster) = arguments.subject.open().await?;
    let name = arguments.subject.name.as_str();
    if cluster.spec.backup.is_none() {
        bail!("MysqlCluster {name} does not say where backups go; set spec.backup.store first");
    }
    let spec = MysqlOperationSpec {
        timeout_seconds: arguments.patience.timeout,
        ..MysqlOperationSpec::new(name, OperationType::Drill)
    };
    operation::carry_out(&site, spec, "drill", &arguments.patience, outcome).await
}

/// What came of it, and whether it is what was asked for.
fn outcome(status: &MysqlOperationStatus, style: Style) -> (String, bool) {
    let (text, succeeded) = operation::told(status, style, "the backup was not proved");
    let backup = status.drill.as_ref().and_then(|drill| drill.backup.as_deref());
    (backup.map(|path| format!("{text}\nbackup: {path}")).unwrap_or(text), succeeded)
}

#[cfg(test)]
mod tests {
    use objects::api::{DrillStatus, Outcome};

    use super::*;

    #[test]
    fn what_was_proved_is_told_with_the_backup_and_a_failure_is_one() {
        let status = |outcome, message: &str| MysqlOperationStatus {
            outcome: Some(outcome),
            message: Some(message.to_owned()),
            drill: Some(DrillStatus { backup: Some("store/shop/full/1".to_owned()), ..DrillStatus::default() }),
            ..MysqlOperationStatus::default()
        };
        let plain = Style { colour: false, width: None };
        let done = outcome(&status(Outcome::Succeeded, "recovered in 42 s"), plain);
        assert_eq!(done, ("recovered in 42 s\nbackup: store/shop/full/1".to_owned(), true));
        let (text, succeeded) = outcome(&status(Outcome::Failed, "parts/000000 is damaged"), plain);
        assert!(!succeeded && text.starts_with("the backup was not proved: parts/000000 is damaged"), "{text}");
    }
}

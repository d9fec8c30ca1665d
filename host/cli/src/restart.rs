//! `restart`: has the pods of a cluster replaced, one at a time.
//!
//! It only asks; whose turn it is and what is waited for is for the operator to say.

use std::process::ExitCode;

use objects::api::{MysqlOperationSpec, MysqlOperationStatus, OperationType};

use crate::operation::{self, Patience, Subject};
use crate::style::Style;

/// Whose pods.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The only member to restart: a pod's name, or the number at the end of it. Every member if not given.
    #[arg(long, value_name = "POD")]
    member: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

/// Asks for a restart and follows it.
///
/// # Errors
/// It could not be asked for, or was not finished in time. One that failed is told by the exit code.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (site, cluster) = arguments.subject.open().await?;
    let name = arguments.subject.name.as_str();
    let member = match &arguments.member {
        Some(wanted) => Some(operation::named(&site, &cluster, "--member", wanted).await?),
        None => None,
    };
    let spec = MysqlOperationSpec {
        member,
        timeout_seconds: arguments.patience.timeout,
        ..MysqlOperationSpec::new(name, OperationType::Restart)
    };
    let told = |status: &MysqlOperationStatus, style| outcome(name, status, style);
    operation::carry_out(&site, spec, "restart", &arguments.patience, told).await
}

/// What came of it, and whether it is what was asked for.
fn outcome(cluster: &str, status: &MysqlOperationStatus, style: Style) -> (String, bool) {
    operation::told(status, style, &format!("{cluster} was not restarted as asked"))
}

#[cfg(test)]
mod tests {
    use objects::api::Outcome;

    use super::*;

    #[test]
    fn a_failure_is_told_and_is_one() {
        let status = |outcome, message: &str| MysqlOperationStatus {
            outcome: Some(outcome),
            message: Some(message.to_owned()),
            ..MysqlOperationStatus::default()
        };
        let plain = Style { colour: false, width: None };
        let done = status(Outcome::Succeeded, "3 of 3 restarted; shop-1 leads");
        assert_eq!(outcome("shop", &done, plain), ("3 of 3 restarted; shop-1 leads".to_owned(), true));
        let failed = status(Outcome::Failed, "not done in time: 1 of 3 restarted");
        let (text, succeeded) = outcome("shop", &failed, plain);
        assert!(!succeeded);
        assert_eq!(text, "shop was not restarted as asked: not done in time: 1 of 3 restarted");
    }
}

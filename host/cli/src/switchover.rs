//! `switchover`: moves the role of primary.
//!
//! It only asks; who may lead is for the policy and the guard to say.

use std::process::ExitCode;

use objects::api::{MysqlOperationSpec, MysqlOperationStatus, OperationType, Outcome};

use crate::operation::{self, Patience, Subject};
use crate::style::{Style, Tone};

/// What to move where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The member that shall lead: a pod's name, or the number at the end of it. The policy chooses if not given.
    #[arg(long, value_name = "POD")]
    to: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

/// Asks for a switchover and follows it.
///
/// # Errors
/// It could not be asked for, or was not finished in time. One that failed is told by the exit code.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (site, cluster) = arguments.subject.open().await?;
    let name = arguments.subject.name.as_str();
    let to = match &arguments.to {
        Some(wanted) => Some(operation::named(&site, &cluster, "--to", wanted).await?),
        None => None,
    };
    let spec = MysqlOperationSpec {
        to,
        timeout_seconds: arguments.patience.timeout,
        ..MysqlOperationSpec::new(name, OperationType::Switchover)
    };
    operation::carry_out(&site, spec, "switchover", &arguments.patience, outcome).await
}

/// What came of it, and whether it is what was asked for.
fn outcome(status: &MysqlOperationStatus, style: Style) -> (String, bool) {
    let from = status.from.as_deref().unwrap_or("nobody");
    let message = status.message.as_deref().unwrap_or("no reason was given");
    if status.outcome != Some(Outcome::Succeeded) {
        return (style.text(&format!("{from} was not replaced: {message}"), Tone::Bad), false);
    }
    let to = status.to.as_deref().unwrap_or("an unknown member");
    let headline = if from == to { message.to_owned() } else { format!("{from} → {to}: {message}") };
    let mut text = style.text(&headline, Tone::Leading);
    if let Some(reason) = &status.reason {
        text.push_str("\nchosen because: ");
        text.push_str(reason);
    }
    (text, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, width: None };

    #[test]
    fn the_end_is_told_with_the_reason() {
        let status = MysqlOperationStatus {
            outcome: Some(Outcome::Succeeded),
            message: Some("shop-2 leads since epoch 5".to_owned()),
            reason: Some("is in zone b, preference 1 of 2 (prefer-zone 0.1.0)".to_owned()),
            from: Some("shop-1".to_owned()),
            to: Some("shop-2".to_owned()),
            ..MysqlOperationStatus::default()
        };
        let (text, succeeded) = outcome(&status, PLAIN);
        assert!(succeeded);
        insta::assert_snapshot!(text, @r"
        shop-1 → shop-2: shop-2 leads since epoch 5
        chosen because: is in zone b, preference 1 of 2 (prefer-zone 0.1.0)
        ");
    }

    #[test]
    fn a_failure_is_told_and_is_one() {
        let status = MysqlOperationStatus {
            outcome: Some(Outcome::Failed),
            message: Some("`shop-2` cannot lead: its applier stopped; nothing was changed".to_owned()),
            from: Some("shop-1".to_owned()),
            ..MysqlOperationStatus::default()
        };
        let (text, succeeded) = outcome(&status, PLAIN);
        assert!(!succeeded);
        insta::assert_snapshot!(text, @"shop-1 was not replaced: `shop-2` cannot lead: its applier stopped; nothing was changed");
    }
}

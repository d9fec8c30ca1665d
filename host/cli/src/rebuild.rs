//! `rebuild`: replaces the data of a replica by a copy of another member's.
//!
//! It throws transactions away that only that member holds, so it says which before it asks.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use objects::api::{MemberRole, MysqlCluster, MysqlOperationSpec, MysqlOperationStatus, OperationType};

use crate::operation::{self, Patience, Subject};
use crate::style::Style;

/// Whose data.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The member whose data is replaced: a pod's name, or the number at the end of it.
    #[arg(value_name = "POD")]
    member: String,
    /// Do not ask before it begins.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Asks for a rebuild and follows it.
///
/// # Errors
/// It could not be asked for, or was not finished in time. One that failed is told by the exit code.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (site, cluster) = arguments.subject.open().await?;
    let name = arguments.subject.name.as_str();
    let member = operation::named(&site, &cluster, "POD", &arguments.member).await?;
    let question = consequence(&cluster, &member)?;
    if !arguments.yes && !confirmed(&question)? {
        bail!("nothing was asked for");
    }
    let spec = MysqlOperationSpec {
        member: Some(member.clone()),
        timeout_seconds: arguments.patience.timeout,
        ..MysqlOperationSpec::new(name, OperationType::Rebuild)
    };
    let told = |status: &MysqlOperationStatus, style| outcome(&member, status, style);
    operation::carry_out(&site, spec, "rebuild", &arguments.patience, told).await
}

/// What a rebuild of this member means.
///
/// # Errors
/// It leads.
fn consequence(cluster: &MysqlCluster, member: &str) -> anyhow::Result<String> {
    let status = cluster.status.clone().unwrap_or_default();
    if status.primary_name() == Some(member) {
        bail!("POD: {member} leads, so its data is what counts; switch over first");
    }
    let found = status.members.iter().find(|found| found.name == member);
    let held = found.filter(|found| found.role == MemberRole::Quarantined).and_then(|found| found.message.as_deref());
    Ok(match held {
        Some(message) => format!("{message}\nWhat only {member} holds will be gone once the copy is good."),
        None => format!("{member} will be stopped and get a copy of another member's data."),
    })
}

/// Whether a person at a terminal agrees.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{question}\nThere is no terminal to ask at; say --yes if that is wanted");
    }
    eprint!("{question}\nGo on? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What came of it, and whether it is what was asked for.
fn outcome(member: &str, status: &MysqlOperationStatus, style: Style) -> (String, bool) {
    operation::told(status, style, &format!("{member} was not rebuilt"))
}

#[cfg(test)]
mod tests {
    use objects::api::Outcome;

    use super::*;

    fn cluster(role: &str) -> MysqlCluster {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster", "metadata": { "name": "shop" },
            "spec": { "storage": { "size": "1Gi" } },
            "status": { "ready": "2/3", "primary": "shop-0", "members": [
                { "name": "shop-2", "role": role, "ready": false, "message": "shop-2 holds transactions" },
            ] },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_person_is_told_what_is_given_up_before_it_is() {
        let question = consequence(&cluster("Quarantined"), "shop-2").unwrap();
        assert!(question.starts_with("shop-2 holds transactions\n"), "{question}");
        assert!(!consequence(&cluster("Replica"), "shop-2").unwrap().contains("holds"));
        assert!(consequence(&cluster("Replica"), "shop-0").unwrap_err().to_string().contains("switch over first"));
    }

    #[test]
    fn a_failure_is_told_and_is_one() {
        let status = MysqlOperationStatus {
            outcome: Some(Outcome::Failed),
            message: Some("the donor went away; the old data is still there".to_owned()),
            ..MysqlOperationStatus::default()
        };
        let (text, succeeded) = outcome("shop-2", &status, Style { colour: false, width: None });
        assert!(!succeeded);
        assert_eq!(text, "shop-2 was not rebuilt: the donor went away; the old data is still there");
    }
}

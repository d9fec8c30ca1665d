//! `accept-data-loss`: goes on without members that are needed and do not come back.
//!
//! It gives up writes that clients were told are safe, so it shows first who holds what, and only the epoch, named by a
//! person, confirms it.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use kube::Api;
use objects::api::{
    MysqlCluster, MysqlClusterStatus, MysqlOperationSpec, MysqlOperationStatus, MysqlTopology, OperationType, Outcome,
};
use objects::conditions::{PRIMARY_AVAILABLE, WRITES_BLOCKED, find};

use crate::operation::{self, Patience, Subject};
use crate::site::explained;
use crate::style::{Style, Tone};

/// What to give up.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The epoch in which the cluster waits, as the confirmation. It is asked for at a terminal if not given.
    #[arg(long)]
    epoch: Option<u64>,
    #[command(flatten)]
    patience: Patience,
}

/// Shows what is known, asks for the acceptance and follows it.
///
/// # Errors
/// The cluster waits for nobody, the epoch is another, or it could not be asked for. One that failed is told by the exit
/// code.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (site, cluster) = arguments.subject.open().await?;
    let name = arguments.subject.name.as_str();
    let records: Api<MysqlTopology> = site.api();
    let record = records.get_opt(name).await;
    let record = record.map_err(|error| explained(error, "MysqlTopology", name, &site.namespace))?;
    let Some(record) = record else {
        bail!("{name} has no record of who led, so there is nothing to go on from; see: grampus status {name}");
    };
    let epoch = record.spec.record.epoch;
    eprintln!("{}", consequence(&cluster, epoch)?);
    confirm(arguments.epoch, epoch)?;
    let spec = MysqlOperationSpec {
        epoch: Some(i64::try_from(epoch)?),
        timeout_seconds: arguments.patience.timeout,
        ..MysqlOperationSpec::new(name, OperationType::AcceptDataLoss)
    };
    operation::carry_out(&site, spec, "accept-data-loss", &arguments.patience, outcome).await
}

/// What is known of each member, and what going on means.
///
/// # Errors
/// The cluster does not wait for anybody.
fn consequence(cluster: &MysqlCluster, epoch: u64) -> anyhow::Result<String> {
    let status = cluster.status.clone().unwrap_or_default();
    let waits = find(&status.conditions, PRIMARY_AVAILABLE).filter(|condition| condition.reason == "NoQuorum");
    let blocked = find(&status.conditions, WRITES_BLOCKED).filter(|condition| condition.status == "True");
    if let (None, Some(condition), Some(primary)) = (waits, blocked, status.primary_name()) {
        return Ok(format!(
            "epoch {epoch}: {}\n\nIf you go on, {primary}, which holds every write that a client was told is safe, is opened \
             again as\na primary that may change its cluster without the members that do not answer. Commits that wait now end \
             without\nan answer. Ask for as many members as are left (spec.replicas) before; writes go on once that is so.\n\
             Nothing happens where enough members answer.",
            condition.message
        ));
    }
    let Some(condition) = waits else {
        let now = match status.primary_name() {
            Some(primary) => format!("{primary} takes writes"),
            None => "nobody takes writes, and it is being worked on".to_owned(),
        };
        bail!("the cluster waits for no member that would have to be given up: {now}; nothing was asked for");
    };
    let mut text = format!("epoch {epoch}: {}\n\n", condition.message);
    for (member, holds) in known(&status) {
        let _ = writeln!(text, "  {member}: {holds}");
    }
    text.push_str(
        "\nIf you go on, whoever of those that answer is chosen leads with what they hold together. Whatever only the\n\
         others hold is given up, writes that clients were told are safe included. Their data stays on their volumes:\n\
         a member that returns with such writes is left out, with all it has, until you ask for its rebuild.",
    );
    Ok(text)
}

fn known(status: &MysqlClusterStatus) -> impl Iterator<Item = (&str, &str)> {
    status.members.iter().map(|member| (member.name.as_str(), member.holds.as_deref().unwrap_or("not known")))
}

/// Whether the epoch that a person names is the one there is.
fn confirm(named: Option<u64>, epoch: u64) -> anyhow::Result<()> {
    let named = match named {
        Some(named) => named,
        None => asked(epoch)?,
    };
    if named != epoch {
        bail!("--epoch: the record is in epoch {epoch}, not {named}; nothing was asked for");
    }
    Ok(())
}

fn asked(epoch: u64) -> anyhow::Result<u64> {
    if !std::io::stdin().is_terminal() {
        bail!("There is no terminal to ask at; say --epoch {epoch} if that is wanted");
    }
    eprint!("\nTo go on, type the epoch: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().parse() {
        Ok(named) => Ok(named),
        Err(_) => bail!("nothing was asked for"),
    }
}

/// What came of it, and whether it is what was asked for.
fn outcome(status: &MysqlOperationStatus, style: Style) -> (String, bool) {
    let message = status.message.as_deref().unwrap_or("no reason was given");
    if status.outcome != Some(Outcome::Succeeded) {
        return (style.text(&format!("nobody was chosen: {message}"), Tone::Bad), false);
    }
    let mut text = style.text(message, Tone::Leading);
    if let Some(accepted) = &status.accepted {
        let _ = write!(text, "\ngone on with: {accepted}");
    }
    (text, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(reason: &str) -> MysqlCluster {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster", "metadata": { "name": "shop" },
            "spec": { "storage": { "size": "1Gi" } },
            "status": { "ready": "0/3", "primary": "-",
                "conditions": [{ "type": "PrimaryAvailable", "status": "False", "reason": reason, "message": "1 of 2 are there",
                    "lastTransitionTime": "2026-01-01T00:00:00Z" }],
                "members": [
                    { "name": "shop-0", "role": "Unknown", "ready": false, "holds": "not reachable" },
                    { "name": "shop-1", "role": "Replica", "ready": false, "holds": "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5" },
                ] },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn who_holds_what_is_shown_before_anything_is_asked_for() {
        let text = consequence(&cluster("NoQuorum"), 7).unwrap();
        assert!(text.starts_with("epoch 7: 1 of 2 are there\n"), "{text}");
        assert!(text.contains("  shop-0: not reachable\n"), "{text}");
        assert!(text.contains("  shop-1: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5\n"), "{text}");
        assert!(text.contains("Whatever only the\nothers hold is given up"), "{text}");
    }

    #[test]
    fn a_cluster_that_waits_for_nobody_has_nothing_to_give_up() {
        let refusal = consequence(&cluster("NoPrimary"), 7).unwrap_err().to_string();
        assert!(refusal.contains("nothing was asked for"), "{refusal}");
    }

    #[test]
    fn a_primary_that_is_left_alone_can_go_on_without_the_others() {
        let mut alone = cluster("PrimaryOpen");
        let status = alone.status.as_mut().unwrap();
        status.primary = "shop-0".to_owned();
        status.conditions[0].type_ = WRITES_BLOCKED.to_owned();
        status.conditions[0].status = "True".to_owned();
        let text = consequence(&alone, 7).unwrap();
        assert!(text.contains("If you go on, shop-0, which holds every write"), "{text}");
        assert!(text.contains("spec.replicas"), "{text}");
    }

    #[test]
    fn another_epoch_is_no_confirmation() {
        confirm(Some(7), 7).unwrap();
        let refusal = confirm(Some(6), 7).unwrap_err().to_string();
        assert_eq!(refusal, "--epoch: the record is in epoch 7, not 6; nothing was asked for");
    }

    #[test]
    fn the_end_is_told_with_what_was_gone_on_with() {
        let status = MysqlOperationStatus {
            outcome: Some(Outcome::Succeeded),
            message: Some("shop-1 leads since epoch 8".to_owned()),
            accepted: Some("a:1-5".to_owned()),
            ..MysqlOperationStatus::default()
        };
        let plain = Style { colour: false, width: None };
        assert_eq!(outcome(&status, plain), ("shop-1 leads since epoch 8\ngone on with: a:1-5".to_owned(), true));
        let failed = MysqlOperationStatus { outcome: Some(Outcome::Failed), ..status };
        assert_eq!(outcome(&failed, plain), ("nobody was chosen: shop-1 leads since epoch 8".to_owned(), false));
    }
}

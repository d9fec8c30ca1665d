//! One pass over one cluster.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use objects::Problem;
use objects::api::MysqlCluster;
use objects::children::{Children, ReaderChildren, children, pods};
use objects::conditions::{Finding, RESOURCES_APPLIED, SPEC_VALID, Status};
use objects::validate::{ValidatedCluster, validate};

use super::dereference::{Live, dereference, foreign, has_readers};
use super::{Guarded, Worker, report, secrets};

/// How soon something is looked at again that no watch reports: Secrets and Services of others.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How soon something is looked at again that is about to go.
const SOON: Duration = Duration::from_secs(2);
/// When to look again where nothing is to be done and nothing changes: certificates run out by themselves.
const NOW_AND_THEN: Duration = Duration::from_secs(6 * 3600);

/// Why a pass was given up; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not say what there is.
    #[error("{what} could not be read")]
    Read {
        /// What was asked for.
        what: String,
        /// Why not.
        source: kube::Error,
    },
    /// The API server did not take a change.
    #[error("{what} could not be written")]
    Write {
        /// What was to be written.
        what: String,
        /// Why not.
        source: kube::Error,
    },
    /// No certificate could be made from the authority in the Secret.
    #[error("Secret {secret} holds no certificate authority that can be used; put the old one back")]
    Authority {
        /// The Secret with the authority.
        secret: String,
        /// Why not.
        source: rcgen::Error,
    },
}

/// Something that only a person, or time, can put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One word in CamelCase.
    pub reason: &'static str,
    /// What it is about and what to do.
    pub problem: Problem,
}

/// Something still lies there that is about to go; nobody has to do anything.
pub const WAITING: &str = "WaitingForRemoval";

/// What a pass came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What to report, one for each condition of this controller.
    pub findings: [Finding; 2],
    /// What an Event is about: the field, or the object.
    pub subject: String,
    /// When to look again.
    pub next: Action,
}

pub(super) async fn reconcile(cluster: Arc<Guarded>, worker: Arc<Worker>) -> Result<Action, Error> {
    let cluster = match &cluster.0 {
        Ok(cluster) => cluster,
        Err(invalid) => return report::unreadable(&worker, invalid).await,
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        // Kubernetes takes the children away, the record among them; volumes stay unless the spec says otherwise.
        worker.applied.forget(cluster);
        return Ok(Action::await_change());
    }
    let outcome = carry_out(&worker, cluster).await?;
    report::publish(&worker, cluster, &outcome).await?;
    Ok(outcome.next)
}

async fn carry_out(worker: &Worker, cluster: &MysqlCluster) -> Result<Outcome, Error> {
    let validated = match validate(cluster, &worker.settings.defaults) {
        Ok(validated) => validated,
        Err(problems) => return Ok(invalid(&problems)),
    };
    if validated.paused {
        return Ok(paused(&validated));
    }
    let live = dereference(&worker.context.client, &validated).await?;
    let mut wanted = children(&validated, &worker.settings.installation);
    keep_voters(&mut wanted, &live);
    // Everything is looked at before anything is written, so that a name that is taken leaves no half a cluster.
    let mut troubles = foreign(&validated, &live);
    troubles.extend(secrets::troubles(&validated, &live));
    if !troubles.is_empty() {
        return Ok(troubled(&validated, &troubles));
    }
    match bring_about(worker, &validated, &live, wanted).await {
        Ok(()) => Ok(done(&validated)),
        Err(Error::Write { what, source: kube::Error::Api(refusal) }) if is_final(refusal.code) => {
            let problem = Problem::new(what, refusal.message.clone(), "change what it complains about in the spec");
            Ok(troubled(&validated, &[Trouble { reason: "Refused", problem }]))
        }
        Err(error) => Err(error),
    }
}

/// A member that is to go keeps its pod until the record has let it go.
fn keep_voters(wanted: &mut Children, live: &Live) {
    let record = live.topology.as_ref().map(|topology| &topology.spec.record);
    let present = live.stateful_set.as_ref().and_then(|set| set.spec.as_ref()?.replicas);
    let Some(spec) = &mut wanted.stateful_set.spec else { return };
    let asked = spec.replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or_default();
    spec.replicas = i32::try_from(pods(asked, record, present)).ok();
}

/// Destructured without `..`, so that a child that is added cannot be forgotten here.
async fn bring_about(worker: &Worker, cluster: &ValidatedCluster, live: &Live, wanted: Children) -> Result<(), Error> {
    secrets::ensure(worker, cluster, live).await?;
    let Children { config, instances, primary, replicas, budget, stateful_set, readers } = wanted;
    worker.apply(config, live.config.as_ref()).await?;
    worker.apply(instances, live.instances.as_ref()).await?;
    worker.apply(primary, live.primary.as_ref()).await?;
    worker.apply(replicas, live.replicas.as_ref()).await?;
    if let Some(budget) = budget {
        worker.apply(budget, live.budget.as_ref()).await?;
    }
    worker.apply(stateful_set, live.stateful_set.as_ref()).await?;
    if has_readers(cluster, live) {
        let ReaderChildren { budget, stateful_set } = readers;
        worker.apply(budget, live.reader_budget.as_ref()).await?;
        worker.apply(stateful_set, live.reader_set.as_ref()).await?;
    }
    Ok(())
}

/// Whether the API server will say the same again: it understood, and does not want it.
fn is_final(code: u16) -> bool {
    matches!(code, 400 | 403 | 422)
}

fn spec_is_valid(cluster: &ValidatedCluster) -> Finding {
    if cluster.warnings.is_empty() {
        return Finding::new(SPEC_VALID, Status::True, "Valid", "the spec can be carried out");
    }
    Finding::new(SPEC_VALID, Status::True, "ValidWithWarnings", Problem::join(&cluster.warnings))
}

fn done(cluster: &ValidatedCluster) -> Outcome {
    let applied = Finding::new(RESOURCES_APPLIED, Status::True, "Applied", "every object is as the spec wants it");
    outcome(spec_is_valid(cluster), applied, "", Action::requeue(NOW_AND_THEN))
}

fn paused(cluster: &ValidatedCluster) -> Outcome {
    let message = "spec.paused is true: every object is left as it is";
    let applied = Finding::new(RESOURCES_APPLIED, Status::Unknown, "Paused", message);
    outcome(spec_is_valid(cluster), applied, "spec.paused", Action::await_change())
}

fn invalid(problems: &[Problem]) -> Outcome {
    let spec = Finding::new(SPEC_VALID, Status::False, "InvalidSpec", Problem::join(problems));
    let message = "every object is left as it is until the spec can be carried out";
    let applied = Finding::new(RESOURCES_APPLIED, Status::False, "InvalidSpec", message);
    let subject = problems.first().map(|problem| problem.field.clone()).unwrap_or_default();
    outcome(spec, applied, &subject, Action::await_change())
}

fn troubled(cluster: &ValidatedCluster, troubles: &[Trouble]) -> Outcome {
    let waits = troubles.iter().all(|trouble| trouble.reason == WAITING);
    // What a person has to see to comes before what will pass.
    let first = troubles.iter().find(|trouble| trouble.reason != WAITING).or(troubles.first());
    let (reason, subject) = first.map_or(("Unknown", ""), |trouble| (trouble.reason, trouble.problem.field.as_str()));
    let problems: Vec<Problem> = troubles.iter().map(|trouble| trouble.problem.clone()).collect();
    let applied = Finding::new(RESOURCES_APPLIED, Status::False, reason, Problem::join(&problems));
    let next = Action::requeue(if waits { SOON } else { LOOK_AGAIN });
    outcome(spec_is_valid(cluster), applied, subject, next)
}

fn outcome(spec: Finding, applied: Finding, subject: &str, next: Action) -> Outcome {
    Outcome { findings: [spec, applied], subject: subject.to_owned(), next }
}

/// `namespace/name`, for log lines.
pub(super) fn full_name(cluster: &MysqlCluster) -> String {
    format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validated(spec: &str) -> ValidatedCluster {
        let json = format!(r#"{{"metadata": {{"name": "shop", "namespace": "store", "uid": "u"}}, "spec": {spec}}}"#);
        let mut cluster: serde_json::Value = serde_json::from_str(&json).unwrap();
        cluster["apiVersion"] = "grampus.dev/v1alpha1".into();
        cluster["kind"] = "MysqlCluster".into();
        let defaults = objects::validate::InstallationDefaults { image: "mysql".into() };
        validate(&serde_json::from_value(cluster).unwrap(), &defaults).unwrap()
    }

    fn trouble(reason: &'static str, field: &str) -> Trouble {
        Trouble { reason, problem: Problem::new(field, "is wrong", "put it right") }
    }

    #[test]
    fn what_a_person_must_see_to_comes_before_what_will_pass() {
        let cluster = validated(r#"{"storage": {"size": "1Gi"}}"#);
        let outcome = troubled(&cluster, &[trouble(WAITING, "Service a"), trouble("NameTaken", "Service b")]);
        assert_eq!((outcome.findings[1].reason.as_str(), outcome.subject.as_str()), ("NameTaken", "Service b"));
        assert_eq!(outcome.next, Action::requeue(LOOK_AGAIN));
        assert!(outcome.findings[1].message.contains("Service a"), "both are told");

        let outcome = troubled(&cluster, &[trouble(WAITING, "Service a")]);
        assert_eq!(outcome.next, Action::requeue(SOON));
    }

    #[test]
    fn an_invalid_spec_waits_for_a_person_and_names_the_field() {
        let outcome = invalid(&[Problem::new("spec.replicas", "is four", "use 3")]);
        assert_eq!(outcome.next, Action::await_change());
        assert_eq!(outcome.subject, "spec.replicas");
        assert!(outcome.findings.iter().all(|finding| finding.status == Status::False));
    }

    #[test]
    fn a_warning_leaves_the_spec_valid() {
        let cluster = validated(r#"{"replicas": 2, "storage": {"size": "1Gi"}}"#);
        let finding = spec_is_valid(&cluster);
        assert_eq!((finding.status, finding.reason.as_str()), (Status::True, "ValidWithWarnings"));
        assert!(finding.message.contains("spec.replicas"));
    }

    #[test]
    fn every_condition_of_this_controller_is_reported_every_time() {
        let cluster = validated(r#"{"storage": {"size": "1Gi"}}"#);
        let outcomes = [done(&cluster), paused(&cluster), invalid(&[]), troubled(&cluster, &[])];
        for outcome in outcomes {
            assert_eq!(outcome.findings.each_ref().map(|finding| finding.kind), [SPEC_VALID, RESOURCES_APPLIED]);
        }
    }
}

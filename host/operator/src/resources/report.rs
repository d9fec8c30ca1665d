//! What a person is told: conditions on the cluster, and one Event when something becomes wrong.
//!
//! Only this controller's own condition types are written. Saying the same again writes nothing.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use objects::api::MysqlCluster;
use objects::conditions::{Finding, SPEC_VALID, Status};

use super::reconcile::{Error, Outcome, WAITING, full_name};
use super::{FIELD_MANAGER, Guarded, Worker};

/// The longest note that an Event takes.
const LONGEST_NOTE: usize = 1000;
/// The longest action that an Event takes.
const LONGEST_ACTION: usize = 128;

/// The unreadable clusters that were told about: uid and generation.
#[derive(Debug, Default)]
pub struct Told(Mutex<HashMap<String, Option<i64>>>);

/// Tells what a pass came to, as far as it is new.
pub(super) async fn publish(worker: &Worker, cluster: &MysqlCluster, outcome: &Outcome) -> Result<(), Error> {
    let status = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let now = Time(jiff::Timestamp::now());
    let conditions: Vec<Condition> =
        outcome.findings.iter().map(|finding| finding.over(&status.conditions, generation, &now)).collect();
    let unchanged = status.observed_generation == generation
        && conditions.iter().all(|condition| status.conditions.contains(condition));
    if unchanged {
        return Ok(());
    }
    let patch = serde_json::json!({
        "apiVersion": MysqlCluster::api_version(&()),
        "kind": MysqlCluster::kind(&()),
        "metadata": { "name": cluster.name_any() },
        "status": { "observedGeneration": generation, "conditions": conditions },
    });
    let api: Api<Guarded> = Api::namespaced(worker.context.client.clone(), &cluster.namespace().unwrap_or_default());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = api.patch_status(&cluster.name_any(), &params, &Patch::Apply(&patch)).await;
    written.map_err(|source| Error::Write { what: format!("the status of {}", full_name(cluster)), source })?;
    for finding in news(outcome, &status.conditions) {
        tracing::warn!(cluster = full_name(cluster), reason = finding.reason, "{}", finding.message);
        tell(worker, cluster.object_ref(&()), finding, &outcome.subject).await;
    }
    Ok(())
}

/// The findings that deserve an Event: new ones that a person has to see to. What follows from an invalid spec is
/// told once, by the spec.
fn news<'a>(outcome: &'a Outcome, before: &[Condition]) -> Vec<&'a Finding> {
    let is_bad = |finding: &&Finding| match finding.kind {
        SPEC_VALID => finding.reason != "Valid",
        _ => finding.status == Status::False && finding.reason != WAITING && finding.reason != "InvalidSpec",
    };
    outcome.findings.iter().filter(is_bad).filter(|finding| !finding.is_told_by(before)).collect()
}

/// An Event that cannot be written is not worth failing for: the condition says the same.
async fn tell(worker: &Worker, about: k8s_openapi::api::core::v1::ObjectReference, finding: &Finding, subject: &str) {
    // Events with the same action are counted as one, so the action names what this one is about.
    let action = if subject.is_empty() || finding.status == Status::True { &finding.reason } else { subject };
    let event = Event {
        type_: EventType::Warning,
        reason: finding.reason.clone(),
        note: Some(shortened(&finding.message, LONGEST_NOTE)),
        action: shortened(action, LONGEST_ACTION),
        secondary: None,
    };
    if let Err(error) = worker.context.recorder.publish(&event, &about).await {
        tracing::warn!(error = %chain(&error), reason = finding.reason, "an Event could not be written");
    }
}

/// A cluster that this version cannot read, because a newer or damaged CRD let it pass. Told once for each change.
pub(super) async fn unreadable(worker: &Worker, invalid: &InvalidObject) -> Result<Action, Error> {
    let meta = &invalid.metadata;
    let uid = meta.uid.clone().unwrap_or_default();
    let before = worker.told.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, meta.generation);
    if before != Some(meta.generation) {
        let message = format!(
            "this version of Grampus cannot read the object: {}; install the CRDs of this version and correct the field",
            invalid.error
        );
        let finding = Finding::new(SPEC_VALID, Status::False, "Unreadable", message);
        let about = k8s_openapi::api::core::v1::ObjectReference {
            api_version: Some(MysqlCluster::api_version(&()).into_owned()),
            kind: Some(MysqlCluster::kind(&()).into_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..Default::default()
        };
        tell(worker, about, &finding, "spec").await;
    }
    Ok(Action::await_change())
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// An error and everything that it came from.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use objects::conditions::RESOURCES_APPLIED;

    use super::*;

    fn outcome(spec: Finding, applied: Finding) -> Outcome {
        Outcome { findings: [spec, applied], subject: "spec.replicas".into(), next: Action::await_change() }
    }

    fn valid() -> Finding {
        Finding::new(SPEC_VALID, Status::True, "Valid", "")
    }

    fn invalid(message: &str) -> Outcome {
        outcome(
            Finding::new(SPEC_VALID, Status::False, "InvalidSpec", message),
            Finding::new(RESOURCES_APPLIED, Status::False, "InvalidSpec", ""),
        )
    }

    fn as_conditions(outcome: &Outcome) -> Vec<Condition> {
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        outcome.findings.iter().map(|finding| finding.over(&[], Some(1), &now)).collect()
    }

    #[test]
    fn one_event_and_not_a_thousand() {
        let first = invalid("spec.replicas: …");
        assert_eq!(news(&first, &[]).len(), 1, "the consequence is not told apart");
        assert!(news(&first, &as_conditions(&first)).is_empty(), "nor the same again");
        assert_eq!(news(&invalid("spec.storage.size: …"), &as_conditions(&first)).len(), 1);
    }

    #[test]
    fn good_news_and_what_will_pass_are_no_events() {
        let fine = outcome(valid(), Finding::new(RESOURCES_APPLIED, Status::True, "Applied", ""));
        let waits = outcome(valid(), Finding::new(RESOURCES_APPLIED, Status::False, WAITING, ""));
        let paused = outcome(valid(), Finding::new(RESOURCES_APPLIED, Status::Unknown, "Paused", ""));
        for quiet in [fine, waits, paused] {
            assert!(news(&quiet, &[]).is_empty(), "{quiet:?}");
        }
    }

    #[test]
    fn a_taken_name_and_a_warning_are_events() {
        let taken = outcome(valid(), Finding::new(RESOURCES_APPLIED, Status::False, "NameTaken", ""));
        assert_eq!(news(&taken, &[]).len(), 1);
        let warned = Finding::new(SPEC_VALID, Status::True, "ValidWithWarnings", "spec.replicas: …");
        let warned = outcome(warned, Finding::new(RESOURCES_APPLIED, Status::True, "Applied", ""));
        assert_eq!(news(&warned, &[]).len(), 1);
    }

    #[test]
    fn long_notes_are_cut_between_characters() {
        let text = "ä".repeat(1000);
        assert!(shortened(&text, LONGEST_NOTE).len() <= LONGEST_NOTE);
        assert_eq!(shortened("short", LONGEST_NOTE), "short");
    }
}

//! In what a running pod differs from one that its StatefulSet would make now, and who wanted that.
//!
//! A difference that cannot be traced to the spec counts as Grampus's own, because that restarts nobody.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use topology::snapshot::Outdated;

use crate::api::labels;

/// The label with which a StatefulSet says from which revision of its template it made a pod.
const REVISION: &str = "controller-revision-hash";

/// In what a pod differs from one that would be made now. None as long as the StatefulSet's controller has not seen
/// the newest template: a pod that is replaced before that is made as it was.
pub fn outdated(set: &StatefulSet, pod: &Pod) -> Option<Outdated> {
    let status = set.status.as_ref()?;
    if status.observed_generation < set.metadata.generation {
        return None;
    }
    let newest = status.update_revision.as_ref()?;
    let made_from = pod.metadata.labels.as_ref()?.get(REVISION)?;
    if made_from == newest {
        return None;
    }
    let template = set.spec.as_ref()?.template.metadata.as_ref();
    let asked = (spec_digest(&pod.metadata), template.and_then(spec_digest));
    Some(match asked {
        (Some(then), Some(now)) if then != now => Outdated::Spec,
        (Some(_) | None, Some(_) | None) => Outdated::Installation,
    })
}

fn spec_digest(metadata: &ObjectMeta) -> Option<&String> {
    metadata.annotations.as_ref()?.get(labels::SPEC_DIGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::tests::{cluster, of_image};

    /// A set whose controller has seen everything, and a pod that it made when it was as `then`.
    fn pair(then: &StatefulSet, now: &StatefulSet) -> (StatefulSet, Pod) {
        let revision = |set: &StatefulSet| format!("{:?}", set.spec.as_ref().unwrap().template);
        let template = then.spec.as_ref().unwrap().template.metadata.clone().unwrap();
        let mut pod = Pod { metadata: template, ..Pod::default() };
        pod.metadata.labels.as_mut().unwrap().insert(REVISION.to_owned(), revision(then));
        let mut set = now.clone();
        set.metadata.generation = Some(2);
        let status = set.status.get_or_insert_default();
        (status.observed_generation, status.update_revision) = (Some(2), Some(revision(now)));
        (set, pod)
    }

    fn judged(then: &StatefulSet, now: &StatefulSet) -> Option<Outdated> {
        let (set, pod) = pair(then, now);
        outdated(&set, &pod)
    }

    #[test]
    fn what_a_person_changes_is_told_from_what_an_upgrade_changes() {
        let made = |spec: &str, grampus: &str| of_image(&cluster(spec), grampus).stateful_set;
        let now = made("{storage: {size: 10Gi}}", "grampus:1");
        assert_eq!(judged(&now, &now), None);
        assert_eq!(judged(&now, &made("{replicas: 5, storage: {size: 10Gi}}", "grampus:1")), None, "pods are the same");
        assert_eq!(judged(&now, &made("{storage: {size: 10Gi}}", "grampus:2")), Some(Outdated::Installation));
        for spec in [
            "{storage: {size: 10Gi}, image: 'mysql:9'}",
            "{storage: {size: 10Gi}, config: {max_connections: 70}}",
            "{storage: {size: 10Gi}, resources: {limits: {memory: 2Gi}}}",
            "{storage: {size: 10Gi}, scheduling: {nodeSelector: {disk: ssd}}}",
            "{storage: {size: 10Gi}, podMetadata: {annotations: {note: a}}}",
        ] {
            assert_eq!(judged(&now, &made(spec, "grampus:1")), Some(Outdated::Spec), "{spec}");
            assert_eq!(
                judged(&now, &made(spec, "grampus:2")),
                Some(Outdated::Spec),
                "together with an upgrade: {spec}"
            );
        }
    }

    #[test]
    fn a_default_that_another_version_resolves_otherwise_is_no_wish() {
        let written = cluster("{storage: {size: 10Gi}}");
        let mut resolved = written.clone();
        (resolved.image, resolved.my_cnf) = ("mysql:10".to_owned(), "[mysqld]\n".to_owned());
        let (then, now) = (of_image(&written, "grampus:1").stateful_set, of_image(&resolved, "grampus:1").stateful_set);
        assert_eq!(judged(&then, &now), Some(Outdated::Installation));
    }

    #[test]
    fn nothing_is_said_before_the_controller_has_seen_the_template_and_of_a_pod_that_does_not_tell() {
        let then = of_image(&cluster("{storage: {size: 10Gi}}"), "grampus:1").stateful_set;
        let now = of_image(&cluster("{storage: {size: 10Gi}, image: 'mysql:9'}"), "grampus:1").stateful_set;
        let (mut set, pod) = pair(&then, &now);
        set.status.as_mut().unwrap().observed_generation = Some(1);
        assert_eq!(outdated(&set, &pod), None);
        let (set, mut pod) = pair(&then, &now);
        pod.metadata.annotations = None;
        assert_eq!(outdated(&set, &pod), Some(Outdated::Installation), "it was made before pods told");
    }
}

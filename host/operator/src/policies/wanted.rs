//! Which module a cluster is to have by its spec and by what the operator was told: pure.

use std::time::Duration;

use objects::api::{ModuleSource, MysqlCluster, Policy, PolicyMode, ShadowPolicy, policy};
use serde_json::Value;

use super::fetch::Reference;
use super::options::PolicyOptions;
use crate::cache::ClusterKey;

/// How long a module may hold while there is no primary, where the spec says nothing.
pub(super) const DEFAULT_MAX_HOLD: Duration = Duration::from_secs(5);

/// Where a spec names its module.
pub(super) const FIELD: &str = "spec.policies.primarySelection";

/// What is to decide.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// The module; the embedded one if there is none.
    pub(super) module: Option<Reference>,
    /// Its settings, if the spec has any.
    pub(super) settings: Option<Value>,
}

/// A module that is asked beside who leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    /// The module.
    pub(super) module: Reference,
    /// Its settings, if the spec has any.
    pub(super) settings: Option<Value>,
}

/// A shadow that a spec names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedShadow {
    /// The field that names it.
    pub(super) field: String,
    /// Its module; the embedded one if there is none.
    pub(super) module: Option<Reference>,
    /// Its settings.
    pub(super) settings: Option<Value>,
}

/// An operator's namespace and what it was told.
#[derive(Debug, Clone)]
pub(super) struct OfOperator {
    pub(super) namespace: String,
    pub(super) options: PolicyOptions,
}

impl OfOperator {
    /// The module for clusters that name none for a decision.
    fn default_of(&self, decision: &str) -> Option<Reference> {
        let config_map = self.options.default_of(decision)?.clone();
        let (field, namespace) = (format!("--default-policy {decision}"), self.namespace.clone());
        Some(Reference { field, namespace, config_map, digest: None, signature: None })
    }
}

pub(super) fn policy_of(cluster: &MysqlCluster) -> Option<&Policy> {
    cluster.spec.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref())
}

/// What decides: the default where what is named is only to be compared.
pub(super) fn enforced(key: &ClusterKey, cluster: &MysqlCluster, operator: &OfOperator) -> Wanted {
    let nothing = Policy::default();
    let policy = policy_of(cluster).unwrap_or(&nothing);
    let default = || operator.default_of(policy::PRIMARY_SELECTION).filter(|_| !policy.embedded);
    match policy.mode {
        Some(PolicyMode::Shadow) => Wanted { module: default(), settings: None },
        Some(PolicyMode::Enforce) | None => {
            let named = policy.module.as_ref().map(|module| reference(key, FIELD, module));
            Wanted { module: named.or_else(default), settings: policy.settings.clone() }
        }
    }
}

/// What is asked beside who leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Advised {
    pub(super) scaling: Option<Named>,
    pub(super) tuning: Option<Named>,
    pub(super) backup_window: Option<Named>,
}

impl Advised {
    fn into_each(self) -> impl Iterator<Item = Named> {
        [self.scaling, self.tuning, self.backup_window].into_iter().flatten()
    }
}

/// What is asked beside who leads: what the spec names, or else the operator for all clusters.
pub(super) fn advised(key: &ClusterKey, cluster: &MysqlCluster, operator: &OfOperator) -> Advised {
    let policies = cluster.spec.policies.as_ref();
    let named = |field: &str, module: &ModuleSource, settings: &Option<Value>| Named {
        module: reference(key, field, module),
        settings: settings.clone(),
    };
    let default = |decision: &str| operator.default_of(decision).map(|module| Named { module, settings: None });
    let scaling = policies.and_then(|policies| policies.scaling.as_ref());
    let scaling = scaling.map(|policy| named("spec.policies.scaling", &policy.module, &policy.settings));
    let tuning = policies.and_then(|policies| policies.config_tuning.as_ref());
    let tuning = tuning.map(|policy| named("spec.policies.configTuning", &policy.module, &policy.settings));
    let window = policies.and_then(|policies| policies.backup_window.as_ref());
    let window = window.map(|policy| named("spec.policies.backupWindow", &policy.module, &policy.settings));
    Advised {
        scaling: scaling.or_else(|| default(policy::SCALING)),
        tuning: tuning.or_else(|| default(policy::CONFIG_TUNING)),
        backup_window: window.or_else(|| default(policy::BACKUP_WINDOW)),
    }
}

/// The shadows that a spec names. A policy whose mode is Shadow is the first of them.
pub(super) fn shadows(key: &ClusterKey, cluster: &MysqlCluster) -> Vec<WantedShadow> {
    let Some(policy) = policy_of(cluster) else { return Vec::new() };
    let wanted = |field: String, module: &Option<ModuleSource>, settings: &Option<Value>| WantedShadow {
        module: module.as_ref().map(|module| reference(key, &field, module)),
        settings: settings.clone(),
        field,
    };
    let itself =
        (policy.mode == Some(PolicyMode::Shadow)).then(|| wanted(FIELD.to_owned(), &policy.module, &policy.settings));
    let beside = policy
        .shadows
        .iter()
        .enumerate()
        .map(|(at, ShadowPolicy { module, settings })| wanted(format!("{FIELD}.shadows[{at}]"), module, settings));
    itself.into_iter().chain(beside).collect()
}

/// Every module that a cluster has to do with.
pub(super) fn references(key: &ClusterKey, cluster: &MysqlCluster, operator: &OfOperator) -> Vec<Reference> {
    let shadows = shadows(key, cluster).into_iter().filter_map(|shadow| shadow.module);
    let asked = advised(key, cluster, operator).into_each().map(|named| named.module);
    enforced(key, cluster, operator).module.into_iter().chain(shadows).chain(asked).collect()
}

pub(super) fn reference(key: &ClusterKey, field: &str, module: &ModuleSource) -> Reference {
    Reference {
        field: format!("{field}.module"),
        namespace: key.namespace.clone(),
        config_map: module.config_map.clone(),
        digest: module.digest.clone(),
        signature: module.signature.clone(),
    }
}

/// How long a module may hold; None is for ever. The schema has already refused what is no duration.
pub(super) fn max_hold(cluster: &MysqlCluster) -> Option<Duration> {
    match policy_of(cluster).and_then(|policy| policy.max_hold.as_deref()) {
        None => Some(DEFAULT_MAX_HOLD),
        Some("unlimited") => None,
        Some(text) => Some(objects::duration::parse(text).unwrap_or(DEFAULT_MAX_HOLD)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(policy: &str) -> MysqlCluster {
        let text = format!(
            r#"{{"apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster", "metadata": {{"name": "shop"}},
                "spec": {{"storage": {{"size": "1Gi"}}, "policies": {{"primarySelection": {policy}}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn key() -> ClusterKey {
        ClusterKey { namespace: "store".to_owned(), name: "shop".to_owned() }
    }

    fn operator(default: Option<&str>) -> OfOperator {
        let defaults = default.iter().map(|text| text.parse().unwrap()).collect();
        OfOperator {
            namespace: "grampus-system".to_owned(),
            options: PolicyOptions { defaults, ..PolicyOptions::default() },
        }
    }

    /// Namespace and name of the ConfigMap that decides.
    fn decides(policy: &str, default: Option<&str>) -> Option<(String, String)> {
        let wanted = enforced(&key(), &cluster(policy), &operator(default));
        wanted.module.map(|module| (module.namespace, module.config_map.name))
    }

    #[test]
    fn shadows_are_those_that_are_named_and_the_policy_itself_where_its_mode_says_so() {
        let module = r#""module": {"configMap": {"name": "zones"}}, "maxHold": "1s""#;
        let beside = r#""shadows": [{"settings": {"a": 1}}]"#;
        let fields =
            |cluster: &MysqlCluster| shadows(&key(), cluster).into_iter().map(|one| one.field).collect::<Vec<_>>();
        let enforcing = cluster(&format!("{{{module}, {beside}}}"));
        assert_eq!(fields(&enforcing), ["spec.policies.primarySelection.shadows[0]"]);
        let shadowing = format!(r#"{{{module}, {beside}, "mode": "Shadow"}}"#);
        assert_eq!(
            fields(&cluster(&shadowing)),
            ["spec.policies.primarySelection", "spec.policies.primarySelection.shadows[0]"]
        );
        assert_eq!(decides(&shadowing, None), None, "the default decides");
        assert_eq!(max_hold(&cluster(&shadowing)), Some(Duration::from_secs(1)));
        assert_eq!(fields(&cluster("{}")), [""; 0]);
    }

    #[test]
    fn a_cluster_has_its_own_module_or_the_operators_or_the_embedded_one() {
        let default = Some("primary-selection=zones/policy.wasm.zst");
        let named = r#"{"module": {"configMap": {"name": "mine"}}}"#;
        let of = |namespace: &str, name: &str| Some((namespace.to_owned(), name.to_owned()));
        assert_eq!(decides(named, default), of("store", "mine"));
        assert_eq!(decides("{}", default), of("grampus-system", "zones"));
        assert_eq!(decides(r#"{"settings": {"zones": ["b"]}}"#, default), of("grampus-system", "zones"));
        assert_eq!(decides(r#"{"embedded": true}"#, default), None);
        assert_eq!(decides("{}", Some("primary-selection=zones")), of("grampus-system", "zones"));
        assert_eq!(decides("{}", None), None);
        let all = references(
            &key(),
            &cluster(r#"{"mode": "Shadow", "module": {"configMap": {"name": "mine"}}}"#),
            &operator(default),
        );
        let names: Vec<_> = all.iter().map(|one| one.config_map.name.as_str()).collect();
        assert_eq!(names, ["zones", "mine"]);
    }

    #[test]
    fn what_scales_and_tunes_is_the_clusters_own_or_the_operators() {
        let mut own = cluster("{}");
        let scaling = serde_json::json!({ "module": { "configMap": { "name": "mine" } }, "mode": "Shadow" });
        own.spec.policies.as_mut().unwrap().scaling = serde_json::from_value(scaling).unwrap();
        let asked = |operator: &OfOperator| {
            let Advised { scaling, tuning, backup_window } = advised(&key(), &own, operator);
            [scaling, tuning, backup_window]
                .map(|named| named.map(|named| (named.module.namespace, named.module.config_map.name)))
        };
        let of = |namespace: &str, name: &str| Some((namespace.to_owned(), name.to_owned()));
        assert_eq!(asked(&operator(None)), [of("store", "mine"), None, None]);
        let both = OfOperator {
            options: PolicyOptions {
                defaults: ["scaling=reads", "config-tuning=budget", "backup-window=quiet"]
                    .map(|text| text.parse().unwrap())
                    .into(),
                ..PolicyOptions::default()
            },
            ..operator(None)
        };
        let of_operator = |name: &str| of("grampus-system", name);
        assert_eq!(asked(&both), [of("store", "mine"), of_operator("budget"), of_operator("quiet")]);
        let woken_by: Vec<_> = references(&key(), &own, &both).into_iter().map(|one| one.config_map.name).collect();
        assert_eq!(woken_by, ["mine", "budget", "quiet"]);
    }
}

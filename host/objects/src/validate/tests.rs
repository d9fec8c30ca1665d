use rstest::rstest;

use super::*;

fn defaults() -> InstallationDefaults {
    InstallationDefaults { image: "example.org/mysql:8.4".to_owned() }
}

fn cluster(spec: &str) -> MysqlCluster {
    let yaml = format!(
        "apiVersion: grampus.dev/v1alpha1\nkind: MysqlCluster\nmetadata: {{name: shop, namespace: store, uid: u-1}}\nspec: {spec}\n"
    );
    serde_saphyr::from_str(&yaml).unwrap()
}

fn resolved(spec: &str) -> ValidatedCluster {
    validate(&cluster(spec), &defaults()).unwrap_or_else(|problems| panic!("{}", Problem::join(&problems)))
}

fn refused(spec: &str) -> Vec<Problem> {
    validate(&cluster(spec), &defaults()).expect_err("it was let pass")
}

#[test]
fn the_smallest_spec_is_complete() {
    let cluster = resolved("{storage: {size: 10Gi}}");
    assert_eq!((cluster.replicas, cluster.acks), (3, 1));
    assert_eq!(cluster.image, "example.org/mysql:8.4");
    assert_eq!(cluster.primary_selection.max_hold, Some(DEFAULT_MAX_HOLD));
    assert_eq!((cluster.database.name.as_str(), cluster.database.user.as_str()), ("app", "app"));
}

#[rstest]
#[case(1, 0)]
#[case(2, 1)]
#[case(3, 1)]
#[case(5, 2)]
#[case(7, 3)]
fn as_many_acknowledge_as_losses_can_be_borne(#[case] replicas: u32, #[case] acks: u32) {
    assert_eq!(resolved(&format!("{{replicas: {replicas}, storage: {{size: 1Gi}}}}")).acks, acks);
}

/// Every bad field is named, and the answer says what to do.
#[rstest]
#[case("{replicas: 4, storage: {size: 1Gi}}", "spec.replicas")]
#[case("{replicas: -1, storage: {size: 1Gi}}", "spec.replicas")]
#[case("{storage: {size: ten}}", "spec.storage.size")]
#[case("{storage: {size: '0'}}", "spec.storage.size")]
#[case("{storage: {size: 1Gi, claimName: tmp}}", "spec.storage.claimName")]
#[case("{storage: {size: 1Gi, claimName: data-2}}", "spec.storage.claimName")]
#[case("{storage: {size: 1Gi}, durability: {acks: 3}}", "spec.durability.acks")]
#[case("{storage: {size: 1Gi}, durability: {acks: 0}}", "spec.durability.acks")]
#[case("{replicas: 1, storage: {size: 1Gi}, durability: {acks: 1}}", "spec.durability.acks")]
#[case("{storage: {size: 1Gi}, readReplicas: {count: 51}}", "spec.readReplicas.count")]
#[case("{storage: {size: 1Gi}, readReplicas: {count: -1}}", "spec.readReplicas.count")]
#[case("{storage: {size: 1Gi}, readReplicas: {delay: 1500ms}}", "spec.readReplicas.delay")]
#[case("{storage: {size: 1Gi}, readReplicas: {delay: 1000h}}", "spec.readReplicas.delay")]
#[case("{storage: {size: 1Gi}, readReplicas: {maxLag: 0s}}", "spec.readReplicas.maxLag")]
#[case("{storage: {size: 1Gi}, config: {sync_binlog: 0}}", "spec.config.sync_binlog")]
#[case("{storage: {size: 1Gi}, image: 'a b'}", "spec.image")]
#[case("{storage: {size: 1Gi}, resources: {limits: {memory: lots}}}", "spec.resources.limits.memory")]
#[case(
    "{storage: {size: 1Gi}, resources: {limits: {memory: 1Gi}, requests: {memory: 2Gi}}}",
    "spec.resources.requests.memory"
)]
#[case(
    "{storage: {size: 1Gi}, policies: {primarySelection: {maxHold: soon}}}",
    "spec.policies.primarySelection.maxHold"
)]
#[case(
    "{storage: {size: 1Gi}, policies: {primarySelection: {settings: [1]}}}",
    "spec.policies.primarySelection.settings"
)]
#[case(
    "{storage: {size: 1Gi}, policies: {primarySelection: {shadows: [{}, {settings: 1}]}}}",
    "spec.policies.primarySelection.shadows[1].settings"
)]
#[case("{storage: {size: 1Gi}, bootstrap: {new: {database: mysql}}}", "spec.bootstrap.new.database")]
#[case("{storage: {size: 1Gi}, bootstrap: {new: {database: grampus}}}", "spec.bootstrap.new.database")]
#[case("{storage: {size: 1Gi}, bootstrap: {new: {database: 'a`b'}}}", "spec.bootstrap.new.database")]
#[case("{storage: {size: 1Gi}, bootstrap: {new: {user: root}}}", "spec.bootstrap.new.user")]
#[case("{storage: {size: 1Gi}, bootstrap: {new: {lowerCaseTableNames: 2}}}", "spec.bootstrap.new.lowerCaseTableNames")]
#[case(
    "{storage: {size: 1Gi}, podMetadata: {labels: {grampus.dev/role: primary}}}",
    "spec.podMetadata.labels[grampus.dev/role]"
)]
#[case("{storage: {size: 1Gi}, podMetadata: {labels: {a: 'b c'}}}", "spec.podMetadata.labels[a]")]
#[case(
    "{storage: {size: 1Gi}, services: {primary: {annotations: {'a b': c}}}}",
    "spec.services.primary.annotations[a b]"
)]
fn a_bad_field_is_named(#[case] spec: &str, #[case] field: &str) {
    let problems = refused(spec);
    assert_eq!(problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), [field]);
    assert!(!problems[0].message.is_empty() && !problems[0].remedy.is_empty());
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(refused("{replicas: 4, storage: {size: x}, config: {datadir: /x}}").len(), 3);
}

#[test]
fn a_hold_can_be_unlimited() {
    let spec = "{storage: {size: 1Gi}, policies: {primarySelection: {maxHold: unlimited}}}";
    assert_eq!(resolved(spec).primary_selection.max_hold, None);
}

#[test]
fn a_module_is_found_under_the_usual_key() {
    let spec = "{storage: {size: 1Gi}, policies: {primarySelection: {module: {configMap: {name: zones}}}}}";
    let module = resolved(spec).primary_selection.module.unwrap();
    assert_eq!((module.config_map.as_str(), module.key.as_str()), ("zones", "policy.wasm"));
}

#[rstest]
#[case("{replicas: 2, storage: {size: 1Gi}}", "spec.replicas")]
#[case("{durability: {acks: 2}, storage: {size: 1Gi}}", "spec.durability.acks")]
#[case("{storage: {size: 1Gi}}", "spec.resources.limits.memory")]
fn what_may_surprise_is_a_warning(#[case] spec: &str, #[case] field: &str) {
    assert!(resolved(spec).warnings.iter().any(|warning| warning.field == field));
}

#[test]
fn numbers_and_texts_are_options_alike() {
    let cluster = resolved("{storage: {size: 1Gi}, config: {max_connections: 300, sql_mode: ANSI}}");
    assert!(cluster.my_cnf.contains("\nmax_connections = 300\n"), "{}", cluster.my_cnf);
    assert!(cluster.my_cnf.contains("\nsql_mode = ANSI\n"), "{}", cluster.my_cnf);
}

#[test]
fn there_are_no_read_replicas_unless_somebody_asks() {
    let none = resolved("{storage: {size: 1Gi}}").read_replicas;
    assert_eq!(none, ResolvedReadReplicas { count: 0, delay_s: 0, max_lag_s: 30 });
    let some = resolved("{storage: {size: 1Gi}, readReplicas: {count: 50, delay: 1h30m, maxLag: 5s}}").read_replicas;
    assert_eq!(some, ResolvedReadReplicas { count: 50, delay_s: 5_400, max_lag_s: 5 });
}

#[test]
fn what_cannot_be_is_taken_for_what_comes_nearest_and_never_for_nothing() {
    let asked = |spec: &str| read_replicas(&cluster(spec).spec.read_replicas);
    let late = asked("{storage: {size: 1Gi}, readReplicas: {count: 99, delay: 1000h, maxLag: 0s}}");
    assert_eq!(late, ResolvedReadReplicas { count: 50, delay_s: 2_592_000, max_lag_s: 1 });
}

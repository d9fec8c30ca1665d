//! The rules that the API server checks, evaluated as it does. Each refusal must name the field.

use rstest::rstest;

use super::{MysqlCluster, MysqlOperation, crds};

fn named(name: &str, spec: &str) -> MysqlCluster {
    let yaml =
        format!("apiVersion: grampus.dev/v1alpha1\nkind: MysqlCluster\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    serde_saphyr::from_str(&yaml).unwrap()
}

fn cluster(spec: &str) -> MysqlCluster {
    named("shop", spec)
}

#[rstest]
#[case("{storage: {size: 10Gi}}")]
#[case("{replicas: 1, storage: {size: 10Gi}}")]
#[case("{replicas: 1, storage: {size: 10Gi}, durability: {acks: 0}}")]
#[case("{replicas: 2, storage: {size: 10Gi}, durability: {acks: 1}}")]
#[case("{replicas: 5, storage: {size: 1.5Ti}, durability: {acks: 4}}")]
#[case("{storage: {size: 10Gi}, policies: {primarySelection: {maxHold: unlimited}}}")]
#[case("{storage: {size: 10Gi}, policies: {primarySelection: {maxHold: 1m30s}}}")]
#[case("{storage: {size: 10Gi}, policies: {primarySelection: {shadows: [{module: {configMap: {name: zones}}}, {}]}}}")]
#[case("{storage: {size: 10Gi}, policies: {primarySelection: {embedded: true, settings: {}}}}")]
#[case(
    "{storage: {size: 10Gi}, policies: {primarySelection: {module: {configMap: {name: zones}, digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', signature: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=='}}}}"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {scaling: {module: {configMap: {name: reads}}, mode: Shadow, bounds: \
     {readReplicas: {min: 0, max: 5}, cpu: {min: 500m, max: '4'}, memory: {min: 1Gi, max: 8Gi}, maxStorage: 1Ti}}}}"
)]
#[case("{storage: {size: 10Gi}, policies: {configTuning: {module: {configMap: {name: budget}}, mode: Shadow}}}")]
#[case("{storage: {size: 10Gi}, policies: {backupWindow: {module: {configMap: {name: quiet}}, maxPostpone: 90m}}}")]
#[case("{storage: {size: 10Gi}, bootstrap: {new: {database: orders, user: till, lowerCaseTableNames: 1}}}")]
#[case("{storage: {size: 10Gi}, readReplicas: {count: 2, delay: 1h30m, maxLag: 10s}}")]
#[case("{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}}}")]
#[case("{storage: {size: 10Gi}, backup: {store: {s3: {bucket: b, credentialsSecret: s, endpoint: 'http://s3:9000'}}}}")]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, retention: {fulls: 7, window: 14d}}}"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, retention: {window: 1d12h, dryRun: true}}}"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, drill: {schedule: '0 5 * * 0', timeout: 1h30m}}}"
)]
#[case("{storage: {size: 10Gi}, bootstrap: {recovery: {backup: shop-1}}}")]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {store: {azure: {account: a, container: c, credentialsSecret: s}}, path: store/shop/full/1}}}"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {backup: shop-1, target: {time: '2026-11-21T17:30:00.5+08:00'}}}}"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, target: {beforeGtid: '3e11fa47-71ca-11e1-9e33-c80aa9429562:nightly:23'}}}}"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {store: {gcs: {bucket: b, credentialsSecret: s}}, path: store/shop, target: {end: true}}}}"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, encryption: {keysSecret: k}, bandwidth: 1Mi}}"
)]
#[case("{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, encryption: {keysSecret: k}}}}")]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {store: {gcs: {bucket: b, credentialsSecret: s}}, dump: dumps/shop.sql.zst.age}}}"
)]
#[case("{storage: {size: 10Gi, claimName: data2}}")]
fn what_can_be_done_is_let_pass(#[case] spec: &str) {
    cluster(spec).validate_cel().unwrap();
}

#[rstest]
#[case("{replicas: 4, storage: {size: 10Gi}}", "spec.replicas")]
#[case("{replicas: 0, storage: {size: 10Gi}}", "spec.replicas")]
#[case("{storage: {size: ten}}", "spec.storage.size")]
#[case("{storage: {size: 10GB}}", "spec.storage.size")]
#[case("{storage: {size: '0'}}", "spec.storage.size")]
#[case("{storage: {size: 10Gi}, durability: {acks: 0}}", "spec.durability.acks")]
#[case("{storage: {size: 10Gi}, durability: {acks: 3}}", "spec.durability.acks")]
#[case("{replicas: 1, storage: {size: 10Gi}, durability: {acks: 1}}", "spec.durability.acks")]
#[case("{storage: {size: 10Gi}, policies: {primarySelection: {maxHold: soon}}}", "maxHold")]
#[case("{storage: {size: 10Gi}, policies: {primarySelection: {maxHold: '5'}}}", "maxHold")]
#[case(
    "{storage: {size: 10Gi}, policies: {primarySelection: {module: {configMap: {name: a}, digest: 'sha256:01'}}}}",
    "digest: must be sha256:"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {primarySelection: {module: {configMap: {name: a}, signature: yes}}}}",
    "signature: must be"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {primarySelection: {shadows: [{module: {configMap: {name: a}, digest: none}}]}}}",
    "digest"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {primarySelection: {module: {configMap: {name: a}}, embedded: true}}}",
    "embedded"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {scaling: {module: {configMap: {name: reads}}, mode: Enforce}}}",
    "spec.policies.scaling.mode"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {configTuning: {module: {configMap: {name: budget}}, mode: Enforce}}}",
    "spec.policies.configTuning.mode"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {backupWindow: {module: {configMap: {name: quiet}}, maxPostpone: 500ms}}}",
    "spec.policies.backupWindow.maxPostpone"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {scaling: {module: {configMap: {name: reads}}, mode: Shadow, bounds: {readReplicas: {min: 3, max: 2}}}}}",
    "bounds.readReplicas"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {scaling: {module: {configMap: {name: reads}}, mode: Shadow, bounds: {memory: {min: 8Gi, max: 1Gi}}}}}",
    "spec.policies.scaling.bounds"
)]
#[case(
    "{storage: {size: 10Gi}, policies: {scaling: {module: {configMap: {name: reads}}, mode: Shadow, bounds: {maxStorage: lots}}}}",
    "maxStorage"
)]
#[case("{storage: {size: 10Gi}, bootstrap: {new: {lowerCaseTableNames: 2}}}", "lowerCaseTableNames")]
#[case("{storage: {size: 10Gi}, bootstrap: {new: {database: MySQL}}}", "spec.bootstrap.new.database")]
#[case("{storage: {size: 10Gi}, bootstrap: {new: {user: root}}}", "spec.bootstrap.new.user")]
#[case("{storage: {size: 10Gi}, readReplicas: {delay: later}}", "spec.readReplicas.delay")]
#[case("{storage: {size: 10Gi}, readReplicas: {maxLag: 500ms}}", "spec.readReplicas.maxLag")]
#[case("{storage: {size: 10Gi}, backup: {store: {}}}", "name one place")]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, bandwidth: '50'}}",
    "spec.backup.bandwidth"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, bandwidth: fast}}",
    "spec.backup.bandwidth"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {s3: {bucket: b, credentialsSecret: s}, gcs: {bucket: b, credentialsSecret: s}}}}",
    "only one"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {s3: {bucket: b, credentialsSecret: s, endpoint: 's3:9000'}}}}",
    "endpoint"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, retention: {dryRun: true}}}",
    "retention: give `fulls`"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, retention: {fulls: 0}}}",
    "retention.fulls"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, retention: {window: a fortnight}}}",
    "retention.window"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, drill: {schedule: '5 * * 0'}}}",
    "spec.backup.drill.schedule"
)]
#[case(
    "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: s}}, drill: {schedule: '0 5 * * 0', timeout: 500ms}}}",
    "spec.backup.drill.timeout"
)]
#[case("{storage: {size: 10Gi}, bootstrap: {recovery: {}}}", "spec.bootstrap.recovery")]
#[case("{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, path: p}}}", "spec.bootstrap.recovery")]
#[case("{storage: {size: 10Gi}, bootstrap: {new: {}, recovery: {backup: b}}}", "new or recovered")]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {store: {gcs: {bucket: b, credentialsSecret: s}}, path: /p}}}",
    "spec.bootstrap.recovery.path"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {store: {gcs: {bucket: b, credentialsSecret: s}}, dump: shop.sql.bz2}}}",
    "spec.bootstrap.recovery.dump"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {store: {gcs: {bucket: b, credentialsSecret: s}}, path: p, dump: shop.sql}}}",
    "`store` and `dump`"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {store: {gcs: {bucket: b, credentialsSecret: s}}, dump: shop.sql, target: {end: true}}}}",
    "recovery.target: a dump"
)]
#[case("{storage: {size: 10Gi, claimName: tmp}}", "spec.storage.claimName")]
#[case("{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, target: {}}}}", "recovery.target: give one")]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, target: {end: false}}}}",
    "target.end: can only be true"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, target: {end: true, time: '2026-11-21T09:30:00Z'}}}}",
    "only one"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, target: {time: '2026-11-21 09:30:00'}}}}",
    "target.time"
)]
#[case(
    "{storage: {size: 10Gi}, bootstrap: {recovery: {backup: b, target: {beforeGtid: '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23'}}}}",
    "target.beforeGtid"
)]
fn what_cannot_be_done_is_refused(#[case] spec: &str, #[case] field: &str) {
    let refusal = cluster(spec).validate_cel().unwrap_err().to_string();
    assert!(refusal.contains(field), "{refusal}");
}

#[rstest]
#[case("a-name-of-forty-one-characters-is-too-long")]
#[case("shop.example")]
#[case("1shop")]
fn names_that_services_cannot_have_are_refused(#[case] name: &str) {
    let refusal = named(name, "{storage: {size: 1Gi}}").validate_cel().unwrap_err().to_string();
    assert!(refusal.contains("metadata.name"), "{refusal}");
}

#[rstest]
#[case("{storage: {size: 10Gi}}", "{replicas: 5, storage: {size: 10Gi}}")]
#[case("{replicas: 5, storage: {size: 10Gi}, durability: {acks: 3}}", "{replicas: 1, storage: {size: 10Gi}}")]
#[case("{storage: {size: 1Gi}}", "{storage: {size: 1024Mi}}")]
#[case("{storage: {size: 1Gi}}", "{storage: {size: 1Gi}, paused: true}")]
#[case("{storage: {size: 1Gi}}", "{storage: {size: 1Gi, claimName: data}}")]
fn what_may_change_can(#[case] old: &str, #[case] new: &str) {
    cluster(new).validate_cel_update(&cluster(old)).unwrap();
}

#[rstest]
#[case("{storage: {size: 10Gi}}", "{storage: {size: 5Gi}}", "spec.storage.size")]
#[case("{storage: {size: 10Gi}}", "{storage: {size: 20Gi}}", "spec.storage.size")]
#[case("{storage: {size: 10Gi}}", "{storage: {size: 10Gi, className: a}}", "spec.storage.className")]
#[case("{storage: {size: 1Gi, className: a}}", "{storage: {size: 1Gi, className: b}}", "spec.storage.className")]
#[case("{storage: {size: 1Gi, accessModes: [ReadWriteOnce]}}", "{storage: {size: 1Gi}}", "spec.storage.accessModes")]
#[case("{storage: {size: 1Gi}}", "{storage: {size: 1Gi, claimName: data2}}", "spec.storage.claimName")]
#[case("{storage: {size: 1Gi, claimName: data2}}", "{storage: {size: 1Gi}}", "spec.storage.claimName")]
#[case("{storage: {size: 1Gi}, bootstrap: {new: {database: a}}}", "{storage: {size: 1Gi}}", "spec.bootstrap")]
#[case("{storage: {size: 1Gi}}", "{storage: {size: 1Gi}, bootstrap: {new: {database: a}}}", "spec.bootstrap")]
fn what_would_lose_or_ignore_something_cannot_change(#[case] old: &str, #[case] new: &str, #[case] field: &str) {
    let refusal = cluster(new).validate_cel_update(&cluster(old)).unwrap_err().to_string();
    assert!(refusal.contains(field), "{refusal}");
}

fn operation(spec: &str) -> MysqlOperation {
    let yaml = format!("apiVersion: grampus.dev/v1alpha1\nkind: MysqlOperation\nmetadata: {{name: x}}\nspec: {spec}\n");
    serde_saphyr::from_str(&yaml).unwrap()
}

#[rstest]
#[case("{cluster: shop, type: Switchover}", 30)]
#[case("{cluster: shop, type: Switchover, to: shop-1}", 30)]
#[case("{cluster: shop, type: Rebuild, member: shop-1}", 30)]
#[case("{cluster: shop, type: AcceptDataLoss, epoch: 7}", 30)]
#[case("{cluster: shop, type: Restart}", 600)]
#[case("{cluster: shop, type: Drill}", 21_600)]
#[case("{cluster: shop, type: Restart, member: shop-2, timeoutSeconds: 90}", 90)]
fn what_can_be_asked_is_let_pass_with_the_time_that_it_takes(#[case] spec: &str, #[case] seconds: i32) {
    let operation = operation(spec);
    operation.validate_cel().unwrap();
    assert_eq!(operation.spec.patience_seconds(), seconds);
}

#[rstest]
#[case("{cluster: shop, type: AcceptDataLoss}", "spec.epoch")]
#[case("{cluster: shop, type: AcceptDataLoss, epoch: 7, to: shop-1}", "spec.to")]
#[case("{cluster: shop, type: Rebuild, member: shop-1, epoch: 7}", "spec.epoch")]
#[case("{cluster: shop, type: Switchover, member: shop-1}", "spec.member")]
#[case("{cluster: shop, type: Rebuild}", "spec.member")]
#[case("{cluster: shop, type: Restart, to: shop-2}", "spec.to")]
#[case("{cluster: shop, type: Drill, member: shop-2}", "spec.member")]
fn what_cannot_be_asked_is_refused(#[case] spec: &str, #[case] field: &str) {
    let refusal = operation(spec).validate_cel().unwrap_err().to_string();
    assert!(refusal.contains(field), "{refusal}");
}

#[test]
fn an_acceptance_cannot_be_turned_into_one_of_another_epoch() {
    let (old, new): (MysqlOperation, MysqlOperation) =
        ["{cluster: shop, type: AcceptDataLoss, epoch: 7}", "{cluster: shop, type: AcceptDataLoss, epoch: 8}"]
            .map(operation)
            .into();
    assert!(new.validate_cel_update(&old).is_err());
}

/// A mode that is not built is refused by the schema and not ignored.
#[test]
fn only_modes_that_exist_are_in_the_schema() {
    let text = serde_json::to_value(crds()).unwrap().to_string();
    assert!(
        text.contains(r#""enum":["Switchover","Rebuild","AcceptDataLoss","Restart","Drill"]"#),
        "the types of an operation"
    );
    assert!(text.contains(r#""enum":["Enforce","Shadow"]"#), "the modes of a policy");
    assert!(!text.contains("onBlocked"), "a field that nothing honours");
}

#[test]
fn the_schemas_use_no_format_that_kubernetes_warns_about() {
    let text = serde_json::to_value(crds()).unwrap().to_string();
    for format in ["uint8", "uint16", "uint32", "uint64"] {
        assert!(!text.contains(&format!(r#""format":"{format}""#)), "{format}");
    }
}

#[test]
fn a_status_without_a_primary_shows_a_dash() {
    let status: super::MysqlClusterStatus = serde_json::from_str("{}").unwrap();
    assert_eq!(status.primary, "-");
    assert_eq!(status.primary_name(), None);
    let crds = crds();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == "MysqlCluster");
    let crd = serde_json::to_value(crd).unwrap();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert_eq!(status["properties"]["primary"]["default"], "-", "the API server fills it in for the column");
}

/// `kubectl scale` needs a number to begin with, also in a cluster whose author never heard of read replicas.
#[test]
fn read_replicas_are_what_scales_and_there_are_none_by_default() {
    let crds = crds();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == "MysqlCluster");
    let crd = serde_json::to_value(crd).unwrap();
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.readReplicas.count");
    assert_eq!(version["subresources"]["scale"]["statusReplicasPath"], ".status.readReplicas.count");
    assert_eq!(version["subresources"]["scale"]["labelSelectorPath"], ".status.readReplicas.selector");
    let field = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["readReplicas"];
    assert_eq!(field["default"], serde_json::json!({ "count": 0 }));
    assert_eq!(field["properties"]["count"]["default"], 0);
    assert_eq!(
        (&field["properties"]["count"]["minimum"], &field["properties"]["count"]["maximum"]),
        (&0.0.into(), &50.0.into())
    );
}

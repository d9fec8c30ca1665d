//! What people apply can be applied: the examples are valid, and the operator may do what its children call for.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of a test for something else")]

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::ClusterRole;
use objects::api::{MysqlBackup, MysqlCluster, MysqlOperation};
use objects::validate::{InstallationDefaults, validate};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn documents(file: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap()
}

fn of_kind<K: DeserializeOwned>(documents: &[Value], kind: &str) -> Vec<K> {
    documents
        .iter()
        .filter(|document| document["kind"] == kind)
        .map(|document| serde_json::from_value(document.clone()).unwrap())
        .collect()
}

/// Every field of the example is one that the types know: writing it back gives the same.
fn assert_known<K: DeserializeOwned + serde::Serialize>(document: &Value) {
    let typed: K = serde_json::from_value(document.clone()).unwrap();
    let back = serde_json::to_value(typed).unwrap();
    assert_subset(&document["spec"], &back["spec"], "spec");
}

fn assert_subset(written: &Value, read: &Value, path: &str) {
    match written {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = format!("{path}.{name}");
                // False is not written, and neither is what stands for nothing.
                if *value != Value::Bool(false) {
                    assert_subset(value, read.get(name).unwrap_or_else(|| panic!("{below} is not known")), &below);
                }
            }
        }
        value => assert_eq!(value, read, "{path}"),
    }
}

#[test]
fn the_examples_are_valid() {
    let defaults = InstallationDefaults { image: "mysql".to_owned() };
    let mut seen = 0;
    for file in fs::read_dir(deploy().join("examples")).unwrap() {
        for document in documents(&file.unwrap().path()) {
            match document["kind"].as_str().unwrap() {
                "MysqlCluster" => {
                    assert_known::<MysqlCluster>(&document);
                    validate(&serde_json::from_value(document).unwrap(), &defaults).unwrap();
                    seen += 1;
                }
                "MysqlBackup" => assert_known::<MysqlBackup>(&document),
                "MysqlOperation" => assert_known::<MysqlOperation>(&document),
                _ => {}
            }
        }
    }
    assert!(seen >= 2);
}

/// Rendering needs Helm, which a test of objects must not; so the file names the chart it was rendered from.
#[test]
fn the_manifest_was_rendered_from_this_chart() {
    let chart = deploy().join("chart");
    let sum = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let mut names: Vec<_> = fs::read_dir(&chart)
        .unwrap()
        .chain(fs::read_dir(chart.join("templates")).unwrap())
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.path().strip_prefix(&chart).unwrap().display().to_string())
        .collect();
    names.sort();
    // As `sha256sum` lists files.
    let line = |name: &String| format!("{}  ./{name}\n", sum(&fs::read(chart.join(name)).unwrap()));
    let digest = sum(names.iter().map(line).collect::<String>().as_bytes());
    let manifest = fs::read_to_string(deploy().join("operator.yaml")).unwrap();
    assert!(
        manifest.lines().next().unwrap().contains(&digest),
        "the chart has changed: `make manifests` renders it anew"
    );
}

#[test]
fn the_operator_takes_agents_from_its_own_image() {
    let deployments: Vec<Deployment> = of_kind(&documents(&deploy().join("operator.yaml")), "Deployment");
    let pod = deployments[0].spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let container = &pod.containers[0];
    let image = container.env.as_ref().unwrap().iter().find(|variable| variable.name == "GRAMPUS_IMAGE").unwrap();
    assert_eq!(image.value, container.image);
}

#[test]
fn the_operator_has_the_rights_it_needs_and_no_wildcard() {
    let roles: Vec<ClusterRole> = of_kind(&documents(&deploy().join("operator.yaml")), "ClusterRole");
    let rules = roles.iter().find(|role| role.metadata.name.as_deref() == Some("grampus-operator")).unwrap();
    let rules = rules.rules.as_ref().unwrap();
    let may = |group: &str, resource: &str, verb: &str| {
        let has = |list: &Option<Vec<String>>, item: &str| list.iter().flatten().any(|one| one == item);
        rules.iter().any(|rule| {
            has(&rule.api_groups, group) && has(&rule.resources, resource) && rule.verbs.iter().any(|one| one == verb)
        })
    };
    // A server-side apply of what does not exist yet is both.
    for (group, resource) in [
        ("apps", "statefulsets"),
        ("policy", "poddisruptionbudgets"),
        ("", "services"),
        ("", "configmaps"),
        ("", "secrets"),
    ] {
        for verb in ["get", "list", "watch", "create", "patch"] {
            assert!(may(group, resource, verb), "{verb} {resource}");
        }
        // Of ConfigMaps, copies of policies are removed when there are newer ones.
        assert_eq!(
            may(group, resource, "delete"),
            resource == "configmaps",
            "children go with their owner: {resource}"
        );
    }
    assert!(may("", "namespaces", "get") && !may("", "namespaces", "patch"));
    assert!(may("grampus.dev", "mysqlclusters/status", "patch"));
    assert!(!may("grampus.dev", "mysqlclusters", "patch"), "nothing of ours is written to a spec");
    assert!(may("", "persistentvolumeclaims", "list"));
    // An eviction asks the budgets of others too; a deletion would not.
    assert!(may("", "pods/eviction", "create") && !may("", "pods", "delete"));
    let text = serde_json::to_value(rules).unwrap().to_string();
    assert!(!text.contains('*'), "{text}");
}

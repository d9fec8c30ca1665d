//! Golden tests: a change of what is applied to running clusters must show as a reviewed difference.

use super::*;
use crate::api::names;
use crate::problem::Problem;
use crate::validate::{InstallationDefaults, MOST_READERS, validate};

pub(crate) fn cluster(spec: &str) -> ValidatedCluster {
    let yaml = format!(
        "apiVersion: grampus.dev/v1alpha1\nkind: MysqlCluster\nmetadata: {{name: shop, namespace: store, uid: u-1}}\nspec: {spec}\n"
    );
    let defaults = InstallationDefaults { image: "example.org/mysql:8.4".to_owned() };
    validate(&serde_saphyr::from_str(&yaml).unwrap(), &defaults)
        .unwrap_or_else(|problems| panic!("{}", Problem::join(&problems)))
}

pub(crate) fn shop() -> ValidatedCluster {
    cluster("{storage: {size: 10Gi}}")
}

fn of(cluster: &ValidatedCluster) -> Children {
    of_image(cluster, "example.org/grampus:1")
}

pub(crate) fn of_image(cluster: &ValidatedCluster, grampus: &str) -> Children {
    children(cluster, &Installation { grampus_image: grampus.to_owned() })
}

#[test]
fn the_smallest_spec() {
    let children = of(&shop());
    insta::assert_yaml_snapshot!("config", children.config);
    insta::assert_yaml_snapshot!("instances", children.instances);
    insta::assert_yaml_snapshot!("primary", children.primary);
    insta::assert_yaml_snapshot!("replicas", children.replicas);
    insta::assert_yaml_snapshot!("budget", children.budget);
    insta::assert_yaml_snapshot!("stateful_set", children.stateful_set);
    insta::assert_yaml_snapshot!("readers_budget", children.readers.budget);
    insta::assert_yaml_snapshot!("readers_stateful_set", children.readers.stateful_set);
}

#[test]
fn every_field_of_the_spec_shows() {
    let children = of(&cluster(EVERYTHING));
    insta::assert_yaml_snapshot!("everything_config", children.config);
    insta::assert_yaml_snapshot!("everything_primary", children.primary);
    insta::assert_yaml_snapshot!("everything_replicas", children.replicas);
    insta::assert_yaml_snapshot!("everything_stateful_set", children.stateful_set);
}

const EVERYTHING: &str = "
  image: example.org/mysql:9.7
  imagePullSecrets: [{name: pull}]
  replicas: 5
  storage: {size: 20Gi, className: fast, accessModes: [ReadWriteOncePod]}
  deletionPolicy: Delete
  resources: {requests: {cpu: '1', memory: 4Gi}, limits: {cpu: '8', memory: 4Gi}}
  config: {max_connections: 400, sql_mode: ANSI_QUOTES}
  durability: {acks: 2}
  readReplicas: {count: 4, delay: 1h, maxLag: 10s}
  rootPasswordSecret: {name: mine, key: root}
  bootstrap: {new: {database: orders, user: till, charset: latin1, lowerCaseTableNames: 1}}
  scheduling:
    nodeSelector: {disk: ssd}
    affinity: {nodeAffinity: {}}
    tolerations: [{key: database, operator: Exists}]
    topologySpread: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]
    priorityClassName: high
  podMetadata: {labels: {team: shop}, annotations: {note: 'yes'}}
  services:
    primary: {type: LoadBalancer, labels: {a: b}, annotations: {c: d}}
    replicas: {type: NodePort}
";

#[test]
fn no_selector_of_the_members_takes_a_read_replica_in_and_both_have_names() {
    let children = of(&cluster("{storage: {size: 1Gi}, readReplicas: {count: 2}}"));
    let labels = |set: &StatefulSet| set.spec.clone().unwrap().template.metadata.unwrap().labels.unwrap();
    let (member, reader) = (labels(&children.stateful_set), labels(&children.readers.stateful_set));
    let takes = |selector: &BTreeMap<String, String>, pod: &BTreeMap<String, String>| {
        selector.iter().all(|(key, value)| pod.get(key) == Some(value))
    };
    let members = children.stateful_set.spec.unwrap().selector.match_labels.unwrap();
    assert!(takes(&members, &member) && !takes(&members, &reader));
    let budget = children.budget.unwrap().spec.unwrap().selector.unwrap().match_labels.unwrap();
    assert!(takes(&budget, &member) && !takes(&budget, &reader));
    for selector in [
        children.readers.stateful_set.spec.unwrap().selector.match_labels.unwrap(),
        children.readers.budget.spec.unwrap().selector.unwrap().match_labels.unwrap(),
    ] {
        assert!(!takes(&selector, &member) && takes(&selector, &reader));
    }
    let names = children.instances.spec.unwrap().selector.unwrap();
    assert!(takes(&names, &member) && takes(&names, &reader));
}

/// A pod's hostname, and the label that Kubernetes puts on it, take 63 characters; so does the revision's.
#[test]
fn the_longest_name_of_a_cluster_leaves_room_for_its_read_replicas() {
    let longest = "a".repeat(40);
    assert!(names::reader(&longest, MOST_READERS - 1).len() <= 63);
    assert!(format!("{}-{}", names::readers(&longest), "0123456789").len() <= 63);
}

#[test]
fn a_single_member_can_be_evicted() {
    assert!(of(&cluster("{replicas: 1, storage: {size: 1Gi}}")).budget.is_none());
}

#[test]
fn a_person_cannot_take_a_member_out_of_the_selector() {
    let set = of(&cluster("{storage: {size: 1Gi}, podMetadata: {labels: {team: shop}}}")).stateful_set.spec.unwrap();
    let pod = set.template.metadata.unwrap().labels.unwrap();
    for (key, value) in set.selector.match_labels.unwrap() {
        assert_eq!(pod.get(&key), Some(&value));
    }
}

#[test]
fn services_that_follow_a_role_select_nothing() {
    let children = of(&shop());
    assert!(children.primary.spec.unwrap().selector.is_none());
    assert!(children.replicas.spec.unwrap().selector.is_none());
}

#[test]
fn a_pod_stays_for_as_long_as_its_member_votes() {
    let record = |ordinals: &[u32]| -> topology::record::Record {
        let data = "00000000-0000-0000-0000-000000000001";
        let members = ordinals.iter().map(|ordinal| format!("{{name: shop-{ordinal}, incarnation: {data}}}"));
        let members = members.collect::<Vec<_>>().join(", ");
        let rest = "epoch: 2, phase: Serving, generation: 1, primary: shop-0, primarySinceEpoch: 2, acks: 1, base: ''";
        serde_saphyr::from_str(&format!("{{{rest}, members: [{members}]}}")).unwrap()
    };
    assert_eq!(pods(3, Some(&record(&[0, 1, 2, 3, 4])), Some(5)), 5);
    assert_eq!(pods(3, Some(&record(&[0, 1, 2, 3])), Some(5)), 4);
    assert_eq!(pods(1, Some(&record(&[0, 2])), Some(3)), 3, "the number counts, not how many there are");
    assert_eq!(pods(3, Some(&record(&[0, 1, 2])), Some(5)), 3);
    assert_eq!(pods(3, Some(&record(&[0])), Some(1)), 3);
    assert_eq!(pods(3, Some(&record(&[])), None), 3);
    assert_eq!(pods(3, None, Some(5)), 5, "what is not known to be free to go stays");
}

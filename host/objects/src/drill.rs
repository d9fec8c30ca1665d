//! The throw-away cluster of a drill: one member, made from a backup as a person would make one, and nothing more.
//!
//! It must never be taken for the cluster that is drilled, nor a person's cluster for it: its name says which operation it
//! is of, and only what has such a name and the labels that go with it is ever removed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};

use crate::api::{Bootstrap, DeletionPolicy, MysqlCluster, MysqlClusterSpec, Recovery, RecoveryTarget, labels, names};

/// The throw-away cluster for the backup at `path`, and the archive beside it as far as it lies within `gtids`, if that is
/// given.
///
/// It has the resources, the storage, the options and the places of the source; none of its Services' types, no backups,
/// no policies and no volume that stays. None where the source has nowhere to put backups.
pub fn throw_away(source: &MysqlCluster, operation_uid: &str, path: &str, gtids: Option<&str>) -> Option<MysqlCluster> {
    let name = source.name_any();
    let spec = &source.spec;
    let target =
        gtids.map(|gtids| RecoveryTarget { within_gtids: Some(gtids.to_owned()), ..RecoveryTarget::default() });
    let backup = spec.backup.as_ref()?;
    let recovery = Recovery {
        store: Some(backup.store.clone()),
        path: Some(path.to_owned()),
        encryption: backup.encryption.clone(),
        target,
        ..made_with(spec)
    };
    let metadata = ObjectMeta {
        name: Some(names::drill(&name, operation_uid)),
        namespace: source.namespace(),
        labels: Some(
            [(labels::DRILL, operation_uid), (labels::DRILL_OF, name.as_str())]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        owner_references: source.owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    let spec = MysqlClusterSpec {
        image: spec.image.clone(),
        image_pull_secrets: spec.image_pull_secrets.clone(),
        replicas: Some(1),
        storage: spec.storage.clone(),
        deletion_policy: Some(DeletionPolicy::Delete),
        resources: spec.resources.clone(),
        config: spec.config.clone(),
        bootstrap: Some(Bootstrap { new: None, recovery: Some(recovery) }),
        scheduling: spec.scheduling.clone(),
        ..MysqlClusterSpec::default()
    };
    Some(MysqlCluster { metadata, spec, status: None })
}

/// What a recovery has to know of how a cluster was made.
fn made_with(spec: &MysqlClusterSpec) -> Recovery {
    let Some(bootstrap) = &spec.bootstrap else { return Recovery::default() };
    match (&bootstrap.new, &bootstrap.recovery) {
        (Some(new), _) => Recovery {
            database: new.database.clone(),
            user: new.user.clone(),
            lower_case_table_names: new.lower_case_table_names,
            ..Recovery::default()
        },
        (None, Some(recovery)) => Recovery {
            database: recovery.database.clone(),
            user: recovery.user.clone(),
            lower_case_table_names: recovery.lower_case_table_names,
            ..Recovery::default()
        },
        (None, None) => Recovery::default(),
    }
}

/// The uid of the operation that a cluster is the throw-away cluster of. None for every other cluster, whatever labels
/// somebody gave it.
pub fn operation_of(cluster: &MysqlCluster) -> Option<&str> {
    let labels = cluster.metadata.labels.as_ref()?;
    let (uid, of) = (labels.get(labels::DRILL)?, labels.get(labels::DRILL_OF)?);
    let recovered = cluster.spec.bootstrap.as_ref().is_some_and(|bootstrap| bootstrap.recovery.is_some());
    let ours =
        cluster.name_any() == names::drill(of, uid) && !uid.is_empty() && recovered && cluster.spec.backup.is_none();
    ours.then_some(uid.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::{InstallationDefaults, validate};

    const UID: &str = "4be0643f-71ca-11e1-9e33-c80aa9429562";

    fn source(name: &str) -> MysqlCluster {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": name, "namespace": "store", "uid": "0b7f4f0e" },
            "spec": {
                "replicas": 5, "storage": { "size": "10Gi", "className": "fast" }, "config": { "max_connections": 500 },
                "readReplicas": { "count": 2 }, "services": { "primary": { "type": "LoadBalancer" } },
                "resources": { "limits": { "memory": "2Gi" } },
                "bootstrap": { "new": { "database": "orders", "user": "till", "lowerCaseTableNames": 1 } },
                "backup": {
                    "store": { "gcs": { "bucket": "b", "credentialsSecret": "c" } }, "continuous": true,
                    "schedule": "0 2 * * *", "drill": { "schedule": "0 5 * * 0" },
                    "encryption": { "keysSecret": "backup-keys" },
                },
            },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_throw_away_cluster_is_small_valid_and_in_nobodys_way() {
        let longest = "a-name-of-exactly-forty-characters-in-it";
        for name in ["shop", longest] {
            let made = throw_away(&source(name), UID, "store/shop/full/1-shop-2", Some("u:1-9")).unwrap();
            let validated = validate(&made, &InstallationDefaults { image: "mysql:9.7".to_owned() });
            // The set is none, and that is all that is wrong.
            let problems = validated.unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(made.name_any().len() <= 40 && made.name_any() != name);
            assert_eq!(operation_of(&made), Some(UID));
            let spec = &made.spec;
            assert!(spec.backup.is_none() && spec.services.is_none() && spec.policies.is_none());
            assert_eq!((spec.replicas, spec.read_replicas.count), (Some(1), 0));
            assert_eq!(spec.deletion_policy, Some(DeletionPolicy::Delete));
            assert_eq!(spec.storage, source(name).spec.storage);
            let recovery = spec.bootstrap.as_ref().unwrap().recovery.as_ref().unwrap();
            assert_eq!((recovery.database.as_deref(), recovery.lower_case_table_names), (Some("orders"), Some(1)));
            assert_eq!(recovery.encryption, source(name).spec.backup.unwrap().encryption);
        }
        assert!(throw_away(&MysqlCluster::new("shop", MysqlClusterSpec::default()), UID, "p", None).is_none());
    }

    #[test]
    fn no_cluster_of_a_person_is_taken_for_one() {
        assert_eq!(operation_of(&source("shop")), None);
        let made = throw_away(&source("shop"), UID, "store/shop/full/1-shop-2", None).unwrap();
        let of = |change: fn(&mut MysqlCluster)| {
            let mut cluster = made.clone();
            change(&mut cluster);
            operation_of(&cluster).is_some()
        };
        assert!(of(|_| {}));
        assert!(!of(|cluster| cluster.metadata.name = Some("shop".to_owned())));
        assert!(!of(|cluster| cluster.metadata.labels = None));
        assert!(!of(|cluster| cluster.spec.bootstrap = None));
        assert!(!of(|cluster| cluster.spec.backup = Some(Default::default())));
    }
}

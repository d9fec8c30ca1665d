//! What becomes of MysqlBackups whose backups are not in the store any more: those that a schedule or an archive asked for
//! go as well; those that a person made say so and stay, because whoever made them would make them again.

use std::sync::Arc;

use backup::layout;
use backup::retention::Seen;
use backup::survey::Survey;
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::reflector;
use kube::{Api, ResourceExt as _};
use objects::api::{BackupPhase, MysqlBackup, MysqlBackupStatus, MysqlCluster, labels};

use crate::Context;
use crate::backups::schedule;

/// The MysqlBackups of a cluster.
pub fn of(cluster: &MysqlCluster, seen: &reflector::Store<MysqlBackup>) -> Vec<Arc<MysqlBackup>> {
    let (namespace, name) = (cluster.namespace(), cluster.name_any());
    let mut of = seen.state();
    of.retain(|backup| backup.namespace() == namespace && backup.spec.cluster == name);
    of
}

/// Those of them that tell of a backup in the cluster's store which is not there. None where nothing is there at all: that
/// is rather another store.
pub fn gone(
    cluster: &MysqlCluster,
    made: &[Arc<MysqlBackup>],
    survey: &Survey,
    removed: &[String],
) -> Vec<Arc<MysqlBackup>> {
    let store = cluster.spec.backup.as_ref().map(|backup| &backup.store);
    let below = layout::fulls(&format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any()));
    let there = |seen: &&(String, Seen)| matches!(seen.1, Seen::Whole(_) | Seen::Unreadable(_));
    let there = survey.sight.fulls.iter().filter(there).map(|(name, _)| name);
    let there: Vec<_> = there.filter(|name| !removed.contains(name)).map(|name| format!("{below}/{name}")).collect();
    if there.is_empty() {
        return Vec::new();
    }
    let is_gone = |status: &MysqlBackupStatus| {
        let path = status.path.as_ref().filter(|path| path.starts_with(&format!("{below}/")));
        let made = status.phase == Some(BackupPhase::Succeeded) && status.store.as_ref() == store;
        made && path.is_some_and(|path| !there.contains(path))
    };
    made.iter().filter(|backup| backup.status.as_ref().is_some_and(is_gone)).cloned().collect()
}

/// Deletes them, or has them say so.
///
/// # Errors
/// In words: the API server refused. The others are told of all the same.
pub async fn tell(context: &Context, cluster: &MysqlCluster, gone: &[Arc<MysqlBackup>]) -> Result<(), String> {
    let api: Api<MysqlBackup> = Api::namespaced(context.client.clone(), &cluster.namespace().unwrap_or_default());
    // A schedule would ask for this one again.
    let due = schedule::due(cluster, Timestamp::now()).map(|(name, _)| name);
    let mut problem = None;
    for backup in gone {
        let name = backup.name_any();
        let done = if is_made_by_itself(cluster, backup) && due.as_ref() != Some(&name) {
            let preconditions = Preconditions { uid: backup.uid(), ..Preconditions::default() };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            api.delete(&name, &params).await.map(drop)
        } else {
            let message = "it is not in the store any more: spec.backup.retention, or a person, had it removed";
            let status = serde_json::json!({ "phase": BackupPhase::Removed, "message": message });
            let patch = Patch::Merge(serde_json::json!({ "status": status }));
            api.patch_status(&name, &PatchParams::default(), &patch).await.map(drop)
        };
        match done {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => problem = Some(format!("MysqlBackup {name}, whose backup is gone: {error}")),
        }
    }
    problem.map_or(Ok(()), Err)
}

fn is_made_by_itself(cluster: &MysqlCluster, backup: &MysqlBackup) -> bool {
    backup.labels().get(labels::SCHEDULED_FOR).is_some_and(|uid| Some(uid) == cluster.uid().as_ref())
}

#[cfg(test)]
mod tests {
    use backup::retention::Sight;

    use super::*;

    fn cluster() -> MysqlCluster {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": "shop", "namespace": "store", "uid": "uid" },
            "spec": { "storage": { "size": "1Gi" }, "backup": { "store": {} } },
        });
        serde_json::from_value(object).unwrap()
    }

    fn made(name: &str, phase: &str, path: &str) -> Arc<MysqlBackup> {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlBackup", "metadata": { "name": name, "namespace": "store" },
            "spec": { "cluster": "shop" }, "status": { "phase": phase, "path": path, "store": {} },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn survey(names: &[&str]) -> Survey {
        let fulls = names.iter().map(|name| ((*name).to_owned(), Seen::Unreadable(String::new()))).collect();
        Survey { sight: Sight { fulls, segments: None }, objects: Vec::new() }
    }

    #[test]
    fn what_was_made_and_is_not_in_the_store_is_gone() {
        let all = [
            made("one", "Succeeded", "store/shop/full/one"),
            made("two", "Succeeded", "store/shop/full/two"),
            made("running", "Running", "store/shop/full/three"),
            made("elsewhere", "Succeeded", "moved/shop/full/two"),
        ];
        let names = |survey: &Survey, removed: &[&str]| {
            let removed: Vec<_> = removed.iter().map(|name| (*name).to_owned()).collect();
            gone(&cluster(), &all, survey, &removed).iter().map(|backup| backup.name_any()).collect::<Vec<_>>()
        };
        assert_eq!(names(&survey(&["one"]), &[]), ["two"]);
        assert_eq!(names(&survey(&["one", "two"]), &["two"]), ["two"]);
        assert_eq!(names(&survey(&["one", "two"]), &[]), Vec::<String>::new());
        assert_eq!(names(&survey(&[]), &[]), Vec::<String>::new(), "an empty store is another one");
        let mut other = cluster();
        other.spec.backup = None;
        assert_eq!(gone(&other, &all, &survey(&["x"]), &[]).len(), 0, "of another store nothing is known");
    }
}

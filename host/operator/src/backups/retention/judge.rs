//! What is to be told of what is kept and removed, and what forbids to remove anything. Pure.

use std::sync::Arc;
use std::time::Duration;

use backup::manifest::Origin;
use backup::retention::{Plan, Verdict, days};
use backup::sweep::Swept;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use objects::api::{MysqlCluster, RetainedStatus, RetentionAction, RetentionStatus};
use objects::validate::Kept;

/// How many backups a status tells of.
const MOST_TOLD: usize = 100;

/// How many backups an Event names: notes have at most 1024 bytes.
const MOST_NAMED: usize = 5;

/// Why nothing may be removed of the cluster `own` now: another is being made from it.
pub fn held(clusters: &[Arc<MysqlCluster>], own: &Origin) -> Option<String> {
    let directory = format!("{}/{}", own.namespace, own.name);
    let is_from = |cluster: &MysqlCluster| {
        let bootstrap = cluster.spec.bootstrap.as_ref();
        let Some(recovery) = bootstrap.and_then(|bootstrap| bootstrap.recovery.as_ref()) else { return false };
        // Of which cluster a MysqlBackup is may be known no more.
        let named = recovery.backup.is_some() && cluster.namespace().as_deref() == Some(own.namespace.as_str());
        let path = recovery.path.as_deref().and_then(|path| path.strip_prefix(&directory));
        named || path.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let waits = |cluster: &MysqlCluster| {
        cluster.metadata.deletion_timestamp.is_none()
            && cluster.status.as_ref().and_then(|status| status.primary_name()).is_none()
    };
    let one = clusters.iter().find(|cluster| waits(cluster) && is_from(cluster))?;
    let (namespace, name) = (one.namespace().unwrap_or_default(), one.name_any());
    Some(format!("nothing is removed while MysqlCluster {namespace}/{name} is being made from a backup"))
}

/// The status after a look.
pub fn status(plan: &Plan, swept: &Swept, problem: Option<String>) -> RetentionStatus {
    let left: Vec<_> = plan.fulls.iter().filter(|(name, _)| !swept.fulls.contains(name)).collect();
    let kept = left.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Keep(_))).count();
    let told = left.iter().take(MOST_TOLD).map(|(name, verdict)| {
        let (action, reason) = match verdict {
            Verdict::Keep(why) => (RetentionAction::Keep, why),
            Verdict::Remove(why) => (RetentionAction::Remove, why),
            Verdict::Leave(why) => (RetentionAction::Leave, why),
        };
        RetainedStatus { name: name.clone(), action, reason: reason.clone() }
    });
    let archive = plan.archive.as_ref().map(|cut| {
        let removed = match cut.removed.saturating_sub(swept.segments) {
            0 => String::new(),
            removed => format!("; {removed} segments before it are to be removed"),
        };
        format!("kept from segment {} on: {}{removed}", cut.from, cut.because)
    });
    let oldest = plan.oldest_unix_us.and_then(|us| Timestamp::from_microsecond(i64::try_from(us).ok()?).ok());
    RetentionStatus {
        fulls: i32::try_from(kept).ok(),
        oldest: oldest.map(Time),
        problem,
        backups: told.collect(),
        archive,
    }
}

/// The status after a look that came to nothing: what was known before stays.
pub fn failed(cluster: &MysqlCluster, why: String) -> RetentionStatus {
    let before = cluster.status.as_ref().and_then(|status| status.backup.as_ref()?.retention.clone());
    RetentionStatus { problem: Some(why), ..before.unwrap_or_default() }
}

/// What is said of what was removed. Nothing where nothing was.
pub fn note(kept: &Kept, swept: &Swept) -> Option<String> {
    let mut what = Vec::new();
    if !swept.fulls.is_empty() {
        let named: Vec<_> = swept.fulls.iter().take(MOST_NAMED).map(String::as_str).collect();
        let others = swept.fulls.len().saturating_sub(MOST_NAMED);
        let others = if others == 0 { String::new() } else { format!(" and {others} others") };
        what.push(format!("{} full backups ({}{others})", swept.fulls.len(), named.join(", ")));
    }
    if swept.segments > 0 {
        what.push(format!("{} segments of the archive", swept.segments));
    }
    if swept.unfinished > 0 {
        what.push(format!("what {} attempts left that were never finished", swept.unfinished));
    }
    if what.is_empty() {
        return None;
    }
    Some(format!("removed {}: spec.backup.retention keeps {}", what.join(", "), policy(kept)))
}

fn policy(kept: &Kept) -> String {
    let fulls = kept.fulls.map(|fulls| format!("the newest {fulls}"));
    let window = kept.window.map(|window: Duration| format!("what moments within {} are recovered from", days(window)));
    fulls.into_iter().chain(window).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use backup::retention::Cut;

    use super::*;

    fn cluster(name: &str, recovery: serde_json::Value, primary: &str) -> Arc<MysqlCluster> {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster", "metadata": { "name": name, "namespace": "store" },
            "spec": { "storage": { "size": "1Gi" }, "bootstrap": { "recovery": recovery } },
            "status": { "primary": primary, "ready": "" },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn own() -> Origin {
        Origin { namespace: "store".to_owned(), name: "shop".to_owned(), uid: "uid".to_owned() }
    }

    #[test]
    fn nothing_is_removed_under_whoever_is_being_made_from_it() {
        let held = |recovery, primary| held(&[cluster("shop2", recovery, primary)], &own());
        let backup = serde_json::json!({ "backup": "shop-20261126-1800" });
        assert!(held(backup.clone(), "-").unwrap().contains("store/shop2"));
        assert_eq!(held(backup, "shop2-0"), None, "it has its data");
        let path = |path: &str| serde_json::json!({ "store": {}, "path": path });
        assert!(held(path("store/shop"), "").is_some() && held(path("store/shop/full/one"), "").is_some());
        assert_eq!(held(path("store/shop2/full/one"), ""), None);
    }

    #[test]
    fn what_was_removed_is_told_once_and_what_is_kept_stays() {
        let plan = Plan {
            fulls: vec![
                ("c".to_owned(), Verdict::Keep("it is the newest".to_owned())),
                ("b".to_owned(), Verdict::Leave("of another".to_owned())),
                ("a".to_owned(), Verdict::Remove("1 newer ones are kept".to_owned())),
            ],
            archive: Some(Cut { from: 9, removed: 8, because: "what c goes on with".to_owned() }),
            oldest_unix_us: Some(1_795_772_809_000_000),
        };
        let dry = status(&plan, &Swept::default(), None);
        assert_eq!((dry.fulls, dry.backups.len()), (Some(1), 3));
        assert_eq!(
            dry.archive.unwrap(),
            "kept from segment 9 on: what c goes on with; 8 segments before it are to be removed"
        );
        let swept = Swept { fulls: vec!["a".to_owned()], segments: 8, ..Swept::default() };
        let done = status(&plan, &swept, None);
        assert_eq!(done.backups.iter().map(|backup| backup.name.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!(done.archive.unwrap(), "kept from segment 9 on: what c goes on with");
        let kept = Kept { fulls: Some(1), window: Some(Duration::from_secs(14 * 86_400)), dry_run: false };
        assert_eq!(
            note(&kept, &swept).unwrap(),
            "removed 1 full backups (a), 8 segments of the archive: spec.backup.retention keeps the newest 1 and what \
             moments within 14 d are recovered from"
        );
        assert_eq!(note(&kept, &Swept::default()), None);
        let many =
            Swept { fulls: (0..900).map(|number| format!("20261127T135000Z-4be0643f-{number}")).collect(), ..swept };
        assert!(note(&kept, &many).unwrap().len() < 1_000);
    }
}

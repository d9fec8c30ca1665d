//! Where backups go, and where a cluster's first data comes from.
//!
//! A recovery that cannot be carried out must never turn into a new, empty database.

use crate::api::{Backup, BackupStore, MysqlClusterSpec, Recovery};
use crate::problem::Problem;
use crate::schedule::{DEFAULT_TIME_ZONE, Schedule};

pub(super) fn check(spec: &MysqlClusterSpec, problems: &mut Vec<Problem>) -> Option<Recovery> {
    if let Some(backup) = &spec.backup {
        store("spec.backup.store", &backup.store, problems);
        match schedule(backup) {
            None | Some(Ok(_)) => {}
            Some(Err((true, why))) => problems.push(Problem::new(
                "spec.backup.schedule",
                why,
                "write minute, hour, day of month, month and day of week, as in 0 2 * * *",
            )),
            Some(Err((false, why))) => {
                problems.push(Problem::new("spec.backup.timeZone", why, "write it as in Asia/Shanghai"));
            }
        }
    }
    let bootstrap = spec.bootstrap.as_ref()?;
    let recovery = bootstrap.recovery.clone()?;
    let field = "spec.bootstrap.recovery";
    if bootstrap.new.is_some() {
        problems.push(Problem::new("spec.bootstrap", "a database is either new or recovered", "give one of the two"));
    }
    match (&recovery.backup, &recovery.store, &recovery.path) {
        (Some(_), None, None) => {}
        (None, Some(from), Some(_)) => store(&format!("{field}.store"), from, problems),
        _ => problems.push(Problem::new(
            field,
            "does not say which backup, or says it twice",
            "give either `backup`, or `store` and `path`",
        )),
    }
    Some(recovery)
}

/// When backups are due. None where nobody asks for any.
pub fn schedule(backup: &Backup) -> Option<Result<Schedule, (bool, String)>> {
    let zone = backup.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE);
    backup.schedule.as_deref().map(|line| Schedule::parse(line, zone))
}

fn store(field: &str, store: &BackupStore, problems: &mut Vec<Problem>) {
    let places = [store.s3.is_some(), store.gcs.is_some(), store.azure.is_some()];
    if places.iter().filter(|given| **given).count() != 1 {
        problems.push(Problem::new(field, "must name exactly one place", "give one of s3, gcs and azure"));
    }
    let endpoint = store.s3.as_ref().and_then(|s3| s3.endpoint.as_deref());
    if endpoint.is_some_and(|endpoint| !endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
        let remedy = "write it as in https://s3.example.com";
        problems.push(Problem::new(format!("{field}.s3.endpoint"), "is no address of a server", remedy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(spec: serde_json::Value) -> Vec<String> {
        let mut problems = Vec::new();
        check(&serde_json::from_value(spec).unwrap(), &mut problems);
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_backup_is_named_once() {
        let s3 = serde_json::json!({ "s3": { "bucket": "b", "credentialsSecret": "c" } });
        let with = |recovery: serde_json::Value| {
            problems(serde_json::json!({ "storage": { "size": "1Gi" }, "bootstrap": { "recovery": recovery } }))
        };
        assert_eq!(with(serde_json::json!({ "backup": "b" })), Vec::<String>::new());
        assert_eq!(with(serde_json::json!({ "store": s3, "path": "a/b" })), Vec::<String>::new());
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "store": s3 }),
            serde_json::json!({ "backup": "b", "path": "a" }),
        ] {
            assert_eq!(with(wrong), ["spec.bootstrap.recovery"]);
        }
        assert_eq!(with(serde_json::json!({ "store": {}, "path": "a" })), ["spec.bootstrap.recovery.store"]);
    }

    #[test]
    fn a_schedule_is_a_line_and_a_zone() {
        let with = |schedule: &str, zone: &str| {
            let gcs = serde_json::json!({ "gcs": { "bucket": "b", "credentialsSecret": "c" } });
            let backup = serde_json::json!({ "store": gcs, "schedule": schedule, "timeZone": zone });
            problems(serde_json::json!({ "storage": { "size": "1Gi" }, "backup": backup }))
        };
        assert_eq!(with("0 2 * * *", "Asia/Shanghai"), Vec::<String>::new());
        assert_eq!(with("0 26 * * *", "Asia/Shanghai"), ["spec.backup.schedule"]);
        assert_eq!(with("0 2 * * *", "Shanghai"), ["spec.backup.timeZone"]);
    }

    #[test]
    fn what_is_archived_goes_somewhere() {
        let with = |store: serde_json::Value| {
            let backup = serde_json::json!({ "store": store, "continuous": true });
            problems(serde_json::json!({ "storage": { "size": "1Gi" }, "backup": backup }))
        };
        assert_eq!(with(serde_json::json!({})), ["spec.backup.store"]);
        let gcs = serde_json::json!({ "gcs": { "bucket": "b", "credentialsSecret": "c" } });
        assert_eq!(with(gcs), Vec::<String>::new());
    }

    #[test]
    fn a_store_is_one_place() {
        let with = |store: serde_json::Value| {
            problems(serde_json::json!({ "storage": { "size": "1Gi" }, "backup": { "store": store } }))
        };
        let s3 = serde_json::json!({ "bucket": "b", "credentialsSecret": "c", "endpoint": "minio:9000" });
        assert_eq!(with(serde_json::json!({ "s3": s3 })), ["spec.backup.store.s3.endpoint"]);
        let gcs = serde_json::json!({ "bucket": "b", "credentialsSecret": "c" });
        assert_eq!(with(serde_json::json!({ "gcs": gcs, "s3": gcs })), ["spec.backup.store"]);
    }
}

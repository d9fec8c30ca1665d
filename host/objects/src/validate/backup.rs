//! Where backups go, and where a cluster's first data comes from.
//!
//! A recovery that cannot be carried out must never turn into a new, empty database.

use std::time::Duration;

use jiff::Timestamp;
use topology::gtid::GtidSet;

use crate::api::{Backup, BackupStore, MysqlClusterSpec, Recovery, RecoveryTarget, Retention};
use crate::duration;
use crate::problem::Problem;
use crate::quantity;
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
        if backup.bandwidth.is_some() && bandwidth(backup).is_none() {
            problems.push(Problem::new(
                "spec.backup.bandwidth",
                "is no amount of bytes a second, or less than 1Mi",
                "write it as in 50Mi, or leave it out for no limit",
            ));
        }
        if let Some(Err(problem)) = retention(backup) {
            problems.push(problem);
        }
        // A zone that is none is told with the other schedule, or here.
        match drill_schedule(backup) {
            Some(Err((true, why))) => problems.push(Problem::new(
                "spec.backup.drill.schedule",
                why,
                "write minute, hour, day of month, month and day of week, as in 0 5 * * 0",
            )),
            Some(Err((false, why))) if backup.schedule.is_none() => {
                problems.push(Problem::new("spec.backup.timeZone", why, "write it as in Asia/Shanghai"));
            }
            None | Some(Ok(_) | Err((false, _))) => {}
        }
        let timeout = backup.drill.as_ref().and_then(|drill| drill.timeout.as_deref());
        if timeout.is_some_and(|text| duration::parse(text).is_none_or(|timeout| timeout.as_secs() == 0)) {
            problems.push(Problem::new("spec.backup.drill.timeout", "is no duration", "write it as in 90m or 6h"));
        }
    }
    let bootstrap = spec.bootstrap.as_ref()?;
    let recovery = bootstrap.recovery.clone()?;
    let field = "spec.bootstrap.recovery";
    if bootstrap.new.is_some() {
        problems.push(Problem::new("spec.bootstrap", "a database is either new or recovered", "give one of the two"));
    }
    match (&recovery.backup, &recovery.store, &recovery.path, &recovery.dump) {
        (Some(_), None, None, None) => {}
        (None, Some(from), Some(_), None) | (None, Some(from), None, Some(_)) => {
            store(&format!("{field}.store"), from, problems);
        }
        _ => problems.push(Problem::new(
            field,
            "does not say which backup, or says it twice",
            "give either `backup`, or `store` and `path`, or `store` and `dump`",
        )),
    }
    if recovery.dump.is_some() && recovery.target.is_some() {
        let message = "a dump is of one moment, and nothing goes on from there";
        problems.push(Problem::new(format!("{field}.target"), message, "leave it out"));
    }
    if let Some(Err(problem)) = recovery.target.as_ref().map(target) {
        problems.push(problem);
    }
    Some(recovery)
}

/// Where a recovery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At the end of what was archived.
    End,
    /// Before the first transaction that was committed later.
    Time(Timestamp),
    /// Before this transaction.
    BeforeGtid(GtidSet),
    /// Before the first transaction that is not in this set.
    WithinGtids(GtidSet),
}

/// What a target says.
///
/// # Errors
/// The field that cannot be understood.
pub fn target(target: &RecoveryTarget) -> Result<Target, Problem> {
    let field = "spec.bootstrap.recovery.target";
    match (&target.time, &target.before_gtid, &target.within_gtids, target.end) {
        (Some(time), None, None, None) => match time.parse::<Timestamp>() {
            Ok(time) if time >= Timestamp::UNIX_EPOCH => Ok(Target::Time(time)),
            Ok(_) => Err(Problem::new(format!("{field}.time"), "is before 1970", "name a moment after the backup")),
            Err(why) => Err(Problem::new(
                format!("{field}.time"),
                format!("is no moment: {why}"),
                "write a date, a time and a zone, as in 2026-11-21T09:30:00Z or 2026-11-21T17:30:00+08:00",
            )),
        },
        (None, Some(gtid), None, None) => match gtid.parse::<GtidSet>() {
            Ok(set) if set.count() == 1 => Ok(Target::BeforeGtid(set)),
            other => Err(Problem::new(
                format!("{field}.beforeGtid"),
                other.err().map_or_else(|| "is not one transaction".to_owned(), |why| why.to_string()),
                "name the first transaction that is not wanted, as in 3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
            )),
        },
        (None, None, Some(gtids), None) => gtids.parse::<GtidSet>().map(Target::WithinGtids).map_err(|why| {
            Problem::new(format!("{field}.withinGtids"), why.to_string(), "write it as @@gtid_executed shows it")
        }),
        (None, None, None, Some(true)) => Ok(Target::End),
        _ => Err(Problem::new(
            field,
            "must say one thing",
            "give one of `time`, `beforeGtid`, `withinGtids` and `end: true`",
        )),
    }
}

/// The least that a backup may be limited to, in bytes a second: with less a backup of 100 GiB takes more than a day, and
/// whoever writes `50` or `50m` means something else.
const LEAST_BANDWIDTH: u64 = 1 << 20;

/// How many bytes a second of a full backup are sent at most. None where there is no limit, or none that can be understood.
pub fn bandwidth(backup: &Backup) -> Option<u64> {
    backup.bandwidth.as_deref().and_then(quantity::units).filter(|rate| *rate >= LEAST_BANDWIDTH)
}

/// When backups are due. None where nobody asks for any.
pub fn schedule(backup: &Backup) -> Option<Result<Schedule, (bool, String)>> {
    let zone = backup.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE);
    backup.schedule.as_deref().map(|line| Schedule::parse(line, zone))
}

/// How long backups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// So many of the newest.
    pub fulls: Option<u32>,
    /// What is needed to recover any moment of so long a time.
    pub window: Option<Duration>,
    /// Whether it is only told what would be removed.
    pub dry_run: bool,
}

/// How long backups are kept. None where they are for ever.
pub fn retention(backup: &Backup) -> Option<Result<Kept, Problem>> {
    backup.retention.as_ref().map(kept)
}

fn kept(retention: &Retention) -> Result<Kept, Problem> {
    let field = "spec.backup.retention";
    let fulls = match retention.fulls {
        None => None,
        Some(fulls @ 1..=1000) => Some(fulls.unsigned_abs()),
        Some(fulls) => {
            let problem = format!("{fulls} is no number of backups to keep");
            return Err(Problem::new(format!("{field}.fulls"), problem, "write a number from 1 to 1000"));
        }
    };
    let window = match retention.window.as_deref() {
        None => None,
        Some(text) => {
            let window = duration::parse_long(text).filter(|window| !window.is_zero());
            let problem =
                || Problem::new(format!("{field}.window"), format!("{text:?} is no time"), "write it as in 14d");
            Some(window.ok_or_else(problem)?)
        }
    };
    if fulls.is_none() && window.is_none() {
        return Err(Problem::new(field, "does not say how long", "give `fulls`, `window`, or both"));
    }
    Ok(Kept { fulls, window, dry_run: retention.dry_run.unwrap_or(false) })
}

/// When drills are due. None where nobody asks for any.
pub fn drill_schedule(backup: &Backup) -> Option<Result<Schedule, (bool, String)>> {
    let zone = backup.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE);
    backup.drill.as_ref().map(|drill| Schedule::parse(&drill.schedule, zone))
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
        assert_eq!(with(serde_json::json!({ "store": s3, "dump": "a/b.sql.gz" })), Vec::<String>::new());
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "store": s3 }),
            serde_json::json!({ "backup": "b", "path": "a" }),
            serde_json::json!({ "dump": "b.sql" }),
            serde_json::json!({ "store": s3, "path": "a", "dump": "b.sql" }),
        ] {
            assert_eq!(with(wrong), ["spec.bootstrap.recovery"]);
        }
        let going_on = serde_json::json!({ "store": s3, "dump": "b.sql", "target": { "end": true } });
        assert_eq!(with(going_on), ["spec.bootstrap.recovery.target"]);
        assert_eq!(with(serde_json::json!({ "store": {}, "path": "a" })), ["spec.bootstrap.recovery.store"]);
    }

    #[test]
    fn a_target_is_one_moment_one_transaction_or_the_end() {
        const GTID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let with = |target: serde_json::Value| {
            let recovery = serde_json::json!({ "backup": "b", "target": target });
            problems(serde_json::json!({ "storage": { "size": "1Gi" }, "bootstrap": { "recovery": recovery } }))
        };
        for right in [
            serde_json::json!({ "end": true }),
            serde_json::json!({ "time": "2026-11-21T17:30:00.25+08:00" }),
            serde_json::json!({ "beforeGtid": format!("{GTID}:23") }),
            serde_json::json!({ "beforeGtid": format!("{GTID}:tag:23") }),
            serde_json::json!({ "withinGtids": format!("{GTID}:1-23") }),
        ] {
            assert_eq!(with(right), Vec::<String>::new());
        }
        let field = |name: &str| vec![format!("spec.bootstrap.recovery.target{name}")];
        for (wrong, at) in [
            (serde_json::json!({}), ""),
            (serde_json::json!({ "end": false }), ""),
            (serde_json::json!({ "end": true, "time": "2026-11-21T09:30:00Z" }), ""),
            (serde_json::json!({ "time": "2026-11-21T09:30:00" }), ".time"),
            (serde_json::json!({ "time": "2026-02-30T09:30:00Z" }), ".time"),
            (serde_json::json!({ "time": "1026-02-20T09:30:00Z" }), ".time"),
            (serde_json::json!({ "beforeGtid": format!("{GTID}:23-24") }), ".beforeGtid"),
            (serde_json::json!({ "beforeGtid": "23" }), ".beforeGtid"),
            (serde_json::json!({ "withinGtids": "all" }), ".withinGtids"),
        ] {
            assert_eq!(with(wrong.clone()), field(at), "{wrong}");
        }
        let local = RecoveryTarget { time: Some("2026-11-21T17:30:00+08:00".to_owned()), ..RecoveryTarget::default() };
        assert_eq!(target(&local), Ok(Target::Time("2026-11-21T09:30:00Z".parse().unwrap())));
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
    fn a_limit_is_an_amount_that_somebody_can_mean() {
        let with = |bandwidth: &str| {
            let gcs = serde_json::json!({ "gcs": { "bucket": "b", "credentialsSecret": "c" } });
            let backup = serde_json::json!({ "store": gcs, "bandwidth": bandwidth });
            let found = super::bandwidth(&serde_json::from_value(backup.clone()).unwrap());
            (problems(serde_json::json!({ "storage": { "size": "1Gi" }, "backup": backup })), found)
        };
        assert_eq!(with("50Mi"), (Vec::new(), Some(50 << 20)));
        assert_eq!(with("1Mi"), (Vec::new(), Some(1 << 20)));
        for wrong in ["50", "50m", "1023Ki", "fast", "-1Mi"] {
            assert_eq!(with(wrong), (vec!["spec.backup.bandwidth".to_owned()], None), "{wrong}");
        }
    }

    #[test]
    fn backups_are_kept_for_a_number_or_a_time() {
        let with = |retention: serde_json::Value| {
            let gcs = serde_json::json!({ "gcs": { "bucket": "b", "credentialsSecret": "c" } });
            let backup = serde_json::json!({ "store": gcs, "retention": retention });
            problems(serde_json::json!({ "storage": { "size": "1Gi" }, "backup": backup }))
        };
        for right in [
            serde_json::json!({ "fulls": 7 }),
            serde_json::json!({ "window": "14d" }),
            serde_json::json!({ "fulls": 1, "window": "2w", "dryRun": true }),
        ] {
            assert_eq!(with(right), Vec::<String>::new());
        }
        for (wrong, at) in [
            (serde_json::json!({}), ""),
            (serde_json::json!({ "fulls": 0 }), ".fulls"),
            (serde_json::json!({ "fulls": -1, "window": "1d" }), ".fulls"),
            (serde_json::json!({ "window": "0d" }), ".window"),
            (serde_json::json!({ "fulls": 7, "window": "14" }), ".window"),
        ] {
            assert_eq!(with(wrong.clone()), [format!("spec.backup.retention{at}")], "{wrong}");
        }
    }

    #[test]
    fn a_drill_is_a_line_in_the_same_zone_and_takes_some_time() {
        let with = |schedule: &str, zone: &str, timeout: &str| {
            let gcs = serde_json::json!({ "gcs": { "bucket": "b", "credentialsSecret": "c" } });
            let drill = serde_json::json!({ "schedule": schedule, "timeout": timeout });
            let backup = serde_json::json!({ "store": gcs, "timeZone": zone, "drill": drill });
            problems(serde_json::json!({ "storage": { "size": "1Gi" }, "backup": backup }))
        };
        assert_eq!(with("0 5 * * 0", "Asia/Shanghai", "6h"), Vec::<String>::new());
        assert_eq!(with("0 5 * * 9", "Asia/Shanghai", "6h"), ["spec.backup.drill.schedule"]);
        assert_eq!(with("0 5 * * 0", "Shanghai", "6h"), ["spec.backup.timeZone"]);
        assert_eq!(with("0 5 * * 0", "UTC", "0s"), ["spec.backup.drill.timeout"]);
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

//! What is to be told of a cluster's drills. Pure.
//!
//! It rests on the operations, of which each says what it came to; so a status that somebody empties is rebuilt.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use objects::api::{DrillResult, DrillStatus, MysqlCluster, MysqlOperation};
use objects::conditions::{BACKUPS_VERIFIED, Finding, Status};

/// What is known of a cluster's drills.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The last that came to an end.
    pub last: Option<DrillStatus>,
    /// When one last succeeded, and how many seconds the recovery took.
    pub succeeded: Option<(Time, Option<i64>)>,
}

/// What is known of the drills of a cluster, which are given in the order of time. None where nobody asks for drills, nor
/// has.
pub fn known(cluster: &MysqlCluster, drills: &[&MysqlOperation]) -> Option<Known> {
    // Another cluster of the same name may have had drills.
    let ours = drills.iter().filter(|drill| drill.creation_timestamp() >= cluster.creation_timestamp());
    let ended = ours.filter_map(|drill| {
        let status = drill.status.as_ref()?.drill.clone()?;
        Some((status.at.clone()?, DrillStatus { operation: Some(drill.name_any()), ..status }))
    });
    let mut ended: Vec<_> = ended.collect();
    ended.sort_by_key(|(at, _)| at.0);
    let good = ended.iter().rfind(|(_, drill)| drill.result == Some(DrillResult::Succeeded));
    let succeeded = good.map(|(at, drill)| (at.clone(), drill.seconds_to_recover));
    let last = ended.pop().map(|(_, drill)| drill);
    let asked = cluster.spec.backup.as_ref().is_some_and(|backup| backup.drill.is_some());
    (asked || last.is_some()).then_some(Known { last, succeeded })
}

impl Known {
    /// The condition that follows.
    pub fn finding(&self) -> Finding {
        let Some(last) = &self.last else {
            let message = "no drill has come to an end yet";
            return Finding::new(BACKUPS_VERIFIED, Status::Unknown, "NoDrillYet", message);
        };
        let (status, reason) = match last.result {
            Some(DrillResult::Succeeded) => (Status::True, reason(DrillResult::Succeeded)),
            Some(DrillResult::Failed) => (Status::False, reason(DrillResult::Failed)),
            Some(DrillResult::Inconclusive) | None => (Status::Unknown, reason(DrillResult::Inconclusive)),
        };
        Finding::new(BACKUPS_VERIFIED, status, reason, last.message.clone().unwrap_or_default())
    }

    /// How many seconds the last recovery took that was proved, and when that was, in seconds since 1970.
    pub fn figures(&self) -> (Option<i64>, Option<i64>) {
        let (at, seconds) = self.succeeded.clone().unzip();
        (seconds.flatten(), at.map(|at| at.0.as_second()))
    }
}

/// The word for a result, in Events and conditions.
pub fn reason(result: DrillResult) -> &'static str {
    match result {
        DrillResult::Succeeded => "DrillSucceeded",
        DrillResult::Failed => "DrillFailed",
        DrillResult::Inconclusive => "DrillInconclusive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(drill: bool) -> MysqlCluster {
        let drill = drill.then(|| serde_json::json!({ "schedule": "0 5 * * 0" }));
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": "shop", "creationTimestamp": "2026-11-20T00:00:00Z" },
            "spec": { "storage": { "size": "1Gi" }, "backup": { "store": {}, "drill": drill } },
        });
        serde_json::from_value(object).unwrap()
    }

    fn drill(created: &str, drill: serde_json::Value) -> MysqlOperation {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlOperation",
            "metadata": { "name": format!("shop-drill-{created}"), "creationTimestamp": created },
            "spec": { "cluster": "shop", "type": "Drill" }, "status": { "drill": drill },
        });
        serde_json::from_value(object).unwrap()
    }

    fn told(drills: &[&MysqlOperation]) -> (Status, String) {
        let finding = known(&cluster(true), drills).unwrap().finding();
        (finding.status, finding.reason)
    }

    #[test]
    fn the_last_drill_says_whether_backups_are_verified() {
        let good = drill(
            "2026-11-21T21:00:00Z",
            serde_json::json!({
                "result": "Succeeded", "at": "2026-11-21T21:04:00Z", "secondsToRecover": 42,
            }),
        );
        let bad =
            drill("2026-11-28T21:00:00Z", serde_json::json!({ "result": "Failed", "at": "2026-11-28T21:04:00Z" }));
        let vain = drill(
            "2026-12-05T21:00:00Z",
            serde_json::json!({ "result": "Inconclusive", "at": "2026-12-05T21:04:00Z" }),
        );
        let under_way = drill("2026-12-12T21:00:00Z", serde_json::json!({ "instance": "shop-drill-4be0643f" }));
        assert_eq!(told(&[]), (Status::Unknown, "NoDrillYet".to_owned()));
        assert_eq!(told(&[&under_way]), (Status::Unknown, "NoDrillYet".to_owned()));
        assert_eq!(told(&[&good, &under_way]), (Status::True, "DrillSucceeded".to_owned()));
        assert_eq!(told(&[&good, &bad]), (Status::False, "DrillFailed".to_owned()));
        assert_eq!(told(&[&good, &bad, &vain]), (Status::Unknown, "DrillInconclusive".to_owned()));
        let figures = known(&cluster(true), &[&good, &bad, &vain]).unwrap().figures();
        assert_eq!(figures, (Some(42), Some("2026-11-21T21:04:00Z".parse::<jiff::Timestamp>().unwrap().as_second())));
        let former =
            drill("2026-11-19T21:00:00Z", serde_json::json!({ "result": "Succeeded", "at": "2026-11-19T21:04:00Z" }));
        assert_eq!(told(&[&former]), (Status::Unknown, "NoDrillYet".to_owned()), "of another cluster of that name");
    }

    #[test]
    fn nothing_is_told_where_nobody_asks_for_drills() {
        assert_eq!(known(&cluster(false), &[]), None);
    }
}

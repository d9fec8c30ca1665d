//! The conditions that Grampus reports, and how one is changed.
//!
//! Each type has one owner. Two controllers apply the same status under different field managers, and a type with
//! two owners would be fought over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Resources controller: whether the spec can be carried out.
pub const SPEC_VALID: &str = "SpecValid";
/// Resources controller: whether every child is as the spec wants it.
pub const RESOURCES_APPLIED: &str = "ResourcesApplied";
/// Topology controller: whether every member is in good standing and writes are taken.
pub const READY: &str = "Ready";
/// Topology controller: whether a primary takes writes; if not, what it waits for.
pub const PRIMARY_AVAILABLE: &str = "PrimaryAvailable";
/// Topology controller: whether the policy that the spec names is the one in force.
pub const POLICY_READY: &str = "PolicyReady";
/// Topology controller: whether writes wait for acknowledgements; the message names who is missing.
pub const WRITES_BLOCKED: &str = "WritesBlocked";
/// Topology controller: whether every member can go on with its data; if not, what is wrong with whose, and what is done
/// about it.
pub const DATA_INTACT: &str = "DataIntact";
/// Topology controller: whether pods are to be made anew because they would be made differently now; the message
/// says whose, who is next, and what is waited for.
pub const ROLLOUT_PENDING: &str = "RolloutPending";
/// Backups controller, where `spec.backup.continuous` is set: whether everything but the last minute could be recovered. If
/// not, the reason is `NoFullBackup`, `Behind` or `HistoryGivenUp`, and the message says what is done about it.
pub const BACKUPS_CURRENT: &str = "BackupsCurrent";
/// Backups controller, where `spec.backup.drill` is set or a drill was asked for: whether the last drill restored what it
/// should. Unknown, with the reason `NoDrillYet` or `DrillInconclusive`, while nothing was found out.
pub const BACKUPS_VERIFIED: &str = "BackupsVerified";
/// Of an operation: whether it was taken up.
pub const ACCEPTED: &str = "Accepted";
/// Of an operation: whether it was done as asked.
pub const COMPLETE: &str = "Complete";
/// Of an operation: whether it was given up.
pub const FAILED: &str = "Failed";

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell, which is not the same as either.
    Unknown,
}

impl Status {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

/// What a controller found; a condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// One of the constants above.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// One word in CamelCase, for programs.
    pub reason: String,
    /// A sentence, for people.
    pub message: String,
}

impl Finding {
    /// What a controller found.
    pub fn new(kind: &'static str, status: Status, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status, reason: reason.into(), message: message.into() }
    }

    /// The condition of this kind after the finding. The time of transition moves only when the status flips.
    pub fn over(&self, before: &[Condition], generation: Option<i64>, now: &Time) -> Condition {
        let since = before
            .iter()
            .find(|condition| condition.type_ == self.kind && condition.status == self.status.as_str())
            .map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone());
        Condition {
            type_: self.kind.to_owned(),
            status: self.status.as_str().to_owned(),
            reason: self.reason.clone(),
            message: self.message.clone(),
            observed_generation: generation,
            last_transition_time: since,
        }
    }

    /// Whether the conditions say so already, for whatever generation.
    pub fn is_told_by(&self, conditions: &[Condition]) -> bool {
        find(conditions, self.kind).is_some_and(|condition| {
            condition.status == self.status.as_str()
                && condition.reason == self.reason
                && condition.message == self.message
        })
    }
}

/// The condition of that type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Puts findings into a list of conditions, leaving those of other types alone. Returns whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, findings: &[Finding], generation: Option<i64>, now: &Time) -> bool {
    let mut changed = false;
    for finding in findings {
        let next = finding.over(conditions, generation, now);
        match conditions.iter_mut().find(|condition| condition.type_ == finding.kind) {
            Some(condition) if *condition == next => {}
            Some(condition) => {
                *condition = next;
                changed = true;
            }
            None => {
                conditions.push(next);
                changed = true;
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_time_of_transition_moves_only_when_the_status_flips() {
        let mut conditions = Vec::new();
        let bad = Finding::new(SPEC_VALID, Status::False, "InvalidSpec", "spec.replicas: …");
        assert!(set(&mut conditions, std::slice::from_ref(&bad), Some(1), &at(10)));
        assert!(!set(&mut conditions, std::slice::from_ref(&bad), Some(1), &at(20)), "saying it twice is no change");

        let other = Finding::new(SPEC_VALID, Status::False, "InvalidSpec", "spec.storage.size: …");
        assert!(set(&mut conditions, &[other], Some(2), &at(30)));
        assert_eq!(conditions[0].last_transition_time, at(10));

        let good = Finding::new(SPEC_VALID, Status::True, "Valid", "");
        assert!(set(&mut conditions, &[good], Some(3), &at(40)));
        assert_eq!(conditions[0].last_transition_time, at(40));
    }

    #[test]
    fn conditions_of_others_are_left_alone() {
        let ready = Finding::new(READY, Status::True, "Ready", "").over(&[], Some(1), &at(1));
        let mut conditions = vec![ready.clone()];
        set(&mut conditions, &[Finding::new(SPEC_VALID, Status::True, "Valid", "")], Some(1), &at(2));
        assert_eq!(find(&conditions, READY), Some(&ready));
        assert_eq!(conditions.len(), 2);
    }
}

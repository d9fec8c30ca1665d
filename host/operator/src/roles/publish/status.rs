//! What a cluster's status says, member by member and condition by condition, from one snapshot and what it calls for.
//!
//! Nothing here reads or writes anything.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use objects::api::{MemberRole, MemberStatus, MysqlClusterStatus, PoliciesStatus};
use objects::conditions::{
    DATA_INTACT, Finding, POLICY_READY, PRIMARY_AVAILABLE, READY, ROLLOUT_PENDING, Status, WRITES_BLOCKED,
};
use topology::assess::{Assessment, Waiting};
use topology::facts::{JobKind, JobState, ServerFacts, ThreadState};
use topology::gtid::GtidSet;
use topology::record::Record;
use topology::snapshot::{MemberView, Probe, Snapshot};
use topology::upkeep::{Next, Upkeep};

use crate::roles::cluster::open_primary;
use crate::roles::execute::Board;

/// One member.
pub(super) fn member_status(
    snapshot: &Snapshot,
    assessment: &Assessment,
    board: &Board,
    member: &MemberView,
) -> MemberStatus {
    let record = snapshot.record.as_ref();
    let leads = open_primary(snapshot) == Some(member.name.as_str());
    let good = record.is_some_and(|record| member.in_good_standing(record));
    let channel = member.server().and_then(|facts| facts.replication.as_ref());
    let follows =
        channel.is_some_and(|channel| channel.receiver == ThreadState::On && channel.applier == ThreadState::On);
    let quarantined = assessment.waiting.iter().any(|waiting| match waiting {
        Waiting::Errant { member: who, .. } | Waiting::GivenUp { member: who, .. } => *who == member.name,
        _ => false,
    });
    let role = match &member.probe {
        Probe::Unreachable { .. } | Probe::NotProbed => MemberRole::Unknown,
        Probe::Known { .. } if leads => MemberRole::Primary,
        Probe::Known { .. } if quarantined => MemberRole::Quarantined,
        Probe::Known { .. } if good => MemberRole::Replica,
        Probe::Known { .. } => MemberRole::Joining,
    };
    let pod = member.pod.as_ref();
    let stays = pod.is_some_and(|pod| !pod.terminating);
    MemberStatus {
        name: member.name.clone(),
        role,
        ready: stays && (leads || (good && follows)),
        node: pod.map(|pod| pod.node.clone()).filter(|node| !node.is_empty()),
        zone: pod.map(|pod| pod.zone.clone()).filter(|zone| !zone.is_empty()),
        incarnation: member.incarnation().map(|incarnation| incarnation.to_string()),
        lag_transactions: member.server().and_then(|facts| lag(snapshot, facts)),
        receiving: channel.map(|channel| channel.receiver == ThreadState::On),
        applying: channel.map(|channel| channel.applier == ThreadState::On),
        holds: waits_for_quorum(assessment).then(|| holds(member)),
        message: message(assessment, board, &member.name, &member.probe),
    }
}

/// Whether nobody can lead before more members are there.
fn waits_for_quorum(assessment: &Assessment) -> bool {
    assessment.waiting.iter().any(|waiting| matches!(waiting, Waiting::Quorum(_)))
}

/// What a member is known to hold, for whoever has to decide whether that is enough.
fn holds(member: &MemberView) -> String {
    match (&member.probe, member.known_transactions()) {
        (Probe::Unreachable { .. } | Probe::NotProbed, _) => "not reachable".to_owned(),
        (Probe::Known { .. }, None) => "not read yet".to_owned(),
        (Probe::Known { .. }, Some(known)) if known.is_empty() => "nothing".to_owned(),
        (Probe::Known { .. }, Some(known)) => known.to_string(),
    }
}

/// What the Event says about a loss that was accepted: who was missing, the epoch, and what was gone on with.
pub(super) fn loss(to: &Record, because: &str) -> String {
    let missing = to.given_up.last().map(|given_up| given_up.members.join(", ")).unwrap_or_default();
    format!(
        "epoch {}: a primary is chosen without {missing}, as somebody accepted. {because}. Gone on with: {}",
        to.epoch, to.base
    )
}

/// How many of the primary's transactions a server has not executed.
pub(super) fn lag(snapshot: &Snapshot, facts: &ServerFacts) -> Option<i64> {
    let primary = snapshot.member(open_primary(snapshot)?)?.server()?;
    i64::try_from(GtidSet::subtract(&primary.executed, &facts.executed).count()).ok()
}

/// What is wrong with a pod, or what it waits for.
pub(super) fn message(assessment: &Assessment, board: &Board, name: &str, probe: &Probe) -> Option<String> {
    let waiting = assessment.waiting.iter().find_map(|waiting| match waiting {
        Waiting::Member { member: who, why } if who == name => Some(why.clone()),
        Waiting::Unfit { member: who, .. } if who == name => Some(waiting.to_string()),
        Waiting::Errant { member: who, .. } | Waiting::GivenUp { member: who, .. } if who == name => {
            Some(waiting.to_string())
        }
        Waiting::Replaced { reader: who, .. } | Waiting::Foreign { reader: who } if who == name => {
            Some(waiting.to_string())
        }
        _ => None,
    });
    let (unreachable, config, volume) = match probe {
        Probe::Unreachable { error, .. } => (Some(error.clone()), None, None),
        Probe::NotProbed => (None, None, None),
        Probe::Known { report, .. } => {
            (None, report.config_error.clone(), report.volume.as_ref().map(ToString::to_string))
        }
    };
    let parts: Vec<String> = [waiting, unreachable, volume, config, board.failure(name).map(|failure| failure.what)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What a person can do who cannot bring anybody back, and what would be gone on with.
fn way_out(snapshot: &Snapshot) -> String {
    let known: Vec<_> = snapshot.members.iter().map(|member| format!("{}: {}", member.name, holds(member))).collect();
    let epoch = snapshot.record.as_ref().map_or(0, |record| record.epoch);
    format!(
        "Known to be held: {}. Bring a missing member back; or, to go on without and lose what only they hold: kubectl \
         grampus accept-data-loss {} --epoch {epoch}",
        known.join("; "),
        snapshot.cluster
    )
}

/// The conditions that follow from the roles; `before` says since when they hold.
pub(super) fn conditions(
    snapshot: &Snapshot,
    assessment: &Assessment,
    ready: usize,
    policies: &PoliciesStatus,
    before: &[Condition],
) -> Vec<Condition> {
    let open = open_primary(snapshot);
    let why: Vec<String> = assessment.waiting.iter().map(ToString::to_string).collect();
    let why = if why.is_empty() { "working on it".to_owned() } else { why.join("; ") };
    let all = ready as u32 == snapshot.desired.replicas;
    let blocked = assessment.waiting.iter().find(|waiting| matches!(waiting, Waiting::Acknowledgements { .. }));
    let quorum = waits_for_quorum(assessment);
    let unspoken = assessment.waiting.iter().any(|waiting| matches!(waiting, Waiting::Version { .. }));
    let problem = policies.problem().map(ToOwned::to_owned);
    let failed = policies.failed().map(ToOwned::to_owned);
    let breaker = policies.breaker().map(ToOwned::to_owned);
    let now = Time(Timestamp::now());
    let said = |kind: &'static str, holds: bool, reason: &str, message: String| {
        let status = if holds { Status::True } else { Status::False };
        Finding::new(kind, status, reason, message).over(before, None, &now)
    };
    let in_force = || {
        let each: Vec<_> = policies.each().map(|policy| format!("{} {}", policy.name, policy.version)).collect();
        if each.is_empty() { "the embedded default".to_owned() } else { each.join(", ") }
    };
    let mut voting = snapshot.record.iter().flat_map(|record| &record.members);
    let leave = voting.any(|member| snapshot.is_surplus(&member.name));
    vec![
        match (all, open) {
            _ if unspoken => said(READY, false, "AgentVersion", why.clone()),
            (true, Some(primary)) if leave => {
                said(READY, true, "MembersLeaving", format!("{primary} takes writes; members are being removed: {why}"))
            }
            (true, Some(primary)) => said(
                READY,
                true,
                "AllMembersReady",
                format!("{primary} takes writes; every member is in good standing"),
            ),
            (_, None) => said(READY, false, "NoPrimary", why.clone()),
            (false, Some(_)) => said(READY, false, "MembersMissing", why.clone()),
        },
        match open {
            _ if unspoken => {
                Finding::new(PRIMARY_AVAILABLE, Status::Unknown, "AgentVersion", why).over(before, None, &now)
            }
            Some(primary) => said(PRIMARY_AVAILABLE, true, "PrimaryOpen", format!("{primary} takes writes")),
            None if quorum => said(PRIMARY_AVAILABLE, false, "NoQuorum", format!("{why}. {}", way_out(snapshot))),
            None => said(PRIMARY_AVAILABLE, false, "NoPrimary", why),
        },
        match blocked {
            Some(waiting) => said(WRITES_BLOCKED, true, "TooFewReplicas", waiting.to_string()),
            None => said(WRITES_BLOCKED, false, "EnoughReplicas", "enough replicas acknowledge".to_owned()),
        },
        match (problem, breaker, failed) {
            (Some(problem), None, _) => said(POLICY_READY, false, "ModuleRefused", problem),
            (Some(problem), Some(open), _) => said(POLICY_READY, false, "ModuleRefused", format!("{problem}; {open}")),
            (None, Some(open), _) => said(POLICY_READY, false, "BreakerOpen", open),
            (None, None, Some(failed)) => said(POLICY_READY, false, "ModuleFailed", failed),
            (None, None, None) => said(POLICY_READY, true, "InForce", in_force()),
        },
        rollout(&snapshot.cluster, &assessment.upkeep).over(before, None, &now),
        data_intact(snapshot, assessment).over(before, None, &now),
    ]
}

/// Whether a cluster's status, as it was read, still says of its members what was published. What others write is
/// passed over, and so is lag, which goes up and down by itself.
pub(super) fn shows(seen: Option<&MysqlClusterStatus>, published: &MysqlClusterStatus) -> bool {
    let of_members = |status: &MysqlClusterStatus| {
        let MysqlClusterStatus { ready, primary, epoch, members, read_replicas, .. } = without_lag(status);
        (ready, primary, epoch, members, read_replicas)
    };
    seen.is_some_and(|seen| of_members(seen) == of_members(published))
}

/// The same, without what changes with every transaction.
pub(super) fn without_lag(status: &MysqlClusterStatus) -> MysqlClusterStatus {
    let mut status = status.clone();
    let readers = status.read_replicas.iter_mut().flat_map(|readers| &mut readers.members);
    status.members.iter_mut().chain(readers).for_each(|member| member.lag_transactions = None);
    status
}

/// Whether every member can go on with its data. A volume that takes no writes comes first: nothing else can be mended on
/// it, and only a person makes room.
fn data_intact(snapshot: &Snapshot, assessment: &Assessment) -> Finding {
    let members = snapshot.members.iter();
    let volumes = members.filter_map(|member| Some((&member.name, member.volume_trouble()?)));
    let volumes = volumes.map(|(name, trouble)| {
        format!("{name}: {trouble}. Make room on it or give it a larger volume; nothing is copied to it meanwhile")
    });
    let unfit = assessment.waiting.iter().filter(|waiting| matches!(waiting, Waiting::Unfit { .. }));
    let unfit = unfit.map(ToString::to_string);
    let copied = snapshot.members.iter().filter(|member| is_copied_anew(snapshot, member));
    let copied = copied.map(|member| format!("the data of {} is being replaced by a copy", member.name));
    for (reason, what) in [
        ("VolumeTakesNoWrites", volumes.collect::<Vec<_>>()),
        ("ReplicaUnfit", unfit.collect()),
        ("CopyingAnew", copied.collect()),
    ] {
        if !what.is_empty() {
            return Finding::new(DATA_INTACT, Status::False, reason, what.join("; "));
        }
    }
    Finding::new(DATA_INTACT, Status::True, "AllIntact", "every member that answers can go on with its data")
}

/// Whether a member that votes is receiving a copy in the place of its data.
fn is_copied_anew(snapshot: &Snapshot, member: &MemberView) -> bool {
    let job = member.report().and_then(|report| report.job.as_ref());
    let copies = job.is_some_and(|job| job.kind == JobKind::Clone && matches!(job.state, JobState::Running { .. }));
    copies && snapshot.record.as_ref().is_some_and(|record| record.incarnation_of(&member.name).is_some())
}

/// Whether pods are to be made anew, whose, and what is waited for.
fn rollout(cluster: &str, upkeep: &Upkeep) -> Finding {
    let pending = |reason: &str, message: String| Finding::new(ROLLOUT_PENDING, Status::True, reason, message);
    let due: Vec<&str> = upkeep.due.iter().map(|due| due.member.as_str()).collect();
    let next = match &upkeep.next {
        Some(Next::Replace { member, .. }) => format!("{member} is next"),
        Some(Next::HandOver { .. }) => "the primary gives way first".to_owned(),
        Some(Next::Wait { why }) => why.clone(),
        None => "waiting for the next turn".to_owned(),
    };
    let older = upkeep.outdated.join(", ");
    match (due.is_empty(), upkeep.outdated.is_empty()) {
        (true, true) => {
            Finding::new(ROLLOUT_PENDING, Status::False, "UpToDate", "every member's pod is as it would be made now")
        }
        (true, false) => pending(
            "NeedsRestart",
            format!(
                "made by an earlier installation of Grampus, or with other defaults: {older}. Nothing is restarted for \
                 that by itself; to take it over: kubectl grampus restart {cluster}"
            ),
        ),
        (false, _) => pending("RollingOut", format!("to be restarted: {}; {next}", due.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use topology::upkeep::{Cause, Due};

    use super::*;

    fn led_by(primary: &str, epoch: i64) -> MysqlClusterStatus {
        let member = |name: &str| MemberStatus {
            name: name.to_owned(),
            role: if name == primary { MemberRole::Primary } else { MemberRole::Replica },
            ready: true,
            node: None,
            zone: None,
            incarnation: None,
            lag_transactions: Some(epoch),
            receiving: None,
            applying: None,
            holds: None,
            message: None,
        };
        MysqlClusterStatus {
            primary: primary.to_owned(),
            epoch: Some(epoch),
            members: vec![member("shop-0"), member("shop-1")],
            ..MysqlClusterStatus::default()
        }
    }

    #[test]
    fn what_an_operator_that_had_slept_wrote_is_noticed_and_what_others_write_is_not() {
        let published = led_by("shop-1", 7);
        assert!(!shows(None, &published), "somebody removed it");
        assert!(!shows(Some(&MysqlClusterStatus::default()), &published), "somebody emptied it");
        assert!(!shows(Some(&led_by("shop-0", 6)), &published), "somebody wrote what was before");
        let mut seen = MysqlClusterStatus { observed_generation: Some(3), ..published.clone() };
        seen.members[0].lag_transactions = None;
        assert!(shows(Some(&seen), &published));
    }

    fn told(upkeep: &Upkeep) -> (&'static str, String, String) {
        let finding = rollout("shop", upkeep);
        (finding.status.as_str(), finding.reason, finding.message)
    }

    #[test]
    fn a_rollout_says_whose_turn_it_is_and_an_upgrade_what_to_do() {
        let mut upkeep = Upkeep::default();
        assert_eq!(told(&upkeep).0, "False");
        upkeep.outdated = vec!["shop-0".to_owned(), "shop-2".to_owned()];
        let (status, reason, message) = told(&upkeep);
        assert_eq!((status, reason.as_str()), ("True", "NeedsRestart"));
        assert!(message.contains("shop-0, shop-2") && message.ends_with("kubectl grampus restart shop"), "{message}");
        upkeep.due = vec![Due { member: "shop-1".to_owned(), cause: Cause::Spec }];
        upkeep.next = Some(Next::Wait { why: "waiting for shop-2: its agent does not answer".to_owned() });
        let (status, reason, message) = told(&upkeep);
        assert_eq!((status, reason.as_str()), ("True", "RollingOut"));
        assert_eq!(message, "to be restarted: shop-1; waiting for shop-2: its agent does not answer");
    }
}

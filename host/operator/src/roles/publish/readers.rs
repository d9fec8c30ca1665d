//! What a cluster's status says of its read replicas. Nothing here reads or writes anything.

use objects::api::{MemberRole, MemberStatus, ReadReplicasStatus};
use objects::children::reader_selector_labels;
use topology::assess::{Assessment, Waiting};
use topology::facts::ThreadState;
use topology::readers::ReaderView;
use topology::snapshot::{Probe, Snapshot};

use super::status::{lag, message};
use crate::cache::ClusterKey;
use crate::roles::execute::Board;

/// All of them.
pub(super) fn status(
    snapshot: &Snapshot,
    key: &ClusterKey,
    assessment: &Assessment,
    board: &Board,
) -> ReadReplicasStatus {
    let readers = &snapshot.readers.views;
    let members: Vec<_> = readers.iter().map(|reader| one(snapshot, assessment, board, reader)).collect();
    let selector = reader_selector_labels(&key.name).into_iter().map(|(name, value)| format!("{name}={value}"));
    ReadReplicasStatus {
        count: i32::try_from(readers.iter().filter(|reader| reader.pod().is_some()).count()).unwrap_or(i32::MAX),
        ready: i32::try_from(members.iter().filter(|member| member.ready).count()).unwrap_or(i32::MAX),
        selector: selector.collect::<Vec<_>>().join(","),
        members,
    }
}

fn one(snapshot: &Snapshot, assessment: &Assessment, board: &Board, reader: &ReaderView) -> MemberStatus {
    let channel = reader.server().and_then(|facts| facts.replication.as_ref());
    let replicates =
        channel.is_some_and(|channel| channel.receiver == ThreadState::On && channel.applier == ThreadState::On);
    let set_aside = |waiting: &Waiting| matches!(waiting, Waiting::Replaced { reader: who, .. } | Waiting::Foreign { reader: who } if who == reader.name());
    let role = match reader.probe() {
        Probe::Unreachable { .. } | Probe::NotProbed => MemberRole::Unknown,
        Probe::Known { .. } if assessment.waiting.iter().any(set_aside) => MemberRole::Quarantined,
        Probe::Known { .. } if replicates => MemberRole::ReadReplica,
        Probe::Known { .. } => MemberRole::Joining,
    };
    let pod = reader.pod();
    MemberStatus {
        name: reader.name().to_owned(),
        role,
        ready: role == MemberRole::ReadReplica && !reader.is_leaving(),
        node: pod.map(|pod| pod.node.clone()).filter(|node| !node.is_empty()),
        zone: pod.map(|pod| pod.zone.clone()).filter(|zone| !zone.is_empty()),
        incarnation: reader.report().and_then(|report| report.data.incarnation()).map(|data| data.to_string()),
        lag_transactions: reader.server().and_then(|facts| lag(snapshot, facts)),
        receiving: channel.map(|channel| channel.receiver == ThreadState::On),
        applying: channel.map(|channel| channel.applier == ThreadState::On),
        holds: None,
        message: [message(assessment, board, reader.name(), reader.probe()), lateness(snapshot, reader)]
            .into_iter()
            .flatten()
            .reduce(|first, second| format!("{first}; {second}")),
    }
}

/// Why a reader that is well is not read from, if it is not. No numbers that grow: a status is not written for them.
fn lateness(snapshot: &Snapshot, reader: &ReaderView) -> Option<String> {
    let (delay, most) = (snapshot.readers.delay_s, snapshot.readers.max_lag_s);
    if delay > 0 {
        return Some(format!("{delay} s late on purpose, so nobody is sent to it"));
    }
    (reader.lag_s(snapshot)? > most).then(|| format!("more than {most} s behind, so nobody is sent to it"))
}

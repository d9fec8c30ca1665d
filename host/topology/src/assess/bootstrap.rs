//! How a cluster gets its first data and its first primary.
//!
//! Data is made only where every member was heard of and none has any. This module must never take a member
//! that does not answer for an empty one.

use crate::facts::{DataState, JobKind, JobState};
use crate::gtid::GtidSet;
use crate::plan::{Order, Step};
use crate::record::{Member, Phase, Record};
use crate::snapshot::{MemberView, Probe, Snapshot};

use super::maintain::{command, maintain, replicates_from};
use super::{Assessment, Waiting, adopt};

/// Whether the record is that of a cluster whose first primary has never opened.
pub(super) fn is_under_way(record: &Record) -> bool {
    record.epoch == 1 && record.phase != Phase::Serving
}

/// A cluster without a record: new, or re-created over old volumes.
pub(super) fn without_record(snapshot: &Snapshot) -> Assessment {
    if let Some(recovery) = adopt::lost(snapshot) {
        return recovery;
    }
    if let Some(objection) = not_blank(snapshot.members.iter(), None) {
        return Assessment { waiting: vec![objection], ..Assessment::default() };
    }
    // A read replica that does not answer is not waited for: if it holds something, it is left as it is later on.
    let reader = snapshot
        .readers
        .views
        .iter()
        .find(|reader| reader.report().is_some_and(|report| report.data != DataState::Empty));
    if let Some(reader) = reader {
        let needs = format!(
            "every member is empty, and the read replica {} has data; restore a member's volume or delete that claim",
            reader.name()
        );
        return Assessment { waiting: vec![Waiting::Adoption { found: None, needs }], ..Assessment::default() };
    }
    let Some(first) = snapshot.members.first() else { return Assessment::default() };
    let record = Record::first(first.name.clone());
    let because = format!("every volume is empty; {} makes the first data", first.name);
    Assessment { steps: vec![Step::Advance { to: Box::new(record), because }], ..Assessment::default() }
}

/// Why data must not be made: somebody was not heard of, or has some.
fn not_blank<'a>(mut others: impl Iterator<Item = &'a MemberView> + Clone, found: Option<u64>) -> Option<Waiting> {
    let missing: Vec<_> = others.clone().filter_map(unheard).collect();
    if !missing.is_empty() {
        return Some(Waiting::Members { missing });
    }
    let with_data = others.find(|member| member.report().is_some_and(|report| report.data != DataState::Empty))?;
    let needs =
        format!("{} has data that no record belongs to; restore the record or remove that volume", with_data.name);
    Some(Waiting::Adoption { found, needs })
}

/// Whoever has not been heard of, and why.
pub(super) fn unheard(member: &MemberView) -> Option<(String, String)> {
    let why = match (&member.probe, &member.pod) {
        (Probe::Known { .. }, _) => return None,
        (_, None) => "no pod yet".to_owned(),
        (_, Some(pod)) if pod.node.is_empty() => "not scheduled to a node yet".to_owned(),
        (_, Some(pod)) if pod.ip.is_empty() => "its container is not running yet".to_owned(),
        (Probe::Unreachable { error, .. }, _) => format!("its agent does not answer: {error}"),
        (Probe::NotProbed, _) => "its agent has not answered yet".to_owned(),
    };
    Some((member.name.clone(), why))
}

/// From the first claim to the first open primary. Nothing is open in between, so nothing can be acknowledged,
/// and members and acks can be settled in one change.
pub(super) fn first_primary(snapshot: &Snapshot, record: &Record) -> Assessment {
    let Some(primary) = snapshot.member(&record.primary) else {
        let missing = vec![(record.primary.clone(), "no pod yet".to_owned())];
        return Assessment { waiting: vec![Waiting::Members { missing }], ..Assessment::default() };
    };
    if let Some(missing) = unheard(primary) {
        return Assessment { waiting: vec![Waiting::Members { missing: vec![missing] }], ..Assessment::default() };
    }
    match record.phase {
        Phase::Freezing => initialize(snapshot, record, primary),
        Phase::Promoting | Phase::Serving => open(snapshot, record, primary),
    }
}

fn initialize(snapshot: &Snapshot, record: &Record, primary: &MemberView) -> Assessment {
    let mut assessment = Assessment::default();
    let Some(report) = primary.report() else { return assessment };
    if let (Some(incarnation), Some(facts)) = (report.data.incarnation(), primary.server()) {
        let member = Member { name: primary.name.clone(), incarnation };
        let to = Record {
            phase: Phase::Promoting,
            primary_server_uuid: Some(facts.server_uuid),
            members: vec![member],
            // All that it begins with is the cluster's. Of data from a backup, servers of another cluster made everything.
            base: facts.executed.clone(),
            ..record.clone()
        };
        let because = format!("{} has made the first data", primary.name);
        assessment.steps.push(Step::Advance { to: Box::new(to), because });
        return assessment;
    }
    let job = report.job.as_ref().filter(|job| job.kind == JobKind::Initialize);
    match job.map(|job| &job.state) {
        Some(JobState::Running { stage }) => {
            assessment.waiting.push(waiting_for(primary, format!("initializing: {stage}")))
        }
        Some(JobState::Failed { error }) => {
            assessment.waiting.push(waiting_for(primary, format!("initializing failed: {error}")));
            make(snapshot, record, primary, &mut assessment);
        }
        Some(JobState::Unknown) => {
            assessment.waiting.push(waiting_for(primary, "initializing, in a state without a word here".to_owned()))
        }
        Some(JobState::Done) => {
            assessment.waiting.push(waiting_for(primary, "starting mysqld".to_owned()));
            command(&mut assessment, primary, Order::Start);
        }
        None if report.data.incarnation().is_some() => command(&mut assessment, primary, Order::Start),
        None => make(snapshot, record, primary, &mut assessment),
    }
    assessment
}

/// Looks once more before data is made: this record may be one that a restored etcd brought back from the first day.
fn make(snapshot: &Snapshot, record: &Record, primary: &MemberView, assessment: &mut Assessment) {
    let others = snapshot.members.iter().filter(|member| member.name != primary.name);
    match not_blank(others, Some(record.epoch)) {
        Some(objection) => assessment.waiting.push(objection),
        None => command(assessment, primary, Order::Initialize),
    }
}

fn open(snapshot: &Snapshot, record: &Record, primary: &MemberView) -> Assessment {
    let mut assessment = Assessment::default();
    let Some(facts) = primary.server() else {
        command(&mut assessment, primary, Order::Start);
        return assessment;
    };
    if facts.open && primary.has_stored(record.claim()) {
        let to = Record { phase: Phase::Serving, generation: 0, base: facts.executed.clone(), ..record.clone() };
        let because = format!("{} is open", primary.name);
        assessment.steps.push(Step::Advance { to: Box::new(to), because });
        return assessment;
    }
    maintain(snapshot, record, &mut assessment);
    // Members and acks are being settled here, so the one-at-a-time changes of a serving cluster do not apply.
    assessment.steps.retain(|step| !matches!(step, Step::Advance { .. }));
    assessment.waiting.retain(|waiting| !matches!(waiting, Waiting::Acknowledgements { .. }));
    let ready: Vec<_> = snapshot.members.iter().filter(|member| is_ready(record, primary, member)).collect();
    let needed = snapshot.desired.acks;
    if record.acks < needed {
        if (ready.len() as u32) < needed {
            assessment.waiting.push(Waiting::FirstReplicas { needed, ready: ready.len() as u32 });
            return assessment;
        }
        assessment.steps = vec![settle(record, &ready, needed)];
        return assessment;
    }
    let acknowledging = ready.iter().filter(|member| acknowledges(member)).count() as u32;
    if acknowledging < record.acks {
        assessment.waiting.push(Waiting::FirstReplicas { needed: record.acks, ready: acknowledging });
        return assessment;
    }
    command(&mut assessment, primary, Order::Promote { source: None, required: GtidSet::new() });
    assessment
}

fn settle(record: &Record, ready: &[&MemberView], acks: u32) -> Step {
    let replicas = ready
        .iter()
        .filter_map(|member| Some(Member { name: member.name.clone(), incarnation: member.incarnation()? }));
    let mut members: Vec<_> = record.members.iter().cloned().chain(replicas).collect();
    members.sort_by(|left, right| left.name.cmp(&right.name));
    members.dedup_by(|left, right| left.name == right.name);
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    let because = format!("{} vote, {acks} of them acknowledge", names.join(", "));
    let to = Record { generation: record.generation + 1, members, acks, ..record.clone() };
    Step::Advance { to: Box::new(to), because }
}

/// A replica that follows the first primary and has proved it.
fn is_ready(record: &Record, primary: &MemberView, member: &MemberView) -> bool {
    let good = member.report().is_some_and(|report| report.standing == crate::facts::Standing::Good);
    member.name != record.primary && good && replicates_from(member, primary)
}

fn acknowledges(member: &MemberView) -> bool {
    member.server().and_then(|facts| facts.replication.as_ref()).is_some_and(|channel| channel.acknowledges)
}

fn waiting_for(member: &MemberView, why: String) -> Waiting {
    Waiting::Member { member: member.name.clone(), why }
}

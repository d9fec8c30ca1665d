//! How a change of the record spreads among the members.
//!
//! The adoption of a lost record (see the `adopt` module) relies on an order: the primary stores a change of members or
//! acks before anybody else acts on it, and no change is begun before enough members know of the one before.

use crate::plan::{Order, Step};
use crate::quorum::voters;
use crate::record::Record;
use crate::snapshot::{MemberView, Snapshot};

use super::maintain::command;
use super::{Assessment, Waiting};

/// Holds back whatever would be out of order, and tells those who vote and do not know of the record yet.
pub(super) fn in_order(snapshot: &Snapshot, record: &Record, primary: &MemberView, assessment: &mut Assessment) {
    let first = !primary.has_stored(record.claim());
    // So many that whoever adopts a lost record meets one of them.
    let needed = (record.effective_acks() as usize + 1).min(record.freeze_quorum());
    let know = voters(snapshot, record).filter(|member| member.has_stored(record.claim())).count();
    let known = know + given_up(snapshot, record) >= needed;
    if !first && !known && assessment.steps.iter().any(|step| matches!(step, Step::Advance { .. })) {
        assessment.waiting.push(Waiting::Spread { needed, know });
    }
    assessment.steps.retain(|step| match step {
        Step::Command { member, order } => !first || *member == primary.name || *order == Order::Fence,
        Step::Advance { .. } => known,
        Step::Probe { .. } | Step::Replace { .. } => true,
    });
    if first {
        return;
    }
    tell(snapshot, record, assessment);
}

/// Members that do not answer, and whom somebody accepted to go on without when this primary was chosen. Nobody waits for
/// them to hear of anything; one that is back is told like any other.
fn given_up(snapshot: &Snapshot, record: &Record) -> usize {
    let reign = record.given_up.iter().find(|given_up| given_up.epoch == record.primary_since_epoch);
    let gone = |name: &&String| {
        let answers = snapshot.member(name).is_some_and(|view| view.report().is_some());
        record.incarnation_of(name).is_some() && !answers
    };
    reign.map_or(0, |given_up| given_up.members.iter().filter(gone).count())
}

/// Tells those who vote and do not know of the record yet.
fn tell(snapshot: &Snapshot, record: &Record, assessment: &mut Assessment) {
    let told: Vec<_> = assessment.steps.iter().filter_map(Step::member).map(str::to_owned).collect();
    for member in voters(snapshot, record).filter(|member| !told.contains(&member.name)) {
        if member.report().is_some() && !member.has_stored(record.claim()) {
            command(assessment, member, Order::Store);
        }
    }
}

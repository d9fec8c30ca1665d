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
    let known = know >= needed;
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
    let told: Vec<_> = assessment.steps.iter().filter_map(Step::member).map(str::to_owned).collect();
    for member in voters(snapshot, record).filter(|member| !told.contains(&member.name)) {
        if member.report().is_some() && !member.has_stored(record.claim()) {
            command(assessment, member, Order::Store);
        }
    }
}

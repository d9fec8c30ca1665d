//! What would be asked if the primary were lost now, for people who want to know before it is.
//!
//! Nothing follows from it: no step, no claim. It takes members as they stand, since nobody is frozen for a question.

use crate::decision::{Ineligible, Question, Trigger};
use crate::gtid::GtidSet;
use crate::quorum::{Quorum, TooFew, candidates, code, voters};
use crate::record::Phase;
use crate::snapshot::{Probe, Snapshot};

use super::failover::expected;

/// What is supposed, in the words that a policy reads as the reason why the primary cannot be chosen.
const SUPPOSED: &str = "it is supposed to be lost";

/// The question that the loss of the primary would raise. None while there is no primary to lose.
///
/// # Errors
/// [`TooFew`]: nobody could be chosen, because a freeze could not be expected to end.
pub fn without_primary(snapshot: &Snapshot) -> Option<Result<Question, TooFew>> {
    let record = snapshot.record.as_ref().filter(|record| record.phase == Phase::Serving)?;
    let mut supposed = snapshot.clone();
    supposed.switchover = None;
    let primary = supposed.members.iter_mut().find(|member| member.name == record.primary)?;
    primary.probe = Probe::Unreachable { for_ms: 0, tried_ms: 0, error: SUPPOSED.to_owned() };
    if let Err(few) = expected(&supposed, record) {
        return Some(Err(few));
    }
    let held = voters(&supposed, record).filter(|member| member.in_good_standing(record));
    let held = held.filter_map(|member| member.known_transactions());
    let union = held.fold(GtidSet::new(), |union, held| union.union(&record.legal_part(&held)));
    let mut candidates = candidates(&supposed, record, &Quorum::of(union));
    let primary = candidates.iter_mut().filter(|candidate| candidate.name == record.primary);
    let lost = Ineligible { code: code::UNREACHABLE.to_owned(), message: SUPPOSED.to_owned() };
    primary.for_each(|primary| primary.ineligible = vec![lost.clone()]);
    let counted = snapshot.ended_leads.before(record);
    Some(Ok(Question {
        namespace: snapshot.namespace.clone(),
        cluster: snapshot.cluster.clone(),
        epoch: record.epoch + 1,
        trigger: Trigger::Failover,
        now_unix_ms: snapshot.now_unix_ms,
        seed: record.epoch,
        without_primary_ms: 0,
        former_primary: Some(record.primary.clone()),
        acks: record.acks,
        failover_window_s: counted.window_s,
        failovers_in_window: counted.lost(None),
        candidates,
        facts: Vec::new(),
    }))
}

//! How a cluster gets its record back when it was lost, or went back to an older one (rule 12).
//!
//! What is adopted is the newest record that members remember, once so many of them answer that none of the others can
//! remember one that mattered. This module must never take a member that does not answer for one that knows nothing.
//!
//! # Who has to answer
//!
//! Let X be the newest record that anybody who answers remembers, with N members, k acks, and P its primary. X is adopted
//! once max(k + 1, N − k) of its members answer with the data that X knows, none of which remembers anything newer, and P
//! is among them if X says that P is open. Suppose that a record T mattered which is newer than X:
//!
//! * *T chose another primary, in epoch e.* A choice is recorded only after N − k members have stored e, be it as a
//!   freeze. Of the others there are k, so one of any k + 1 members knows e, and X would be of epoch e or later. The epoch
//!   that is claimed now is therefore higher than every one in which somebody was ever chosen; this is where N − k members
//!   alone would not do if k > (N − 1)/2: two freezes can then be complete without a member in common.
//! * *T's primary acknowledged a write.* It and k others had stored T before, so one of any N − k members knows that
//!   primary, and X would be T's or later.
//! * *T's primary acknowledged nothing*, so it is not needed. It cannot begin to: N − k members promise the new epoch, and
//!   any of them that learns of T in between refuses, because `primarySinceEpoch` would go back.
//! * *T changed members or acks under P.* P stores such a change before anybody acts on it, and P was asked
//!   ([`super::maintain`] keeps that order). No such change is begun before min(k + 1, N − k) members know who leads,
//!   which any max(k + 1, N − k) meet; so what X says of members and acks is what the freeze of every later epoch went by.
//!   A higher k that is being introduced counts already, and a member that is being removed does not count any more.
//! * *T is a freeze that was never completed.* Nobody was chosen and nothing acknowledged. Where it is not seen, the members
//!   that stored it refuse the new epoch, are seen then, and cause a higher one.
//!
//! A member that lost its volume has forgotten what it stored. It is not counted, since its data is not what X knows, and
//! what it had stored is missing from both sides of each sum. Where all members answer, so many of them need not have kept
//! their data: what none remembers was known only to those who lost it, and k others would know of an acknowledged write.

use crate::plan::Step;
use crate::record::{Phase, Record};
use crate::snapshot::{MemberView, Snapshot};

use super::bootstrap::{is_under_way, unheard};
use super::{Assessment, Waiting};

/// How long members have to contradict the record before another is made, in milliseconds. A command that was under way
/// when the record was lost has arrived by then, and what came of it been reported; and a record that another operator
/// advanced has been read again.
const PATIENCE_MS: u64 = 2_000;

/// Whether a member remembers a later record than the one that was read, or any where there is none.
pub fn is_contradicted(snapshot: &Snapshot) -> bool {
    match &snapshot.record {
        None => remembered(snapshot).next().is_some(),
        Some(record) => knows_better(snapshot, record).next().is_some(),
    }
}

/// What to do where there is no record. None if nobody who answers remembers one.
pub(super) fn lost(snapshot: &Snapshot) -> Option<Assessment> {
    is_contradicted(snapshot).then(|| recover(snapshot, None))
}

/// What to do where members remember a later record than the one there is. None if none does, or if it does not matter.
pub(super) fn stale(snapshot: &Snapshot, record: &Record) -> Option<Assessment> {
    let voters = knows_better(snapshot, record).any(|member| member.votes_in(record));
    // A stray volume of another cluster, beside members that vouch for this one.
    let stray = !voters && absentees(snapshot, record).is_empty();
    if stray || !is_contradicted(snapshot) {
        return None;
    }
    let ahead = knows_better(snapshot, record).filter_map(MemberView::remembered);
    let ahead = ahead.map(Record::claim).any(|stored| stored > record.claim());
    let best = vouched_for(snapshot, Some(record));
    // It is the best there is, and nobody has promised a later claim: whoever knows of a primary that was chosen and never
    // mattered takes part again when the next one is.
    if best.is_some_and(|best| best == record) && !ahead {
        return None;
    }
    Some(recover(snapshot, Some(record)))
}

fn recover(snapshot: &Snapshot, found: Option<&Record>) -> Assessment {
    let epoch = found.map(|found| found.epoch);
    let wait = |needs| Assessment { waiting: vec![Waiting::Adoption { found: epoch, needs }], ..Assessment::default() };
    let Some(newest) = by_seniority(snapshot, found).into_iter().next() else { return Assessment::default() };
    let Some(best) = vouched_for(snapshot, found) else { return wait(needs(snapshot, newest)) };
    if snapshot.contradicted_ms < PATIENCE_MS {
        return wait(format!("epoch {} is what members remember; it is about to be adopted", best.epoch));
    }
    let because = match found {
        None => format!("the record was lost; epoch {} is what the members remember", best.epoch),
        Some(found) => {
            format!("the record went back to {}; the members remember {}", found.claim(), best.claim())
        }
    };
    Assessment {
        steps: vec![Step::Advance { to: Box::new(successor(snapshot, found, best)), because }],
        ..Assessment::default()
    }
}

/// The record that takes the place of what was found: higher than all that anybody remembers.
fn successor(snapshot: &Snapshot, found: Option<&Record>, best: &Record) -> Record {
    let all = || remembered(snapshot).chain(found);
    let epoch = all().map(|record| record.epoch).max().unwrap_or(best.epoch);
    let opened = snapshot
        .member(&best.primary)
        .and_then(MemberView::report)
        .is_some_and(|report| report.opened_in_epoch.is_some());
    if is_under_way(best) && !opened && epoch == best.epoch {
        // Nobody ever opened, so there is nothing to find out by a freeze; making the first data goes on.
        let generation = all().map(|record| record.generation).max().unwrap_or(best.generation) + 1;
        return Record { generation, ..best.clone() };
    }
    Record { epoch: epoch + 1, ..best.claimed(None) }
}

/// Every record that a member remembers.
fn remembered(snapshot: &Snapshot) -> impl Iterator<Item = &Record> {
    snapshot.members.iter().filter_map(MemberView::remembered)
}

/// Members that would refuse this record.
fn knows_better<'a>(snapshot: &'a Snapshot, record: &'a Record) -> impl Iterator<Item = &'a MemberView> {
    snapshot.members.iter().filter(|member| record.may_replace(member.remembered()).is_err())
}

/// Every record that can be adopted, the newest first. What was found is true as far as it goes: nothing older is.
fn by_seniority<'a>(snapshot: &'a Snapshot, found: Option<&'a Record>) -> Vec<&'a Record> {
    let least = found.map(Record::seniority);
    let mut all: Vec<_> = remembered(snapshot).chain(found).collect();
    all.retain(|record| Some(record.seniority()) >= least);
    all.sort_by_key(|record| std::cmp::Reverse(record.seniority()));
    all
}

/// The newest record that enough members vouch for.
fn vouched_for<'a>(snapshot: &'a Snapshot, found: Option<&'a Record>) -> Option<&'a Record> {
    by_seniority(snapshot, found).into_iter().find(|record| absentees(snapshot, record).is_empty())
}

/// Whether a member answers, still has what it stored beside the data that this record knows, and remembers nothing newer.
fn vouches(member: &MemberView, record: &Record) -> bool {
    // While the first data is being made there are no members yet.
    let has_its_memory = member.votes_in(record) || record.members.is_empty();
    has_its_memory && member.remembered().is_some_and(|stored| stored.seniority() <= record.seniority())
}

/// Whether a member answers and remembers nothing newer, be it because its volume was lost.
fn answers(member: &MemberView, record: &Record) -> bool {
    let newer = member.remembered().is_some_and(|stored| stored.seniority() > record.seniority());
    member.report().is_some() && !newer
}

/// Members without whose word this record is not adopted: empty if enough of them vouch for it.
fn absentees(snapshot: &Snapshot, record: &Record) -> Vec<String> {
    let speaks = |name: &str| snapshot.member(name).is_some_and(|view| vouches(view, record));
    let voters = record.members.iter().map(|member| member.name.as_str());
    let (vouching, silent): (Vec<_>, Vec<_>) =
        voters.filter(|name| record.leaving.as_deref() != Some(name)).partition(|name| speaks(name));
    let primary_opened = record.phase == Phase::Serving || is_under_way(record);
    let mut absent = Vec::new();
    if primary_opened && !speaks(&record.primary) {
        absent.push(record.primary.clone());
    }
    // Where everybody answers, nobody can remember anything that is not seen here.
    let all_answer = silent.iter().all(|name| snapshot.member(name).is_some_and(|view| answers(view, record)));
    if vouching.len() < needed(record).min(vouching.len() + silent.len()) && !all_answer {
        absent.extend(silent.into_iter().filter(|name| *name != record.primary || !primary_opened).map(str::to_owned));
    }
    absent
}

/// max(k + 1, N − k): how many members have to vouch.
fn needed(record: &Record) -> usize {
    (record.effective_acks() as usize + 1).max(record.freeze_quorum())
}

/// What has to be so before the newest record is adopted, for people.
fn needs(snapshot: &Snapshot, newest: &Record) -> String {
    let missing: Vec<_> =
        absentees(snapshot, newest).into_iter().map(|name| with_reason(snapshot, newest, name)).collect();
    let led = if newest.phase == Phase::Serving { format!(", {} among them", newest.primary) } else { String::new() };
    format!(
        "epoch {} is the newest that members remember, and is adopted once {} of its members answer{led}; missing: {}",
        newest.epoch,
        needed(newest).min(newest.members.len()).max(1),
        missing.join(", ")
    )
}

fn with_reason(snapshot: &Snapshot, record: &Record, name: String) -> String {
    let why = match snapshot.member(&name) {
        None => "it has no pod; does spec.replicas leave it out?".to_owned(),
        Some(view) => match unheard(view) {
            Some((_, why)) => why,
            None if !view.votes_in(record) => "its data is not what that record knows".to_owned(),
            None => "it remembers no record".to_owned(),
        },
    };
    format!("{name} ({why})")
}

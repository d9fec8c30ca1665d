//! Who votes, and how many acknowledgements a commit waits for: changes of the record, one at a time.
//!
//! Every change that could lower the promise is announced in the record first, put into force at the primary, and made
//! only once everything from before is safe under it as well. Nothing here may shorten that order, and nothing may
//! stop writes for the sake of a change: what would is put off or taken back.

use crate::facts::{ServerFacts, ThreadState};
use crate::gtid::GtidSet;
use crate::plan::{Order, Step};
use crate::record::{Member, Record};
use crate::snapshot::{MemberView, Snapshot};

use super::maintain::command;
use super::{Assessment, Waiting};

/// One change of the record a pass: the next one is derived from the record that this one makes.
pub(super) fn advance(assessment: &mut Assessment, to: Record, because: String) {
    let begun = assessment.steps.iter().any(|step| matches!(step, Step::Advance { .. }));
    if !begun {
        assessment.steps.push(Step::Advance { to: Box::new(to), because });
    }
}

/// The record after a change of members or acks, which a higher generation tells from the one before.
fn next(record: &Record) -> Record {
    Record { generation: record.generation + 1, ..record.clone() }
}

/// The record in which a proved member votes: a new one, or a rebuilt one under its old name. Never a loss: whoever
/// holds an acknowledged transaction still does, and one more is asked for it.
pub(super) fn with_member(record: &Record, member: Member) -> Record {
    let mut members: Vec<_> = record.members.iter().filter(|other| other.name != member.name).cloned().collect();
    members.push(member);
    members.sort_by(|left, right| left.name.cmp(&right.name));
    Record { members, ..next(record) }
}

/// Brings members and k towards what is wanted, while a primary is open.
pub(super) fn change(snapshot: &Snapshot, record: &Record, primary: &MemberView, assessment: &mut Assessment) {
    let Some(facts) = primary.server() else { return };
    let change = Change { snapshot, record, primary, facts };
    match (record.raising_acks, &record.leaving) {
        (Some(raising), _) => change.raise(raising, assessment),
        (None, leaving) => {
            change.settle_wait_count(assessment);
            match leaving {
                Some(leaving) => change.remove(leaving, assessment),
                None => change.begin(assessment),
            }
        }
    }
}

struct Change<'a> {
    snapshot: &'a Snapshot,
    record: &'a Record,
    primary: &'a MemberView,
    facts: &'a ServerFacts,
}

impl Change<'_> {
    /// Announces the next change: first a k that is too high, then one that is too low, then who has to go.
    fn begin(&self, assessment: &mut Assessment) {
        let (acks, wanted) = (self.record.acks, self.wanted_acks());
        let present = acknowledging(self.snapshot, self.record).len() as u32;
        if wanted < acks {
            let because = format!("{wanted} acknowledgements are enough from now on");
            advance(assessment, Record { acks: wanted, ..next(self.record) }, because);
        } else if wanted > acks {
            if present >= wanted {
                let because = format!("commits will wait for {wanted} acknowledgements");
                advance(assessment, Record { raising_acks: Some(wanted), ..next(self.record) }, because);
            }
        } else {
            self.begin_removal(assessment);
        }
    }

    /// The k that the present members should have. While there are more of them than wanted it goes down with them: it
    /// stays what so many bear without losing writes to a single loss, leaves room for the next removal, is no more than
    /// the others can give now, and is never less than what is wanted in the end.
    fn wanted_acks(&self) -> u32 {
        let members = self.record.members.len() as u32;
        let wanted = self.snapshot.desired.acks.min(members.saturating_sub(1));
        let Some(leaves) = self.surplus() else { return wanted };
        let leads = leaves.name == self.record.primary;
        let present = if leads { self.record.acks } else { self.others(&leaves.name) };
        let bearable = (members / 2).min(members.saturating_sub(2)).min(present);
        wanted.max(self.record.acks.min(bearable))
    }

    /// The voting member that has to go next: the one with the highest number.
    fn surplus(&self) -> Option<&MemberView> {
        let voting = self.snapshot.members.iter().filter(|member| self.record.incarnation_of(&member.name).is_some());
        voting.filter(|member| self.snapshot.is_surplus(&member.name)).max_by_key(|member| member.ordinal)
    }

    fn begin_removal(&self, assessment: &mut Assessment) {
        let Some(member) = self.surplus() else { return };
        if member.name == self.record.primary {
            wait(assessment, &member.name, "is to be removed, and leads until another member can".to_owned());
            return;
        }
        let others = self.others(&member.name);
        if others < self.record.acks {
            let needed = self.record.acks;
            let why = format!("is removed once {needed} other replicas acknowledge, or writes would stop; {others} do");
            wait(assessment, &member.name, why);
            return;
        }
        let because = format!("{} is being removed and acknowledges nothing any more", member.name);
        advance(assessment, Record { leaving: Some(member.name.clone()), ..next(self.record) }, because);
    }

    /// Voting replicas beside this one that acknowledge now.
    fn others(&self, member: &str) -> u32 {
        acknowledging(self.snapshot, self.record).iter().filter(|name| *name != member).count() as u32
    }

    /// An announced removal: locked out, and let go once whatever it helped to acknowledge is safe without it.
    fn remove(&self, leaving: &str, assessment: &mut Assessment) {
        if let Some(because) = self.reason_to_keep(leaving) {
            advance(assessment, Record { leaving: None, ..next(self.record) }, because);
            return;
        }
        let Some(barrier) = self.barrier() else {
            wait(assessment, leaving, "is being removed: locking it out".to_owned());
            command(assessment, self.primary, Order::Lock);
            return;
        };
        let (holders, needed) = (self.holders(barrier), self.record.acks);
        if holders < needed {
            let why = format!("is being removed: {holders} of {needed} other replicas hold everything by now");
            wait(assessment, leaving, why);
            return;
        }
        let mut to = Record { leaving: None, ..next(self.record) };
        to.members.retain(|member| member.name != leaving);
        advance(assessment, to, format!("{leaving} votes no more; everything acknowledged is safe without it"));
    }

    /// Why a member that is leaving stays after all: it is wanted again, it is too early, or writes stop without it and
    /// would go on with it.
    fn reason_to_keep(&self, leaving: &str) -> Option<String> {
        if !self.snapshot.is_surplus(leaving) || leaving == self.record.primary {
            return Some(format!("{leaving} stays: it is wanted again"));
        }
        let (acks, members) = (self.record.acks, self.record.members.len() as u32);
        if acks + 2 > members {
            return Some(format!("{leaving} stays for now: {acks} acknowledgements need all {members} members"));
        }
        let helps = self.snapshot.member(leaving).is_some_and(|member| {
            member.in_good_standing(self.record) && member.server().is_some() && !member.is_leaving()
        });
        (self.others(leaving) < acks && helps)
            .then(|| format!("{leaving} stays for now: writes would wait for acknowledgements without it"))
    }

    /// A higher k: announced, put into force, and promised once everything committed before is that safe too.
    fn raise(&self, raising: u32, assessment: &mut Assessment) {
        if self.wanted_acks() < raising {
            let because = format!("commits need not wait for {raising} acknowledgements after all");
            advance(assessment, Record { raising_acks: None, ..next(self.record) }, because);
            return;
        }
        let in_force = self.facts.semi_sync.enabled && self.facts.semi_sync.wait_count >= raising;
        let Some(barrier) = self.barrier().filter(|_| in_force) else {
            command(assessment, self.primary, Order::SetAcks { acks: raising });
            return;
        };
        if self.holders(barrier) >= raising {
            let to = Record { acks: raising, raising_acks: None, ..next(self.record) };
            advance(assessment, to, format!("every commit is on {raising} replicas before its client hears of it"));
        }
    }

    /// The wait count follows a k that was lowered, never the other way round.
    fn settle_wait_count(&self, assessment: &mut Assessment) {
        let semi_sync = self.facts.semi_sync;
        let waits_for = if semi_sync.enabled { semi_sync.wait_count } else { 0 };
        if waits_for != self.record.acks {
            command(assessment, self.primary, Order::SetAcks { acks: self.record.acks });
        }
    }

    /// What the announced change has to be safe for, once it is in force under this very record.
    fn barrier(&self) -> Option<&GtidSet> {
        let stored = self.primary.has_stored(self.record.claim());
        self.snapshot.change_barrier.as_ref().filter(|_| stored)
    }

    /// Replicas that hold a barrier, may acknowledge and have forgotten nothing.
    fn holders(&self, barrier: &GtidSet) -> u32 {
        let holders = self.snapshot.members.iter().filter(|member| {
            member.name != self.record.primary
                && self.record.may_acknowledge(&member.name)
                && member.in_good_standing(self.record)
                && member.server().is_some_and(|facts| barrier.is_subset_of(&facts.known()))
        });
        holders.count() as u32
    }
}

fn wait(assessment: &mut Assessment, member: &str, why: String) {
    assessment.waiting.push(Waiting::Member { member: member.to_owned(), why });
}

/// Voting replicas that can acknowledge now.
pub(crate) fn acknowledging(snapshot: &Snapshot, record: &Record) -> Vec<String> {
    let voting = snapshot.members.iter().filter(|member| {
        member.name != record.primary && member.votes_in(record) && record.may_acknowledge(&member.name)
    });
    let present = voting.filter(|member| {
        let channel = member.server().and_then(|facts| facts.replication.as_ref());
        channel.is_some_and(|channel| channel.acknowledges && channel.receiver == ThreadState::On)
    });
    present.map(|member| member.name.clone()).collect()
}

/// Says who is missing when commits wait.
pub(super) fn acknowledgements(
    snapshot: &Snapshot,
    record: &Record,
    primary: &ServerFacts,
    assessment: &mut Assessment,
) {
    let needed = record.effective_acks();
    if primary.semi_sync.clients >= needed {
        return;
    }
    let present = acknowledging(snapshot, record);
    let replicas = record.members.iter().map(|member| &member.name);
    let missing = replicas.filter(|name| **name != record.primary && record.may_acknowledge(name));
    let missing = missing.filter(|name| !present.contains(*name)).cloned().collect();
    let present = primary.semi_sync.clients;
    assessment.waiting.push(Waiting::Acknowledgements { needed, present, missing });
}

//! Replicas that cannot go on with their data: when it is replaced by a copy, and why not yet.
//!
//! The rule is that no data goes which anything that was acknowledged depends on. An open primary holds all of that. The
//! data of a replica goes only where, besides, as many others as have to acknowledge hold whatever it holds and writes go
//! on without it, and where a freeze could still be complete if no more than the primary were lost next to it. A copy is
//! not trusted before it has received a barrier, and the data from before it stays on the volume until it answers.
//!
//! Nothing here may ever take a member that does not answer for one that is in trouble.

use crate::facts::{Copies, JobState, ThreadState};
use crate::quorum::{errant_transactions, given_up_transactions};
use crate::record::Phase;
use crate::snapshot::{MemberView, Snapshot};
use crate::trouble::{Trouble, trouble};

use super::{Assessment, Care, LIMITED, Waiting, replicates_from};

/// How long a trouble has to last, in milliseconds. mysqld itself tries a transaction that met a lock ten times, a second
/// apart at the least; what is not over by then stays.
const STAYS_MS: u64 = 10_000;

/// How often what failed is tried again while a copy has to wait, in milliseconds: somebody may have mended it.
const TRY_EVERY_MS: u64 = 30_000;

/// For how long, in milliseconds, it is tried each time.
const TRY_FOR_MS: u64 = 1_000;

/// How long after a copy the next may take its place, in milliseconds, doubled with every further one: a trouble that
/// comes back at once is not one of the data alone.
const PAUSE_MS: u64 = 60_000;

/// The longest such pause. An agent forgets its copies after twice as long.
const LONGEST_PAUSE_MS: u64 = 3_600_000;

/// How long after a copy that failed the next begins, in milliseconds, doubled with every further one.
const RETRY_MS: u64 = 5_000;

/// The longest such wait.
const LONGEST_RETRY_MS: u64 = 300_000;

impl Care<'_> {
    /// Says that a replica cannot go on with its data, and begins a copy in its place where that is safe. True if nothing
    /// else is to be done about it now.
    pub(super) fn mend(&self, assessment: &mut Assessment, cloning: &mut bool) -> bool {
        let Some(trouble) = trouble(self.snapshot, self.member) else { return false };
        let lasts = self.member.trouble_ms >= STAYS_MS;
        if !lasts || self.record.phase != Phase::Serving || !self.primary_facts.open || self.belongs_to_a_person() {
            return false;
        }
        let held_back = self.held_back(&trouble, *cloning);
        let begins = held_back.is_none() && self.member.available;
        let unfit = Waiting::Unfit { member: self.member.name.clone(), trouble: trouble.to_string(), held_back };
        let waits = matches!(unfit, Waiting::Unfit { held_back: Some(_), .. });
        assessment.waiting.push(unfit);
        if begins {
            *cloning = true;
            self.copy(assessment);
        }
        !waits || self.member.trouble_ms % TRY_EVERY_MS >= TRY_FOR_MS
    }

    /// Whether it holds what is for a person to decide about.
    fn belongs_to_a_person(&self) -> bool {
        let servers = self.member.report().map(|report| report.opened_as.as_slice()).unwrap_or_default();
        servers.iter().any(|server| self.record.gave_up(*server))
            || !given_up_transactions(self.record, self.member).is_empty()
            || !errant_transactions(self.snapshot, self.record, self.member).is_empty()
    }

    /// What has to be so before a copy takes the place of its data. None if nothing stands in the way.
    fn held_back(&self, trouble: &Trouble, cloning: bool) -> Option<String> {
        let (record, member) = (self.record, self.member);
        if let Some(volume) = member.volume_trouble() {
            return Some(format!("there is room beside the old data; {volume}"));
        }
        if self.snapshot.is_surplus(&member.name) {
            return Some("it is wanted again: it is being removed".to_owned());
        }
        if !self.primary.has_stored(record.claim()) {
            return Some(format!("{} knows of the last change of members", self.primary.name));
        }
        if record.leaving.is_some() || record.raising_acks.is_some() {
            return Some("the change of members or acknowledgements that is under way is done".to_owned());
        }
        if cloning {
            return Some("another copy has ended".to_owned());
        }
        if member.votes_in(record)
            && let Some(needed) = self.is_needed(trouble)
        {
            return Some(needed);
        }
        if self.snapshot.pace.limited {
            return Some(LIMITED.to_owned());
        }
        let copies = member.report().and_then(|report| report.copies);
        let seconds = pause(self.snapshot, copies, PAUSE_MS, LONGEST_PAUSE_MS)?;
        Some(format!("{seconds} s have passed since its last copy"))
    }

    /// What needs the data of a member that votes, if anything does.
    fn is_needed(&self, trouble: &Trouble) -> Option<String> {
        let (record, member) = (self.record, self.member);
        let Some(held) = member.known_transactions() else {
            let cluster = &self.snapshot.cluster;
            return Some(format!(
                "what it holds can be read, or somebody asks for it: kubectl grampus rebuild {cluster} {}",
                member.name
            ));
        };
        let copied = self.snapshot.members.iter().find(|other| {
            let incarnation = record.incarnation_of(&other.name);
            other.name != member.name
                && incarnation.is_some()
                && other.incarnation().is_some_and(|its| Some(its) != incarnation)
        });
        if let Some(copied) = copied {
            return Some(format!("{}, whose data was replaced, votes again", copied.name));
        }
        let sound: Vec<_> = self.snapshot.members.iter().filter(|other| self.is_sound(other)).collect();
        let freeze = record.freeze_quorum();
        if sound.len() + 1 < freeze {
            return Some(format!(
                "{freeze} members beside it are in good standing, so that the loss of another is bearable; {} are",
                sound.len() + 1
            ));
        }
        // A server that does not run acknowledges nothing, and nobody can freeze it: nothing depends on what it holds.
        if matches!(trouble, Trouble::Ends { .. }) {
            return None;
        }
        let needed = record.effective_acks() as usize;
        let acknowledge = sound.iter().filter(|other| acknowledges(other)).count();
        if acknowledge < needed {
            return Some(format!("{needed} other replicas acknowledge, or writes would stop; {acknowledge} do"));
        }
        let hold =
            sound.iter().filter(|other| other.known_transactions().is_some_and(|known| held.is_subset_of(&known)));
        let hold = hold.count();
        (hold < needed).then(|| format!("{needed} other replicas hold everything that it holds; {hold} do"))
    }

    /// Whether another replica can be relied upon in this one's place: it counts, acknowledges what it should, and can
    /// execute what it receives.
    fn is_sound(&self, other: &MemberView) -> bool {
        other.name != self.member.name
            && other.name != self.record.primary
            && self.record.may_acknowledge(&other.name)
            && other.in_good_standing(self.record)
            && !other.is_leaving()
            && other.volume_trouble().is_none()
            && replicates_from(other, self.primary)
            && applies(other)
    }
}

/// Whether a member executes what it receives.
pub(super) fn applies(member: &MemberView) -> bool {
    let channel = member.server().and_then(|facts| facts.replication.as_ref());
    channel.is_some_and(|channel| channel.applier != ThreadState::Off)
}

fn acknowledges(member: &MemberView) -> bool {
    let channel = member.server().and_then(|facts| facts.replication.as_ref());
    channel.is_some_and(|channel| channel.acknowledges)
}

/// Why the last copy failed, if it did.
pub(super) fn failed_copy(member: &MemberView) -> Option<&str> {
    match &member.report()?.job.as_ref()?.state {
        JobState::Failed { error } => Some(error),
        JobState::Running { .. } | JobState::Done | JobState::Unknown => None,
    }
}

/// How many seconds after a copy that failed the next may begin, if that is not over.
pub(super) fn pause_after_failures(snapshot: &Snapshot, member: &MemberView) -> Option<u64> {
    pause(snapshot, member.report()?.copies, RETRY_MS, LONGEST_RETRY_MS)
}

/// How long, in seconds, a pause is that is not over. A clock that is ahead of this one by more than the pause tells
/// nothing.
fn pause(snapshot: &Snapshot, copies: Option<Copies>, first_ms: u64, longest_ms: u64) -> Option<u64> {
    let Copies { begun, last_unix_ms } = copies?;
    let pause = first_ms.saturating_mul(1 << begun.saturating_sub(1).min(16)).min(longest_ms);
    let apart = snapshot.now_unix_ms.abs_diff(last_unix_ms);
    (begun > 0 && apart < pause).then_some(pause / 1_000)
}

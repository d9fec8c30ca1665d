//! Everything that keeps members useful beside a primary: following it, proving their memory, joining, being
//! rebuilt, and being shut when they should not be open.
//!
//! Nothing here moves a role. One change of the record at a time, and none that lowers what was promised.

mod mend;

use crate::facts::{DataState, JobKind, JobState, MemberReport, ServerFacts, ServerState, Standing, ThreadState};
use crate::gtid::GtidSet;
use crate::plan::{Order, Step};
use crate::quorum::{errant_transactions, given_up_transactions, illegal_transactions};
use crate::record::{Member, Phase, Record};
use crate::snapshot::{MemberView, Snapshot};
use crate::trouble::trouble;

use super::membership::{self, acknowledging};
use super::{Assessment, Waiting, spread};
use crate::upkeep::LIMITED;

/// Gives a command to a member that can take one.
pub(super) fn command(assessment: &mut Assessment, member: &MemberView, order: Order) {
    if member.available {
        assessment.steps.push(Step::Command { member: member.name.clone(), order });
    }
}

/// Brings every member but the primary to where it belongs.
pub(super) fn maintain(snapshot: &Snapshot, record: &Record, assessment: &mut Assessment) {
    let Some(primary) = snapshot.member(&record.primary) else { return };
    let Some(primary_facts) = primary.server() else { return };
    if primary_facts.open && !primary.has_stored(record.claim()) {
        command(assessment, primary, Order::Store);
    }
    let mut cloning = snapshot.members.iter().any(is_cloning) || snapshot.readers.are_copying();
    for member in snapshot.members.iter().filter(|member| member.name != record.primary) {
        let care = Care { snapshot, record, primary, primary_facts, member };
        care.take(assessment, &mut cloning);
    }
    if record.phase == Phase::Serving && primary_facts.open {
        membership::change(snapshot, record, primary, assessment);
        membership::acknowledgements(snapshot, record, primary_facts, assessment);
        spread::in_order(snapshot, record, primary, assessment);
    }
}

/// Whether a member receives from this primary, from the process that runs now.
pub(crate) fn replicates_from(member: &MemberView, primary: &MemberView) -> bool {
    let channel = member.server().and_then(|facts| facts.replication.as_ref());
    let address = primary.pod.as_ref().map(|pod| pod.ip.as_str());
    channel.is_some_and(|channel| {
        Some(channel.source_host.as_str()) == address
            && channel.receiver == ThreadState::On
            && channel.source_uuid.is_some()
            && channel.source_uuid == primary.server().map(|facts| facts.server_uuid)
    })
}

pub(super) fn is_cloning(member: &MemberView) -> bool {
    let job = member.report().and_then(|report| report.job.as_ref());
    job.is_some_and(|job| job.kind == JobKind::Clone && matches!(job.state, JobState::Running { .. }))
}

/// One member beside its primary.
struct Care<'a> {
    snapshot: &'a Snapshot,
    record: &'a Record,
    primary: &'a MemberView,
    primary_facts: &'a ServerFacts,
    member: &'a MemberView,
}

impl Care<'_> {
    fn take(&self, assessment: &mut Assessment, cloning: &mut bool) {
        let Some(report) = self.member.report() else { return };
        if let Some(stage) = under_way(report) {
            self.wait(assessment, stage);
            return;
        }
        if self.is_dismissed() || self.record.leaving.as_ref() == Some(&self.member.name) {
            self.dismiss(report, assessment);
            return;
        }
        // Until it can be copied anew it is a member like any other: writes may be waiting for it.
        let in_the_way = self.is_to_be_rebuilt().then(|| self.in_the_way_of_a_copy()).flatten();
        if let Some(why) = &in_the_way {
            self.wait(assessment, why.clone());
        }
        match (&report.data, &report.server) {
            (DataState::Empty | DataState::Incomplete, _) => {
                self.rebuild(assessment, cloning, "it has no data yet");
            }
            (DataState::Ready { .. }, ServerState::Running(facts)) if facts.open => {
                self.wait(assessment, "it is open and must not be".to_owned());
                command(assessment, self.member, Order::Fence);
            }
            (DataState::Ready { .. }, _) if self.is_to_be_rebuilt() && in_the_way.is_none() => {
                self.rebuild(assessment, cloning, "somebody asked for a new copy of its data");
            }
            (DataState::Ready { .. }, ServerState::Running(facts)) => self.keep(facts, assessment, cloning),
            (DataState::Ready { .. }, ServerState::Stopped { .. }) => {
                if !self.mend(assessment, cloning) {
                    self.start(report, assessment);
                }
            }
            (DataState::Ready { .. }, ServerState::Starting) => self.wait(assessment, "starting mysqld".to_owned()),
            (DataState::Ready { .. }, ServerState::Unresponsive { .. }) => {
                self.wait(assessment, "its mysqld does not answer".to_owned());
            }
        }
    }

    /// Whether nobody wants it, and the record has let it go.
    fn is_dismissed(&self) -> bool {
        self.snapshot.is_surplus(&self.member.name) && self.record.incarnation_of(&self.member.name).is_none()
    }

    /// It takes part in nothing, and knows that. If it is kept after all it is sent what it has missed, and acknowledges
    /// it: a replica acknowledges nothing that it had received before.
    fn dismiss(&self, report: &MemberReport, assessment: &mut Assessment) {
        let ServerState::Running(facts) = &report.server else { return };
        let receives = facts.replication.as_ref().is_some_and(|channel| channel.receiver != ThreadState::Off);
        if facts.open {
            command(assessment, self.member, Order::Fence);
        } else if receives || !self.member.has_stored(self.record.claim()) {
            command(assessment, self.member, Order::Freeze);
        }
    }

    /// A stopped member. The start of one that was ever opened commits what nobody acknowledged. While it is stopped
    /// that can still be cut off, once an open primary says what was acknowledged.
    fn start(&self, report: &MemberReport, assessment: &mut Assessment) {
        let read = self.member.known_transactions().is_some();
        let legal = read && illegal_transactions(self.record, self.member).is_empty();
        let given_up = given_up_transactions(self.record, self.member);
        if !given_up.is_empty() || report.opened_as.iter().any(|server| self.record.gave_up(*server)) {
            // Its client may have heard OK, so nothing is cut off. Started, it can be read by whoever wants it back.
            self.wait(assessment, "starting mysqld with all it has".to_owned());
            self.tell_given_up(assessment, &given_up);
            command(assessment, self.member, Order::Start);
        } else if legal || report.opened_in_epoch.is_none() || self.holds_what_is_missing() {
            // Whoever is about to lead may need what only this member has.
            self.wait(assessment, "starting mysqld".to_owned());
            command(assessment, self.member, Order::Start);
        } else if self.record.phase == Phase::Serving && self.primary_facts.open {
            self.wait(assessment, "starting mysqld without its unacknowledged tail".to_owned());
            command(assessment, self.member, Order::Trim);
        } else {
            self.wait(assessment, format!("starts once {} is open", self.primary.name));
        }
    }

    /// Whether the chosen primary has to fetch something that no running server has, and this one does. Then its tail is
    /// the smaller matter: it is rebuilt away afterwards.
    fn holds_what_is_missing(&self) -> bool {
        let running = self.snapshot.members.iter().filter_map(MemberView::hands_on);
        let running = running.fold(GtidSet::new(), |all, held| all.union(&held));
        let missing = self.record.base.subtract(&running);
        self.member.known_transactions().is_some_and(|held| !held.intersect(&missing).is_empty())
    }

    /// A closed, running member: followed up, proved, taken in.
    fn keep(&self, facts: &ServerFacts, assessment: &mut Assessment, cloning: &mut bool) {
        if !illegal_transactions(self.record, self.member).is_empty() {
            self.set_aside(assessment, cloning);
            return;
        }
        if !self.primary_facts.open && self.record.phase == Phase::Serving {
            return;
        }
        if self.mend(assessment, cloning) {
            return;
        }
        if !replicates_from(self.member, self.primary) {
            let error = facts.replication.as_ref().map(|channel| channel.receiver_error.as_str()).unwrap_or_default();
            let why =
                if error.is_empty() { "beginning to follow".to_owned() } else { format!("not receiving: {error}") };
            self.wait(assessment, why);
            // A receiver that is trying goes on by itself. Stopping it to say so again waits for its attempt to
            // end, and a freeze would wait behind that. Under another record it may have to go on as somebody else.
            if !self.is_connecting(facts) || !self.member.has_stored(self.record.claim()) {
                command(assessment, self.member, Order::Follow { source: self.primary.name.clone() });
            }
            return;
        }
        let Some(channel) = &facts.replication else { return };
        if channel.applier == ThreadState::Off {
            self.wait(assessment, format!("not applying: {}", channel.applier_error));
            command(assessment, self.member, Order::Follow { source: self.primary.name.clone() });
            return;
        }
        // A proof from before this record let it go says nothing of what it may have forgotten since.
        let stale = !self.member.votes_in(self.record) && !self.member.has_stored(self.record.claim());
        if stale || self.member.report().is_some_and(|report| report.standing != Standing::Good) {
            self.wait(assessment, "proving that it has received everything".to_owned());
            command(assessment, self.member, Order::GrantStanding);
            return;
        }
        if !self.member.votes_in(self.record) {
            self.take_in(assessment);
            return;
        }
        if !channel.acknowledges || !self.member.has_stored(self.record.claim()) {
            command(assessment, self.member, Order::Follow { source: self.primary.name.clone() });
        }
    }

    /// Whether its receiver is trying to reach the primary.
    fn is_connecting(&self, facts: &ServerFacts) -> bool {
        let address = self.primary.pod.as_ref().map(|pod| pod.ip.as_str());
        facts.replication.as_ref().is_some_and(|channel| {
            Some(channel.source_host.as_str()) == address && channel.receiver == ThreadState::Connecting
        })
    }

    /// A member with transactions that the primary's history does not hold. A former primary's tail was never
    /// acknowledged, so the copy that holds it is replaced; anything else is for a person.
    fn set_aside(&self, assessment: &mut Assessment, cloning: &mut bool) {
        let given_up = given_up_transactions(self.record, self.member);
        if !given_up.is_empty() {
            self.tell_given_up(assessment, &given_up);
            return;
        }
        let errant = errant_transactions(self.snapshot, self.record, self.member);
        if !errant.is_empty() {
            let transactions = errant.to_string();
            assessment.waiting.push(Waiting::Errant { member: self.member.name.clone(), transactions });
            return;
        }
        if self.record.phase != Phase::Serving || !self.primary_facts.open {
            return;
        }
        if self.snapshot.pace.limited {
            self.wait(assessment, format!("is copied anew once {LIMITED}"));
            return;
        }
        self.rebuild(assessment, cloning, "it holds transactions that were never acknowledged");
    }

    fn tell_given_up(&self, assessment: &mut Assessment, given_up: &GtidSet) {
        if !given_up.is_empty() {
            let (member, transactions) = (self.member.name.clone(), given_up.to_string());
            assessment.waiting.push(Waiting::GivenUp { member, transactions });
        }
    }

    /// Whether somebody asked for this very data to be replaced.
    fn is_to_be_rebuilt(&self) -> bool {
        self.snapshot.rebuild.as_ref().is_some_and(|asked| {
            asked.member == self.member.name && self.member.incarnation() == Some(asked.incarnation)
        })
    }

    /// Why a copy that somebody asked for cannot begin yet. Not at the price of writes: they go on only while enough
    /// other replicas acknowledge.
    fn in_the_way_of_a_copy(&self) -> Option<String> {
        if self.record.phase != Phase::Serving || !self.primary_facts.open {
            return Some(format!("is copied anew once {} is open", self.primary.name));
        }
        let needed = self.record.effective_acks() as usize;
        let acknowledging = acknowledging(self.snapshot, self.record);
        let others = acknowledging.iter().filter(|name| **name != self.member.name).count();
        // One that is left out already gives no acknowledgement that would be missed, and will not either. One that cannot
        // go on with its data will not be mended by waiting; where nobody else acknowledges, writes wait for its copy.
        let left_out = others == acknowledging.len() && !illegal_transactions(self.record, self.member).is_empty();
        let left_out = left_out || trouble(self.snapshot, self.member).is_some();
        (others < needed && !left_out).then(|| {
            format!("is copied anew once {needed} other replicas acknowledge, or writes would stop; {others} do")
        })
    }

    /// Copies a healthy member, unless the copy would not be kept; a replica rather than the primary. One copy at a time:
    /// a donor serves one.
    fn rebuild(&self, assessment: &mut Assessment, cloning: &mut bool, why: &str) {
        let failed = mend::failed_copy(self.member);
        let pause = failed.and_then(|_| mend::pause_after_failures(self.snapshot, self.member));
        let why = failed.map_or_else(|| why.to_owned(), |error| format!("{why}; the last copy failed: {error}"));
        if let Some(seconds) = pause {
            self.wait(assessment, format!("{why}; the next one begins {seconds} s after that"));
            return;
        }
        if self.snapshot.is_surplus(&self.member.name) {
            self.wait(assessment, format!("{why}; it is being removed, so nothing is copied"));
            return;
        }
        self.wait(assessment, why);
        if *cloning || !self.member.available {
            return;
        }
        *cloning = true;
        self.copy(assessment);
    }

    fn copy(&self, assessment: &mut Assessment) {
        command(assessment, self.member, Order::Clone { donor: self.donor() });
    }

    fn donor(&self) -> String {
        let replica = self.snapshot.members.iter().find(|candidate| {
            candidate.name != self.record.primary
                && candidate.name != self.member.name
                && candidate.in_good_standing(self.record)
                && candidate.volume_trouble().is_none()
                && replicates_from(candidate, self.primary)
                && mend::applies(candidate)
        });
        replica.unwrap_or(self.primary).name.clone()
    }

    /// Makes a proved member vote: a new one, or a rebuilt one under its old name.
    fn take_in(&self, assessment: &mut Assessment) {
        let Some(incarnation) = self.member.incarnation() else { return };
        if self.record.phase != Phase::Serving {
            return;
        }
        let to = membership::with_member(self.record, Member { name: self.member.name.clone(), incarnation });
        let because = format!("{} has received everything and votes from now on", self.member.name);
        membership::advance(assessment, to, because);
    }

    fn wait(&self, assessment: &mut Assessment, why: String) {
        assessment.waiting.push(Waiting::Member { member: self.member.name.clone(), why });
    }
}

/// What a member is busy with, in words. Something that this version has no word for may be that.
pub(super) fn under_way(report: &MemberReport) -> Option<String> {
    let job = report.job.as_ref()?;
    let stage = match &job.state {
        JobState::Running { stage } => stage.as_str(),
        JobState::Unknown => "in a state that this version has no word for",
        JobState::Done | JobState::Failed { .. } => return None,
    };
    Some(match job.kind {
        JobKind::Initialize => format!("initializing: {stage}"),
        JobKind::Clone => format!("copying the data: {stage}"),
        JobKind::Unknown => format!("busy with something that this version has no word for: {stage}"),
    })
}

//! Read replicas: copied from a member, fed by a voting replica, and copied anew where their data is of no use.
//!
//! Nothing here touches the record, and a reader is only ever told what [`Told`] lists. It is looked after while a
//! primary is open and recorded as serving: before that nobody knows what is legal, and members come first.

use std::collections::BTreeMap;

use crate::facts::{DataState, JobState, MemberReport, ServerFacts, ServerState, ThreadState};
use crate::plan::{Order, Step};
use crate::quorum::illegal_transactions;
use crate::readers::{ReaderView, feeds, lag_of, primary_feeds};
use crate::record::Record;
use crate::snapshot::{MemberView, Snapshot};

use super::maintain::under_way;
use super::{Assessment, Waiting};

/// How long, in milliseconds, a source may be without its primary before its readers are moved: after a failover
/// every replica is for a moment, and moving all readers to whoever is first would help nobody.
const SETTLED_MS: u64 = 5_000;

/// What a receiver says when its source no longer has the binary logs that it needs.
const PURGED: &str = "error 1236";

/// All that a reader is ever told.
enum Told {
    Start,
    Clone { donor: String },
    Read { source: String, delay_s: u64 },
    StopReceiving,
    Fence,
}

impl From<Told> for Order {
    fn from(told: Told) -> Self {
        match told {
            Told::Start => Self::Start,
            Told::Clone { donor } => Self::Clone { donor },
            Told::Read { source, delay_s } => Self::Read { source, delay_s },
            Told::StopReceiving => Self::Freeze,
            Told::Fence => Self::Fence,
        }
    }
}

/// Brings every reader to where it belongs. The primary is open.
pub(super) fn care_for(snapshot: &Snapshot, record: &Record, primary: &MemberView, assessment: &mut Assessment) {
    let members = snapshot.members.iter();
    let sources: Vec<_> = members.filter(|member| feeds(record, primary, member)).collect();
    let mut fed: BTreeMap<&str, usize> = BTreeMap::new();
    for source in snapshot.readers.views.iter().filter_map(|reader| reader.source(snapshot)) {
        *fed.entry(&source.name).or_default() += 1;
    }
    let mut care = Care { snapshot, record, primary, sources, fed, assessment };
    for reader in &snapshot.readers.views {
        care.take(reader);
    }
}

struct Care<'a, 'b> {
    snapshot: &'a Snapshot,
    record: &'a Record,
    primary: &'a MemberView,
    /// Members that may feed readers.
    sources: Vec<&'a MemberView>,
    /// How many readers each member feeds, or will.
    fed: BTreeMap<&'a str, usize>,
    assessment: &'b mut Assessment,
}

impl<'a> Care<'a, '_> {
    fn take(&mut self, reader: &ReaderView) {
        let Some(report) = reader.report() else { return };
        if let Some(stage) = under_way(report) {
            self.wait(reader, stage);
            return;
        }
        match (&report.data, &report.server) {
            (DataState::Empty | DataState::Incomplete, _) => {
                let why = self.copy(reader, report, "it has no data yet");
                self.wait(reader, why);
            }
            (DataState::Ready { .. }, ServerState::Running(facts)) if facts.open => {
                self.wait(reader, "it is open and must not be".to_owned());
                self.tell(reader, Told::Fence);
            }
            (DataState::Ready { .. }, ServerState::Running(facts)) => self.keep(reader, report, facts),
            (DataState::Ready { .. }, ServerState::Stopped { .. }) => {
                self.wait(reader, "starting mysqld".to_owned());
                self.tell(reader, Told::Start);
            }
            (DataState::Ready { .. }, ServerState::Starting) => self.wait(reader, "starting mysqld".to_owned()),
            (DataState::Ready { .. }, ServerState::Unresponsive { .. }) => {
                self.wait(reader, "its mysqld does not answer".to_owned());
            }
        }
    }

    /// A closed, running reader: fed, or copied anew. It never votes and everything legal is elsewhere, so what it
    /// holds beyond that keeps nobody waiting for a person.
    fn keep(&mut self, reader: &ReaderView, report: &MemberReport, facts: &ServerFacts) {
        if reader.is_foreign(self.record) {
            self.assessment.waiting.push(Waiting::Foreign { reader: reader.name().to_owned() });
            return;
        }
        let illegal = reader.illegal_transactions(self.record);
        if !illegal.is_empty() {
            self.replace(reader, report, &format!("it holds transactions that the primary does not have ({illegal})"));
            return;
        }
        let present = reader.source(self.snapshot);
        let Some(source) = self.source_for(reader, present) else {
            self.wait(reader, "waits for a replica in good standing to receive from".to_owned());
            // From a primary that others acknowledge to it would take what nobody has acknowledged yet.
            if reader.receives() && present.is_some_and(|present| present.name == self.primary.name) {
                self.tell(reader, Told::StopReceiving);
            }
            return;
        };
        let stays = present.is_some_and(|present| present.name == source.name);
        let channel = facts.replication.as_ref().filter(|_| stays);
        let read = Told::Read { source: source.name.clone(), delay_s: self.snapshot.readers.delay_s };
        let Some(channel) = channel else {
            self.wait(reader, format!("beginning to receive from {}", source.name));
            *self.fed.entry(&source.name).or_default() += 1;
            self.tell(reader, read);
            return;
        };
        match (channel.receiver, channel.applier) {
            (ThreadState::Off, _) if channel.receiver_error.contains(PURGED) => {
                self.replace(
                    reader,
                    report,
                    &format!("what it needs is no longer in anybody's logs: {}", channel.receiver_error),
                );
            }
            (ThreadState::Off, _) => {
                self.wait(reader, format!("not receiving: {}", channel.receiver_error));
                self.tell(reader, read);
            }
            // A receiver that is trying goes on by itself.
            (ThreadState::Connecting, _) => self.wait(reader, format!("not receiving: {}", channel.receiver_error)),
            (ThreadState::On, ThreadState::Off) => {
                self.wait(reader, format!("not applying: {}", channel.applier_error));
                self.tell(reader, read);
            }
            (ThreadState::On, ThreadState::On | ThreadState::Connecting) => {
                let differs = channel.delay_s != self.snapshot.readers.delay_s || facts.offline;
                if differs || !reader.has_stored(self.record.claim()) {
                    self.tell(reader, read);
                }
            }
        }
    }

    /// The member that a reader receives from: the one it has for as long as that will do.
    fn source_for(&self, reader: &ReaderView, present: Option<&'a MemberView>) -> Option<&'a MemberView> {
        let best = self.best_source();
        let Some(present) = present.filter(|present| !self.must_leave(reader, present)) else { return best };
        let settled = self.snapshot.record_unchanged_ms >= SETTLED_MS && present.report().is_some();
        let idle = settled && !self.is_source(present);
        let behind = settled && self.distance(present) == Distance::Behind;
        let better = best.filter(|best| idle || (behind && self.distance(best) == Distance::Near));
        better.or(Some(present))
    }

    /// Whether a reader must not, or cannot, go on with its source.
    fn must_leave(&self, reader: &ReaderView, present: &MemberView) -> bool {
        let leads = present.name == self.primary.name && !primary_feeds(self.record);
        let votes = self.record.incarnation_of(&present.name).is_some();
        let lost = !reader.receives() && !self.is_source(present);
        leads || !votes || lost || !illegal_transactions(self.record, present).is_empty()
    }

    fn is_source(&self, member: &MemberView) -> bool {
        self.sources.iter().any(|source| source.name == member.name)
    }

    /// Whoever is least behind; among those the one that feeds the fewest.
    fn best_source(&self) -> Option<&'a MemberView> {
        let order = |member: &&MemberView| {
            (self.distance(member), self.fed.get(member.name.as_str()).copied().unwrap_or(0), member.ordinal)
        };
        self.sources.iter().copied().min_by_key(order)
    }

    fn distance(&self, member: &MemberView) -> Distance {
        let (lag, most) = (lag_of(member.server()).unwrap_or(0), self.snapshot.readers.max_lag_s);
        match lag {
            lag if lag <= most / 2 => Distance::Near,
            lag if lag <= most => Distance::Far,
            _ => Distance::Behind,
        }
    }

    fn replace(&mut self, reader: &ReaderView, report: &MemberReport, why: &str) {
        let why = self.copy(reader, report, why);
        self.assessment.waiting.push(Waiting::Replaced { reader: reader.name().to_owned(), why });
    }

    /// Copies a member that may feed readers, one copy at a time in the whole cluster: a donor serves one. Says why,
    /// and what it waits for.
    fn copy(&mut self, reader: &ReaderView, report: &MemberReport, why: &str) -> String {
        let failed = report.job.as_ref().and_then(|job| match &job.state {
            JobState::Failed { error } => Some(format!("; the last copy failed: {error}")),
            JobState::Running { .. } | JobState::Done | JobState::Unknown => None,
        });
        let why = format!("{why}{}", failed.unwrap_or_default());
        let Some(donor) = self.best_source() else {
            return format!("{why}; waits for a replica in good standing to copy");
        };
        if self.is_copying() {
            return format!("{why}; waits for another copy to end");
        }
        if reader.may_copy() {
            self.tell(reader, Told::Clone { donor: donor.name.clone() });
        }
        why
    }

    fn is_copying(&self) -> bool {
        let begins =
            self.assessment.steps.iter().any(|step| matches!(step, Step::Command { order: Order::Clone { .. }, .. }));
        begins || self.snapshot.readers.are_copying() || self.snapshot.members.iter().any(super::maintain::is_cloning)
    }

    fn tell(&mut self, reader: &ReaderView, told: Told) {
        if reader.is_available() {
            self.assessment.steps.push(Step::Command { member: reader.name().to_owned(), order: told.into() });
        }
    }

    fn wait(&mut self, reader: &ReaderView, why: String) {
        self.assessment.waiting.push(Waiting::Member { member: reader.name().to_owned(), why });
    }
}

/// How far a member that may feed readers is behind its primary, against what the user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    /// No more than half of it.
    Near,
    /// No more than all of it.
    Far,
    /// More.
    Behind,
}

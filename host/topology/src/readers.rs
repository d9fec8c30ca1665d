//! Read replicas: what is known of them, and which members may feed them.
//!
//! A reader is a type of its own. Whatever counts votes, freezes or chooses takes a [`MemberView`], and nothing here
//! hands out that of a reader, so that no quorum, no candidate and no acknowledgement can ever include one.

use serde::{Deserialize, Serialize};

use crate::assess::maintain::replicates_from;
use crate::facts::{JobKind, JobState, MemberReport, ServerFacts, ThreadState};
use crate::gtid::GtidSet;
use crate::quorum::illegal_transactions;
use crate::record::{Claim, Record};
use crate::signals::Signals;
use crate::snapshot::{MemberView, PodFacts, Probe, Snapshot};

/// How far, in seconds, a replica may lag and still be read from, if the user does not say: long enough for a large
/// transaction, short enough that nobody takes what is read for the present by mistake.
pub const DEFAULT_MAX_LAG_S: u64 = 30;

/// The read replicas of a cluster, and what the user asks of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readers {
    /// How much later than on the primary, in seconds, they apply what they receive.
    pub delay_s: u64,
    /// How far, in seconds, a replica or a reader may lag and still be read from.
    pub max_lag_s: u64,
    /// Every reader that should be, sorted by ordinal.
    pub views: Vec<ReaderView>,
}

/// One read replica at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReaderView {
    view: MemberView,
    may_copy: bool,
}

impl Default for Readers {
    fn default() -> Self {
        Self { delay_s: 0, max_lag_s: DEFAULT_MAX_LAG_S, views: Vec::new() }
    }
}

impl Readers {
    /// Whether one of them is copying a member's data.
    pub fn are_copying(&self) -> bool {
        self.views.iter().any(|reader| {
            let job = reader.report().and_then(|report| report.job.as_ref());
            job.is_some_and(|job| job.kind == JobKind::Clone && matches!(job.state, JobState::Running { .. }))
        })
    }
}

impl ReaderView {
    /// A reader, as a pod and its agent show it. `may_copy` says whether a copy may begin: the last one was not
    /// begun just now.
    pub fn new(view: MemberView, may_copy: bool) -> Self {
        Self { view, may_copy }
    }

    /// The pod's name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// What Kubernetes says of its pod. None where there is no such pod.
    pub fn pod(&self) -> Option<&PodFacts> {
        self.view.pod.as_ref()
    }

    /// What its agent says.
    pub fn probe(&self) -> &Probe {
        &self.view.probe
    }

    /// The last report, if the agent is reachable.
    pub fn report(&self) -> Option<&MemberReport> {
        self.view.report()
    }

    /// What its agent has measured lately.
    pub fn signals(&self) -> Option<&Signals> {
        self.view.signals.as_deref()
    }

    /// What its mysqld says, if it runs and answers.
    pub fn server(&self) -> Option<&ServerFacts> {
        self.view.server()
    }

    /// Whether it can be given a command.
    pub fn is_available(&self) -> bool {
        self.view.available
    }

    /// Whether a copy of a member's data may begin.
    pub fn may_copy(&self) -> bool {
        self.may_copy
    }

    /// Whether its pod is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.view.is_leaving()
    }

    /// Whether its agent has stored exactly this claim.
    pub fn has_stored(&self, claim: Claim) -> bool {
        self.view.has_stored(claim)
    }

    /// Whether it receives, from whomever.
    pub fn receives(&self) -> bool {
        let channel = self.server().and_then(|facts| facts.replication.as_ref());
        channel.is_some_and(|channel| channel.receiver == ThreadState::On)
    }

    /// Transactions that it holds and the present primary's history does not: written to it directly, or committed
    /// by a former primary and never acknowledged.
    pub fn illegal_transactions(&self, record: &Record) -> GtidSet {
        illegal_transactions(record, &self.view)
    }

    /// Whether it holds something, and nothing of that belongs to this cluster.
    pub fn is_foreign(&self, record: &Record) -> bool {
        let known = self.view.known_transactions().unwrap_or_default();
        !known.is_empty() && record.legal_part(&known).is_empty()
    }

    /// The member it is set up to receive from, as far as that can be told from the address and the server there.
    pub fn source<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a MemberView> {
        let channel = self.server()?.replication.as_ref()?;
        let there = snapshot.members.iter().find(|member| {
            member.pod.as_ref().is_some_and(|pod| !pod.ip.is_empty() && pod.ip == channel.source_host)
        })?;
        let same = match (channel.source_uuid, there.server()) {
            (Some(seen), Some(facts)) => seen == facts.server_uuid,
            (None, _) | (_, None) => true,
        };
        same.then_some(there)
    }

    /// How far it lags, in seconds, end to end: what its source has not applied is missing here too.
    pub fn lag_s(&self, snapshot: &Snapshot) -> Option<u64> {
        let own = lag_of(self.server());
        let of_source = self.source(snapshot).and_then(|source| lag_of(source.server()));
        own.max(of_source)
    }
}

/// How far a member lags, in seconds, where that is measured.
pub(crate) fn lag_of(server: Option<&ServerFacts>) -> Option<u64> {
    server?.replication.as_ref()?.lag_s
}

/// Whether the primary itself feeds the readers: only where it is the one voting member.
///
/// A dump thread sends a transaction before it is acknowledged. From the primary a reader would take, and show, what
/// a failover then cuts off, and would have to be copied anew. Nothing is won by it either: while no voting replica
/// is fit, no commit is acknowledged, so there is nothing that a waiting reader misses.
pub(crate) fn primary_feeds(record: &Record) -> bool {
    record.members.len() == 1
}

/// Whether a reader may take what this member has.
pub(crate) fn feeds(record: &Record, primary: &MemberView, member: &MemberView) -> bool {
    if member.name == primary.name {
        return primary_feeds(record);
    }
    let channel = member.server().and_then(|facts| facts.replication.as_ref());
    member.in_good_standing(record)
        && record.leaving.as_deref() != Some(member.name.as_str())
        && !member.is_leaving()
        && member.volume_trouble().is_none()
        && replicates_from(member, primary)
        && channel.is_some_and(|channel| channel.applier == ThreadState::On)
        && illegal_transactions(record, member).is_empty()
}

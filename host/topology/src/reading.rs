//! Who of a cluster may be read from, besides its primary.
//!
//! It only narrows: whom this leaves out is still there, still followed up, and comes back by itself.

use std::collections::BTreeSet;

use crate::facts::{ServerFacts, ThreadState};
use crate::readers::{ReaderView, feeds, lag_of};
use crate::record::Record;
use crate::snapshot::{MemberView, PodFacts, Snapshot};

/// A pod that may be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readable<'a> {
    /// Its name.
    pub name: &'a str,
    /// What Kubernetes says of it.
    pub pod: &'a PodFacts,
}

/// Every replica and every reader that receives, applies, and lags no more than it may. Whoever is in `before` may
/// lag up to the limit; whoever is not has to catch up to half of it first, so that nobody goes in and out.
pub fn readable<'a>(
    snapshot: &'a Snapshot,
    record: &Record,
    leader: &MemberView,
    before: &BTreeSet<String>,
) -> Vec<Readable<'a>> {
    let most = snapshot.readers.max_lag_s;
    let in_time = |name: &str, lag: Option<u64>| {
        // An agent that does not measure its lag is as good as it was before there was a limit.
        lag.unwrap_or(0) <= if before.contains(name) { most } else { most / 2 }
    };
    let replicas = snapshot.members.iter().filter(|member| {
        member.name != leader.name
            && member.in_good_standing(record)
            && member.server().is_some_and(is_replicating)
            && in_time(&member.name, lag_of(member.server()))
    });
    let replicas = replicas.filter_map(|member| Some((member.name.as_str(), member.pod.as_ref()?)));
    let readers =
        snapshot.readers.views.iter().filter(|reader| {
            is_whole(snapshot, record, leader, reader) && in_time(reader.name(), reader.lag_s(snapshot))
        });
    let readers = readers.filter_map(|reader| Some((reader.name(), reader.pod()?)));
    replicas.chain(readers).map(|(name, pod)| Readable { name, pod }).collect()
}

/// Whether a reader has what the cluster has, late by no more than its lag: never one that is late on purpose.
fn is_whole(snapshot: &Snapshot, record: &Record, leader: &MemberView, reader: &ReaderView) -> bool {
    let delayed = |facts: &ServerFacts| facts.replication.as_ref().is_some_and(|channel| channel.delay_s > 0);
    snapshot.readers.delay_s == 0
        && !reader.is_leaving()
        && reader.server().is_some_and(|facts| is_replicating(facts) && !delayed(facts))
        && reader.illegal_transactions(record).is_empty()
        && reader.source(snapshot).is_some_and(|source| feeds(record, leader, source))
}

fn is_replicating(facts: &ServerFacts) -> bool {
    let channel = facts.replication.as_ref();
    !facts.offline
        && channel.is_some_and(|channel| channel.receiver == ThreadState::On && channel.applier == ThreadState::On)
}

//! Planned disruptions: whose pod is replaced next, when the primary gives way first, and what is waited for.
//!
//! Everything is derived from what is seen, so whoever looks next goes on where the last one stopped. Nothing here may
//! delay what a loss calls for, and nothing is done to a cluster that is not whole, except to the one member that
//! keeps it from being so.

use std::fmt;

use crate::assess::maintain::replicates_from;
use crate::assess::membership::acknowledging;
use crate::facts::ThreadState;
use crate::guard::expected_quorum;
use crate::quorum::{candidates, illegal_transactions};
use crate::record::{Phase, Record};
use crate::snapshot::{MemberView, Outdated, Probe, Snapshot};

/// What is said while the limit over all clusters holds something back.
pub(crate) const LIMITED: &str = "the limit of planned disruptions over all clusters allows it";

/// Which pods are to be replaced, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// Members whose pods are to be replaced, in the order of the snapshot.
    pub due: Vec<Due>,
    /// Members whose pods this installation of Grampus would make differently, and that nothing else is due for.
    /// They are left alone: an upgrade of Grampus restarts nobody.
    pub outdated: Vec<String>,
    /// What is done now, if anything is due.
    pub next: Option<Next>,
    /// Members that are not as they should be, each with the reason. Looked for only while a restart is asked for.
    pub troubles: Vec<(String, String)>,
}

/// A member whose pod is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The pod's name.
    pub member: String,
    /// Why.
    pub cause: Cause,
}

/// Why a pod is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for a restart.
    Asked,
    /// The spec asks for another pod than the one there is.
    Spec,
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Asked => "a restart was asked for",
            Self::Spec => "its spec has changed",
        })
    }
}

/// What is done about it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This pod is replaced.
    Replace {
        /// The pod's name.
        member: String,
        /// Its identity.
        uid: String,
        /// Why.
        because: String,
    },
    /// The primary gives way first.
    HandOver {
        /// Why.
        because: String,
    },
    /// Nothing yet.
    Wait {
        /// What is waited for. It holds no number that changes by itself: it stands in a status.
        why: String,
    },
}

/// What is to be done about pods now.
pub fn upkeep(snapshot: &Snapshot) -> Upkeep {
    let due: Vec<Due> = snapshot
        .members
        .iter()
        .filter_map(|member| Some(Due { member: member.name.clone(), cause: cause(snapshot, member)? }))
        .collect();
    let older =
        snapshot.members.iter().filter(|member| outdated(member).is_some() && cause(snapshot, member).is_none());
    Upkeep {
        outdated: older.map(|member| member.name.clone()).collect(),
        next: next(snapshot, !due.is_empty()),
        troubles: if snapshot.restart.is_some() { troubles(snapshot) } else { Vec::new() },
        due,
    }
}

fn troubles(snapshot: &Snapshot) -> Vec<(String, String)> {
    let named = |member: &MemberView| (member.name.clone(), "nobody takes writes".to_owned());
    Look::at(snapshot).map_or_else(|| snapshot.members.iter().map(named).collect(), |look| look.troubles())
}

/// Whether the primary is to give way because of its pod or its node, and why.
pub(crate) fn hand_over(snapshot: &Snapshot, record: &Record) -> Option<String> {
    if record.phase == Phase::Serving {
        return match next(snapshot, true)? {
            Next::HandOver { because } => Some(because),
            Next::Replace { .. } | Next::Wait { .. } => None,
        };
    }
    // Once it is frozen nothing is whole any more. One that closed in an orderly way did so for this.
    let former = snapshot.member(&record.primary).filter(|former| former.is_drained())?;
    if former.pod.as_ref().is_some_and(|pod| pod.node_cordoned) {
        return Some(closed_node());
    }
    cause(snapshot, former).map(|cause| cause.to_string())
}

/// Why the pod of this member is to be replaced, if it is.
fn cause(snapshot: &Snapshot, member: &MemberView) -> Option<Cause> {
    let pod = member.pod.as_ref()?;
    let asked = snapshot.restart.as_ref().is_some_and(|restart| {
        restart.member.as_ref().is_none_or(|name| *name == member.name) && pod.created_unix_ms < restart.asked_unix_ms
    });
    if asked {
        return Some(Cause::Asked);
    }
    (pod.outdated == Some(Outdated::Spec)).then_some(Cause::Spec)
}

fn outdated(member: &MemberView) -> Option<Outdated> {
    member.pod.as_ref()?.outdated
}

fn next(snapshot: &Snapshot, anything_due: bool) -> Option<Next> {
    if let Some(next) = snapshot.members.iter().find_map(stuck) {
        return Some(next);
    }
    match Look::at(snapshot) {
        Some(look) => look.cordon().or_else(|| look.restart()),
        None => anything_due.then(|| wait("a primary to take writes".to_owned())),
    }
}

/// A pod that never started and would be made differently now: whatever kept it from starting may be mended, and
/// nothing runs in it that could be disturbed.
fn stuck(member: &MemberView) -> Option<Next> {
    let pod = member.pod.as_ref().filter(|pod| pod.pending && !pod.terminating && pod.outdated.is_some())?;
    let because = "it has not started, and would be made differently now".to_owned();
    member.available.then(|| Next::Replace { member: member.name.clone(), uid: pod.uid.clone(), because })
}

fn wait(why: String) -> Next {
    Next::Wait { why: format!("waiting for {why}") }
}

fn closed_node() -> String {
    "its node is closed to new pods".to_owned()
}

/// A cluster whose primary is there.
struct Look<'a> {
    snapshot: &'a Snapshot,
    record: &'a Record,
    primary: &'a MemberView,
}

impl<'a> Look<'a> {
    fn at(snapshot: &'a Snapshot) -> Option<Self> {
        let record = snapshot.record.as_ref().filter(|record| record.phase == Phase::Serving)?;
        let primary = snapshot.member(&record.primary).filter(|primary| primary.server().is_some())?;
        Some(Self { snapshot, record, primary })
    }

    /// A primary on a node that is closed to new pods gives way while somebody can lead elsewhere: the node is about
    /// to be emptied, and a role that has moved before costs nothing.
    fn cordon(&self) -> Option<Next> {
        let pod = self.primary.pod.as_ref().filter(|pod| pod.node_cordoned && !pod.terminating)?;
        let elsewhere = expected_quorum(self.snapshot, self.record).is_some_and(|quorum| {
            let candidates = candidates(self.snapshot, self.record, &quorum);
            candidates.iter().any(|candidate| candidate.is_eligible() && !candidate.node_cordoned)
        });
        let acknowledged = acknowledging(self.snapshot, self.record).len() >= self.record.effective_acks() as usize;
        if !elsewhere || !acknowledged || self.is_busy() {
            return None;
        }
        let who = format!("{} is on {}, which is closed to new pods, and gives way", self.primary.name, pod.node);
        Some(self.give_way(closed_node(), &who))
    }

    /// Replicas first, one after the other, each while every other member is as it should be; the primary last, once
    /// another leads.
    fn restart(&self) -> Option<Next> {
        let mut due: Vec<(&MemberView, Cause)> =
            self.snapshot.members.iter().filter_map(|member| Some((member, cause(self.snapshot, member)?))).collect();
        if due.is_empty() {
            return None;
        }
        if self.is_busy() {
            return Some(wait("another operation to end".to_owned()));
        }
        // The one that is not as it should be first: it may be what its new pod mends.
        due.sort_by_key(|(member, _)| {
            (member.name == self.primary.name, self.trouble(member).is_none(), member.ordinal)
        });
        let replicas: Vec<_> = due.iter().filter(|(member, _)| member.name != self.primary.name).collect();
        let movable = replicas.iter().find(|(member, _)| self.others_are_whole(member) && on_open_node(member));
        if let Some((member, cause)) = movable {
            if !self.takes_writes() {
                return Some(wait(format!("{} to take writes", self.primary.name)));
            }
            return Some(self.replace(member, *cause));
        }
        let troubles: Vec<_> = self.troubles().into_iter().map(|(member, why)| format!("{member}: {why}")).collect();
        if !troubles.is_empty() {
            return Some(wait(troubles.join("; ")));
        }
        if !self.settled() {
            return Some(wait("a change of members or acknowledgements to end".to_owned()));
        }
        if let Some((member, _)) = replicas.first() {
            let node = member.pod.as_ref().map(|pod| pod.node.as_str()).unwrap_or_default();
            return Some(wait(format!("{node} to be open to pods again: a new {} might find no place", member.name)));
        }
        let (_, cause) = due.first()?;
        if self.record.members.len() == 1 {
            return Some(self.replace(self.primary, *cause));
        }
        let who = format!("{} is next, once another leads", self.primary.name);
        Some(self.give_way(cause.to_string(), &who))
    }

    fn replace(&self, member: &MemberView, cause: Cause) -> Next {
        let uid = member.pod.as_ref().map(|pod| pod.uid.clone()).unwrap_or_default();
        if self.snapshot.pace.limited {
            return Next::Wait { why: format!("{} is next, once {LIMITED}", member.name) };
        }
        if !member.available {
            return Next::Wait { why: format!("{} is next", member.name) };
        }
        Next::Replace { member: member.name.clone(), uid, because: cause.to_string() }
    }

    /// A primary that has closed goes on with what it closed for.
    fn give_way(&self, because: String, who: &str) -> Next {
        if !self.takes_writes() {
            Next::HandOver { because }
        } else if self.snapshot.pace.limited {
            Next::Wait { why: format!("{who}, once {LIMITED}") }
        } else if self.snapshot.is_resting() {
            let why = "writes under way did not end in time a short while ago, so it is tried later";
            Next::Wait { why: format!("{who}; {why}") }
        } else {
            Next::HandOver { because }
        }
    }

    fn takes_writes(&self) -> bool {
        self.primary.server().is_some_and(|facts| facts.open)
    }

    /// Whether somebody asked for something else that goes first.
    fn is_busy(&self) -> bool {
        self.snapshot.switchover.is_some() || self.snapshot.rebuild.is_some() || self.snapshot.accept_loss.is_some()
    }

    fn others_are_whole(&self, but: &MemberView) -> bool {
        self.settled()
            && self.snapshot.members.iter().all(|other| other.name == but.name || self.trouble(other).is_none())
    }

    fn settled(&self) -> bool {
        let stays = |member: &MemberView| !self.snapshot.is_surplus(&member.name);
        self.record.leaving.is_none() && self.record.raising_acks.is_none() && self.snapshot.members.iter().all(stays)
    }

    /// What keeps the cluster from being whole, member by member.
    fn troubles(&self) -> Vec<(String, String)> {
        let named = |member: &MemberView| Some((member.name.clone(), self.trouble(member)?));
        self.snapshot.members.iter().filter_map(named).collect()
    }

    /// Why a member is not as it should be, if it is not.
    fn trouble(&self, member: &MemberView) -> Option<String> {
        let pod = member.pod.as_ref();
        let why = match (&member.probe, pod) {
            (_, None) => "it has no pod",
            (_, Some(pod)) if pod.terminating => "its pod is being replaced",
            (Probe::Unreachable { .. } | Probe::NotProbed, _) => "its agent does not answer",
            (Probe::Known { .. }, _) if member.server().is_none() => "its mysqld does not answer",
            (Probe::Known { .. }, _) if !member.votes_in(self.record) => "it does not vote yet",
            (Probe::Known { .. }, _) if member.volume_trouble().is_some() => "its volume takes no writes",
            (Probe::Known { .. }, _) if member.name == self.primary.name => return None,
            (Probe::Known { .. }, _) => return self.replica_trouble(member).map(str::to_owned),
        };
        Some(why.to_owned())
    }

    fn replica_trouble(&self, member: &MemberView) -> Option<&'static str> {
        let channel = member.server().and_then(|facts| facts.replication.as_ref());
        if !member.in_good_standing(self.record) {
            Some("it has not proved that it has received everything")
        } else if !illegal_transactions(self.record, member).is_empty() {
            Some("it holds transactions that the primary does not have")
        } else if !replicates_from(member, self.primary) {
            Some("it does not receive from the primary")
        } else if channel.is_none_or(|channel| channel.applier == ThreadState::Off) {
            Some("it does not apply what it receives")
        } else if channel.is_none_or(|channel| !channel.acknowledges) {
            Some("it does not acknowledge")
        } else {
            None
        }
    }
}

fn on_open_node(member: &MemberView) -> bool {
    member.pod.as_ref().is_some_and(|pod| !pod.node_cordoned && !pod.terminating)
}

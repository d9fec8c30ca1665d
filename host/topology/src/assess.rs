//! What a snapshot calls for: steps, a question for the policy, or a wait with its reason.
//!
//! Nothing here chooses a primary; it only finds out whether one has to be chosen. It must never derive a step
//! from what an earlier pass meant to do, only from what the snapshot shows.

mod adopt;
mod bootstrap;
mod failover;
pub(crate) mod maintain;
pub(crate) mod membership;
mod readers;
mod spread;
mod suppose;

use std::fmt;

pub use self::adopt::is_contradicted;
pub use self::suppose::without_primary;

use crate::decision::Question;
use crate::plan::Step;
use crate::quorum::TooFew;
use crate::record::Phase;
use crate::snapshot::{OtherVersion, Snapshot};
use crate::upkeep::{Next, Upkeep, upkeep};

/// What is to be done about a cluster now. All empty means that it is as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assessment {
    /// What can be done without choosing anything.
    pub steps: Vec<Step>,
    /// What has to be chosen.
    pub question: Option<Asked>,
    /// What stands in the way of something that should be so.
    pub waiting: Vec<Waiting>,
    /// Which pods are to be replaced, and what is done about it.
    pub upkeep: Upkeep,
}

impl Assessment {
    /// Members that have to be asked at once whether they are there.
    pub fn probes(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Probe { member } => Some(member.as_str()),
            Step::Advance { .. } | Step::Command { .. } | Step::Replace { .. } => None,
        })
    }

    /// Whether it has this member asked at once whether it is there.
    pub fn doubts(&self, member: &str) -> bool {
        self.probes().any(|asked| asked == member)
    }

    /// Whether it calls for a new epoch because a primary is lost. A freeze that was begun and not finished may only wait
    /// for members that are not there: two operators that take it from each other would raise the epoch without end.
    pub fn finds_a_loss(&self, snapshot: &Snapshot) -> bool {
        let freezes = |step: &Step| matches!(step, Step::Advance { to, .. } if to.phase == Phase::Freezing);
        let begun = snapshot.record.as_ref().is_some_and(|record| record.phase == Phase::Freezing);
        !begun && self.steps.iter().any(freezes)
    }
}

/// Something that has to be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What a policy is asked.
    pub question: Question,
    /// The member that a person named: no policy is asked then, but the guard is.
    pub named: Option<String>,
}

/// Something that should be so and cannot be yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A new cluster needs to hear from every member before it makes data: one of them might hold some.
    Members {
        /// Who has not been heard of, and why.
        missing: Vec<(String, String)>,
    },
    /// A new cluster opens once enough replicas can acknowledge.
    FirstReplicas {
        /// How many are needed.
        needed: u32,
        /// How many are ready.
        ready: u32,
    },
    /// A member's agent speaks another version of the protocol than this operator, which therefore does nothing.
    Version {
        /// Which members.
        members: Vec<String>,
        /// The versions of the first of them.
        versions: OtherVersion,
    },
    /// The record is gone or went back, and there is data.
    Adoption {
        /// The epoch of the record there is; None where there is none.
        found: Option<u64>,
        /// What has to be so.
        needs: String,
    },
    /// The primary is gone and too few members are there to know what was acknowledged.
    Quorum(TooFew),
    /// Something is wrong with the primary, but not enough is known to replace it.
    Suspicion {
        /// What is wrong, and what is missing.
        why: String,
    },
    /// Too few members know of the last change of members or acks for the next one to begin.
    Spread {
        /// How many have to.
        needed: usize,
        /// How many do.
        know: usize,
    },
    /// Another operator is in the middle of a failover.
    OtherOperator,
    /// The chosen primary has not opened yet.
    Promotion {
        /// Who.
        primary: String,
    },
    /// Too few replicas are there to acknowledge, so commits wait.
    Acknowledgements {
        /// k.
        needed: u32,
        /// How many can acknowledge now.
        present: u32,
        /// Replicas that should and cannot.
        missing: Vec<String>,
    },
    /// A member is being made a replica.
    Member {
        /// Who.
        member: String,
        /// What is going on, or what is in the way.
        why: String,
    },
    /// A replica cannot go on with the data it has.
    Unfit {
        /// Who.
        member: String,
        /// What is wrong with it.
        trouble: String,
        /// What has to be so before its data is replaced by a copy. None if a copy begins now.
        held_back: Option<String>,
    },
    /// A member holds transactions that may have been acknowledged before they were given up. A person has to decide.
    GivenUp {
        /// Who.
        member: String,
        /// Which transactions.
        transactions: String,
    },
    /// A member holds transactions that no primary committed. A person has to decide.
    Errant {
        /// Who.
        member: String,
        /// Which transactions.
        transactions: String,
    },
    /// The data of a read replica is of no use and is replaced by a copy of a member's.
    Replaced {
        /// Which read replica.
        reader: String,
        /// What is wrong with its data, and what the copy waits for.
        why: String,
    },
    /// A read replica holds the data of another cluster. A person has to decide.
    Foreign {
        /// Which read replica.
        reader: String,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members { missing } => write!(out, "waiting to hear from {}", list(missing)),
            Self::FirstReplicas { needed, ready } => {
                write!(out, "opens when {needed} replicas can acknowledge; {ready} can")
            }
            Self::Version { members, versions: OtherVersion { agent, operator } } => {
                let what = if agent < operator {
                    "Delete the pods with the older agents, replicas first and the primary last; until then run an \
                     operator of their version"
                } else {
                    "Bring the operator to the version of its agents"
                };
                write!(
                    out,
                    "the agent of {} speaks version {agent} of the protocol and this operator version {operator}, so \
                     nothing is done by itself: no failover either. What is there goes on as it is. {what}",
                    members.join(", ")
                )
            }
            Self::Adoption { found: None, needs } => write!(out, "there is data but no record of who led: {needs}"),
            Self::Adoption { found: Some(epoch), needs } => {
                write!(out, "the record says epoch {epoch} and members know better: {needs}")
            }
            Self::Quorum(few) => write!(out, "{few}"),
            Self::Suspicion { why } => out.write_str(why),
            Self::Spread { needed, know } => write!(
                out,
                "a change of members or acknowledgements waits until {needed} members know of the last one; {know} do. \
                 Where the others do not come back somebody can accept to go on without them"
            ),
            Self::OtherOperator => out.write_str("another operator is in the middle of a failover"),
            Self::Promotion { primary } => write!(out, "{primary} is chosen and has not opened yet"),
            Self::Acknowledgements { needed, present, missing } => write!(
                out,
                "commits wait: {needed} acknowledgements are needed, {present} replicas can give one; missing: {}",
                missing.join(", ")
            ),
            Self::Member { member, why } => write!(out, "{member}: {why}"),
            Self::Unfit { member, trouble, held_back: None } => {
                write!(out, "{member} cannot go on with its data and is copied anew: {trouble}")
            }
            Self::Unfit { member, trouble, held_back: Some(what) } => {
                write!(out, "{member} cannot go on with its data: {trouble}. It is copied anew once {what}")
            }
            Self::GivenUp { member, transactions } => write!(
                out,
                "{member} holds transactions that may have been acknowledged before they were given up ({transactions}); \
                 it is left out, its data untouched, until somebody asks for its rebuild"
            ),
            Self::Errant { member, transactions } => write!(
                out,
                "{member} holds transactions that no primary committed ({transactions}); it is left out until it is rebuilt"
            ),
            Self::Replaced { reader, why } => write!(out, "{reader} is copied anew: {why}"),
            Self::Foreign { reader } => write!(
                out,
                "{reader} holds data that this cluster has no part of, perhaps the last copy of an earlier cluster of this \
                 name; it is left as it is. Save what you need of it, then delete its volume claim and its pod"
            ),
        }
    }
}

impl fmt::Display for TooFew {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} of the {} members that together hold every acknowledged write are there; missing: {}",
            self.counted.len(),
            self.needed,
            list(&self.missing)
        )?;
        match &self.last_primary {
            Some((name, why)) => write!(out, "; or {name}, which led last, alone ({why})"),
            None => Ok(()),
        }
    }
}

fn list(missing: &[(String, String)]) -> String {
    let each: Vec<_> = missing.iter().map(|(name, why)| format!("{name} ({why})")).collect();
    each.join(", ")
}

/// What the snapshot calls for.
pub fn assess(snapshot: &Snapshot) -> Assessment {
    if let Some(waiting) = another_language(snapshot) {
        return Assessment { waiting: vec![waiting], ..Assessment::default() };
    }
    let mut assessment = roles(snapshot);
    assessment.upkeep = upkeep(snapshot);
    match (assessment.upkeep.next.clone(), &snapshot.record) {
        (Some(Next::Replace { member, uid, because }), _) => {
            assessment.steps.push(Step::Replace { member, uid, because });
        }
        // Its pod is not to be replaced, so nothing else says what its node is waiting for.
        (Some(Next::Wait { why }), Some(record)) if assessment.upkeep.due.is_empty() => {
            assessment.waiting.push(Waiting::Member { member: record.primary.clone(), why });
        }
        (Some(Next::Wait { .. } | Next::HandOver { .. }) | None, _) => {}
    }
    assessment
}

/// Members whose agents this operator does not understand. What they would say could change every answer, and what they
/// are told they need not understand as it is meant.
fn another_language(snapshot: &Snapshot) -> Option<Waiting> {
    let others = || snapshot.members.iter().filter_map(|member| Some((member, member.other_version?)));
    let (_, versions) = others().next()?;
    Some(Waiting::Version { members: others().map(|(member, _)| member.name.clone()).collect(), versions })
}

fn roles(snapshot: &Snapshot) -> Assessment {
    let Some(record) = &snapshot.record else { return bootstrap::without_record(snapshot) };
    if let Some(recovery) = adopt::stale(snapshot, record) {
        return recovery;
    }
    if bootstrap::is_under_way(record) {
        return bootstrap::first_primary(snapshot, record);
    }
    match record.phase {
        Phase::Serving => failover::serving(snapshot, record),
        Phase::Freezing => failover::freezing(snapshot, record),
        Phase::Promoting => failover::promoting(snapshot, record),
    }
}

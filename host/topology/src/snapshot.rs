//! What is known about a cluster at one moment, gathered before anything is decided.
//!
//! A snapshot is a value: no handles, no clock, nothing that changes under the reader. What could not be
//! observed is [`Probe::Unreachable`] or [`Probe::NotProbed`] and must never be read as absent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::decision::NodePressure;
use crate::facts::{DataState, MemberReport, Replication, ServerFacts, ServerState, Standing, VolumeTrouble};
use crate::gtid::GtidSet;
use crate::leads::EndedLeads;
use crate::readers::Readers;
use crate::record::{Claim, Record};
use crate::signals::Signals;
use crate::upkeep::hand_over;

/// How long, in milliseconds, a primary that could not be drained is left alone before it is drained again for something
/// that nobody waits for, such as its removal or a closed node: every attempt stops writes for some seconds, and a
/// statement that stood in the way may run for long.
const DRAIN_PAUSE_MS: u64 = 60_000;

/// One cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The namespace of the cluster.
    pub namespace: String,
    /// The name of the cluster.
    pub cluster: String,
    /// When this was put together, in milliseconds since 1970.
    pub now_unix_ms: u64,
    /// The record, read from the API server. None where there is none.
    pub record: Option<Record>,
    /// For how long, in milliseconds, this operator has seen that record unchanged.
    pub record_unchanged_ms: u64,
    /// Whether this operator wrote the record as it stands: a freeze of its own, not another's.
    pub record_is_ours: bool,
    /// What the user asks for.
    pub desired: Desired,
    /// Every pod that should or does vote, sorted by ordinal.
    pub members: Vec<MemberView>,
    /// The read replicas, which are no members.
    #[serde(default)]
    pub readers: Readers,
    /// A planned change of primary that somebody asked for.
    pub switchover: Option<Switchover>,
    /// A copy of the data that somebody wants replaced.
    pub rebuild: Option<Rebuild>,
    /// That somebody accepts to lose what absent members hold.
    pub accept_loss: Option<AcceptLoss>,
    /// For how long, in milliseconds, a member has remembered a later record than the one that was read meanwhile, or
    /// one where there is none. 0 while none does.
    pub contradicted_ms: u64,
    /// Members that somebody wants restarted.
    #[serde(default)]
    pub restart: Option<Restart>,
    /// What planned disruptions have to wait for, whoever wants them.
    #[serde(default)]
    pub pace: Pace,
    /// For how long, in milliseconds, no writable primary has been seen. 0 while there is one.
    pub without_primary_ms: u64,
    /// The change of members or k that the record announces is in force at the primary, and this is everything that
    /// its binary log could hold then. What comes later is acknowledged under the change already.
    pub change_barrier: Option<GtidSet>,
    /// How long ago, in milliseconds, the present primary could not be drained and took writes again. None if that has
    /// not happened.
    pub drain_failed_ms: Option<u64>,
    /// The leads that ended while this operator watched. Policies weigh them; nothing else goes by it.
    #[serde(default)]
    pub ended_leads: EndedLeads,
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// N: how many members vote.
    pub replicas: u32,
    /// k: how many replicas acknowledge a commit.
    pub acks: u32,
}

/// A planned change of primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Switchover {
    /// The member that was named; None asks the policy.
    pub to: Option<String>,
    /// The member that led when the operation began.
    pub from: String,
    /// What is left of its time, in milliseconds.
    pub left_ms: u64,
}

/// A copy of the data that is to be replaced by another member's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    /// Whose.
    pub member: String,
    /// Which: the wish is fulfilled once that member holds another.
    pub incarnation: Uuid,
}

/// The wish to go on without members that do not answer, at the price of what only they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptLoss {
    /// The epoch in which the cluster waits, named as the confirmation. In another one the wish means nothing.
    pub epoch: u64,
    /// Who asked: the name of the operation.
    pub operation: String,
}

/// Members whose pods somebody wants replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// Which; every one if None.
    pub member: Option<String>,
    /// When that was asked for, in milliseconds since 1970, on the clock that says when a pod was made. A pod that was
    /// made earlier has yet to be replaced.
    pub asked_unix_ms: u64,
}

/// What holds planned disruptions back. Nothing of it ever holds back what a loss calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// The limit over all clusters allows none now.
    pub limited: bool,
}

/// A change of primary that is due while the primary still serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The member that was named; None asks the policy.
    pub to: Option<String>,
    /// Why the primary gives way.
    pub because: String,
}

/// One member at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// The pod's name.
    pub name: String,
    /// The number at the end of it.
    pub ordinal: u32,
    /// What Kubernetes says of it. None where there is no such pod.
    pub pod: Option<PodFacts>,
    /// What its agent says.
    pub probe: Probe,
    /// What its agent has measured lately. Policies weigh it; nothing else goes by it.
    #[serde(skip)]
    pub signals: Option<Arc<Signals>>,
    /// Whether it can be given a command: none given under this record is under way, and none failed just now.
    pub available: bool,
    /// For how long, in milliseconds, this operator has seen the same [`crate::trouble`] of the same data, with short
    /// breaks at most. 0 while there is none.
    #[serde(default)]
    pub trouble_ms: u64,
    /// The version of the protocol that its agent speaks, where it is not this operator's.
    #[serde(default)]
    pub other_version: Option<OtherVersion>,
}

/// Two versions of the protocol between operator and agents that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherVersion {
    /// The agent's.
    pub agent: u32,
    /// This operator's.
    pub operator: u32,
}

/// What Kubernetes says of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodFacts {
    /// Its address; empty until it has one.
    pub ip: String,
    /// Its node; empty until it has one.
    pub node: String,
    /// `topology.kubernetes.io/zone` of that node; empty where there is none.
    pub zone: String,
    /// Whether that node is Ready.
    pub node_ready: bool,
    /// Whether that node is closed to new pods.
    pub node_cordoned: bool,
    /// What that node says that it is short of. What it does not say is unknown.
    #[serde(default)]
    pub node_pressure: NodePressure,
    /// The storage class of its volume; empty where the volume has none. None where its claim has not been seen.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// Whether the pod is being deleted.
    pub terminating: bool,
    /// Its identity: another pod of the same name has another.
    #[serde(default)]
    pub uid: String,
    /// When it was made, in milliseconds since 1970, in whole seconds, on the API server's clock.
    #[serde(default)]
    pub created_unix_ms: u64,
    /// Whether Kubernetes has yet to start its containers: nothing runs in it, and nothing ever did.
    #[serde(default)]
    pub pending: bool,
    /// In what it differs from a pod that would be made now.
    #[serde(default)]
    pub outdated: Option<Outdated>,
    /// Its labels, sorted by key.
    pub labels: Vec<(String, String)>,
}

/// In what a pod differs from one that would be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outdated {
    /// A person asks for something else since it was made.
    Spec,
    /// Only this installation of Grampus makes it differently: another image of Grampus, another template, another
    /// default.
    Installation,
}

/// What is known through a member's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "probe")]
pub enum Probe {
    /// Its last report, over a connection that is alive.
    #[serde(rename_all = "camelCase")]
    Known {
        /// What it said.
        report: Box<MemberReport>,
        /// How old that is, in milliseconds. A report is pushed when something changes, so age alone is no sign.
        age_ms: u64,
        /// How long ago the connection came about, in milliseconds.
        connected_ms: u64,
    },
    /// It does not answer.
    #[serde(rename_all = "camelCase")]
    Unreachable {
        /// For how long, in milliseconds.
        for_ms: u64,
        /// How long ago the last attempt that failed began, in milliseconds; what it was last heard to say counts as one.
        tried_ms: u64,
        /// Why, in the words of the connection.
        error: String,
    },
    /// Nobody has asked yet.
    NotProbed,
}

impl Snapshot {
    /// The view of a member.
    pub fn member(&self, name: &str) -> Option<&MemberView> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The planned change of primary that is due under this record: the one somebody asked for, the one that the
    /// deletion of the primary's pod or its removal calls for while its mysqld still runs, or one that
    /// [`crate::upkeep`] calls for.
    pub fn planned(&self, record: &Record) -> Option<Planned> {
        let asked = self.switchover.as_ref().filter(|asked| asked.from == record.primary && asked.left_ms > 0);
        if let Some(asked) = asked {
            return Some(Planned { to: asked.to.clone(), because: "a switchover was asked for".to_owned() });
        }
        let primary = self.member(&record.primary)?;
        if primary.is_leaving() {
            return Some(Planned { to: None, because: "its pod is being deleted".to_owned() });
        }
        let due = self.is_surplus(&primary.name)
            && primary.server().is_some()
            && !self.is_resting()
            && self.has_successor(record);
        if due {
            return Some(Planned { to: None, because: "it is being removed".to_owned() });
        }
        hand_over(self, record).map(|because| Planned { to: None, because })
    }

    /// Whether the primary could not be drained a short while ago, so that it is left alone unless somebody waits for it.
    pub fn is_resting(&self) -> bool {
        self.drain_failed_ms.is_some_and(|ago| ago < DRAIN_PAUSE_MS)
    }

    /// Whether the user asks for fewer members than this one's number, so that it has to go.
    pub fn is_surplus(&self, name: &str) -> bool {
        self.desired.replicas > 0 && self.member(name).is_some_and(|member| member.ordinal >= self.desired.replicas)
    }

    /// Whether somebody is there who stays and could lead: a role is not moved, nor asked to be, towards nobody.
    fn has_successor(&self, record: &Record) -> bool {
        self.members.iter().any(|member| {
            member.name != record.primary
                && !self.is_surplus(&member.name)
                && !member.is_leaving()
                && member.in_good_standing(record)
                && member.server().is_some()
        })
    }
}

impl MemberView {
    /// The last report, if the agent is reachable.
    pub fn report(&self) -> Option<&MemberReport> {
        match &self.probe {
            Probe::Known { report, .. } => Some(report),
            Probe::Unreachable { .. } | Probe::NotProbed => None,
        }
    }

    /// What its mysqld says, if it runs and answers.
    pub fn server(&self) -> Option<&ServerFacts> {
        match &self.report()?.server {
            ServerState::Running(facts) => Some(facts),
            ServerState::Stopped { .. } | ServerState::Starting | ServerState::Unresponsive { .. } => None,
        }
    }

    /// What keeps its volume from taking writes, if its agent says so.
    pub fn volume_trouble(&self) -> Option<&VolumeTrouble> {
        self.report()?.volume.as_ref()
    }

    /// Whether it takes no writes and none is under way.
    pub fn is_drained(&self) -> bool {
        self.server().is_some_and(|facts| facts.offline && facts.read_only && facts.semi_sync.waiting_commits == 0)
    }

    /// Whether its pod is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.terminating)
    }

    /// Which copy of the data it holds.
    pub fn incarnation(&self) -> Option<Uuid> {
        self.report().map(|report| report.data).and_then(DataState::incarnation)
    }

    /// Whether the data it votes with is the data the record knows.
    pub fn votes_in(&self, record: &Record) -> bool {
        self.incarnation().is_some_and(|mine| record.incarnation_of(&self.name) == Some(mine))
    }

    /// Whether it votes, and remembers everything it ever acknowledged.
    pub fn in_good_standing(&self, record: &Record) -> bool {
        self.votes_in(record) && self.report().is_some_and(|report| report.standing == Standing::Good)
    }

    /// The record that its agent last stored.
    pub fn remembered(&self) -> Option<&Record> {
        self.report()?.record.as_ref()
    }

    /// Whether its agent has stored exactly this claim.
    pub fn has_stored(&self, claim: Claim) -> bool {
        self.report().and_then(|report| report.record.as_ref()).is_some_and(|stored| stored.claim() == claim)
    }

    /// Whether this data was ever opened for writing while the record's primary led, by that primary.
    pub fn opened_as_primary_of(&self, record: &Record) -> bool {
        record.primary == self.name
            && self.votes_in(record)
            && self
                .report()
                .and_then(|report| report.opened_in_epoch)
                .is_some_and(|opened| opened >= record.primary_since_epoch)
    }

    /// Every transaction that others can get from its running server, now or in a while. What it has received and its
    /// applier cannot execute, it hands on to nobody.
    pub fn hands_on(&self) -> Option<GtidSet> {
        let facts = self.server()?;
        let stuck = facts.replication.as_ref().is_some_and(Replication::is_broken);
        Some(if stuck { facts.executed.clone() } else { facts.known() })
    }

    /// Every transaction this member is known to hold: from its server or, when that is stopped, from its logs.
    pub fn known_transactions(&self) -> Option<GtidSet> {
        match &self.report()?.server {
            ServerState::Running(facts) => Some(facts.known()),
            ServerState::Stopped { gtids, .. } => gtids.clone(),
            ServerState::Starting | ServerState::Unresponsive { .. } => None,
        }
    }
}

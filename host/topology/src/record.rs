//! The topology record: the one durable statement of who leads a cluster.
//!
//! It lives in an object of its own, changes only by compare-and-swap, and every agent keeps the last one it
//! accepted on disk. It must never hold what can be observed instead: only promises.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::gtid::GtidSet;

/// How far a change of primary has come. The order is the order of a failover within one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The epoch is claimed; replicas are being cut from the former primary. Nobody may open.
    Freezing,
    /// A primary is chosen; it alone may open.
    Promoting,
    /// The primary is open.
    Serving,
}

/// A voting member: a name, and which copy of the data stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The pod's name.
    pub name: String,
    /// The identifier that the agent wrote beside the data when it was made. A rebuilt member has a new one.
    pub incarnation: Uuid,
}

/// Who leads, since when, and who has promised to acknowledge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Grows by one with every claim. Two primaries never share one.
    pub epoch: u64,
    /// How far this epoch has come.
    pub phase: Phase,
    /// Grows with every change of members or acks within an epoch and phase.
    pub generation: u64,
    /// The pod that leads or, while freezing, led last.
    pub primary: String,
    /// The epoch in which that pod was made primary.
    pub primary_since_epoch: u64,
    /// Its server_uuid: transactions under it are legal. None until the first member is initialised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_server_uuid: Option<Uuid>,
    /// The voting members, sorted by name.
    pub members: Vec<Member>,
    /// A member that is being removed. It acknowledges nothing any more, and may still be the only one that holds
    /// what it acknowledged before: until it is out of `members` a freeze needs it like any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
    /// k: how many replicas hold a transaction before its client hears OK.
    pub acks: u32,
    /// A higher k that is being introduced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raising_acks: Option<u32>,
    /// What had been executed when the current primary was chosen or last confirmed.
    pub base: GtidSet,
    /// The server_uuids of earlier primaries that left nothing in `base`: whatever a member holds of them was never
    /// acknowledged. Of the others `base` itself says that they led.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_servers: Vec<Uuid>,
    /// That somebody accepted to go on without some members, which the freeze of one epoch may then do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_loss: Option<AcceptedLoss>,
    /// Losses that were accepted, oldest first. Kept for good: the data may come back one day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
}

/// Somebody's acceptance that what absent members hold is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedLoss {
    /// The epoch that was named. It holds for the freeze of the next one and for no other.
    pub epoch: u64,
    /// Who may be missing from that freeze. Everybody else has to be part of it.
    pub without: Vec<String>,
}

/// A primary that was chosen without members who would have been needed: somebody accepted that. Transactions that may
/// have been acknowledged are not in the history any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GivenUp {
    /// The epoch whose primary was chosen without them.
    pub epoch: u64,
    /// The server_uuids under which they were committed. Whatever a member holds of these beyond the history is left
    /// alone, because its client may have heard OK. Empty where it turned out that every acknowledged write was there.
    pub servers: Vec<Uuid>,
    /// The members that were missing.
    pub members: Vec<String>,
}

/// What orders records and the commands given under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// See [`Record::epoch`].
    pub epoch: u64,
    /// See [`Record::phase`].
    pub phase: Phase,
    /// See [`Record::generation`].
    pub generation: u64,
}

impl fmt::Display for Claim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "epoch {} {:?} generation {}", self.epoch, self.phase, self.generation)
    }
}

/// Why an agent does not take a record. Both mean that the record went back in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StaleRecord {
    /// A later claim is already stored.
    #[error("{offered} is older than the stored {stored}")]
    Claim {
        /// What was offered.
        offered: Claim,
        /// What is stored.
        stored: Claim,
    },
    /// The record names a primary from before the one that is stored.
    #[error("its primary dates from epoch {offered}, the stored one from epoch {stored}")]
    Primary {
        /// `primarySinceEpoch` of what was offered.
        offered: u64,
        /// `primarySinceEpoch` of what is stored.
        stored: u64,
    },
}

impl Record {
    /// The record of a cluster whose first data this member is about to make.
    pub fn first(primary: String) -> Self {
        Self {
            epoch: 1,
            phase: Phase::Freezing,
            generation: 0,
            primary,
            primary_since_epoch: 1,
            primary_server_uuid: None,
            members: Vec::new(),
            leaving: None,
            acks: 0,
            raising_acks: None,
            base: GtidSet::new(),
            former_servers: Vec::new(),
            accepted_loss: None,
            given_up: Vec::new(),
        }
    }

    /// The next epoch, begun by a freeze. What somebody accepted to lose was accepted for one freeze only, so this one
    /// has what is named here and nothing of an earlier one.
    #[must_use]
    pub fn claimed(&self, accepted_loss: Option<AcceptedLoss>) -> Self {
        Self { epoch: self.epoch + 1, phase: Phase::Freezing, generation: 0, accepted_loss, ..self.clone() }
    }

    /// What orders this record among the others of its cluster.
    pub fn claim(&self) -> Claim {
        Claim { epoch: self.epoch, phase: self.phase, generation: self.generation }
    }

    /// Whether an agent that holds `stored` may take this record instead.
    ///
    /// # Errors
    /// [`StaleRecord`] says in which respect this one is older.
    pub fn may_replace(&self, stored: Option<&Record>) -> Result<(), StaleRecord> {
        let Some(stored) = stored else { return Ok(()) };
        if self.claim() < stored.claim() {
            return Err(StaleRecord::Claim { offered: self.claim(), stored: stored.claim() });
        }
        if self.primary_since_epoch < stored.primary_since_epoch {
            return Err(StaleRecord::Primary { offered: self.primary_since_epoch, stored: stored.primary_since_epoch });
        }
        Ok(())
    }

    /// The incarnation under which a pod votes, if it does.
    pub fn incarnation_of(&self, name: &str) -> Option<Uuid> {
        self.members.iter().find(|member| member.name == name).map(|member| member.incarnation)
    }

    /// Whether a pod's acknowledgement counts, given that it holds the data that votes: it is a member and not leaving.
    pub fn may_acknowledge(&self, name: &str) -> bool {
        self.incarnation_of(name).is_some() && self.leaving.as_deref() != Some(name)
    }

    /// How many replicas must hold a transaction before its client hears OK: a raise counts as soon as it is
    /// announced.
    pub fn effective_acks(&self) -> u32 {
        self.acks.max(self.raising_acks.unwrap_or(0))
    }

    /// N − k: how many replicas a failover must freeze before it has seen every acknowledged transaction.
    pub fn freeze_quorum(&self) -> usize {
        self.members.len().saturating_sub(self.acks as usize)
    }

    /// What orders the records of one history, also where one of them was lost and another was made from an older one:
    /// whoever knows of a later primary knows more, whatever epochs were claimed in vain elsewhere.
    pub fn seniority(&self) -> (u64, Claim) {
        (self.primary_since_epoch, self.claim())
    }

    /// The loss that was accepted for this freeze, if one was.
    pub fn loss_accepted_now(&self) -> Option<&AcceptedLoss> {
        let accepted = self.accepted_loss.as_ref()?;
        (self.phase == Phase::Freezing && accepted.epoch.checked_add(1) == Some(self.epoch)).then_some(accepted)
    }

    /// Whether transactions of this server may have been acknowledged and were given up.
    pub fn gave_up(&self, server: Uuid) -> bool {
        self.given_up.iter().any(|given_up| given_up.servers.contains(&server))
    }

    /// What a member may hold without owing an explanation: what was there when this primary was chosen, and
    /// whatever this primary has committed since.
    pub fn legal_part(&self, set: &GtidSet) -> GtidSet {
        let inherited = set.intersect(&self.base);
        match self.primary_server_uuid {
            Some(primary) => inherited.union(&set.of_server(primary)),
            None => inherited,
        }
    }
}

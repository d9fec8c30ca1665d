//! Everything that can be done to a cluster while it is written to, each with its undoing.
//!
//! A scenario says what is done and to whom; it never says what should come of it. Whoever strikes has to mend,
//! whatever happened in between: the lab is everybody's.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::faults::signal;
use crate::processes::ProcessFacts;
use crate::{Cluster, Operator};

/// How long a second blow waits for the first to have had its effect.
const NEXT_PRIMARY: Duration = Duration::from_secs(30);

/// One thing that can happen to a cluster of three or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scenario {
    /// SIGKILL for the primary's mysqld.
    PrimaryKilled,
    /// SIGKILL for the primary's agent, and its mysqld with it.
    PrimaryContainerKilled,
    /// `kubectl delete pod` of the primary.
    PrimaryPodDeleted,
    /// The primary's mysqld stops working without ending (SIGSTOP).
    PrimaryHangs,
    /// The primary's agent stops working; its mysqld goes on.
    PrimaryAgentHangs,
    /// The primary's node loses power.
    PrimaryNodeCrashes,
    /// The primary's node hangs, with everything on it.
    PrimaryNodeHangs,
    /// The primary's node reaches nobody, and nobody reaches it.
    PrimaryCutOff,
    /// What the primary's node sends is lost; what it is sent arrives.
    PrimaryMute,
    /// The primary's node and the other nodes do not reach each other; the API server and clients reach both.
    PrimaryCutFromReplicas,
    /// The primary's mysqld is killed, and the next one's as soon as it leads.
    TwoPrimariesKilled,
    /// The primary's mysqld and a replica's container are killed at the same moment.
    PrimaryAndReplicaKilled,
    /// SIGKILL for a replica's mysqld.
    ReplicaKilled,
    /// A replica's mysqld hangs.
    ReplicaHangs,
    /// A replica's node reaches nobody.
    ReplicaCutOff,
    /// Every mysqld is killed at the same moment.
    AllKilled,
    /// Every container is killed at the same moment.
    AllContainersKilled,
    /// The operator that acts is killed.
    OperatorKilled,
    /// The primary's mysqld is killed, and with it the operator that acts.
    PrimaryAndOperatorKilled,
    /// The operator that acts hangs, the primary is killed, and the operator wakes up again later.
    OperatorSleepsThroughAFailover,
    /// Nobody reaches the API server.
    ApiServerCutOff,
    /// The primary's mysqld is killed in the middle of a switchover.
    PrimaryKilledInASwitchover,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::PrimaryKilled,
        Self::PrimaryContainerKilled,
        Self::PrimaryPodDeleted,
        Self::PrimaryHangs,
        Self::PrimaryAgentHangs,
        Self::PrimaryNodeCrashes,
        Self::PrimaryNodeHangs,
        Self::PrimaryCutOff,
        Self::PrimaryMute,
        Self::PrimaryCutFromReplicas,
        Self::TwoPrimariesKilled,
        Self::PrimaryAndReplicaKilled,
        Self::ReplicaKilled,
        Self::ReplicaHangs,
        Self::ReplicaCutOff,
        Self::AllKilled,
        Self::AllContainersKilled,
        Self::OperatorKilled,
        Self::PrimaryAndOperatorKilled,
        Self::OperatorSleepsThroughAFailover,
        Self::ApiServerCutOff,
        Self::PrimaryKilledInASwitchover,
    ];

    /// Whether it happens to the primary's mysqld, or to what it is reached by. Where it does not, nobody may be put in its
    /// place.
    pub fn takes_the_primary(self) -> bool {
        !matches!(
            self,
            Self::PrimaryAgentHangs
                | Self::ReplicaKilled
                | Self::ReplicaHangs
                | Self::ReplicaCutOff
                | Self::OperatorKilled
                | Self::ApiServerCutOff
        )
    }

    /// Does it. What has to be undone is in the answer, also where something failed on the way.
    pub async fn strike(self, cluster: &Cluster) -> Struck {
        let mut struck = Struck { at: Instant::now(), undo: Vec::new(), failed: None };
        struck.failed = self.carry_out(cluster, &mut struck.undo).await.err();
        struck
    }

    async fn carry_out(self, cluster: &Cluster, undo: &mut Vec<Undo>) -> Result<()> {
        let primary = cluster.primary().await?;
        let replica = async || {
            let others = cluster.record().await?.members.into_iter().map(|member| member.name);
            others.into_iter().find(|name| *name != primary).context("there is no replica")
        };
        match self {
            Self::PrimaryKilled => cluster.kill_mysqld(&primary).await.map(drop),
            Self::PrimaryContainerKilled => cluster.kill_container(&primary).await.map(drop),
            Self::PrimaryPodDeleted => cluster.delete_pod(&primary).await.map(drop),
            Self::PrimaryHangs => hang_mysqld(cluster, &primary, undo).await,
            Self::PrimaryAgentHangs => hang(cluster.fingerprint(&primary).await?.first, undo),
            Self::PrimaryNodeCrashes => {
                let node = cluster.node_of(&primary).await?;
                undo.push(Undo::Start(node.clone()));
                cluster.env().lab.node(&node)?.crash()
            }
            Self::PrimaryNodeHangs => {
                let node = cluster.node_of(&primary).await?;
                undo.push(Undo::Resume(node.clone()));
                cluster.env().lab.node(&node)?.pause()
            }
            Self::PrimaryCutOff => cut(cluster, &cluster.node_of(&primary).await?, None, false, undo),
            Self::PrimaryMute => cut(cluster, &cluster.node_of(&primary).await?, None, true, undo),
            Self::PrimaryCutFromReplicas => {
                let node = cluster.node_of(&primary).await?;
                let others = cluster.env().lab.nodes().into_iter().filter(|other| *other != node);
                let others: Vec<_> = others.map(ToOwned::to_owned).collect();
                others.iter().try_for_each(|other| cut(cluster, &node, Some(other), false, undo))
            }
            Self::TwoPrimariesKilled => {
                cluster.kill_mysqld(&primary).await?;
                let next = cluster.wait_for("the next primary", NEXT_PRIMARY, || async {
                    Ok(cluster.primary().await.ok().filter(|next| *next != primary))
                });
                cluster.kill_mysqld(&next.await?).await.map(drop)
            }
            Self::PrimaryAndReplicaKilled => {
                let replica = replica().await?;
                cluster.kill_container(&replica).await?;
                cluster.kill_mysqld(&primary).await.map(drop)
            }
            Self::ReplicaKilled => cluster.kill_mysqld(&replica().await?).await.map(drop),
            Self::ReplicaHangs => hang_mysqld(cluster, &replica().await?, undo).await,
            Self::ReplicaCutOff => {
                let replica = replica().await?;
                cut(cluster, &cluster.node_of(&replica).await?, None, false, undo)
            }
            Self::AllKilled => {
                let mysqlds = cluster.fingerprints().await?.into_iter().filter_map(|found| found.mysqld);
                mysqlds.map(|mysqld| mysqld.pid).try_for_each(|pid| signal(pid, Signal::SIGKILL))
            }
            Self::AllContainersKilled => {
                let agents: Vec<_> = cluster.fingerprints().await?;
                agents.iter().try_for_each(|found| signal(found.first.pid, Signal::SIGKILL))
            }
            Self::OperatorKilled => kill_operator(cluster).await,
            Self::PrimaryAndOperatorKilled => {
                cluster.kill_mysqld(&primary).await?;
                kill_operator(cluster).await
            }
            Self::OperatorSleepsThroughAFailover => {
                let operator = Operator::of(cluster.env());
                hang(operator.fingerprint(&operator.leader().await?).await?.first, undo)?;
                cluster.kill_mysqld(&primary).await.map(drop)
            }
            Self::ApiServerCutOff => cut(cluster, "control-plane", None, false, undo),
            Self::PrimaryKilledInASwitchover => {
                cluster.ask_for_switchover(None).await?;
                cluster.kill_mysqld(&primary).await.map(drop)
            }
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::PrimaryKilled => "mysqld of the primary killed",
            Self::PrimaryContainerKilled => "container of the primary killed",
            Self::PrimaryPodDeleted => "pod of the primary deleted",
            Self::PrimaryHangs => "mysqld of the primary hangs",
            Self::PrimaryAgentHangs => "agent of the primary hangs",
            Self::PrimaryNodeCrashes => "node of the primary loses power",
            Self::PrimaryNodeHangs => "node of the primary hangs",
            Self::PrimaryCutOff => "node of the primary cut off",
            Self::PrimaryMute => "node of the primary cut off one way",
            Self::PrimaryCutFromReplicas => "primary cut off from its replicas",
            Self::TwoPrimariesKilled => "two primaries killed, one after the other",
            Self::PrimaryAndReplicaKilled => "primary and a replica killed at once",
            Self::ReplicaKilled => "mysqld of a replica killed",
            Self::ReplicaHangs => "mysqld of a replica hangs",
            Self::ReplicaCutOff => "node of a replica cut off",
            Self::AllKilled => "every mysqld killed at once",
            Self::AllContainersKilled => "every container killed at once",
            Self::OperatorKilled => "operator killed",
            Self::PrimaryAndOperatorKilled => "primary and operator killed at once",
            Self::OperatorSleepsThroughAFailover => "operator hangs, primary killed",
            Self::ApiServerCutOff => "API server cut off",
            Self::PrimaryKilledInASwitchover => "primary killed in a switchover",
        })
    }
}

/// Something that was done to a cluster.
#[derive(Debug)]
pub struct Struck {
    /// When it began.
    pub at: Instant,
    undo: Vec<Undo>,
    failed: Option<anyhow::Error>,
}

/// What has to be undone.
#[derive(Debug)]
enum Undo {
    /// A process goes on.
    Continue(ProcessFacts),
    /// A node gets its power back.
    Start(String),
    /// A node goes on.
    Resume(String),
    /// Everything passes again, everywhere.
    Heal,
}

impl Struck {
    /// Whether it lasts until it is mended.
    pub fn lasts(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Undoes it.
    ///
    /// # Errors
    /// It could not be undone, or not be done in the first place.
    pub fn mend(self, cluster: &Cluster) -> Result<()> {
        let lab = &cluster.env().lab;
        for undo in self.undo {
            match undo {
                // A failover may have ended it, and its number may be another's by now.
                Undo::Continue(process) if process.is_there() => signal(process.pid, Signal::SIGCONT)?,
                Undo::Continue(_) => {}
                Undo::Start(node) => cluster.return_node(&node)?,
                Undo::Resume(node) => lab.node(&node)?.resume()?,
                Undo::Heal => lab.heal_all()?,
            }
        }
        self.failed.map_or(Ok(()), Err)
    }
}

async fn hang_mysqld(cluster: &Cluster, pod: &str, undo: &mut Vec<Undo>) -> Result<()> {
    let mysqld = cluster.fingerprint(pod).await?.mysqld;
    hang(mysqld.with_context(|| format!("pod {pod} runs no mysqld"))?, undo)
}

fn hang(process: ProcessFacts, undo: &mut Vec<Undo>) -> Result<()> {
    undo.push(Undo::Continue(process));
    signal(process.pid, Signal::SIGSTOP)
}

fn cut(cluster: &Cluster, from: &str, to: Option<&str>, one_way: bool, undo: &mut Vec<Undo>) -> Result<()> {
    undo.push(Undo::Heal);
    cluster.env().lab.cut(from, to, one_way)
}

/// Its pod is taken away at once, as a node that fails would.
async fn kill_operator(cluster: &Cluster) -> Result<()> {
    let operator = Operator::of(cluster.env());
    operator.delete_pod(&operator.leader().await?).await
}

//! What is disrupted on purpose, and whether the limit over all clusters allows it now.
//!
//! Which pod and whose role is decided in [`topology::upkeep`]. A step that a loss calls for is never held back here.

use kube::Api;
use topology::assess::Assessment;
use topology::plan::{Order, Step};
use topology::record::Record;
use topology::snapshot::{MemberView, Pace, Snapshot};
use topology::upkeep::Next;

use super::cluster::Cluster;
use super::evict::Eviction;

impl Cluster {
    /// Takes one of the disruptions that the limit over all clusters allows. What was granted is not counted again
    /// because it takes more than one pass.
    pub(super) fn may_disrupt(&mut self, subject: String) -> bool {
        if self.granted.as_ref() == Some(&subject) {
            return true;
        }
        let may = self.context.limits.take();
        if may {
            self.granted = Some(subject);
        }
        may
    }

    /// What holds planned disruptions of this cluster back. One that stands in for the operator with the Lease sees to a
    /// loss and plans nothing.
    pub(super) fn pace(&self) -> Pace {
        let leads = *self.context.leads.borrow();
        Pace { limited: !leads || self.context.limits.is_reached() }
    }

    /// Has a member's pod replaced.
    pub(super) fn evict(&self, snapshot: &Snapshot, member: &str, uid: &str) {
        let eviction = Eviction {
            pods: Api::namespaced(self.context.client.clone(), &self.key.namespace),
            cluster: self.key.to_string(),
            member: member.to_owned(),
            uid: uid.to_owned(),
            claim: snapshot.record.as_ref().map(Record::claim),
        };
        eviction.send(&self.board, self.wake.clone());
    }
}

/// What a step disrupts, if it does so because it was planned and not because of a loss or of somebody's wish for just
/// that. The first data of a member disrupts nobody, and neither does a pod that never started.
pub(super) fn disruption(snapshot: &Snapshot, assessment: &Assessment, step: &Step) -> Option<String> {
    match step {
        Step::Replace { member, uid, .. } => {
            let pod = snapshot.member(member).and_then(|member| member.pod.as_ref());
            pod.is_some_and(|pod| !pod.pending).then(|| format!("pod {uid}"))
        }
        Step::Command { member, order: Order::Drain } => {
            let moves = matches!(assessment.upkeep.next, Some(Next::HandOver { .. }));
            moves.then(|| format!("role of {member} in {}", snapshot.now_unix_ms))
        }
        Step::Command { member, order: Order::Clone { .. } } => {
            let asked = snapshot.rebuild.as_ref().is_some_and(|rebuild| rebuild.member == *member);
            let incarnation = snapshot.member(member).and_then(MemberView::incarnation);
            incarnation.filter(|_| !asked).map(|incarnation| format!("data {incarnation}"))
        }
        Step::Command { .. } | Step::Advance { .. } | Step::Probe { .. } => None,
    }
}

//! What a spec asks of the topology, with every default resolved. It must never refuse: a value that makes no sense is
//! the resources controller's to tell about, and roles are kept meanwhile.

use objects::api::MysqlCluster;
use objects::validate::{ResolvedReadReplicas, read_replicas};
use topology::snapshot::Desired;

/// What the user asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Of the voting members.
    pub members: Desired,
    /// Of the read replicas.
    pub readers: ResolvedReadReplicas,
}

/// What the user asks for, where it makes sense; the resources controller says what does not.
pub fn wanted(object: &MysqlCluster) -> Wanted {
    Wanted { members: desired(object), readers: read_replicas(&object.spec.read_replicas) }
}

fn desired(object: &MysqlCluster) -> Desired {
    let replicas = object.spec.replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(3);
    let acks = object.spec.durability.as_ref().and_then(|durability| durability.acks);
    let default = if replicas == 1 { 0 } else { ((replicas - 1) / 2).max(1) };
    Desired { replicas, acks: acks.and_then(|acks| u32::try_from(acks).ok()).unwrap_or(default) }
}

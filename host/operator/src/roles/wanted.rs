//! What a spec asks of the topology, with every default resolved. It must never refuse: a value that makes no sense is
//! the resources controller's to tell about, and roles are kept meanwhile.

use objects::api::MysqlCluster;
use objects::validate::{ResolvedReadReplicas, read_replicas};
use topology::record::Record;
use topology::snapshot::Desired;

/// What the user asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Of the voting members.
    pub members: Desired,
    /// Of the read replicas.
    pub readers: ResolvedReadReplicas,
}

/// What the user asks for. Of the members, what makes no sense asks for nothing: those that there are stay, with their k.
pub fn wanted(object: &MysqlCluster, record: Option<&Record>) -> Wanted {
    Wanted { members: desired(object, record), readers: read_replicas(&object.spec.read_replicas) }
}

fn desired(object: &MysqlCluster, record: Option<&Record>) -> Desired {
    let asked = objects::validate::durability(&object.spec);
    let as_it_is = |record: &Record| {
        let ordinals = record.members.iter().map(|member| super::observe::ordinal_of(&member.name).saturating_add(1));
        Desired { replicas: ordinals.max().unwrap_or(1), acks: record.acks }
    };
    match (asked, record) {
        (Some((replicas, acks)), _) => Desired { replicas, acks },
        (None, Some(record)) => as_it_is(record),
        (None, None) => Desired { replicas: 3, acks: 1 },
    }
}

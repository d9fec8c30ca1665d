//! What tests of this room look at: a cluster of which nothing is known. A test says only what matters to it.

use topology::leads::EndedLeads;
use topology::readers::Readers;
use topology::snapshot::{Desired, MemberView, Pace, Probe, Snapshot};

/// Three members are wanted, and none has been seen.
pub fn snapshot() -> Snapshot {
    Snapshot {
        namespace: "default".to_owned(),
        cluster: "shop".to_owned(),
        now_unix_ms: 0,
        record: None,
        record_unchanged_ms: 0,
        record_is_ours: true,
        desired: Desired { replicas: 3, acks: 1 },
        members: Vec::new(),
        readers: Readers::default(),
        switchover: None,
        rebuild: None,
        accept_loss: None,
        contradicted_ms: 0,
        restart: None,
        pace: Pace::default(),
        without_primary_ms: 0,
        change_barrier: None,
        drain_failed_ms: None,
        ended_leads: EndedLeads::default(),
    }
}

/// A member of it.
pub fn member(ordinal: u32) -> MemberView {
    MemberView {
        name: format!("shop-{ordinal}"),
        ordinal,
        pod: None,
        probe: Probe::NotProbed,
        signals: None,
        available: true,
        trouble_ms: 0,
        other_version: None,
    }
}

//! What an operator sees of the world.

use topology::facts::{
    DataState, MemberReport, Replication, SemiSync, ServerFacts, ServerState, Standing, ThreadState,
};
use topology::gtid::GtidSet;
use topology::leads::EndedLeads;
use topology::record::Record;
use topology::snapshot::{MemberView, PodFacts, Probe, Snapshot};

use super::{Node, Server, World, ip, ordinal};

impl World {
    pub fn snapshot(&self) -> Snapshot {
        // As the operator does: whoever is wanted, and whoever votes.
        let seen = self.nodes.iter().filter(|(name, _)| {
            let votes = self.record.as_ref().is_some_and(|record| record.incarnation_of(name).is_some());
            ordinal(name) < self.desired.replicas || votes
        });
        let members = seen.map(|(name, node)| self.view(ordinal(name), name, node)).collect();
        let claim = self.record.as_ref().map(Record::claim);
        Snapshot {
            namespace: "default".to_owned(),
            cluster: "shop".to_owned(),
            now_unix_ms: 0,
            record: self.record.clone(),
            record_unchanged_ms: 5_000,
            record_is_ours: self.ours,
            desired: self.desired,
            members,
            switchover: self.switchover.clone(),
            rebuild: self.rebuild.clone(),
            accept_loss: self.accept_loss.clone(),
            contradicted_ms: 5_000,
            restart: self.restart.clone(),
            pace: self.pace,
            without_primary_ms: 0,
            readers: self.reader_views(),
            change_barrier: self.barrier.clone().filter(|(under, _)| Some(*under) == claim).map(|(_, barrier)| barrier),
            drain_failed_ms: self.drain_failed_ms,
            ended_leads: EndedLeads::default(),
        }
    }

    pub(super) fn view(&self, ordinal: u32, name: &str, node: &Node) -> MemberView {
        let pod = PodFacts {
            ip: ip(name),
            node: format!("node-{ordinal}"),
            node_ready: true,
            terminating: node.terminating,
            uid: format!("{name}/{}", node.made),
            created_unix_ms: node.made,
            node_cordoned: node.cordoned,
            pending: node.pending,
            outdated: node.outdated,
            ..PodFacts::default()
        };
        let probe = if node.reachable && !node.silent {
            Probe::Known { report: Box::new(self.report(name, node)), age_ms: 1_000, connected_ms: 60_000 }
        } else {
            Probe::Unreachable { for_ms: 5_000, tried_ms: 1_000, error: "connection refused".to_owned() }
        };
        MemberView {
            name: name.to_owned(),
            ordinal,
            pod: Some(pod),
            signals: None,
            probe,
            available: true,
            trouble_ms: 0,
            other_version: None,
        }
    }

    fn report(&self, name: &str, node: &Node) -> MemberReport {
        let data = match node.incarnation {
            None => DataState::Empty,
            Some(incarnation) => DataState::Ready { incarnation },
        };
        let server = match &node.server {
            Some(server) if node.running => ServerState::Running(Box::new(self.facts(name, server, &node.version))),
            Some(server) => ServerState::Stopped { exit: None, gtids: Some(server.executed.union(&server.received)) },
            None => ServerState::Stopped { exit: None, gtids: None },
        };
        let standing = if node.good { Standing::Good } else { Standing::Unproved { because: "new data".to_owned() } };
        MemberReport {
            member: name.to_owned(),
            agent_version: "0.1.0".to_owned(),
            boot_id: "boot".to_owned(),
            record: node.record.clone(),
            opened_in_epoch: node.opened_in_epoch,
            opened_as: node.opened_as.clone(),
            trimmed: None,
            data,
            standing,
            server,
            job: None,
            volume: node.volume.clone(),
            config_error: None,
            ends: None,
            copies: None,
        }
    }

    fn facts(&self, name: &str, server: &Server, version: &str) -> ServerFacts {
        let replication = server.source.as_ref().map(|source| {
            let attached = self.is_attached(name, source);
            let there = self.nodes.get(source).filter(|_| attached).and_then(|node| node.server.as_ref());
            Replication {
                source_host: ip(source),
                source_uuid: there.map(|server| server.uuid),
                receiver: if there.is_some() { ThreadState::On } else { ThreadState::Connecting },
                receiver_error: String::new(),
                applier: ThreadState::On,
                applier_error: String::new(),
                acknowledges: server.acknowledges && there.is_some(),
                lag_s: Some(0),
                delay_s: 0,
            }
        });
        let acknowledges = |other: &String| self.nodes[other].server.as_ref().is_some_and(|server| server.acknowledges);
        let clients = self.nodes.keys().filter(|other| acknowledges(other) && self.is_attached(other, name));
        let owned = server.waiting.iter().fold(GtidSet::new(), |all, (transaction, _)| all.union(transaction));
        ServerFacts {
            pid: 1,
            started_unix_ms: 0,
            server_uuid: server.uuid,
            version: version.to_owned(),
            executed: server.executed.subtract(&owned),
            owned,
            received: server.received.clone(),
            open: server.open,
            offline: !server.open,
            read_only: !server.open,
            replication,
            semi_sync: SemiSync {
                enabled: server.wait_count > 0,
                wait_count: server.wait_count,
                clients: clients.count() as u32,
                waiting_commits: server.waiting.len() as u32,
            },
        }
    }
}

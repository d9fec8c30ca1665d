//! Read replicas in the world: they take what their source has, acknowledged or not.

use topology::facts::ServerState;
use topology::plan::Order;
use topology::readers::{ReaderView, Readers};
use topology::snapshot::Probe;

use super::{Node, World};

impl World {
    /// Asks for so many readers: new ones are empty, the highest go.
    pub fn scale_readers(&mut self, count: usize) {
        self.readers.retain(|name, _| name.rsplit('-').next().unwrap().parse::<usize>().unwrap() < count);
        for ordinal in 0..count {
            self.readers.entry(format!("shop-read-{ordinal}")).or_insert_with(Node::empty);
        }
    }

    pub fn reader(&self, ordinal: usize) -> &Node {
        &self.readers[&format!("shop-read-{ordinal}")]
    }

    pub fn reader_mut(&mut self, ordinal: usize) -> &mut Node {
        self.readers.get_mut(&format!("shop-read-{ordinal}")).unwrap()
    }

    pub(super) fn reader_views(&self) -> Readers {
        let view = |(ordinal, (name, node)): (usize, (&String, &Node))| {
            let mut view = self.view(ordinal as u32, name, node);
            if let Probe::Known { report, .. } = &mut view.probe
                && let ServerState::Running(facts) = &mut report.server
            {
                // Its agent admits applications when it is told whom to read from.
                facts.offline = facts.replication.is_none();
            }
            ReaderView::new(view, true)
        };
        Readers { views: self.readers.iter().enumerate().map(view).collect(), ..Readers::default() }
    }

    /// A dump thread sends what is in the log: a primary's before it is acknowledged.
    pub fn feed_readers(&mut self) {
        for node in self.readers.values_mut().filter(|node| node.running && node.reachable) {
            let Some(server) = node.server.as_mut() else { continue };
            let source = server.source.as_ref().and_then(|source| self.nodes.get(source));
            let source = source.filter(|source| source.running && source.reachable);
            if let Some(log) = source.and_then(|source| source.server.as_ref()).map(|server| &server.executed) {
                server.received = server.received.union(log);
                server.executed = server.executed.union(&server.received);
            }
        }
    }

    /// What a reader's agent does. It is told nothing else, whatever happens.
    pub(super) fn obey_as_reader(&mut self, name: &str, order: &Order) {
        self.log.push(format!("{name}: {order}"));
        let record = self.record.clone().unwrap();
        let (incarnation, uuid) = (self.fresh(), self.fresh());
        let donor = match order {
            Order::Clone { donor } => self.nodes[donor]
                .server
                .as_ref()
                .filter(|_| self.nodes[donor].running)
                .map(|server| server.executed.clone()),
            _ => None,
        };
        let node = self.readers.get_mut(name).unwrap();
        if !node.reachable || record.may_replace(node.record.as_ref()).is_err() {
            return;
        }
        node.record = Some(record.clone());
        match order {
            Order::Start => node.running = node.server.is_some(),
            Order::Clone { .. } => {
                if let Some(executed) = donor {
                    *node = Node { record: Some(record), ..node.with_data(incarnation, uuid, executed, false) };
                }
            }
            Order::Read { source, .. } => {
                node.running = node.server.is_some();
                if let Some(server) = &mut node.server {
                    server.source = Some(source.clone());
                }
            }
            Order::Freeze => {
                if let Some(server) = &mut node.server {
                    server.source = None;
                }
            }
            Order::Fence => {
                node.running = false;
            }
            other => panic!("a reader was told to {other}: {:#?}", self.log),
        }
    }
}

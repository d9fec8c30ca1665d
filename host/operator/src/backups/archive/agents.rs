//! The agents of one cluster, over connections that are kept: they are asked every few seconds. It must never decide.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use backup::choose::{Candidate, Part};
use futures::future::join_all;
use kube::Client;
use topology::facts::MemberReport;
use topology::record::Record;
use wire::{ArchiveAnswer, ArchiveAsk, ArchiveCall, WIRE_VERSION};
use wire_client::Connection;

use crate::backups::observe::{connect, part, within};
use crate::cache::{Cache, ClusterKey};

/// The agents of one cluster.
pub struct Agents {
    client: Client,
    key: ClusterKey,
    connections: Mutex<HashMap<String, (SocketAddr, Connection)>>,
}

/// A voting member as it was just seen.
pub struct Voter {
    /// Who it is, and whether its log could be archived.
    pub candidate: Candidate,
    /// What it says of itself.
    pub report: Option<Box<MemberReport>>,
    address: Option<SocketAddr>,
}

impl Agents {
    /// Nobody is asked yet.
    pub fn new(client: Client, key: ClusterKey) -> Self {
        Self { client, key, connections: Mutex::default() }
    }

    /// Every member that votes, whether it answers or not.
    pub async fn voters(&self, cache: &Cache, record: &Record) -> Vec<Voter> {
        let pods = cache.pods.state();
        let found: Vec<_> = pods.iter().filter_map(|pod| part(&self.key, record, pod)).collect();
        let named = record.members.iter().map(|member| {
            let found = found.iter().find(|(part, name, _)| *part != Part::Reader && *name == member.name);
            let leads = if member.name == record.primary { Part::Primary } else { Part::Replica };
            (member.name.clone(), leads, found.and_then(|(_, _, address)| *address))
        });
        join_all(named.map(|(name, part, address)| self.voter(name, part, address))).await
    }

    async fn voter(&self, name: String, part: Part, address: Option<SocketAddr>) -> Voter {
        let reported = async {
            let connection = self.connection(&name, address).await?;
            let heartbeat = self.heard(&name, within(connection.report()).await)?;
            heartbeat.report.ok_or_else(|| "its agent has no report yet".to_owned())
        };
        match reported.await {
            Ok(report) => Voter { candidate: Candidate::of(&name, part, Ok(&report)), report: Some(report), address },
            Err(why) => Voter { candidate: Candidate::of(&name, part, Err(&why)), report: None, address },
        }
    }

    /// Asks a member something about the archive.
    ///
    /// # Errors
    /// In words: it does not answer, or is too old to know of archives.
    pub async fn ask(&self, voter: &Voter, ask: ArchiveAsk) -> Result<ArchiveAnswer, String> {
        let name = &voter.candidate.name;
        let connection = self.connection(name, voter.address).await?;
        self.heard(name, within(connection.archive(&ArchiveCall { wire: WIRE_VERSION, ask })).await)
    }

    async fn connection(&self, name: &str, address: Option<SocketAddr>) -> Result<Connection, String> {
        let address = address.ok_or("its container does not run")?;
        let kept = self.lock().get(name).filter(|(at, kept)| *at == address && !kept.is_closed()).cloned();
        if let Some((_, connection)) = kept {
            return Ok(connection);
        }
        let tls = crate::tls::client_config(&self.client, &self.key).await.map_err(|why| format!("{why:#}"))?;
        let tls: Arc<_> = tls.ok_or("the cluster has no certificates yet")?;
        let connection = connect(&self.key, tls, name, address).await?;
        self.lock().insert(name.to_owned(), (address, connection.clone()));
        Ok(connection)
    }

    /// A connection over which nothing was heard is not used again.
    fn heard<T>(&self, name: &str, answer: Result<T, String>) -> Result<T, String> {
        if answer.is_err() {
            self.lock().remove(name);
        }
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (SocketAddr, Connection)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

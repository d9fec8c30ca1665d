//! What a cluster asked lately, from its journal: a module that is to be asked has to survive it first.
//!
//! A journal that is not there, or cannot be read, is no reason to refuse a module. That of a cluster which had the same
//! name is none of this one's: its questions are not asked again.

use engine::{DecisionKind, Entry, Kind, Ring};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use objects::api::{MysqlCluster, journal, names};

use crate::cache::ClusterKey;
use crate::journal::foreign;

/// How many of the last decisions are asked again. A call takes microseconds, and at most a quarter of a second.
const MOST: usize = 16;

/// The last questions of one kind, each with a name.
pub(super) async fn questions<Q: DecisionKind>(
    client: &Client,
    key: &ClusterKey,
    cluster: &MysqlCluster,
) -> Vec<(String, Q)> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
    let map = match maps.get_opt(&names::journal(&key.name)).await {
        Ok(map) => map,
        Err(error) => {
            tracing::info!(cluster = %key, %error, "a module is not rehearsed on what was asked lately");
            return Vec::new();
        }
    };
    let own = map.filter(|map| foreign(map, cluster).is_none());
    let Some(packed) = own.and_then(|map| map.binary_data?.remove(lies_in(Q::KIND))) else { return Vec::new() };
    let read = tokio::task::spawn_blocking(move || {
        let ring = Ring::unpack(&packed.0).ok()?;
        Some(ring.entries_of::<Q>().rev().take(MOST).map(|entry| (name(&entry), entry.question)).collect())
    });
    read.await.ok().flatten().unwrap_or_default()
}

/// Where a journal keeps the decisions of a kind.
fn lies_in(kind: Kind) -> &'static str {
    match kind {
        Kind::PrimarySelection => journal::DECISIONS,
        Kind::Scaling | Kind::ConfigTuning | Kind::BackupWindow => journal::ADVICE,
    }
}

fn name<Q: DecisionKind>(entry: &Entry<Q>) -> String {
    let at = i64::try_from(entry.at_unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let at = at.map_or_else(String::new, |at| format!(" at {at}"));
    format!("what was asked{at}: {}", entry.question.occasion())
}

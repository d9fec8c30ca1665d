//! The ConfigMap of a journal: read, merged, and written back only as it was read.
//!
//! Two operators may write one journal, so nothing is ever written over what was not read. An object that is not the
//! cluster's own is never touched.

use std::collections::BTreeMap;

use engine::{Bounds, Outlook, Ring};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use objects::api::{MysqlCluster, journal, labels, names};
use serde_json::json;

use super::pending::Batch;
use crate::cache::ClusterKey;

/// Who writes these ConfigMaps.
const MANAGER: &str = "grampus/journal";

/// How often a write is tried again at once because somebody else wrote in between.
const ATTEMPTS: usize = 4;

/// Why a journal was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server did not read or write it.
    #[error("ConfigMap {name}: {source}")]
    Api {
        /// The ConfigMap.
        name: String,
        /// What the API server says.
        source: kube::Error,
    },
    /// The name is taken.
    #[error(
        "ConfigMap {name} is not this cluster's own: {whose}. Remove or rename it; until then decisions are not journalled"
    )]
    Foreign {
        /// The ConfigMap.
        name: String,
        /// Whose it is.
        whose: String,
    },
    /// Somebody else writes it all the time.
    #[error("ConfigMap {name} is written by somebody else all the time")]
    Contended {
        /// The ConfigMap.
        name: String,
    },
    /// It could not be packed.
    #[error("ConfigMap {name}: the journal could not be packed: {why}")]
    Pack {
        /// The ConfigMap.
        name: String,
        /// What went wrong.
        why: String,
    },
}

/// The ConfigMap's name.
pub fn name(key: &ClusterKey) -> String {
    names::journal(&key.name)
}

/// Adds a batch to a cluster's journal. Gives the decisions that were too large for it.
pub async fn write(client: &Client, cluster: &MysqlCluster, batch: Batch) -> Result<Vec<String>, WriteError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let name = names::journal(&cluster.name_any());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let failed = |source| WriteError::Api { name: name.clone(), source };
    for _ in 0..ATTEMPTS {
        let live = maps.get_opt(&name).await.map_err(failed)?;
        if let Some(whose) = live.as_ref().and_then(|live| foreign(live, cluster)) {
            return Err(WriteError::Foreign { name, whose });
        }
        let merged = {
            let (live, batch, name) = (live.clone(), batch.clone(), name.clone());
            tokio::task::spawn_blocking(move || merge(live.as_ref(), batch, &name)).await
        };
        let pack = |why: String| WriteError::Pack { name: name.clone(), why };
        let merged = merged.map_err(|error| pack(error.to_string()))?.map_err(|error| pack(error.to_string()))?;
        let Some(Merged { decisions, outlook, lost }) = merged else { return Ok(Vec::new()) };
        let written = match live {
            None => {
                let map = config_map(cluster, &name, decisions, outlook);
                maps.create(&PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }, &map)
                    .await
            }
            Some(live) => {
                let mut patch = json!({ "metadata": { "resourceVersion": live.resource_version() } });
                if let Some(decisions) = decisions {
                    patch["binaryData"] = json!({ journal::DECISIONS: ByteString(decisions) });
                }
                if let Some(outlook) = outlook {
                    patch["data"] = json!({ journal::OUTLOOK: outlook });
                }
                let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                maps.patch(&name, &params, &Patch::Merge(&patch)).await
            }
        };
        match written {
            Ok(_) => return Ok(lost),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(WriteError::Contended { name })
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
struct Merged {
    decisions: Option<Vec<u8>>,
    outlook: Option<String>,
    lost: Vec<String>,
}

/// What the ConfigMap has to hold with the batch. Nothing if it holds all of it already.
fn merge(live: Option<&ConfigMap>, batch: Batch, name: &str) -> std::io::Result<Option<Merged>> {
    let Batch { notes, outlook } = batch;
    let mut merged = Merged { decisions: None, outlook: None, lost: Vec::new() };
    if !notes.is_empty() {
        let packed = live.and_then(|live| live.binary_data.as_ref()?.get(journal::DECISIONS));
        let mut ring = match packed.map(|packed| Ring::unpack(&packed.0)) {
            Some(Ok(ring)) => ring,
            Some(Err(error)) => {
                tracing::warn!(name, %error, "this journal is begun anew");
                Ring::default()
            }
            None => Ring::default(),
        };
        ring.take(notes);
        let packed = ring.pack(Bounds::default())?;
        (merged.decisions, merged.lost) = (Some(packed.bytes), packed.lost);
    }
    if let Some(outlook) = outlook {
        let before = live.and_then(|live| live.data.as_ref()?.get(journal::OUTLOOK));
        let before: Option<Outlook> = before.and_then(|text| serde_json::from_str(text).ok());
        if !before.is_some_and(|before| outlook.says_the_same(&before)) {
            merged.outlook = serde_json::to_string(&outlook).ok();
        }
    }
    Ok((merged.decisions.is_some() || merged.outlook.is_some()).then_some(merged))
}

/// Whose a ConfigMap is, if it is not the cluster's own.
fn foreign(live: &ConfigMap, cluster: &MysqlCluster) -> Option<String> {
    let owner = live.owner_references().iter().find(|owner| owner.controller == Some(true));
    match owner {
        Some(owner) if Some(&owner.uid) == cluster.meta().uid.as_ref() => None,
        Some(owner) => Some(format!("it belongs to {} {} ({})", owner.kind, owner.name, owner.uid)),
        None => Some("it belongs to nobody that Grampus knows".to_owned()),
    }
}

/// It lacks the label by which children are watched: a decision is no reason to look at them.
fn config_map(cluster: &MysqlCluster, name: &str, decisions: Option<Vec<u8>>, outlook: Option<String>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: cluster.namespace(),
            labels: Some([(labels::CLUSTER.to_owned(), cluster.name_any())].into()),
            owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        binary_data: decisions.map(|bytes| BTreeMap::from([(journal::DECISIONS.to_owned(), ByteString(bytes))])),
        data: outlook.map(|text| BTreeMap::from([(journal::OUTLOOK.to_owned(), text)])),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use engine::Supposed;
    use objects::api::MysqlClusterSpec;

    use super::*;

    fn shop(uid: &str) -> MysqlCluster {
        let mut cluster = MysqlCluster::new("shop", MysqlClusterSpec::default());
        (cluster.metadata.namespace, cluster.metadata.uid) = (Some("store".to_owned()), Some(uid.to_owned()));
        cluster
    }

    fn batch(why: &str) -> Batch {
        Batch { notes: Vec::new(), outlook: Some(Outlook::new(1, Supposed::Nobody(why.to_owned()))) }
    }

    #[test]
    fn what_stands_there_already_is_not_written_again() {
        let merged = merge(None, batch("nobody is left"), "shop-journal").unwrap().unwrap();
        let map = config_map(&shop("a"), "shop-journal", merged.decisions, merged.outlook);
        assert_eq!(merge(Some(&map), batch("nobody is left"), "shop-journal").unwrap(), None);
        assert!(merge(Some(&map), batch("another reason"), "shop-journal").unwrap().is_some());
    }

    #[test]
    fn only_the_clusters_own_is_written() {
        let mut map = config_map(&shop("a"), "shop-journal", None, None);
        assert_eq!(foreign(&map, &shop("a")), None);
        assert!(foreign(&map, &shop("b")).is_some_and(|whose| whose.contains("MysqlCluster shop (a)")));
        map.metadata.owner_references = None;
        assert!(foreign(&map, &shop("a")).is_some());
    }
}

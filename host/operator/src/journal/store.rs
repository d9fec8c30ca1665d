//! The ConfigMap of a journal: read, merged, and written back only as it was read.
//!
//! Two operators may write one journal, so nothing is ever written over what was not read. An object that is not the
//! cluster's own is never touched.

use std::collections::BTreeMap;

use engine::{Bounds, DecisionKind, Entry, Note, Outlook, Ring};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use objects::api::{MysqlCluster, journal, labels, names};
use serde_json::json;

use super::pending::{Advice, Batch};
use crate::cache::ClusterKey;
use crate::ownership::controller_of;

/// Who writes these ConfigMaps.
const MANAGER: &str = "grampus/journal";

/// How often a write is tried again at once because somebody else wrote in between.
const ATTEMPTS: usize = 4;

/// How much of it is kept what policies said that nobody follows, beside the decisions: it may be something new every
/// minute, and must not push out who was made to lead and why.
const ADVICE: Bounds = Bounds { entries: 100, bytes: 64 << 10 };

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
        let Some(merged) = merged else { return Ok(Vec::new()) };
        let written = match live {
            None => {
                let map = config_map(cluster, &name, &merged);
                maps.create(&PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }, &map)
                    .await
            }
            Some(live) => {
                let mut patch = json!({ "metadata": { "resourceVersion": live.resource_version() } });
                if merged.decisions.is_some() || merged.advice.is_some() {
                    patch["binaryData"] = json!(merged.binary());
                }
                if let Some(outlook) = &merged.outlook {
                    patch["data"] = json!({ journal::OUTLOOK: outlook });
                }
                let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                maps.patch(&name, &params, &Patch::Merge(&patch)).await
            }
        };
        match written {
            Ok(_) => return Ok(merged.lost),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(WriteError::Contended { name })
}

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Merged {
    decisions: Option<Vec<u8>>,
    advice: Option<Vec<u8>>,
    outlook: Option<String>,
    lost: Vec<String>,
}

impl Merged {
    fn binary(&self) -> BTreeMap<String, ByteString> {
        let each = [(journal::DECISIONS, &self.decisions), (journal::ADVICE, &self.advice)];
        each.into_iter().filter_map(|(key, bytes)| Some((key.to_owned(), ByteString(bytes.clone()?)))).collect()
    }
}

/// What the ConfigMap has to hold with the batch. Nothing if it holds all of it already.
fn merge(live: Option<&ConfigMap>, batch: Batch, name: &str) -> std::io::Result<Option<Merged>> {
    let Batch { notes, outlook, advice } = batch;
    let mut merged = Merged::default();
    if !notes.is_empty() {
        let mut ring = kept(live, journal::DECISIONS, name);
        ring.take(notes);
        let packed = ring.pack(Bounds::default())?;
        (merged.decisions, merged.lost) = (Some(packed.bytes), packed.lost);
    }
    let mut ring = if advice.is_empty() { Ring::default() } else { kept(live, journal::ADVICE, name) };
    let news = advice.into_iter().fold(false, |news, advice| match advice {
        Advice::Scaling(entry) => add(&mut ring, *entry) || news,
        Advice::Tuning(entry) => add(&mut ring, *entry) || news,
        Advice::BackupWindow(entry) => add(&mut ring, *entry) || news,
    });
    if news {
        let packed = ring.pack(ADVICE)?;
        merged.advice = Some(packed.bytes);
        merged.lost.extend(packed.lost);
    }
    if let Some(outlook) = outlook {
        let before = live.and_then(|live| live.data.as_ref()?.get(journal::OUTLOOK));
        let before: Option<Outlook> = before.and_then(|text| serde_json::from_str(text).ok());
        if !before.is_some_and(|before| outlook.says_the_same(&before)) {
            merged.outlook = serde_json::to_string(&outlook).ok();
        }
    }
    Ok((merged.decisions.is_some() || merged.advice.is_some() || merged.outlook.is_some()).then_some(merged))
}

fn kept(live: Option<&ConfigMap>, key: &str, name: &str) -> Ring {
    let packed = live.and_then(|live| live.binary_data.as_ref()?.get(key));
    match packed.map(|packed| Ring::unpack(&packed.0)) {
        Some(Ok(ring)) => ring,
        Some(Err(error)) => {
            tracing::warn!(name, key, %error, "this journal is begun anew");
            Ring::default()
        }
        None => Ring::default(),
    }
}

/// Adds what a policy said, unless that says nothing that the last of its kind did not: an operator remembers what it told
/// itself, and not what the one before it did.
fn add<Q: DecisionKind>(ring: &mut Ring, entry: Entry<Q>) -> bool {
    let last = ring.entries_of::<Q>().next_back();
    if last.is_some_and(|last| entry.wants_the_same(&last) && entry.is_judged_the_same(&last)) {
        return false;
    }
    ring.take(vec![Note::Decided(Box::new(entry))]);
    true
}

/// Whose a ConfigMap is, if it is not the cluster's own.
pub fn foreign(live: &ConfigMap, cluster: &MysqlCluster) -> Option<String> {
    let owner = controller_of(live);
    match owner {
        Some(owner) if Some(&owner.uid) == cluster.meta().uid.as_ref() => None,
        Some(owner) => Some(format!("it belongs to {} {} ({})", owner.kind, owner.name, owner.uid)),
        None => Some("it belongs to nobody that Grampus knows".to_owned()),
    }
}

/// It lacks the label by which children are watched: a decision is no reason to look at them.
fn config_map(cluster: &MysqlCluster, name: &str, merged: &Merged) -> ConfigMap {
    let binary = merged.binary();
    let outlook = merged.outlook.clone();
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: cluster.namespace(),
            labels: Some([(labels::CLUSTER.to_owned(), cluster.name_any())].into()),
            owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        binary_data: (!binary.is_empty()).then_some(binary),
        data: outlook.map(|text| BTreeMap::from([(journal::OUTLOOK.to_owned(), text)])),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use engine::{DecidedBy, Decision, Limits, Source, Supposed};
    use objects::api::MysqlClusterSpec;
    use topology::scaling::{Answer, Question, Wish};

    use super::*;

    fn shop(uid: &str) -> MysqlCluster {
        let mut cluster = MysqlCluster::new("shop", MysqlClusterSpec::default());
        (cluster.metadata.namespace, cluster.metadata.uid) = (Some("store".to_owned()), Some(uid.to_owned()));
        cluster
    }

    fn batch(why: &str) -> Batch {
        Batch { outlook: Some(Outlook::new(1, Supposed::Nobody(why.to_owned()))), ..Batch::default() }
    }

    #[test]
    fn what_stands_there_already_is_not_written_again() {
        let merged = merge(None, batch("nobody is left"), "shop-journal").unwrap().unwrap();
        let map = config_map(&shop("a"), "shop-journal", &merged);
        assert_eq!(merge(Some(&map), batch("nobody is left"), "shop-journal").unwrap(), None);
        assert!(merge(Some(&map), batch("another reason"), "shop-journal").unwrap().is_some());
    }

    fn advice(readers: Option<u32>) -> Batch {
        let (_, question) = Question::rehearsals().swap_remove(0);
        let wish = readers.map(|value| Wish { value, reason: "reads run hot".to_owned() });
        let answer = Answer { read_replicas: wish, ..Answer::keep("looked") };
        let by = DecidedBy {
            name: "reads".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:01".to_owned(),
            source: Source::Configured,
        };
        let decision =
            Decision { answer, by, failures: Vec::new(), fuel: 7, took_micros: 9, attempts: Vec::new(), breaker: None };
        let id = format!("{readers:?}");
        let entry = Entry::new(id, question, &decision, &Limits::default());
        Batch { advice: vec![Advice::Scaling(Box::new(entry))], ..Batch::default() }
    }

    #[test]
    fn what_a_policy_says_again_to_an_operator_that_does_not_remember_it_is_not_written_again() {
        let merged = merge(None, advice(Some(2)), "shop-journal").unwrap().unwrap();
        assert_eq!(merged.decisions, None, "it pushes no decision out");
        let map = config_map(&shop("a"), "shop-journal", &merged);
        assert_eq!(merge(Some(&map), advice(Some(2)), "shop-journal").unwrap(), None);
        let other = merge(Some(&map), advice(None), "shop-journal").unwrap().unwrap();
        let ring = Ring::unpack(&other.advice.unwrap()).unwrap();
        assert_eq!(ring.entries_of::<Question>().count(), 2);
    }

    #[test]
    fn only_the_clusters_own_is_written() {
        let mut map = config_map(&shop("a"), "shop-journal", &Merged::default());
        assert_eq!(foreign(&map, &shop("a")), None);
        assert!(foreign(&map, &shop("b")).is_some_and(|whose| whose.contains("MysqlCluster shop (a)")));
        map.metadata.owner_references = None;
        assert!(foreign(&map, &shop("a")).is_some());
    }
}

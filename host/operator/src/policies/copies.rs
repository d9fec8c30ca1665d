//! Copies of the modules that were in force, with their settings, in ConfigMaps of the operator's own: what a restart, the
//! other operator and a rollback find when the ConfigMap that somebody wrote is gone or holds something else.
//!
//! A copy never changes; only the note of when its pair last came into force does. The last three of a cluster and decision
//! are kept. They lack the label by which policies are watched and the one by which children are, so that writing one wakes
//! nobody. Nothing is written while the newest copy is of the pair in force.

mod plan;

use std::collections::BTreeMap;

use engine::Module;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use objects::api::{MysqlCluster, labels, names, policy};
use serde_json::{Value, json};

use self::plan::{Plan, Seen, plan};

use crate::ownership::controller_of;

/// Who writes these ConfigMaps.
const MANAGER: &str = "grampus/policy-copies";

/// How hard zstd tries with a module that came unpacked or packed otherwise.
const LEVEL: i32 = 19;

/// What zstd's format begins with.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The API server did not read or write it.
    #[error("ConfigMap {name}: {source}")]
    Api {
        /// The ConfigMap, or which of them.
        name: String,
        /// What the API server says.
        source: kube::Error,
    },
    /// It does not fit.
    #[error("{bytes} bytes with its settings, and a ConfigMap holds {most}")]
    TooLarge {
        /// How many bytes.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// It could not be packed.
    #[error("it could not be packed: {0}")]
    Pack(#[from] std::io::Error),
}

impl CopyError {
    /// Whether another try may end otherwise.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code != 403 && status.code != 409)
            || matches!(self, Self::Api { source, .. } if !matches!(source, kube::Error::Api(_)))
    }
}

/// A pair that came into force.
pub(super) struct Passed<'a> {
    /// What it decides.
    pub(super) decision: &'static str,
    /// The module.
    pub(super) module: &'a Module,
    /// Its settings, as JSON.
    pub(super) settings: &'a str,
    /// The module as it came.
    pub(super) bytes: &'a [u8],
    /// Where from.
    pub(super) source: &'a str,
    /// Its signature, if it has one.
    pub(super) signature: Option<&'a str>,
    /// The ConfigMap that the spec names, which is not removed even if it is a copy.
    pub(super) named: Option<&'a str>,
}

/// A copy as it lies there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// The ConfigMap.
    pub(super) name: String,
    /// The module, packed.
    pub(super) bytes: Vec<u8>,
    /// The settings.
    pub(super) settings: Value,
    /// Its signature, if it has one.
    pub(super) signature: Option<String>,
    /// When it last came into force.
    pub(super) since: Option<Timestamp>,
}

/// Keeps the pair in force, and removes what is too old. Writes nothing if that is so already.
pub(super) async fn keep(client: &Client, cluster: &MysqlCluster, passed: &Passed<'_>) -> Result<(), CopyError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let name = names::policy_copy(&cluster.name_any(), passed.decision, passed.module.digest(), passed.settings);
    let failed = |name: &str| {
        let name = name.to_owned();
        move |source| CopyError::Api { name, source }
    };
    let Plan { create, touch, remove } = plan(&list(&maps, cluster, passed.decision).await?, &name, passed.named);
    let now = Timestamp::now().to_string();
    if create {
        let map = config_map(cluster, &name, passed, &now)?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match maps.create(&params, &map).await {
            Ok(_) => tracing::info!(cluster = %cluster.name_any(), name, "the policy in force is kept as a copy"),
            // The other operator was faster, or somebody took the name; that one is not ours to change.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                tracing::info!(cluster = %cluster.name_any(), name, "a ConfigMap with the name of a copy is there already");
            }
            Err(error) => return Err(failed(&name)(error)),
        }
    }
    if touch {
        let patch = json!({ "metadata": { "annotations": { labels::IN_FORCE_SINCE: now } } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        maps.patch_metadata(&name, &params, &Patch::Merge(&patch)).await.map_err(failed(&name))?;
    }
    for Seen { name, uid, .. } in remove {
        let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
        match maps.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
            Ok(_) => tracing::info!(cluster = %cluster.name_any(), name, "an old copy of a policy is removed"),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => return Err(failed(&name)(error)),
        }
    }
    Ok(())
}

/// The copies of a cluster's former pairs, the newest first. One that is damaged is left out.
pub(super) async fn load(
    client: &Client,
    cluster: &MysqlCluster,
    decision: &'static str,
) -> Result<Vec<Kept>, CopyError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let mut seen = list(&maps, cluster, decision).await?;
    plan::newest_first(&mut seen);
    let mut copies = Vec::new();
    for Seen { name, since, .. } in seen {
        let read = maps.get_opt(&name).await.map_err(|source| CopyError::Api { name: name.clone(), source })?;
        copies.extend(read.and_then(|map| kept(map, since)));
    }
    Ok(copies)
}

fn kept(map: ConfigMap, since: Option<Timestamp>) -> Option<Kept> {
    let (name, signature) = (map.name_any(), map.annotations().get(labels::MODULE_SIGNATURE).cloned());
    let bytes = map.binary_data?.remove(policy::PACKED)?.0;
    let settings = serde_json::from_str(map.data?.get(policy::SETTINGS)?).ok()?;
    Some(Kept { name, bytes, settings, signature, since })
}

/// What there is of this very cluster: not of one that had its name, nor of whoever only uses the label.
async fn list(maps: &Api<ConfigMap>, cluster: &MysqlCluster, decision: &str) -> Result<Vec<Seen>, CopyError> {
    let selector = format!("{}={},{}={decision}", labels::CLUSTER, cluster.name_any(), labels::POLICY_COPY);
    let listed = maps.list_metadata(&ListParams::default().labels(&selector)).await;
    let listed = listed.map_err(|source| CopyError::Api { name: format!("of copies ({selector})"), source })?;
    let own = listed.items.into_iter().filter(|map| is_own(map, cluster));
    Ok(own.map(|map| seen(&map)).collect())
}

fn is_own(map: &PartialObjectMeta<ConfigMap>, cluster: &MysqlCluster) -> bool {
    let owner = controller_of(map);
    owner.is_some_and(|owner| Some(&owner.uid) == cluster.meta().uid.as_ref())
}

fn seen(map: &PartialObjectMeta<ConfigMap>) -> Seen {
    let since = map.annotations().get(labels::IN_FORCE_SINCE).and_then(|text| text.parse().ok());
    Seen { name: map.name_any(), uid: map.uid().unwrap_or_default(), since }
}

fn config_map(cluster: &MysqlCluster, name: &str, passed: &Passed<'_>, now: &str) -> Result<ConfigMap, CopyError> {
    let module = passed.module;
    let packed = if passed.bytes.starts_with(ZSTD) { passed.bytes.to_vec() } else { repack(passed.bytes)? };
    let settings = passed.settings.to_owned();
    let bytes = packed.len() + settings.len();
    if bytes > policy::CONFIG_MAP_BYTES {
        return Err(CopyError::TooLarge { bytes, most: policy::CONFIG_MAP_BYTES });
    }
    let said = module.description();
    let mut annotations = BTreeMap::from([
        (labels::MODULE_DIGEST.to_owned(), module.digest().to_owned()),
        (labels::MODULE_NAME.to_owned(), format!("{} {}", said.name, said.version)),
        (labels::MODULE_SOURCE.to_owned(), passed.source.to_owned()),
        (labels::IN_FORCE_SINCE.to_owned(), now.to_owned()),
    ]);
    annotations.extend(passed.signature.map(|signature| (labels::MODULE_SIGNATURE.to_owned(), signature.to_owned())));
    let labels = BTreeMap::from([
        (labels::CLUSTER.to_owned(), cluster.name_any()),
        (labels::POLICY_COPY.to_owned(), passed.decision.to_owned()),
    ]);
    Ok(ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: cluster.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        binary_data: Some(BTreeMap::from([(policy::PACKED.to_owned(), ByteString(packed))])),
        data: Some(BTreeMap::from([(policy::SETTINGS.to_owned(), settings)])),
        immutable: Some(true),
    })
}

/// Packs with zstd what is plain or packed with gzip.
fn repack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let component = engine::unpacked(bytes).map_err(std::io::Error::other)?;
    zstd::bulk::compress(&component, LEVEL)
}

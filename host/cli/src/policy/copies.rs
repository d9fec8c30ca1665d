//! The copies that the operator keeps of modules and settings that were in force, as people see them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, Resource as _, ResourceExt as _};
use objects::api::{MysqlCluster, labels, policy};
use serde_json::Value;

use crate::site::{Site, explained};

/// One copy.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// The ConfigMap.
    pub name: String,
    /// The name and version that the module gives itself.
    pub module: String,
    /// The digest of the module.
    pub digest: String,
    /// The signature of the module, if it has one.
    pub signature: Option<String>,
    /// The settings that go with it.
    pub settings: Value,
    /// Where the module came from.
    pub source: String,
    /// When both last came into force.
    pub since: Option<Timestamp>,
}

impl Copy {
    /// Those of a cluster for a decision, the newest first.
    ///
    /// # Errors
    /// The API server could not be asked.
    pub async fn of(site: &Site, cluster: &MysqlCluster, decision: &str) -> anyhow::Result<Vec<Self>> {
        let maps: Api<ConfigMap> = site.api();
        let name = cluster.name_any();
        let selector = format!("{}={name},{}={decision}", labels::CLUSTER, labels::POLICY_COPY);
        let listed = maps.list(&ListParams::default().labels(&selector)).await;
        let listed = listed.map_err(|error| explained(error, "ConfigMaps of MysqlCluster", &name, &site.namespace))?;
        let own = listed
            .items
            .into_iter()
            .filter(|map| map.owner_references().iter().any(|owner| Some(&owner.uid) == cluster.meta().uid.as_ref()));
        let mut copies: Vec<_> = own.filter_map(Self::read).collect();
        copies.sort_by_key(|copy| std::cmp::Reverse(copy.since));
        Ok(copies)
    }

    fn read(map: ConfigMap) -> Option<Self> {
        let said = |key: &str| map.annotations().get(key).cloned();
        Some(Self {
            name: map.name_any(),
            module: said(labels::MODULE_NAME)?,
            digest: said(labels::MODULE_DIGEST)?,
            signature: said(labels::MODULE_SIGNATURE),
            settings: serde_json::from_str(map.data.as_ref()?.get(policy::SETTINGS)?).ok()?,
            source: said(labels::MODULE_SOURCE)?,
            since: said(labels::IN_FORCE_SINCE).and_then(|text| text.parse().ok()),
        })
    }
}

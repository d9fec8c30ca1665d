//! Policies as people bring them in: built from this tree, packed, and applied as labelled ConfigMaps.

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams};
use objects::api::labels;

use crate::Cluster;

/// A module that was built.
#[derive(Debug, Clone)]
pub struct PolicyModule {
    /// The component.
    pub component: Vec<u8>,
    /// The same, compressed.
    pub packed: Vec<u8>,
}

/// Whether a ConfigMap carries a module as policies are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// With the label.
    Labelled,
    /// Without it, which is a mistake.
    Bare,
}

impl PolicyModule {
    /// Builds a policy of this workspace. Cargo runs, so this has to come before the lab's network is entered.
    ///
    /// # Errors
    /// It does not build.
    pub fn build(package: &str) -> Result<Self> {
        let component = engine::build::policy(package).with_context(|| format!("building the policy {package}"))?;
        let packed = engine::build::pack(&component).context("compressing a policy")?;
        Ok(Self { component, packed })
    }
}

impl Cluster {
    /// Applies a ConfigMap with some bytes under a key, as `kubectl apply --server-side` does.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn apply_policy(&self, name: &str, key: &str, bytes: &[u8], packed: Packed) -> Result<()> {
        let label = (labels::POLICY.to_owned(), "primary-selection".to_owned());
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: (packed == Packed::Labelled).then(|| [label].into()),
                ..ObjectMeta::default()
            },
            binary_data: Some([(key.to_owned(), ByteString(bytes.to_vec()))].into()),
            ..ConfigMap::default()
        };
        let maps: Api<ConfigMap> = self.api();
        let params = PatchParams::apply("grampus-tests").force();
        maps.patch(name, &params, &Patch::Apply(&map)).await.with_context(|| format!("applying ConfigMap {name}"))?;
        Ok(())
    }

    /// Deletes a ConfigMap if it is there.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn delete_policy(&self, name: &str) -> Result<()> {
        let maps: Api<ConfigMap> = self.api();
        match maps.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).with_context(|| format!("deleting ConfigMap {name}")),
        }
    }
}

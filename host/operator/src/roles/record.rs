//! Reads and replaces a cluster's record. A record is only ever replaced by whoever read the one before it:
//! this module must never write without the resourceVersion of what it read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use objects::api::{MysqlTopology, MysqlTopologySpec};
use topology::record::Record;

use crate::cache::ClusterKey;

/// A record and the version it was read at.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The record.
    pub record: Record,
    object: MysqlTopology,
}

impl Versioned {
    /// A record as a watch delivered it.
    pub fn seen(object: &MysqlTopology) -> Self {
        Self { record: object.spec.record.clone(), object: object.clone() }
    }

    /// The version it was read at.
    pub fn version(&self) -> Option<String> {
        self.object.resource_version()
    }
}

/// The records of one namespace.
pub struct Records {
    api: Api<MysqlTopology>,
}

/// Why a record was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Somebody else changed it first.
    #[error("somebody else changed the record first")]
    Conflict,
    /// The API server could not be reached or refused.
    #[error("the record could not be written: {0}")]
    Api(#[from] kube::Error),
}

impl Records {
    /// The records of a cluster's namespace.
    pub fn new(client: Client, key: &ClusterKey) -> Self {
        Self { api: Api::namespaced(client, &key.namespace) }
    }

    /// The record as the API server has it now. None where there is none.
    ///
    /// # Errors
    /// The API server could not be reached or refused.
    pub async fn read(&self, name: &str) -> kube::Result<Option<Versioned>> {
        Ok(self.api.get_opt(name).await?.map(|object| Versioned::seen(&object)))
    }

    /// Replaces `before`, or makes the first record where that is None.
    ///
    /// # Errors
    /// [`ReplaceError::Conflict`] if the record is not `before` any more.
    pub async fn replace(
        &self,
        name: &str,
        before: Option<&Versioned>,
        to: &Record,
        owner: Option<OwnerReference>,
    ) -> Result<Versioned, ReplaceError> {
        let spec = MysqlTopologySpec { record: to.clone() };
        let written = match before {
            Some(before) => {
                let mut object = before.object.clone();
                object.spec = spec;
                // One that somebody put back may have none, and would outlive the cluster.
                object.metadata.owner_references = owner.map(|owner| vec![owner]).or(object.metadata.owner_references);
                self.api.replace(name, &PostParams::default(), &object).await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(name.to_owned()),
                    owner_references: owner.map(|owner| vec![owner]),
                    ..ObjectMeta::default()
                };
                self.api.create(&PostParams::default(), &MysqlTopology { metadata, spec }).await
            }
        };
        match written {
            Ok(object) => Ok(Versioned::seen(&object)),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(ReplaceError::Conflict),
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 && before.is_some() => Err(ReplaceError::Conflict),
            Err(error) => Err(ReplaceError::Api(error)),
        }
    }
}

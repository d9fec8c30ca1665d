//! Reads and replaces a cluster's record. A record is only ever replaced by whoever read the one before it:
//! this module must never write without the resourceVersion of what it read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use objects::api::{MysqlTopology, MysqlTopologySpec};
use topology::record::Record;

use crate::cache::ClusterKey;
use crate::ownership::controller_of;

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

/// The records of one cluster.
pub struct Records {
    api: Api<MysqlTopology>,
    /// The MysqlCluster's own identifier.
    uid: Option<String>,
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
    /// Those of the MysqlCluster with this identifier.
    pub fn new(client: Client, key: &ClusterKey, uid: Option<String>) -> Self {
        Self { api: Api::namespaced(client, &key.namespace), uid }
    }

    /// Whether a record is this cluster's, and not what a deleted one of the same name has left: that one's data may lie
    /// on other volumes, whose members nobody would find again if they were told of this record. One without an owner was
    /// put back by somebody.
    pub fn is_ours(&self, object: &MysqlTopology) -> bool {
        is_of(object, self.uid.as_deref())
    }

    /// The record as the API server has it now. None where there is none of this cluster.
    ///
    /// # Errors
    /// The API server could not be reached or refused.
    pub async fn read(&self, name: &str) -> kube::Result<Option<Versioned>> {
        let found = self.api.get_opt(name).await?.filter(|object| self.is_ours(object));
        Ok(found.map(|object| Versioned::seen(&object)))
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

fn is_of(object: &MysqlTopology, uid: Option<&str>) -> bool {
    let owner = controller_of(object);
    owner.is_none_or(|owner| Some(owner.uid.as_str()) == uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_deleted_cluster_of_the_same_name_left_is_not_ours_and_what_somebody_put_back_is() {
        let owned_by = |uid: Option<&str>| {
            let owner = uid.map(|uid| OwnerReference {
                uid: uid.to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            });
            let metadata = ObjectMeta { owner_references: owner.map(|owner| vec![owner]), ..ObjectMeta::default() };
            MysqlTopology { metadata, spec: MysqlTopologySpec { record: Record::first("shop-0".to_owned()) } }
        };
        assert!(is_of(&owned_by(Some("this")), Some("this")));
        assert!(!is_of(&owned_by(Some("before")), Some("this")));
        assert!(is_of(&owned_by(None), Some("this")));
    }
}

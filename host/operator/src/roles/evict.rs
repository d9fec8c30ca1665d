//! Has a pod replaced: asks for its eviction, so that disruption budgets have their say, and lets its StatefulSet make
//! another one.
//!
//! It never deletes a pod outright, and never touches another pod than the one that was meant.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::Api;
use kube::api::PostParams;
use tokio::sync::Notify;
use topology::record::Claim;

use super::execute::Board;

/// One pod on its way out.
pub struct Eviction {
    /// The pods of the cluster's namespace.
    pub pods: Api<Pod>,
    /// The cluster, for the log.
    pub cluster: String,
    /// The pod.
    pub member: String,
    /// Its identity.
    pub uid: String,
    /// The claim of the record, if there is one: under it the member is busy meanwhile.
    pub claim: Option<Claim>,
}

impl Eviction {
    /// Asks for it in a task of its own; its end wakes `wake`.
    pub fn send(self, board: &Board, wake: Arc<Notify>) {
        let number = board.begin(&self.member, self.claim);
        let board = board.clone();
        tokio::spawn(async move {
            let failure = self.run().await.err();
            match &failure {
                None => tracing::info!(cluster = self.cluster, member = self.member, uid = self.uid, "pod evicted"),
                Some(failure) => {
                    tracing::info!(cluster = self.cluster, member = self.member, failure, "pod not evicted")
                }
            }
            board.end(&self.member, number, failure);
            wake.notify_one();
        });
    }

    /// Written out, because the client's own `evict` names the options of the deletion in a way that the API server
    /// ignores, the identity of the pod among them.
    async fn run(&self) -> Result<(), String> {
        let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
        let eviction = k8s_openapi::api::policy::v1::Eviction {
            metadata: ObjectMeta { name: Some(self.member.clone()), ..ObjectMeta::default() },
            delete_options: Some(DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() }),
        };
        let params = PostParams::default();
        let created: kube::Result<serde_json::Value> =
            self.pods.create_subresource("eviction", &self.member, &params, &eviction).await;
        match created {
            Ok(_) => Ok(()),
            // It is gone already, or another pod has its name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 429 => {
                Err(format!("its eviction is not allowed now: {}", status.message))
            }
            Err(error) => Err(format!("its eviction was refused: {error}")),
        }
    }
}

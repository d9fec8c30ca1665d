//! The spec with every default resolved.
//!
//! Only [`super::validate`] makes these, so whoever holds one need not check anything again.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};

use crate::api::{DeletionPolicy, Recovery, Scheduling, ServiceType, Storage};
use crate::problem::Problem;

/// A cluster whose every field can be carried out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ValidatedCluster {
    /// Which cluster it is.
    pub identity: Identity,
    /// The image with mysqld.
    pub image: String,
    /// Secrets with which images are pulled.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// N, the number of voting members.
    pub replicas: u32,
    /// k, how many replicas hold a transaction before its client hears OK.
    pub acks: u32,
    /// The servers that are only read from.
    pub read_replicas: ResolvedReadReplicas,
    /// The volume of each member.
    pub storage: Storage,
    /// What happens to the volumes when the cluster is deleted.
    pub deletion_policy: DeletionPolicy,
    /// CPU and memory of the MySQL container.
    pub resources: ResourceRequirements,
    /// Bytes of memory that mysqld is sized for.
    pub memory: Option<u64>,
    /// The people's part of my.cnf.
    pub my_cnf: String,
    /// The Secret with root's password, if a person keeps one.
    pub root_password: Option<SecretReference>,
    /// What an empty server is given.
    pub database: Database,
    /// The backup that the first data is made from. None for an empty server.
    pub recovery: Option<Recovery>,
    /// Where the pods may run.
    pub scheduling: Scheduling,
    /// Labels and annotations for the pods.
    pub pod_metadata: Metadata,
    /// A digest of everything that the spec, as it was written, says about the pods.
    pub spec_digest: String,
    /// The Services that applications use.
    pub services: ResolvedServices,
    /// The module that decides which member leads.
    pub primary_selection: PrimarySelection,
    /// Whether everything is left as it is.
    pub paused: bool,
    /// What is allowed and yet may not be what somebody expects.
    pub warnings: Vec<Problem>,
}

/// The servers that are only read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedReadReplicas {
    /// How many.
    pub count: u32,
    /// How much later than on the primary, in seconds, they apply every transaction.
    pub delay_s: u64,
    /// How far, in seconds, a replica may lag and still be read from.
    pub max_lag_s: u64,
}

/// Which cluster it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid: a cluster that is created again under the same name is another one.
    pub uid: String,
}

/// One key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretReference {
    /// The Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// What an empty server is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// The application's database.
    pub name: String,
    /// The application's user.
    pub user: String,
    /// The server's character set.
    pub charset: String,
    /// 0 or 1, as mysqld knows it.
    pub lower_case_table_names: u8,
}

/// Labels and annotations to add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Labels to add.
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    pub annotations: BTreeMap<String, String>,
}

/// The Services that applications use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedServices {
    /// `NAME-primary`.
    pub primary: ResolvedService,
    /// `NAME-replicas`.
    pub replicas: ResolvedService,
}

/// One Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedService {
    /// Labels and annotations to add.
    pub metadata: Metadata,
    /// How it is reached.
    pub kind: ServiceType,
}

/// The module that decides which member leads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrimarySelection {
    /// Where it is; the embedded default if nowhere.
    pub module: Option<ModuleReference>,
    /// Its settings, an object, which only the module itself can check.
    pub settings: Option<serde_json::Value>,
    /// How long it may answer "hold" while there is no primary; for ever if `None`.
    pub max_hold: Option<Duration>,
}

/// One key of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModuleReference {
    /// The ConfigMap, in the cluster's namespace.
    pub config_map: String,
    /// The key in its `binaryData`.
    pub key: String,
}

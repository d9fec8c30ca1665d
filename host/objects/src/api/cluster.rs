//! `MysqlCluster`: what a person asks for.
//!
//! Later features add fields and never change the meaning of one that is here. Grampus writes nothing into the
//! spec: a default is resolved when it is needed, in [`crate::validate`].

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advice::{ConfigTuningPolicy, ScalingPolicy};
use super::backup::{Backup, Recovery};
use super::backup_window::BackupWindowPolicy;
use super::schema;
use super::status::MysqlClusterStatus;

/// What a person asks for: a MySQL cluster with one writable primary.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "grampus.dev",
    version = "v1alpha1",
    kind = "MysqlCluster",
    plural = "mysqlclusters",
    shortname = "myc",
    category = "grampus",
    namespaced,
    status = "MysqlClusterStatus",
    scale(
        spec_replicas_path = ".spec.readReplicas.count",
        status_replicas_path = ".status.readReplicas.count",
        label_selector_path = ".status.readReplicas.selector"
    ),
    derive = "PartialEq",
    doc = "A MySQL cluster: one primary that takes writes, and replicas that hold every acknowledged one.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40").message(
        "metadata.name: at most 40 characters, so that names derived from it still fit; choose a shorter one"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name: must start with a letter and hold only a-z, 0-9 and '-', because Services are named after it"
    )
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.durability) || !has(self.durability.acks) || \
     (has(self.replicas) ? self.replicas : 3) == 1 || \
     (self.durability.acks >= 1 && self.durability.acks <= (has(self.replicas) ? self.replicas : 3) - 1)"
).message(
    "spec.durability.acks: must be at least 1 and at most replicas - 1; leave it out to get (replicas - 1) / 2"
))]
#[x_kube(validation = Rule::new(
    "!has(self.durability) || !has(self.durability.acks) || \
     (has(self.replicas) ? self.replicas : 3) != 1 || self.durability.acks == 0"
).message(
    "spec.durability.acks: a single member has nobody to acknowledge; leave it out or set it to 0"
))]
#[x_kube(validation = Rule::new(
    "has(self.bootstrap) == has(oldSelf.bootstrap) && (!has(self.bootstrap) || self.bootstrap == oldSelf.bootstrap)"
).message(
    "spec.bootstrap: says how the cluster was made and cannot be changed; create another cluster"
))]
pub struct MysqlClusterSpec {
    /// The image with mysqld, of any series from 8.0.26 on. Its entrypoint and configuration are not used. The
    /// operator's default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Secrets with which the images are pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The number of voting members: 1, 2, 3, 5 or 7. They hold all data and acknowledge commits. 3 if not given. With
    /// a lower number members go one at a time, the highest first, each once everything is safe without it; their
    /// volumes stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [1, 2, 3, 5, 7]").message(
        "spec.replicas: must be 1, 2, 3, 5 or 7; four or six members survive no more losses than three or five"
    ))]
    pub replicas: Option<i32>,
    /// Servers beside the voting members that are only read from. The scale subresource is their number.
    #[serde(default)]
    pub read_replicas: ReadReplicas,
    /// The volume of each member.
    pub storage: Storage,
    /// What happens to the volumes when the cluster is deleted. `Retain` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// CPU and memory of the MySQL container. The buffer pool follows the memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Options of mysqld, as in my.cnf. Those on which durability or replication rests are refused. YAML reads a
    /// bare `ON` or `OFF` as a boolean: write it in quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::options")]
    pub config: BTreeMap<String, OptionValue>,
    /// What a client's OK is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// The Secret with root's password. Without it one is made up and kept in the Secret `NAME-root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_password_secret: Option<SecretKey>,
    /// How the first member gets its data. A new, empty database if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Where backups go. Without it none can be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// Where the pods may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Labels and annotations for the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<ExtraMetadata>,
    /// The Services that applications use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Services>,
    /// The modules that make judgements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Leaves everything as it is while true: no child is written, no role is moved, not even after a loss.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// Servers beside the voting members that are only read from. They receive from a voting replica, acknowledge nothing
/// and never lead, so that their number changes nothing about what a client's OK is worth.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadReplicas {
    /// How many. 0 if not given. `kubectl scale` and autoscalers change this number; those with the highest numbers go
    /// first, and their volumes stay.
    #[serde(default)]
    #[schemars(range(min = 0, max = 50))]
    pub count: i32,
    /// How much later than on the primary they apply every transaction, as in `1h`: time to notice a mistake. Such
    /// servers are never in the Service `NAME-replicas`. Not at all if not given; 30 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}(s|m|h))+$')").message(
        "spec.readReplicas.delay: must be a duration in whole seconds such as 90s, 15m or 1h"
    ))]
    pub delay: Option<String>,
    /// How far a replica, voting or not, may lag behind the primary and still be in the Service `NAME-replicas`, as in
    /// `10s`. One that was left out comes back at half of it. 30s if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}(s|m|h))+$')").message(
        "spec.readReplicas.maxLag: must be a duration in whole seconds such as 10s or 1m30s"
    ))]
    pub max_lag: Option<String>,
}

/// The volume of each member.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) == 0"
).message(
    "spec.storage.size: volumes cannot be resized yet; keep the size, or create a larger cluster and move the data"
))]
#[x_kube(validation = Rule::new(
    "has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)"
).message(
    "spec.storage.className: cannot be changed, the volumes exist already; create another cluster"
))]
#[x_kube(validation = Rule::new(
    "has(self.accessModes) == has(oldSelf.accessModes) && \
     (!has(self.accessModes) || self.accessModes == oldSelf.accessModes)"
).message(
    "spec.storage.accessModes: cannot be changed, the volumes exist already; create another cluster"
))]
#[x_kube(validation = Rule::new(
    "(has(self.claimName) ? self.claimName : 'data') == (has(oldSelf.claimName) ? oldSelf.claimName : 'data')"
).message(
    "spec.storage.claimName: cannot be changed while the cluster is there; delete it, with deletionPolicy Retain, and apply \
     it again with the other name"
))]
pub struct Storage {
    /// How large each volume is, as in `10Gi`.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message(
        "spec.storage.size: must be an amount of bytes greater than zero, such as 10Gi or 500M"
    ))]
    pub size: String,
    /// The StorageClass. The default class of the Kubernetes cluster if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// `ReadWriteOnce` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub access_modes: Option<Vec<AccessMode>>,
    /// What the claims of the volumes are called, before the name of each pod: `data2` makes `data2-shop-0`. `data` if not
    /// given. A cluster that was deleted and is applied again with another one begins on volumes of its own, and those
    /// from before stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 15))]
    #[x_kube(validation = Rule::new("self.matches('^data[a-z0-9]*$')").message(
        "spec.storage.claimName: must be `data` and, behind it, lower-case letters and digits, as in data2"
    ))]
    pub claim_name: Option<String>,
}

impl Storage {
    /// What the claims are called if nobody says.
    pub const CLAIM_NAME: &str = "data";

    /// What the claims of the volumes are called, before the name of each pod. It is the name of the volume within the pod
    /// too, and begins like this so that it is none of the others there.
    pub fn claim_name(&self) -> &str {
        self.claim_name.as_deref().unwrap_or(Self::CLAIM_NAME)
    }

    /// Whether claims may be called so.
    pub fn is_claim_name(name: &str) -> bool {
        let more = name.strip_prefix(Self::CLAIM_NAME);
        more.is_some_and(|more| more.len() < 12 && more.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9')))
    }
}

/// How a volume may be mounted. A member's volume is never shared, so modes that only share are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// By one node.
    ReadWriteOnce,
    /// By one pod.
    ReadWriteOncePod,
    /// By many nodes; for storage that knows nothing else.
    ReadWriteMany,
}

/// What happens to the volumes when the cluster is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay, and a cluster of the same name takes them up again.
    #[default]
    Retain,
    /// They are deleted with the cluster, and the data is gone.
    Delete,
}

/// CPU and memory of the MySQL container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What the container may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// The value of a mysqld option: a number or a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// As in `max_connections: 500`.
    Number(i64),
    /// As in `innodb_io_capacity: "2k"`.
    Text(String),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Number(number) => number.fmt(out),
            OptionValue::Text(text) => text.fmt(out),
        }
    }
}

/// What a client's OK is worth.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durability {
    /// How many replicas hold a transaction before its client hears OK: so many members may be lost at once and
    /// no acknowledged write is. (replicas − 1) / 2, but at least 1, if not given. Zero only for one member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 6))]
    pub acks: Option<i32>,
}

/// One key of a Secret in the cluster's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretKey {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it. `password` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// How the first member gets its data.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.new) || !has(self.recovery)").message(
    "spec.bootstrap: a database is either new or recovered; give one of the two"
))]
pub struct Bootstrap {
    /// An empty server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<NewDatabase>,
    /// The data of a backup. The cluster gets passwords and an identity of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// What an empty server is given.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDatabase {
    /// The database for the application. `app` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message(
        "spec.bootstrap.new.database: only letters, digits, '_' and '-'"
    ))]
    #[x_kube(validation = Rule::new(
        "!(self.lowerAscii() in ['mysql', 'sys', 'information_schema', 'performance_schema'])"
    ).message(
        "spec.bootstrap.new.database: this database belongs to MySQL; choose another name"
    ))]
    pub database: Option<String>,
    /// The application's user, who may do everything in that database. `app` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message(
        "spec.bootstrap.new.user: only letters, digits, '_' and '-'"
    ))]
    #[x_kube(validation = Rule::new("self != 'root' && !self.startsWith('mysql') && !self.startsWith('grampus')").message(
        "spec.bootstrap.new.user: root and names that begin with mysql or grampus are taken; choose another name"
    ))]
    pub user: Option<String>,
    /// The server's character set. `utf8mb4` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]+$')").message(
        "spec.bootstrap.new.charset: the name of a character set, such as utf8mb4"
    ))]
    pub charset: Option<String>,
    /// 0 keeps the case of table names, 1 stores them in lower case. 0 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [0, 1]").message(
        "spec.bootstrap.new.lowerCaseTableNames: must be 0 or 1; 2 does not work on Linux"
    ))]
    pub lower_case_table_names: Option<i32>,
}

/// Where the pods may run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Only nodes with these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Takes the place of the default, which prefers a node without another member of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Taints that the pods bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Takes the place of the default, which spreads the members over zones where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_spread: Option<Vec<TopologySpreadConstraint>>,
    /// The pods' PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

/// Labels and annotations to add. Those of Grampus and Kubernetes itself cannot be overridden.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExtraMetadata {
    /// Labels to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The Services that applications use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// `NAME-primary`, for writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<ServiceOptions>,
    /// `NAME-replicas`, for reads that may be a little behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ServiceOptions>,
}

/// One Service.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceOptions {
    /// Labels to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `ClusterIP` if not given.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ServiceType>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// From inside the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// On a port of every node.
    NodePort,
    /// Through a load balancer of the cloud.
    LoadBalancer,
}

/// The modules that make judgements.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policies {
    /// Decides which member leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_selection: Option<Policy>,
    /// Says how many read replicas there should be, and how large servers and volumes. Nothing is done about it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingPolicy>,
    /// Says how mysqld should be set. Nothing is done about it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_tuning: Option<ConfigTuningPolicy>,
    /// Says when the backups of the schedule are made. When they are due if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_window: Option<BackupWindowPolicy>,
}

/// One module, its settings and how far it is trusted.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.embedded) || !self.embedded || !has(self.module)").message(
    "embedded: the embedded default decides, so that no module can be named; remove one of the two"
))]
pub struct Policy {
    /// Where the module is. If not given, the module that the operator was given for all clusters, or else the embedded
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleSource>,
    /// The embedded default decides while true, whatever the operator was given for all clusters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub embedded: bool,
    /// Settings, checked by the module itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_object")]
    pub settings: Option<serde_json::Value>,
    /// `Enforce` if not given. With `Shadow` this module is asked as those under `shadows` are, and the default
    /// decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// Modules that are asked the same beside the one that decides. Their answers are written into the journal and
    /// counted where they differ; nobody follows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub shadows: Vec<ShadowPolicy>,
    /// How long the module may answer "hold" while there is no primary, before the embedded default is asked: as
    /// in `5s`, or `unlimited`. 5s if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^(unlimited|([0-9]{1,6}(ms|s|m|h))+)$')").message(
        "maxHold: must be a duration such as 5s, 500ms or 1m30s, or the word unlimited"
    ))]
    pub max_hold: Option<String>,
}

/// One module that is asked and not followed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowPolicy {
    /// Where the module is. The embedded default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleSource>,
    /// Settings, checked by the module itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_object")]
    pub settings: Option<serde_json::Value>,
}

/// Where a module is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleSource {
    /// A ConfigMap in the cluster's namespace, labelled `grampus.dev/policy`.
    pub config_map: ConfigMapKey,
    /// The digest that the unpacked component must have, as in `sha256:…`. `grampus policy inspect` shows it. Any module
    /// of that key if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message(
        "digest: must be sha256: and 64 hexadecimal digits, as `grampus policy inspect` shows it"
    ))]
    pub digest: Option<String>,
    /// An Ed25519 signature of the module for this decision, in base64, as `grampus policy sign` makes it. That in the
    /// annotation `grampus.dev/module-signature` of the ConfigMap if not given. It is verified against the public keys
    /// that the operator was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 88))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9+/]{86}==$')").message(
        "signature: must be 64 bytes in base64, as `grampus policy sign` prints them"
    ))]
    pub signature: Option<String>,
}

/// One key of a ConfigMap in the cluster's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMapKey {
    /// The ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its `binaryData`. `policy.wasm` if not given. Whether it is packed shows in its first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// How far a module is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    /// Its answers are followed, as far as they are safe.
    #[default]
    Enforce,
    /// It is asked, and its answers are only compared.
    Shadow,
}

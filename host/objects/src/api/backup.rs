//! `MysqlBackup`: one backup of a cluster, and the fields of a cluster that are about backups.
//!
//! The object asks for a backup and tells of it. What it tells is a report: the backup itself is in the store, and
//! deleting the object deletes nothing there.

#![allow(clippy::duplicated_attributes, reason = "every column of kubectl has a type and a path")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One backup.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "grampus.dev",
    version = "v1alpha1",
    kind = "MysqlBackup",
    plural = "mysqlbackups",
    shortname = "myb",
    category = "grampus",
    namespaced,
    status = "MysqlBackupStatus",
    derive = "PartialEq",
    doc = "A backup of one MysqlCluster, made once. Deleting it leaves what is in the store.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Member", type_ = "string", json_path = ".status.member"),
    printcolumn(name = "Verified", type_ = "date", json_path = ".status.verifiedAt"),
    printcolumn(name = "GTIDs", type_ = "string", json_path = ".status.gtids", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message(
    "spec: a backup is made once and cannot be changed; create another MysqlBackup"
))]
pub struct MysqlBackupSpec {
    /// The name of the MysqlCluster, in the same namespace. Its `spec.backup.store` says where to.
    #[schemars(length(min = 1, max = 40))]
    pub cluster: String,
    /// How it is made. `Clone` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<BackupMethod>,
}

/// How a backup is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackupMethod {
    /// A consistent copy of the data files, by MySQL's own clone plugin. It takes free room of the size of the data on
    /// the volume of the member it is made from.
    #[default]
    Clone,
    /// The databases of applications as statements, by mysqldump: for a server of another version. It takes long to make,
    /// longer to restore, and nothing can be recovered beyond it; the accounts of applications are not in it. It is kept
    /// until somebody removes it from the store.
    Logical,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackupPhase {
    /// Not begun; the message says what it waits for.
    Pending,
    /// Being made.
    Running,
    /// In the store, its manifest included.
    Succeeded,
    /// Given up; the message says why. There is no backup.
    Failed,
    /// It was made, and is not in the store any more.
    Removed,
}

/// What is known of a backup.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MysqlBackupStatus {
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupPhase>,
    /// One sentence for the person who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The pod it is made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The store it is in, as the cluster's spec named it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<BackupStore>,
    /// Where it is in the store, below the store's prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Every transaction that is surely in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtids: Option<String>,
    /// How many bytes of files have been read so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_done: Option<i64>,
    /// How large the files are together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// How large it is in the store, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<i64>,
    /// The same for people, as in `1.2 GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// How long it took, as in `1m12s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// SHA-256 of its manifest, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it succeeded or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// When a drill last restored it and found what it should hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
}

impl MysqlBackupStatus {
    /// Whether nothing more will happen to this backup.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Some(BackupPhase::Succeeded | BackupPhase::Failed | BackupPhase::Removed))
    }
}

/// How a cluster is backed up.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Where backups go.
    pub store: BackupStore,
    /// When a full backup is made: minute, hour, day of month, month and day of week, as in crontab. Only on request if
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = Rule::new("self.split(' ').filter(field, size(field) > 0).size() == 5").message(
        "spec.backup.schedule: must be five fields, such as 0 2 * * * for every night at two"
    ))]
    pub schedule: Option<String>,
    /// The time zone of the schedule, as in `Asia/Shanghai`. `UTC` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Whether the binary log is archived in the store as it is written, a minute behind at most. `false` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuous: Option<bool>,
    /// For whom backups, and the archive, are encrypted before they are sent. They are as readable as the store if not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<BackupEncryption>,
    /// How many bytes a second a member sends of a full backup at most, on average, as in `50Mi`. No limit if not given;
    /// the archive has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1Mi')) >= 0").message(
        "spec.backup.bandwidth: must be an amount of bytes a second and at least 1Mi, such as 50Mi"
    ))]
    pub bandwidth: Option<String>,
    /// How long backups, and the archive of the binary log that leads on from them, are kept. For ever if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When backups are proved by restoring the newest one. Only on request if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
}

/// The keys with which backups are encrypted and opened, those of age (age-encryption.org).
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupEncryption {
    /// The Secret with the keys, one a line. To make backups it needs `recipients`, public keys as in `age1…`: any one of
    /// their secret halves opens what is made. To restore them it needs `identities`, secret keys as in
    /// `AGE-SECRET-KEY-1…`: as many as there are backups to open that were made for different ones.
    #[schemars(length(min = 1, max = 253))]
    pub keys_secret: String,
}

/// How long backups are kept. What is given has to allow it before anything is removed; the newest backup is always kept,
/// with all of the archive that leads on from it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.fulls) || has(self.window)").message(
    "spec.backup.retention: give `fulls`, `window`, or both"
))]
pub struct Retention {
    /// So many of the newest full backups are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 1000").message(
        "spec.backup.retention.fulls: must be 1 to 1000"
    ))]
    pub fulls: Option<i32>,
    /// What is needed to recover any moment of so long a time is kept, as in `14d`, `2w` or `36h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}(s|m|h|d|w))+$')").message(
        "spec.backup.retention.window: must be a time such as 14d, 2w or 36h"
    ))]
    pub window: Option<String>,
    /// Whether it is only told what would be removed, in `status.backup.retention`. `false` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// How backups are proved: the newest one, and the archive of the binary log where there is one, becomes a cluster of one
/// member that is compared with this one and removed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// When: minute, hour, day of month, month and day of week, as in crontab, in the time zone of `spec.backup.timeZone`.
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = Rule::new("self.split(' ').filter(field, size(field) > 0).size() == 5").message(
        "spec.backup.drill.schedule: must be five fields, such as 0 5 * * 0 for every Sunday at five"
    ))]
    pub schedule: String,
    /// How long one may take before it has failed, as in `90m`. `6h` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}(s|m|h))+$')").message(
        "spec.backup.drill.timeout: must be a duration in whole seconds such as 90m or 6h"
    ))]
    pub timeout: Option<String>,
}

impl Backup {
    /// Whether the binary log is archived.
    pub fn is_continuous(&self) -> bool {
        self.continuous.unwrap_or(false)
    }
}

/// A place for backups. Exactly one kind of place is given.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.s3) ? 1 : 0) + (has(self.gcs) ? 1 : 0) + (has(self.azure) ? 1 : 0) == 1"
).message(
    "store: name one place, s3, gcs or azure, and only one"
))]
pub struct BackupStore {
    /// S3, or anything that speaks its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Store>,
    /// Google Cloud Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsStore>,
    /// Azure Blob Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureStore>,
}

/// A bucket of S3.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Store {
    /// The bucket. It must exist.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// What the name of every object begins with. Nothing if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub prefix: Option<String>,
    /// Where the server is, as in `https://s3.example.com`. Amazon's own if not given; with it the bucket is named in
    /// the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/]+/?$')").message(
        "endpoint: must be http:// or https:// and a host, such as https://s3.example.com"
    ))]
    pub endpoint: Option<String>,
    /// The region. `us-east-1` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// The Secret with the keys `accessKeyId` and `secretAccessKey`.
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: String,
}

/// A bucket of Google Cloud Storage.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcsStore {
    /// The bucket. It must exist.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// What the name of every object begins with. Nothing if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub prefix: Option<String>,
    /// The Secret with a service account's key, in the key `serviceAccount.json`.
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: String,
}

/// A container of Azure Blob Storage.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureStore {
    /// The storage account.
    #[schemars(length(min = 1, max = 64))]
    pub account: String,
    /// The container. It must exist.
    #[schemars(length(min = 1, max = 64))]
    pub container: String,
    /// What the name of every object begins with. Nothing if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub prefix: Option<String>,
    /// The Secret with the account's key, in the key `accountKey`.
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: String,
}

impl BackupStore {
    /// The Secret with which it is opened. None where no place is named.
    pub fn credentials_secret(&self) -> Option<&str> {
        let secrets = [
            self.s3.as_ref().map(|store| &store.credentials_secret),
            self.gcs.as_ref().map(|store| &store.credentials_secret),
            self.azure.as_ref().map(|store| &store.credentials_secret),
        ];
        secrets.into_iter().flatten().next().map(String::as_str)
    }
}

/// Data from a backup, either of a MysqlBackup in the same namespace or from a store alone; or from a dump of another
/// server.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.backup) ? 1 : 0) + (has(self.path) ? 1 : 0) + (has(self.dump) ? 1 : 0) == 1 \
     && has(self.store) == !has(self.backup)"
).message(
    "spec.bootstrap.recovery: give either `backup`, or `store` and `path`, or `store` and `dump`"
))]
#[x_kube(validation = Rule::new("!has(self.dump) || !has(self.target)").message(
    "spec.bootstrap.recovery.target: a dump is of one moment, and nothing goes on from there; leave the target out"
))]
pub struct Recovery {
    /// The MysqlBackup, which has succeeded. Without a target, this backup alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub backup: Option<String>,
    /// The store that the backup is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<BackupStore>,
    /// Where it is there, below the store's prefix: the directory with `manifest.json`. Or `NAMESPACE/CLUSTER`, the
    /// directory of a cluster: the newest backup from which the target can be reached; without a target the newest one,
    /// and the archive of the binary log to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$')").message(
        "spec.bootstrap.recovery.path: names of letters, digits, '-', '_' and '.' with '/' between them, as MysqlBackups show it in status.path"
    ))]
    pub path: Option<String>,
    /// A dump of another server there: an object with SQL as `mysqldump --databases` writes it. Its name ends in `.sql`,
    /// `.sql.gz` or `.sql.zst`, with `.age` behind it if it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 1024))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+[.]sql([.](gz|zst))?([.]age)?$')"
    ).message(
        "spec.bootstrap.recovery.dump: must be the name of an object that ends in .sql, .sql.gz or .sql.zst, or that and .age"
    ))]
    pub dump: Option<String>,
    /// With which keys it is opened. Needed if the backup, or the archive, is encrypted; if not it does no harm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<BackupEncryption>,
    /// How far to go on from the backup, over the archive of the binary log that lies beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<RecoveryTarget>,
    /// The application's database, which the Secret `NAME-app` names. `app` if not given; made if the backup has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub database: Option<String>,
    /// The application's user, who gets the password in the Secret `NAME-app`. `app` if not given; made if the backup
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub user: Option<String>,
    /// What the cluster in the backup was made with. 0 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [0, 1]").message(
        "spec.bootstrap.recovery.lowerCaseTableNames: must be 0 or 1, as in the backup"
    ))]
    pub lower_case_table_names: Option<i32>,
}

/// Where a recovery ends. Exactly one is given.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.time) ? 1 : 0) + (has(self.beforeGtid) ? 1 : 0) + (has(self.withinGtids) ? 1 : 0) \
     + (has(self.end) ? 1 : 0) == 1"
).message(
    "spec.bootstrap.recovery.target: give one of `time`, `beforeGtid`, `withinGtids` and `end: true`, and only one"
))]
pub struct RecoveryTarget {
    /// A moment, as in `2026-11-21T09:30:00Z`: every transaction that was committed until then, and nothing from the first
    /// later one on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 40))]
    #[x_kube(validation = Rule::new(
        "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$')"
    ).message(
        "spec.bootstrap.recovery.target.time: must be a date, a time and a zone, such as 2026-11-21T09:30:00Z or 2026-11-21T17:30:00+08:00"
    ))]
    pub time: Option<String>,
    /// The first transaction that is not wanted, as in `3e11fa47-71ca-11e1-9e33-c80aa9429562:23`: everything that was
    /// committed before it, and neither it nor anything later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 38, max = 100))]
    #[x_kube(validation = Rule::new(
        "self.matches('^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(:[A-Za-z_][A-Za-z0-9_]{0,31})?:[0-9]{1,19}$')"
    ).message(
        "spec.bootstrap.recovery.target.beforeGtid: must be one transaction, such as 3e11fa47-71ca-11e1-9e33-c80aa9429562:23"
    ))]
    pub before_gtid: Option<String>,
    /// A GTID set, as `gtid_executed` was at some moment: everything that was committed before the first transaction that
    /// is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 38, max = 262_144))]
    pub within_gtids: Option<String>,
    /// Everything that was archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message(
        "spec.bootstrap.recovery.target.end: can only be true; leave the target out to get the backup alone"
    ))]
    pub end: Option<bool>,
}

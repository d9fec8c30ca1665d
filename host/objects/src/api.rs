//! The custom resources of `grampus.dev/v1alpha1`, from which the CRDs in `deploy/crds` are generated.
//!
//! A field stands here only when something honours it: a field that is silently ignored is worse than none. The
//! rules that the API server can check are CEL rules beside the fields; the rest is in [`crate::validate`].

mod advice;
mod backup;
mod backup_window;
mod cluster;
mod crds;
mod operation;
mod schema;
mod status;
#[cfg(test)]
mod tests;
mod topology;

pub use advice::*;
pub use backup::*;
pub use backup_window::*;
pub use cluster::*;
pub use crds::{crd_files, crds};
pub use operation::*;
pub use status::*;
pub use topology::*;

/// The API group of every kind here.
pub const GROUP: &str = "grampus.dev";
/// The only version so far.
pub const VERSION: &str = "v1alpha1";

/// A name that Grampus derives from a cluster's name.
///
/// They are functions and not strings in a table, so that the operator, the command line and the tests cannot
/// disagree about them.
pub mod names {
    /// The Service that applications write to.
    pub fn primary_service(cluster: &str) -> String {
        format!("{cluster}-primary")
    }

    /// The Service that applications read from.
    pub fn replicas_service(cluster: &str) -> String {
        format!("{cluster}-replicas")
    }

    /// The headless Service that gives every member a name.
    pub fn instances_service(cluster: &str) -> String {
        format!("{cluster}-instances")
    }

    /// The ConfigMap with the people's part of my.cnf.
    pub fn config(cluster: &str) -> String {
        format!("{cluster}-config")
    }

    /// The ConfigMap with the last decisions.
    pub fn journal(cluster: &str) -> String {
        format!("{cluster}-journal")
    }

    /// The ConfigMap with a copy of a module and its settings that were in force: named after what it decides and the
    /// beginnings of two digests, so that the same pair has the same name.
    pub fn policy_copy(cluster: &str, decision: &str, module: &str, settings: &str) -> String {
        let hex: String = module.trim_start_matches("sha256:").chars().take(12).collect();
        format!("{cluster}-policy-{decision}-{hex}-{}", &crate::digest::of_text(settings)[..8])
    }

    /// The Secret with root's password.
    pub fn root_secret(cluster: &str) -> String {
        format!("{cluster}-root")
    }

    /// The Secret with which applications connect.
    pub fn app_secret(cluster: &str) -> String {
        format!("{cluster}-app")
    }

    /// The Secret with the cluster's certificate authority.
    pub fn ca_secret(cluster: &str) -> String {
        format!("{cluster}-ca")
    }

    /// The Secret with the passwords that only Grampus uses.
    pub fn internal_secret(cluster: &str) -> String {
        format!("{cluster}-internal")
    }

    /// The Secret with the members' certificate.
    pub fn server_secret(cluster: &str) -> String {
        format!("{cluster}-server")
    }

    /// The Secret with the certificate that the operator shows to agents.
    pub fn operator_secret(cluster: &str) -> String {
        format!("{cluster}-operator")
    }

    /// The throw-away cluster of a drill: named after the operation too, so that no volume of an earlier one has its name.
    /// At most 40 characters, as for every cluster.
    pub fn drill(cluster: &str, operation_uid: &str) -> String {
        let stem: String = cluster.chars().take(25).collect();
        let uid: String = operation_uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        format!("{stem}-drill-{uid}")
    }

    /// The pod of the member with that ordinal.
    pub fn member(cluster: &str, ordinal: u32) -> String {
        format!("{cluster}-{ordinal}")
    }

    /// The StatefulSet of the read replicas, and their budget for evictions.
    pub fn readers(cluster: &str) -> String {
        format!("{cluster}-read")
    }

    /// The pod of the read replica with that ordinal.
    pub fn reader(cluster: &str, ordinal: u32) -> String {
        format!("{cluster}-read-{ordinal}")
    }
}

/// The labels and annotations by which Grampus finds its objects.
pub mod labels {
    /// On every child: the cluster it belongs to.
    pub const CLUSTER: &str = "grampus.dev/cluster";
    /// On pods of members: `primary` or `replica`, written by the topology controller only. On pods of read replicas:
    /// [`READ_REPLICA`], from the beginning and for ever.
    pub const ROLE: &str = "grampus.dev/role";
    /// The role of a read replica.
    pub const READ_REPLICA: &str = "read-replica";
    /// On ConfigMaps that carry policy modules.
    pub const POLICY: &str = "grampus.dev/policy";
    /// An annotation on such ConfigMaps: the digest of the module, for people and for `policy history`.
    pub const MODULE_DIGEST: &str = "grampus.dev/module-digest";
    /// An annotation on such ConfigMaps: a signature of the module, where the spec has none.
    pub const MODULE_SIGNATURE: &str = "grampus.dev/module-signature";
    /// On ConfigMaps with a copy of a module that was in force: what it decides. Never together with [`POLICY`]: what
    /// the operator writes must not wake whoever follows what people write.
    pub const POLICY_COPY: &str = "grampus.dev/policy-copy";
    /// An annotation on copies: the name and version that the module gives itself.
    pub const MODULE_NAME: &str = "grampus.dev/module-name";
    /// An annotation on copies: where the module came from.
    pub const MODULE_SOURCE: &str = "grampus.dev/module-source";
    /// An annotation on copies: when the pair last came into force, in RFC 3339.
    pub const IN_FORCE_SINCE: &str = "grampus.dev/in-force-since";
    /// On Namespaces: `"true"` where modules have to be signed.
    pub const REQUIRE_SIGNED: &str = "grampus.dev/require-signed-policies";
    /// On pods: the version of the template they were made from.
    pub const TEMPLATE_VERSION: &str = "grampus.dev/template-version";
    /// An annotation on pods: a digest of what the spec asked of them when they were made. It changes when a person
    /// changes the spec, and never because Grampus itself has changed.
    pub const SPEC_DIGEST: &str = "grampus.dev/spec-digest";
    /// An annotation on pods: a digest of the my.cnf that was in force when they were made.
    pub const CONFIG_DIGEST: &str = "grampus.dev/config-digest";
    /// On MysqlBackups that a schedule asked for: the cluster's uid, so that one that came before is not taken for it.
    pub const SCHEDULED_FOR: &str = "grampus.dev/scheduled-for";
    /// On the throw-away clusters of drills: the uid of the MysqlOperation.
    pub const DRILL: &str = "grampus.dev/drill";
    /// On the throw-away clusters of drills, and on the operations that a schedule asked for: the cluster that is drilled.
    pub const DRILL_OF: &str = "grampus.dev/drill-of";
    /// On children: a digest of what was applied, to find changes without writing.
    pub const APPLIED: &str = "grampus.dev/applied";
    /// The standard label for whoever manages an object; ours is [`MANAGER`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The value of [`MANAGED_BY`] on our objects.
    pub const MANAGER: &str = "grampus";
}

/// What the ConfigMap of [`names::journal`] holds.
pub mod journal {
    /// In `binaryData`: the last decisions, one JSON object a line, packed with zstd.
    pub const DECISIONS: &str = "decisions.jsonl.zst";
    /// In `binaryData`, in the same form: what policies said that nobody follows.
    pub const ADVICE: &str = "advice.jsonl.zst";
    /// In `data`: what would be decided if the primary were lost, as JSON.
    pub const OUTLOOK: &str = "outlook.json";
}

/// What the ConfigMaps that carry modules hold.
pub mod policy {
    /// What the decision about who leads is called: in labels, in signatures, and in the journal.
    pub const PRIMARY_SELECTION: &str = "primary-selection";
    /// Which module says how many read replicas there should be, and how large servers and volumes.
    pub const SCALING: &str = "scaling";
    /// Which module says how mysqld should be set.
    pub const CONFIG_TUNING: &str = "config-tuning";
    /// Which module says whether a backup that is due may begin.
    pub const BACKUP_WINDOW: &str = "backup-window";
    /// Every decision that a module can make.
    pub const DECISIONS: [&str; 4] = [PRIMARY_SELECTION, SCALING, CONFIG_TUNING, BACKUP_WINDOW];
    /// The key in `binaryData` where a spec names none.
    pub const MODULE: &str = "policy.wasm";
    /// The key in `binaryData` of a module packed with zstd, as `policy push` and copies have it.
    pub const PACKED: &str = "policy.wasm.zst";
    /// The key in `data` of the settings, as JSON: in copies, and in the default of an operator.
    pub const SETTINGS: &str = "settings.json";
    /// Bytes of a ConfigMap's data: the API server refuses more.
    pub const CONFIG_MAP_BYTES: usize = 1 << 20;
}

/// The ports of a member's pod.
pub mod ports {
    /// MySQL's own protocol.
    pub const MYSQL: i32 = 3306;
    /// The agent, HTTP/2 with mutual TLS.
    pub const AGENT: i32 = 8377;
    /// The agent's probes, plain HTTP.
    pub const HEALTH: i32 = 8378;
}

//! The Secrets of a cluster: their names, their keys, and what is wrong with one that is incomplete.
//!
//! A Secret is made once. What is in it is never written again, because the passwords are also inside the data, but for
//! certificates before they run out. This module makes up nothing; the caller brings passwords and certificates.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{DeletionPolicy, labels, names, ports};
use crate::children::{common_labels, owner};
use crate::problem::Problem;
use crate::validate::ValidatedCluster;

/// The keys of the Secrets. People and programs read them, so they never change.
pub mod keys {
    /// Root's, or the application's, password.
    pub const PASSWORD: &str = "password";
    /// The application's user.
    pub const USERNAME: &str = "username";
    /// The application's database.
    pub const DATABASE: &str = "database";
    /// The Service that takes writes.
    pub const HOST: &str = "host";
    /// Its port.
    pub const PORT: &str = "port";
    /// All of it as one URI.
    pub const URI: &str = "uri";
    /// The certificate of the cluster's own authority.
    pub const CA_CERTIFICATE: &str = "ca.crt";
    /// The authority's private key.
    pub const CA_KEY: &str = "ca.key";
    /// A certificate.
    pub const CERTIFICATE: &str = "tls.crt";
    /// Its private key.
    pub const KEY: &str = "tls.key";
    /// The password of the account with which the agent administers mysqld.
    pub const ADMIN_PASSWORD: &str = "admin-password";
    /// The password of the accounts with which members replicate.
    pub const REPLICATION_PASSWORD: &str = "replication-password";
}

/// The Secrets of a cluster, in the order in which they are made: the authority before what it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretKind {
    /// Root's password.
    Root,
    /// What applications connect with.
    App,
    /// The passwords that only Grampus uses.
    Internal,
    /// The cluster's certificate authority.
    Authority,
    /// The members' certificate.
    Server,
    /// The certificate that the operator shows to agents.
    Operator,
}

impl SecretKind {
    /// Every kind, in order.
    pub const ALL: [SecretKind; 6] = [
        SecretKind::Root,
        SecretKind::App,
        SecretKind::Internal,
        SecretKind::Authority,
        SecretKind::Server,
        SecretKind::Operator,
    ];

    /// The Secret's name.
    pub fn name(self, cluster: &str) -> String {
        match self {
            SecretKind::Root => names::root_secret(cluster),
            SecretKind::App => names::app_secret(cluster),
            SecretKind::Internal => names::internal_secret(cluster),
            SecretKind::Authority => names::ca_secret(cluster),
            SecretKind::Server => names::server_secret(cluster),
            SecretKind::Operator => names::operator_secret(cluster),
        }
    }

    /// The keys without which it is of no use.
    pub fn required_keys(self) -> &'static [&'static str] {
        match self {
            SecretKind::Root => &[keys::PASSWORD],
            SecretKind::App => &[keys::USERNAME, keys::PASSWORD],
            SecretKind::Internal => &[keys::ADMIN_PASSWORD, keys::REPLICATION_PASSWORD],
            SecretKind::Authority => &[keys::CA_CERTIFICATE, keys::CA_KEY],
            SecretKind::Server | SecretKind::Operator => &[keys::CERTIFICATE, keys::KEY, keys::CA_CERTIFICATE],
        }
    }

    /// Whether it holds a certificate that the authority signed.
    pub fn is_signed(self) -> bool {
        matches!(self, SecretKind::Server | SecretKind::Operator)
    }

    /// Whether what is in it is also inside the data, so that a new one would not fit data that exists.
    pub fn belongs_to_data(self) -> bool {
        matches!(self, SecretKind::Root | SecretKind::App | SecretKind::Internal)
    }

    /// Whether it outlives the cluster. What belongs to data that is kept is kept with it, and so is the authority
    /// that clients trust; else a cluster that takes its volumes up again would know no password.
    pub fn outlives(self, policy: DeletionPolicy) -> bool {
        policy == DeletionPolicy::Retain && (self.belongs_to_data() || self == SecretKind::Authority)
    }
}

/// A Secret to be created.
pub fn secret(cluster: &ValidatedCluster, kind: SecretKind, data: BTreeMap<String, String>) -> Secret {
    let identity = &cluster.identity;
    let own = !kind.outlives(cluster.deletion_policy);
    Secret {
        metadata: ObjectMeta {
            name: Some(kind.name(&identity.name)),
            namespace: Some(identity.namespace.clone()),
            labels: Some(common_labels(&identity.name)),
            owner_references: own.then(|| vec![owner(identity)]),
            ..ObjectMeta::default()
        },
        data: Some(data.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))).collect()),
        type_: Some(if kind.is_signed() { "kubernetes.io/tls".to_owned() } else { "Opaque".to_owned() }),
        ..Secret::default()
    }
}

/// What applications connect with. The password must need no escaping in a URI.
pub fn app_data(cluster: &ValidatedCluster, password: &str) -> BTreeMap<String, String> {
    let (user, database) = (&cluster.database.user, &cluster.database.name);
    let host = format!("{}.{}.svc", names::primary_service(&cluster.identity.name), cluster.identity.namespace);
    let port = ports::MYSQL;
    [
        (keys::USERNAME, user.clone()),
        (keys::PASSWORD, password.to_owned()),
        (keys::DATABASE, database.clone()),
        (keys::URI, format!("mysql://{user}:{password}@{host}:{port}/{database}")),
        (keys::PORT, port.to_string()),
        (keys::HOST, host),
    ]
    .map(|(key, text)| (key.to_owned(), text))
    .into()
}

/// Whether a Secret that lies under one of our names is the cluster's: its own child, or one that was kept when a
/// cluster of the same name was deleted.
pub fn is_ours(secret: &Secret, cluster: &ValidatedCluster) -> bool {
    let identity = &cluster.identity;
    let owners = secret.metadata.owner_references.as_deref().unwrap_or_default();
    if let Some(controller) = owners.iter().find(|owner| owner.controller == Some(true)) {
        return controller.uid == identity.uid;
    }
    let all = secret.metadata.labels.as_ref();
    let has = |key: &str, value: &str| all.is_some_and(|all| all.get(key).is_some_and(|found| found == value));
    has(labels::MANAGED_BY, labels::MANAGER) && has(labels::CLUSTER, &identity.name)
}

/// The keys that a Secret ought to have and has not, or has empty.
pub fn missing_keys(secret: &Secret, required: &[&str]) -> Vec<String> {
    let data = secret.data.as_ref();
    let present = |key: &str| data.and_then(|data| data.get(key)).is_some_and(|bytes| !bytes.0.is_empty());
    required.iter().filter(|key| !present(key)).map(|key| (*key).to_owned()).collect()
}

/// A Secret of ours that lost a key. It is not completed: a new password would not be the one inside the data.
pub fn incomplete(kind: SecretKind, cluster: &str, missing: &[String]) -> Problem {
    let remedy = if kind.belongs_to_data() || kind == SecretKind::Authority {
        "put the key back; Grampus does not make it up again, because the old value is in use"
    } else {
        "delete the Secret, and Grampus makes a new one"
    };
    Problem::new(format!("Secret {}", kind.name(cluster)), format!("lacks {}", missing.join(", ")), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::tests::{cluster, shop};

    fn passwords() -> BTreeMap<String, String> {
        BTreeMap::from([(keys::PASSWORD.to_owned(), "x".to_owned())])
    }

    #[test]
    fn what_belongs_to_kept_data_is_kept_with_it() {
        let (kept, deleted) = (shop(), cluster("{storage: {size: 1Gi}, deletionPolicy: Delete}"));
        for kind in SecretKind::ALL {
            let owned = |cluster| secret(cluster, kind, passwords()).metadata.owner_references.is_some();
            assert!(owned(&deleted), "{kind:?}");
            assert_eq!(owned(&kept), matches!(kind, SecretKind::Server | SecretKind::Operator), "{kind:?}");
        }
    }

    #[test]
    fn a_kept_secret_is_taken_up_again_and_a_foreign_one_is_not() {
        let mut found = secret(&shop(), SecretKind::Root, passwords());
        assert!(is_ours(&found, &shop()));
        found.metadata.labels = None;
        assert!(!is_ours(&found, &shop()));

        let mut owned = secret(&shop(), SecretKind::Server, passwords());
        assert!(is_ours(&owned, &shop()));
        owned.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
        assert!(!is_ours(&owned, &shop()), "a child of another cluster of the same name");
    }

    #[test]
    fn a_secret_without_its_key_is_noticed() {
        let root = secret(&shop(), SecretKind::Root, BTreeMap::new());
        assert_eq!(missing_keys(&root, SecretKind::Root.required_keys()), ["password"]);
        let mut empty = passwords();
        empty.insert(keys::PASSWORD.to_owned(), String::new());
        assert_eq!(missing_keys(&secret(&shop(), SecretKind::Root, empty), &["password"]), ["password"]);
        assert!(missing_keys(&secret(&shop(), SecretKind::Root, passwords()), &["password"]).is_empty());
    }

    #[test]
    fn applications_find_all_they_need_to_connect() {
        insta::assert_yaml_snapshot!(app_data(&shop(), "s3cret"));
    }
}

//! Passwords and certificates: made once, then only checked, and certificates made anew before they run out.
//!
//! A password that exists is never written again: it is also inside the data, so a new one would lock everybody out. Nor
//! is the authority, nor what somebody else signed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use objects::Problem;
use objects::children::owner;
use objects::secrets::{SecretKind, app_data, incomplete, keys, missing_keys, secret};
use objects::validate::{Identity, ValidatedCluster};
use rand::distr::{Alphanumeric, SampleString};

use super::dereference::Live;
use super::reconcile::{Error, Trouble};
use super::{FIELD_MANAGER, Worker};
use crate::certificates::{self, Pair};
use crate::ownership::controller_of;

/// 143 bits, and nothing that would need escaping in a URI or an option file.
const PASSWORD_LENGTH: usize = 24;

/// What keeps the cluster's Secrets from being used as they are.
pub fn troubles(cluster: &ValidatedCluster, live: &Live) -> Vec<Trouble> {
    let name = &cluster.identity.name;
    let mut troubles: Vec<Trouble> = root_password(cluster, live).into_iter().collect();
    for kind in needed(cluster) {
        let trouble = match live.secrets.get(&kind) {
            Some(secret) => {
                let missing = missing_keys(secret, kind.required_keys());
                (!missing.is_empty())
                    .then(|| Trouble { reason: "SecretIncomplete", problem: incomplete(kind, name, &missing) })
            }
            None if kind.belongs_to_data() && live.has_data => Some(Trouble {
                reason: "SecretMissing",
                problem: Problem::new(
                    format!("Secret {}", kind.name(name)),
                    "does not exist, but volumes of this cluster do, and its passwords are inside them",
                    "restore the Secret, or delete the PersistentVolumeClaims labelled with this cluster to begin anew",
                ),
            }),
            None if kind == SecretKind::Authority && is_trusted(live) => Some(Trouble {
                reason: "SecretMissing",
                problem: Problem::new(
                    format!("Secret {}", kind.name(name)),
                    "does not exist, but certificates that it signed do, and a new authority would not trust them",
                    format!(
                        "restore the Secret, or delete {} and {} too and restart the members one by one",
                        SecretKind::Server.name(name),
                        SecretKind::Operator.name(name),
                    ),
                ),
            }),
            None => None,
        };
        troubles.extend(trouble);
    }
    troubles
}

/// Whether something was signed by an authority before.
fn is_trusted(live: &Live) -> bool {
    [SecretKind::Server, SecretKind::Operator].iter().any(|kind| live.secrets.contains_key(kind))
}

/// The Secret that a person keeps root's password in must be there and have the key.
fn root_password(cluster: &ValidatedCluster, live: &Live) -> Option<Trouble> {
    let wanted = cluster.root_password.as_ref()?;
    let (name, key) = (&wanted.name, &wanted.key);
    let (reason, problem) = match &live.root {
        None => {
            let message = format!("Secret {name} does not exist in namespace {}", cluster.identity.namespace);
            let remedy = format!("create it with the key {key}, or leave rootPasswordSecret out");
            ("SecretMissing", Problem::new("spec.rootPasswordSecret.name", message, remedy))
        }
        Some(secret) if !missing_keys(secret, &[key]).is_empty() => {
            let message = format!("Secret {name} has no key {key}, or nothing under it");
            let remedy = "add the key, or name the one that holds the password";
            ("SecretIncomplete", Problem::new("spec.rootPasswordSecret.key", message, remedy))
        }
        Some(_) => return None,
    };
    Some(Trouble { reason, problem })
}

/// Root's password is made up only if nobody brings one.
fn needed(cluster: &ValidatedCluster) -> impl Iterator<Item = SecretKind> {
    let brought = cluster.root_password.is_some();
    SecretKind::ALL.into_iter().filter(move |kind| !(brought && *kind == SecretKind::Root))
}

/// Makes what is missing, the authority before what it signs. Called only where there is no trouble.
pub(super) async fn ensure(worker: &Worker, cluster: &ValidatedCluster, live: &Live) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(worker.context.client.clone(), &cluster.identity.namespace);
    let mut authority = live.secrets.get(&SecretKind::Authority).map(authority_in);
    for kind in needed(cluster) {
        if let Some(found) = live.secrets.get(&kind) {
            follow_policy(&api, cluster, kind, found).await?;
            if let Some(data) = renewed(cluster, kind, found, authority.as_ref(), Timestamp::now())? {
                replace(&api, found, &secret(cluster, kind, data)).await?;
            }
            continue;
        }
        let data = contents(cluster, kind, &mut authority, Timestamp::now())?;
        let what = || format!("Secret {}", kind.name(&cluster.identity.name));
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let made = api.create(&params, &secret(cluster, kind, data)).await;
        made.map_err(|source| Error::Write { what: what(), source })?;
        tracing::info!(secret = what(), namespace = cluster.identity.namespace, "made");
    }
    Ok(())
}

/// Whether a Secret goes with its cluster follows `deletionPolicy`, also when that changes.
async fn follow_policy(
    api: &Api<Secret>,
    cluster: &ValidatedCluster,
    kind: SecretKind,
    found: &Secret,
) -> Result<(), Error> {
    let is_owned = controller_of(found).is_some();
    let shall_be = !kind.outlives(cluster.deletion_policy);
    if is_owned == shall_be {
        return Ok(());
    }
    let owners = if shall_be { vec![owner(&cluster.identity)] } else { Vec::new() };
    let patch = serde_json::json!({ "metadata": {
        "ownerReferences": owners,
        "resourceVersion": found.resource_version(),
    }});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api.patch_metadata(&found.name_any(), &params, &Patch::Merge(patch)).await;
    patched.map(drop).map_err(|source| Error::Write { what: format!("Secret {}", found.name_any()), source })
}

/// What is to be in a Secret instead of a certificate that has not long to go, or nothing.
fn renewed(
    cluster: &ValidatedCluster,
    kind: SecretKind,
    found: &Secret,
    authority: Option<&Pair>,
    now: Timestamp,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let Some(signer) = authority.filter(|_| kind.is_signed()) else { return Ok(None) };
    if !certificates::is_due(&text(found, keys::CERTIFICATE), signer, now) {
        return Ok(None);
    }
    contents(cluster, kind, &mut Some(signer.clone()), now).map(Some)
}

/// Puts other contents into a Secret, unless somebody wrote to it meanwhile.
async fn replace(api: &Api<Secret>, found: &Secret, with: &Secret) -> Result<(), Error> {
    let name = found.name_any();
    let patch = serde_json::json!({ "metadata": { "resourceVersion": found.resource_version() }, "data": with.data });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api.patch(&name, &params, &Patch::Merge(patch)).await;
    patched.map_err(|source| Error::Write { what: format!("Secret {name}"), source })?;
    tracing::info!(secret = name, namespace = found.namespace(), "certificate renewed");
    Ok(())
}

fn contents(
    cluster: &ValidatedCluster,
    kind: SecretKind,
    authority: &mut Option<Pair>,
    now: Timestamp,
) -> Result<BTreeMap<String, String>, Error> {
    let identity = &cluster.identity;
    let refused = |source| Error::Authority { secret: SecretKind::Authority.name(&identity.name), source };
    let entries = match kind {
        SecretKind::Root => vec![(keys::PASSWORD, password())],
        SecretKind::App => return Ok(app_data(cluster, &password())),
        SecretKind::Internal => {
            vec![(keys::ADMIN_PASSWORD, password()), (keys::REPLICATION_PASSWORD, password())]
        }
        SecretKind::Authority => {
            let made = known_or_new(authority, identity, now).map_err(refused)?;
            vec![(keys::CA_CERTIFICATE, made.certificate), (keys::CA_KEY, made.key)]
        }
        SecretKind::Server | SecretKind::Operator => {
            let signer = known_or_new(authority, identity, now).map_err(refused)?;
            let made = match kind {
                SecretKind::Server => certificates::server(&signer, identity, now),
                _ => certificates::operator(&signer, now),
            };
            let made = made.map_err(refused)?;
            vec![
                (keys::CERTIFICATE, made.certificate),
                (keys::KEY, made.key),
                (keys::CA_CERTIFICATE, signer.certificate),
            ]
        }
    };
    Ok(entries.into_iter().map(|(key, text)| (key.to_owned(), text)).collect())
}

fn known_or_new(authority: &mut Option<Pair>, identity: &Identity, now: Timestamp) -> Result<Pair, rcgen::Error> {
    if let Some(known) = authority {
        return Ok(known.clone());
    }
    let made = certificates::authority(identity, now)?;
    *authority = Some(made.clone());
    Ok(made)
}

fn authority_in(secret: &Secret) -> Pair {
    Pair { certificate: text(secret, keys::CA_CERTIFICATE), key: text(secret, keys::CA_KEY) }
}

/// What a Secret has under a key; nothing if it has not.
fn text(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

fn password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::super::dereference::tests::{applied, shop, smallest};
    use super::*;

    fn now() -> Timestamp {
        "2026-01-10T12:00:00Z".parse().unwrap()
    }

    /// Every Secret as this controller makes it.
    fn complete(cluster: &ValidatedCluster) -> Live {
        let mut live = applied(cluster);
        let mut authority = None;
        for kind in needed(cluster) {
            let data = contents(cluster, kind, &mut authority, now()).unwrap();
            live.secrets.insert(kind, secret(cluster, kind, data));
        }
        live
    }

    #[test]
    fn what_is_made_is_complete() {
        let live = complete(&smallest());
        assert_eq!(live.secrets.len(), SecretKind::ALL.len());
        assert_eq!(troubles(&smallest(), &live), []);
    }

    #[test]
    fn what_is_signed_is_signed_by_the_authority_that_is_kept() {
        let live = complete(&smallest());
        let text = |kind, key: &str| live.secrets[&kind].data.as_ref().unwrap()[key].0.clone();
        let authority = text(SecretKind::Authority, keys::CA_CERTIFICATE);
        assert_eq!(text(SecretKind::Server, keys::CA_CERTIFICATE), authority);
        assert_eq!(text(SecretKind::Operator, keys::CA_CERTIFICATE), authority);

        // A Secret that was lost later is signed by the same authority.
        let mut kept = Some(authority_in(&live.secrets[&SecretKind::Authority]));
        let again = contents(&smallest(), SecretKind::Server, &mut kept, now()).unwrap();
        assert_eq!(again[keys::CA_CERTIFICATE].as_bytes(), authority);
    }

    #[test]
    fn only_certificates_are_made_anew_and_by_the_authority_that_everybody_trusts() {
        let (cluster, live) = (smallest(), complete(&smallest()));
        let authority = authority_in(&live.secrets[&SecretKind::Authority]);
        let late: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        for (kind, found) in &live.secrets {
            let after = |now| renewed(&cluster, *kind, found, Some(&authority), now).unwrap();
            assert_eq!(after(now()), None, "{kind:?}");
            let Some(data) = after(late) else {
                assert!(!kind.is_signed(), "{kind:?}");
                continue;
            };
            assert!(kind.is_signed(), "{kind:?}");
            assert_eq!(data[keys::CA_CERTIFICATE], authority.certificate);
            assert_ne!(data[keys::KEY], text(found, keys::KEY));
            let new = secret(&cluster, *kind, data);
            assert_eq!(renewed(&cluster, *kind, &new, Some(&authority), late).unwrap(), None, "once is enough");
            assert_eq!(renewed(&cluster, *kind, found, None, late).unwrap(), None, "nobody is there to sign");
        }
    }

    #[test]
    fn passwords_are_never_made_up_for_data_that_exists() {
        let mut live = complete(&smallest());
        live.has_data = true;
        assert_eq!(troubles(&smallest(), &live), []);
        live.secrets.remove(&SecretKind::Internal);
        let found = troubles(&smallest(), &live);
        assert_eq!((found.len(), found[0].reason), (1, "SecretMissing"));
        assert_eq!(found[0].problem.field, "Secret shop-internal");
    }

    #[test]
    fn a_certificate_that_was_lost_is_made_again() {
        let mut live = complete(&smallest());
        live.has_data = true;
        live.secrets.remove(&SecretKind::Server);
        assert_eq!(troubles(&smallest(), &live), []);
    }

    #[test]
    fn an_authority_that_was_lost_is_not_replaced_behind_the_back_of_those_who_trust_it() {
        let mut live = complete(&smallest());
        live.secrets.remove(&SecretKind::Authority);
        let found = troubles(&smallest(), &live);
        assert_eq!((found.len(), found[0].problem.field.as_str()), (1, "Secret shop-ca"));
        live.secrets.remove(&SecretKind::Server);
        live.secrets.remove(&SecretKind::Operator);
        assert_eq!(troubles(&smallest(), &live), []);
    }

    #[test]
    fn a_secret_that_lost_a_key_is_reported_and_not_completed() {
        let mut live = complete(&smallest());
        live.secrets.get_mut(&SecretKind::Root).unwrap().data = None;
        let found = troubles(&smallest(), &live);
        assert_eq!((found.len(), found[0].reason), (1, "SecretIncomplete"));
        assert!(found[0].problem.message.contains("password"));
    }

    #[test]
    fn the_password_that_a_person_keeps_must_be_there() {
        let cluster = shop(r#"{"storage": {"size": "1Gi"}, "rootPasswordSecret": {"name": "mine", "key": "root"}}"#);
        let mut live = complete(&cluster);
        assert!(!live.secrets.contains_key(&SecretKind::Root), "none is made up then");
        assert_eq!(troubles(&cluster, &live)[0].problem.field, "spec.rootPasswordSecret.name");
        live.root = Some(Secret::default());
        assert_eq!(troubles(&cluster, &live)[0].problem.field, "spec.rootPasswordSecret.key");
        live.root = Some(Secret {
            data: Some([("root".to_owned(), k8s_openapi::ByteString(b"x".to_vec()))].into()),
            ..Secret::default()
        });
        assert_eq!(troubles(&cluster, &live), []);
    }

    #[test]
    fn passwords_need_no_escaping_and_differ() {
        let (one, other) = (password(), password());
        assert_ne!(one, other);
        assert!(one.len() == PASSWORD_LENGTH && one.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}

//! The certificates of a cluster: its own authority, the members' certificate and the operator's.
//!
//! Keys are ECDSA P-256, made and signed with ring. Nothing here is renewed yet: an authority is valid for ten years
//! and a certificate for one, and rotation (trust both, reissue, drop the old) is to come with its own design.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use objects::api::names;
use objects::validate::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// The common name under which the operator speaks to agents.
pub const OPERATOR: &str = "operator";

const AUTHORITY_YEARS: i32 = 10;
const CERTIFICATE_YEARS: i32 = 1;

/// A certificate and its private key, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// A new authority for a cluster.
///
/// # Errors
/// When no key can be made.
pub fn authority(identity: &Identity, now: Timestamp) -> Result<Pair, rcgen::Error> {
    let mut params = params(&format!("{} Grampus CA", identity.name), Vec::new(), now, AUTHORITY_YEARS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// The certificate that every member shows: to the operator, to applications and to the other members.
///
/// # Errors
/// When the authority is not one, or no key can be made.
pub fn server(authority: &Pair, identity: &Identity, now: Timestamp) -> Result<Pair, rcgen::Error> {
    let (name, namespace) = (&identity.name, &identity.namespace);
    let instances = names::instances_service(name);
    let mut alternatives =
        vec!["localhost".to_owned(), format!("*.{instances}.{namespace}"), format!("*.{instances}.{namespace}.svc")];
    for service in [names::primary_service(name), names::replicas_service(name)] {
        alternatives.push(format!("{service}.{namespace}"));
        alternatives.push(format!("{service}.{namespace}.svc"));
        alternatives.push(service);
    }
    let mut params = params(name, alternatives, now, CERTIFICATE_YEARS)?;
    // A member is a client too, of the one it replicates from.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    issue(authority, params)
}

/// The certificate that the operator shows to agents.
///
/// # Errors
/// When the authority is not one, or no key can be made.
pub fn operator(authority: &Pair, now: Timestamp) -> Result<Pair, rcgen::Error> {
    let mut params = params(OPERATOR, vec![OPERATOR.to_owned()], now, CERTIFICATE_YEARS)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue(authority, params)
}

fn issue(authority: &Pair, mut params: CertificateParams) -> Result<Pair, rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(
    name: &str,
    alternatives: Vec<String>,
    now: Timestamp,
    years: i32,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(alternatives)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let today = now.to_zoned(TimeZone::UTC).date();
    // A day early, for clocks that are behind.
    let from = today.saturating_sub(1.day());
    let until = today.saturating_add(years.years());
    let at = |date: jiff::civil::Date| {
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (at(from), at(until));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    fn identity() -> Identity {
        Identity { name: "shop".into(), namespace: "store".into(), uid: "u".into() }
    }

    fn roots(authority: &Pair) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(der(authority)).unwrap();
        Arc::new(roots)
    }

    fn der(pair: &Pair) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
    }

    fn seconds(timestamp: Timestamp) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(timestamp.as_second().unsigned_abs()))
    }

    /// Whether somebody who trusts the authority takes the certificate for that name at that time.
    fn trusted(authority: &Pair, server: &Pair, name: &'static str, at: Timestamp) -> bool {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(authority), provider).build().unwrap();
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&der(server), &[], &name, &[], seconds(at)).is_ok()
    }

    #[test]
    fn a_member_is_trusted_under_its_names_and_no_other() {
        let now: Timestamp = "2026-02-28T12:00:00Z".parse().unwrap();
        let ours = authority(&identity(), now).unwrap();
        let server = server(&ours, &identity(), now).unwrap();
        for name in [
            "shop-0.shop-instances.store.svc",
            "shop-6.shop-instances.store",
            "shop-primary.store.svc",
            "shop-replicas",
            "localhost",
        ] {
            assert!(trusted(&ours, &server, name, now), "{name}");
        }
        assert!(!trusted(&ours, &server, "shop-0.shop-instances.other.svc", now));
        assert!(!trusted(&ours, &server, "other-0.other-instances.store.svc", now));
        let foreign = authority(&identity(), now).unwrap();
        assert!(!trusted(&foreign, &server, "localhost", now), "signed by another authority");
    }

    #[test]
    fn a_certificate_is_good_for_a_year_and_on_clocks_that_are_behind() {
        let now: Timestamp = "2024-02-29T12:00:00Z".parse().unwrap();
        let ours = authority(&identity(), now).unwrap();
        let server = server(&ours, &identity(), now).unwrap();
        let at = |text: &str| trusted(&ours, &server, "localhost", text.parse().unwrap());
        assert!(at("2024-02-29T00:00:00Z") && at("2025-02-27T00:00:00Z"));
        assert!(!at("2025-03-02T00:00:00Z") && !at("2024-02-20T00:00:00Z"));
    }

    #[test]
    fn agents_know_the_operator_and_members_as_clients() {
        let now = Timestamp::now();
        let ours = authority(&identity(), now).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&ours), provider).build().unwrap();
        for client in [operator(&ours, now).unwrap(), server(&ours, &identity(), now).unwrap()] {
            verifier.verify_client_cert(&der(&client), &[], seconds(now)).unwrap();
        }
    }
}

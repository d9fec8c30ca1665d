//! The certificates of a cluster: its own authority, the members' certificate and the operator's.
//!
//! Keys are ECDSA P-256, made and signed with ring. A certificate is valid for a year and made anew, by the same
//! authority, when a third of that is left. The authority is valid for ten years and is never replaced by itself: whoever
//! trusts it would have to be told first.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use objects::api::names;
use objects::validate::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use x509_parser::pem::parse_x509_pem;

/// The common name under which the operator speaks to agents.
pub const OPERATOR: &str = "operator";

const AUTHORITY_YEARS: i32 = 10;
const CERTIFICATE_YEARS: i32 = 1;

/// A certificate is made anew when less than one part in so many of its time is left: four months of twelve, in which
/// somebody notices that no operator has run.
const RENEWED_AT: i64 = 3;

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

/// Whether it is time to make a certificate anew: this authority signed it, and less than a third of its time is left. One
/// that somebody else signed, or that cannot be read, is a person's to replace.
pub fn is_due(certificate: &str, authority: &Pair, now: Timestamp) -> bool {
    let (Ok((_, found)), Ok((_, signer))) =
        (parse_x509_pem(certificate.as_bytes()), parse_x509_pem(authority.certificate.as_bytes()))
    else {
        return false;
    };
    let (Ok(found), Ok(signer)) = (found.parse_x509(), signer.parse_x509()) else { return false };
    if found.issuer() != signer.subject() {
        return false;
    }
    let (from, until) = (found.validity().not_before.timestamp(), found.validity().not_after.timestamp());
    until.saturating_sub(now.as_second()) < until.saturating_sub(from) / RENEWED_AT
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
    fn a_certificate_is_made_anew_when_a_third_of_its_time_is_left_and_only_by_who_signed_it() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-01-10T12:00:00Z");
        let ours = authority(&identity(), now).unwrap();
        let server = server(&ours, &identity(), now).unwrap().certificate;
        let due = |when: &str| is_due(&server, &ours, at(when));
        assert!(!due("2026-01-10T12:00:00Z") && !due("2026-09-08T00:00:00Z"));
        assert!(due("2026-09-12T00:00:00Z"), "four months are left");
        assert!(due("2027-06-01T00:00:00Z"), "one that has run out is made anew, too");

        let other = Identity { name: "other".into(), ..identity() };
        let foreign = authority(&other, now).unwrap();
        assert!(!is_due(&server, &foreign, at("2027-06-01T00:00:00Z")), "somebody else signed it");
        assert!(!is_due("no certificate", &ours, at("2027-06-01T00:00:00Z")));
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

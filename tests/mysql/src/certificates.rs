//! A certificate authority for one test. It must never be used for anything else: its key stays in memory only.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// The authority of one cluster.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "grampus test CA");
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate in this name, valid for these hosts.
    pub fn issue(&self, common_name: &str, hosts: &[String]) -> anyhow::Result<Pair> {
        self.sign(common_name, CertificateParams::new(hosts)?)
    }

    /// The same, valid until the first day of that year.
    pub fn issue_until(&self, common_name: &str, hosts: &[String], year: i32) -> anyhow::Result<Pair> {
        let mut params = CertificateParams::new(hosts)?;
        params.not_after = date_time_ymd(year, 1, 1);
        self.sign(common_name, params)
    }

    fn sign(&self, common_name: &str, mut params: CertificateParams) -> anyhow::Result<Pair> {
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Writes ca.crt, tls.crt and tls.key as a Secret's volume has them.
    pub fn write(&self, dir: &Path, pair: &Pair) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("ca.crt"), self.pem())?;
        std::fs::write(dir.join("tls.crt"), &pair.certificate)?;
        std::fs::write(dir.join("tls.key"), &pair.key)?;
        Ok(())
    }
}

//! The lab's certificate authority and what it signs. Its keys live in the lab's state and must never
//! be used for anything outside: whoever reads that directory owns the cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::machine::{Machine, Role};
use crate::network;
use crate::templates;

/// The authority of one lab.
pub struct Authority {
    certificate: String,
    key: String,
}

struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    /// Reads the lab's authority, or makes one for a new lab.
    pub fn open(state: &Path) -> Result<Self> {
        let (certificate, key) = (state.join("ca.crt"), state.join("ca.key"));
        if certificate.exists() && key.exists() {
            let (certificate, key) = (fs::read_to_string(certificate)?, fs::read_to_string(key)?);
            return Ok(Self { certificate, key });
        }
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "lab");
        let own = Self { certificate: params.self_signed(&pair)?.pem(), key: pair.serialize_pem() };
        write(key, &own.key)?;
        write(certificate, &own.certificate)?;
        Ok(own)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self, server: &str, path: &Path) -> Result<()> {
        self.write_kubeconfig(server, "lab-admin", Some("system:masters"), path)
    }

    /// Everything a machine needs to prove who it is.
    pub fn equip(&self, machine: &Machine, server: &str) -> Result<()> {
        let etc = machine.etc();
        fs::create_dir_all(&etc)?;
        write(etc.join("ca.crt"), &self.certificate)?;
        let user = |name, group, file| self.write_kubeconfig(server, name, group, &etc.join(file));
        if machine.role == Role::ControlPlane {
            self.equip_control_plane(machine)?;
            user("system:kube-controller-manager", None, "controller-manager.kubeconfig")?;
            return user("system:kube-scheduler", None, "scheduler.kubeconfig");
        }
        user("system:kube-proxy", None, "proxy.kubeconfig")?;
        user("lab-dns", None, "dns.kubeconfig")?;
        if machine.is_node() {
            let name = format!("system:node:{}", machine.name);
            user(&name, Some("system:nodes"), "kubelet.kubeconfig")?;
            let names = vec![machine.name.clone(), machine.address()];
            let serving = self.sign(&machine.name, None, names)?;
            serving.write(&etc, "kubelet")?;
        }
        Ok(())
    }

    fn equip_control_plane(&self, machine: &Machine) -> Result<()> {
        let etc = machine.etc();
        write(etc.join("ca.key"), &self.key)?;
        let suffixes = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
        let mut names = suffixes.map(|suffix| format!("kubernetes{suffix}")).to_vec();
        names.extend([machine.address(), network::API_SERVICE.to_owned(), machine.name.clone()]);
        self.sign("kube-apiserver", None, names)?.write(&etc, "apiserver")?;
        let kubelet_client = self.sign("kube-apiserver", Some("system:masters"), Vec::new())?;
        kubelet_client.write(&etc, "apiserver-kubelet")?;
        let accounts = KeyPair::generate()?;
        write(etc.join("service-accounts.key"), &accounts.serialize_pem())?;
        write(etc.join("service-accounts.pub"), &accounts.public_key_pem())
    }

    fn write_kubeconfig(&self, server: &str, user: &str, group: Option<&str>, path: &Path) -> Result<()> {
        let signed = self.sign(user, group, Vec::new())?;
        let (certificate, key) = (&signed.certificate, &signed.key);
        let text = templates::kubeconfig(server, user, &self.certificate, certificate, key);
        write(path.to_owned(), &text)
    }

    fn sign(&self, name: &str, group: Option<&str>, names: Vec<String>) -> Result<Signed> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)
            .context("the lab's certificate authority cannot be read: run `lab down` first")?;
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        Ok(Signed { certificate: params.signed_by(&pair, &issuer)?.pem(), key: pair.serialize_pem() })
    }
}

impl Signed {
    fn write(&self, directory: &Path, name: &str) -> Result<()> {
        write(directory.join(format!("{name}.crt")), &self.certificate)?;
        write(directory.join(format!("{name}.key")), &self.key)
    }
}

fn write(path: PathBuf, text: &str) -> Result<()> {
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

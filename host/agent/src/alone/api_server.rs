//! Whether the API server is in reach: whether it answers anything at all.
//!
//! The agent has no account there and must never need one: an answer of 401 is as good as any.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Config;

/// How long an answer may take: twenty times what a healthy API server needs, connection and TLS included.
const WITHIN: Duration = Duration::from_secs(2);

/// What an answer begins with, whatever it says.
const ANSWER: &[u8] = b"HTTP/";

/// Whether it answers. Where nobody has told the agent its address, it cannot be found out of reach.
pub async fn is_in_reach(config: &Config) -> bool {
    let Some(host) = config.api_server_host.as_deref().filter(|host| !host.is_empty()) else { return true };
    let asked = tokio::time::timeout(WITHIN, ask(host, config.api_server_port, &config.api_server_ca)).await;
    match asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", WITHIN.as_secs()))) {
        Ok(()) => true,
        Err(why) => {
            tracing::debug!("the API server is out of reach: {why:#}");
            false
        }
    }
}

async fn ask(host: &str, port: u16, ca: &Path) -> anyhow::Result<()> {
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TcpStream::connect((host, port)).await?;
    let mut stream = TlsConnector::from(tls(ca)?).connect(name, stream).await?;
    let request =
        format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nUser-Agent: grampus-agent\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut beginning = [0; ANSWER.len()];
    stream.read_exact(&mut beginning).await?;
    anyhow::ensure!(beginning == ANSWER, "what answers does not speak HTTP");
    Ok(())
}

/// With the cluster's authority where its ConfigMap is mounted; without it any certificate will do, because taking
/// somebody else for the API server only keeps a primary open.
fn tls(ca: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = match std::fs::read(ca) {
        Ok(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for root in CertificateDer::pem_slice_iter(&pem) {
                roots.add(root.with_context(|| format!("{} is no PEM certificate", ca.display()))?)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Err(_) => {
            let anybody = Arc::new(Anybody { provider });
            builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// Takes any certificate, as long as its owner holds the key.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

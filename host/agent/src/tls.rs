//! Who may give commands: whoever holds a certificate of the cluster's CA in the name of `operator`.
//!
//! Certificates are read for every connection, because they are replaced while the agent runs; a change must
//! never need a restart.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The common name in the operator's certificate.
pub const OPERATOR: &str = "operator";

/// Completes a connection, if it is the operator's.
///
/// # Errors
/// Certificates that cannot be used, or somebody else.
pub async fn accept(dir: &Path, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(server_config(dir)?);
    let stream = acceptor.accept(stream).await?;
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let name = peer.map(common_name).transpose()?.flatten();
    if name.as_deref() != Some(OPERATOR) {
        bail!("the client's certificate is for {name:?}, expected CN={OPERATOR}");
    }
    Ok(stream)
}

/// The settings of a server that lets anybody connect: mysqld's own, where the agent stands in its place.
///
/// # Errors
/// Certificates that cannot be used.
pub fn for_anybody(dir: &Path) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let (chain, key) = identity(dir)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key)?))
}

fn read(dir: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = dir.join(name);
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn identity(dir: &Path) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(dir, "tls.crt")?).collect();
    let key = PrivateKeyDer::from_pem_slice(&read(dir, "tls.key")?).context("tls.key is no PEM key")?;
    Ok((chain.context("tls.crt is no PEM certificate")?, key))
}

fn server_config(dir: &Path) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&read(dir, "ca.crt")?) {
        roots.add(root.context("ca.crt is no PEM certificate")?)?;
    }
    let (chain, key) = identity(dir)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn common_name(certificate: &CertificateDer<'_>) -> anyhow::Result<Option<String>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).context("the client's certificate")?;
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    Ok(name.map(str::to_owned))
}

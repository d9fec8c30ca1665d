//! Speaks the wire to one agent: one HTTP/2 connection over mutual TLS, any number of calls at a time on it.
//!
//! It must never retry, reconnect or decide anything: a connection that broke stays broken and says so, because
//! only its owner knows whether the question is still the same.

mod lines;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use wire::{
    ArchiveAnswer, ArchiveCall, BackupAnswer, BackupAsk, BackupCall, CheckAnswer, CheckCall, Greeting, Heartbeat,
    Request, Response, WIRE_VERSION,
};

/// How long a connection may be silent before it is pinged, and how long the answer may take. Shorter than
/// [`wire::QUIET_HEARTBEAT_MS`], so that a half-open connection is noticed between two heartbeats.
const PING_AFTER: Duration = Duration::from_secs(5);

/// The longest body that is read as one message. A report is a few kilobytes; a GTID set of a cluster with a
/// long history of primaries may reach some hundred.
const LONGEST_MESSAGE: usize = 4 << 20;

/// Why a call came to nothing. After any of these except [`Error::Status`] and
/// [`Error::TooOld`] the connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No TCP connection, or it broke.
    #[error("no connection to the agent: {0}")]
    Io(#[from] std::io::Error),
    /// The connection broke, or one side does not speak HTTP/2 as the other expects.
    #[error("the connection to the agent broke: {0}")]
    Http(#[from] hyper::Error),
    /// The agent refused the call itself, rather than answering with an outcome.
    #[error("the agent answered {status}: {body}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The agent's words.
        body: String,
    },
    /// The agent is of a release that did not know of this yet. Agents are as old as their pods.
    #[error("this agent cannot {what}: it is of an earlier release; restart its pod, as with kubectl grampus restart")]
    TooOld {
        /// What it was asked for.
        what: &'static str,
    },
    /// A body that is not the message expected of this wire version.
    #[error("the agent's answer is no message of this wire version: {0}")]
    Message(#[from] serde_json::Error),
    /// Whoever answers speaks another version.
    #[error("its agent speaks version {theirs} of the protocol, this operator {WIRE_VERSION}")]
    Version {
        /// Its version.
        theirs: u32,
    },
    /// A message longer than any that makes sense.
    #[error("the agent sent a message of more than {LONGEST_MESSAGE} bytes")]
    TooLong,
    /// Certificates or a name that cannot be used.
    #[error("the client's TLS settings cannot be used: {0}")]
    Tls(String),
}

/// The TLS settings of a client: the cluster's CA, and the certificate (CN `operator`) agents expect. All are
/// PEM; `ca` may hold several certificates while one CA replaces another.
///
/// # Errors
/// [`Error::Tls`] where a text is no PEM of its kind or the parts do not fit together.
pub fn tls_config(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Arc<rustls::ClientConfig>, Error> {
    let wrong = |what: &str, why: &dyn std::fmt::Display| Error::Tls(format!("{what}: {why}"));
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(ca) {
        let root = root.map_err(|why| wrong("the CA", &why))?;
        roots.add(root).map_err(|why| wrong("the CA", &why))?;
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|why| wrong("the certificate", &why))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|why| wrong("the key", &why))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong("the protocol versions", &why))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|why| wrong("the certificate and its key", &why))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// A connection to one agent. Clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    authority: Arc<str>,
}

impl Connection {
    /// Connects. Dropping the future gives up; no time limit of its own, so wrap it in one.
    ///
    /// `server_name` is what the agent's certificate must be for: `POD.CLUSTER-instances.NAMESPACE.svc`.
    ///
    /// # Errors
    /// [`Error::Io`] (which includes a failed TLS handshake), [`Error::Http`], [`Error::Tls`].
    pub async fn open(address: SocketAddr, tls: Arc<rustls::ClientConfig>, server_name: &str) -> Result<Self, Error> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|why| Error::Tls(why.to_string()))?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_AFTER)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        // Its error also reaches whoever waits on a call, so nothing is lost by not looking at it here.
        tokio::spawn(connection);
        Ok(Self { sender, authority: format!("{server_name}:{}", address.port()).into() })
    }

    /// Whether the connection is known to be over.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Everything the agent says, beginning with its report as it stands: endless, and ended by an error.
    ///
    /// # Errors
    /// Any of [`Error`], here or as the stream's last item.
    pub async fn reports(&self) -> Result<impl Stream<Item = Result<Heartbeat, Error>> + Send + Unpin + use<>, Error> {
        let body = self.call(Method::GET, "/v1/reports", Bytes::new()).await?;
        Ok(Box::pin(lines::messages(body, LONGEST_MESSAGE, heartbeat)))
    }

    /// The agent's report as it stands, in one small call: also the cheapest proof that the agent is alive.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub async fn report(&self) -> Result<Heartbeat, Error> {
        let body = self.call(Method::GET, "/v1/report", Bytes::new()).await?;
        heartbeat(&whole(body).await?)
    }

    /// Gives a command and waits for what comes of it. No time limit of its own; dropping the future does not
    /// take the command back.
    ///
    /// # Errors
    /// Any of [`Error`]. Whether the command was obeyed is then unknown; giving it again does no harm.
    pub async fn command(&self, request: &Request) -> Result<Response, Error> {
        let body = self.call(Method::POST, "/v1/commands", serde_json::to_vec(request)?.into()).await?;
        Ok(serde_json::from_slice(&whole(body).await?)?)
    }

    /// Asks about backups, or orders one. No time limit of its own.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::TooOld`] from an agent that does not know of backups, or of what is asked about them.
    pub async fn backup(&self, call: &BackupCall) -> Result<BackupAnswer, Error> {
        let answer = self.call(Method::POST, "/v1/backup", serde_json::to_vec(call)?.into()).await;
        let body = answer.map_err(|why| match (why, &call.ask) {
            (Error::Status { status: StatusCode::NOT_FOUND, .. }, _) => Error::TooOld { what: "make backups" },
            // Earlier ones have no word for what they do not know.
            (Error::Status { status: StatusCode::UNPROCESSABLE_ENTITY, .. }, BackupAsk::BeginEncrypted { .. }) => {
                Error::TooOld { what: "encrypt backups" }
            }
            (other, _) => other,
        })?;
        Ok(serde_json::from_slice(&whole(body).await?)?)
    }

    /// Asks about the archive of the binary log, or orders it. No time limit of its own.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::TooOld`] from an agent that does not know of archives.
    pub async fn archive(&self, call: &ArchiveCall) -> Result<ArchiveAnswer, Error> {
        let answer = self.call(Method::POST, "/v1/archive", serde_json::to_vec(call)?.into()).await;
        let body = answer.map_err(|why| match why {
            Error::Status { status: StatusCode::NOT_FOUND, .. } => Error::TooOld { what: "archive its binary log" },
            other => other,
        })?;
        Ok(serde_json::from_slice(&whole(body).await?)?)
    }

    /// Asks what the tables hold, or orders that to be found out. No time limit of its own.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::TooOld`] from an agent that does not know of checks.
    pub async fn check(&self, call: &CheckCall) -> Result<CheckAnswer, Error> {
        let answer = self.call(Method::POST, "/v1/check", serde_json::to_vec(call)?.into()).await;
        let body = answer.map_err(|why| match why {
            Error::Status { status: StatusCode::NOT_FOUND, .. } => Error::TooOld { what: "check its tables" },
            other => other,
        })?;
        Ok(serde_json::from_slice(&whole(body).await?)?)
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, Error> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.authority))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|why| Error::Tls(format!("the name makes no address: {why}")))?;
        let mut sender = self.sender.clone();
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = whole(response.into_body()).await?;
        Err(Error::Status { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// Reads a heartbeat. Of another version only the number can be relied upon.
fn heartbeat(text: &[u8]) -> Result<Heartbeat, Error> {
    match serde_json::from_slice::<Greeting>(text) {
        Ok(Greeting { wire }) if wire != WIRE_VERSION => Err(Error::Version { theirs: wire }),
        Ok(_) | Err(_) => Ok(serde_json::from_slice(text)?),
    }
}

async fn whole(body: Incoming) -> Result<Bytes, Error> {
    match http_body_util::Limited::new(body, LONGEST_MESSAGE).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(why) => Err(why.downcast::<hyper::Error>().map_or(Error::TooLong, |why| Error::Http(*why))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_another_version_only_its_number_is_read() {
        for text in [r#"{"wire":2,"report":{"member":["not","text"]}}"#, r#"{"report":null,"wire":2}"#] {
            assert!(matches!(heartbeat(text.as_bytes()), Err(Error::Version { theirs: 2 })), "{text}");
        }
        let told = Error::Version { theirs: 2 }.to_string();
        assert_eq!(told, "its agent speaks version 2 of the protocol, this operator 1");
        assert!(matches!(heartbeat(br#"{"wire":1,"report":{"member":1}}"#), Err(Error::Message(_))));
        assert!(heartbeat(br#"{"wire":1,"report":null}"#).is_ok_and(|heartbeat| heartbeat.report.is_none()));
    }
}

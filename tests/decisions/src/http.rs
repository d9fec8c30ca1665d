//! Asking over HTTP on this machine: a connection that is kept, and a server that answers natively.
//!
//! This is what a webhook costs at its best: no TLS, no name to resolve, nobody else on the wire, and a server that
//! does nothing but decide.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use topology::decision::{Answer, Question};

/// The subcommand that serves.
pub const SERVE: &str = "serve";

/// Serves decisions on a free port of this machine, which it prints first, until it is ended.
///
/// # Errors
/// There is no port to be had.
pub fn serve() -> Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port to listen on")?;
        println!("{}", listener.local_addr()?);
        let decide = |Json(question): Json<Question>| async move { Json::<Answer>(engine::decide_natively(&question)) };
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            // Without it an answer could wait for more bytes to go with. It can only make the webhook slower.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route("/decide", post(decide))).await.context("serving ended")
    })
}

/// A server in a process of its own, which ends with this.
pub struct Server(Child);

impl Server {
    /// This very program as a server, and where it listens.
    ///
    /// # Errors
    /// It does not start.
    pub fn webhook() -> Result<(Self, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = Self::start(command.arg(SERVE).stdout(Stdio::piped()))?;
        let stdout = child.0.stdout.take().context("the webhook has no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the webhook does not listen: {line}"))?;
        Ok((child, address))
    }

    /// Some other program.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("{} does not start", command.get_program().display()))?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it must not stay behind.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection that is kept between requests.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let runtime = runtime()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok::<_, anyhow::Error>(sender)
        });
        Ok(Self { runtime, sender: sender?, host: address.to_string() })
    }

    /// Sends a body and gives the one that comes back.
    ///
    /// # Errors
    /// The connection is gone, or the server answered with an error.
    pub fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Bytes> {
        let request = Request::post(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let Self { runtime, sender, .. } = self;
        runtime.block_on(async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
            Ok(body)
        })
    }
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")
}

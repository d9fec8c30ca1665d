//! One member of a test: an agent, its volume, and a connection to it. It must never know a cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::{CancellationToken, Config};
use anyhow::{Context, bail};
use clap::Parser;
use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use topology::facts::{MemberReport, ServerFacts, ServerState};
use topology::gtid::GtidSet;
use topology::record::Record;
use uuid::Uuid;
use wire::{Command, Endpoint, Outcome, Request, Response, WIRE_VERSION};
use wire_client::Connection;

/// How long anything may take on a slow machine. A test that fails by it has failed.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The password of every account in a test.
pub const PASSWORD: &str = "it's a \\ secret";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// What an agent finds around it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Where it looks for the API server; nowhere if not given.
    pub api_server: Option<ApiServer>,
    /// For how many seconds its primary waits for an operator before it opens again, if not for as long as elsewhere.
    pub reopen_after_s: Option<u64>,
    /// How often, in milliseconds, it measures, if not as often as elsewhere.
    pub signals_every_ms: Option<u64>,
    /// How many milliseconds a segment of its archive is filled, if not as many as elsewhere.
    pub archive_after_ms: Option<u64>,
}

/// Where the API server is said to be.
#[derive(Debug, Clone)]
pub struct ApiServer {
    /// Its address.
    pub address: SocketAddr,
    /// The authority behind its certificate.
    pub ca: PathBuf,
}

/// One member.
pub struct Member {
    /// The pod's name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// Which copy of the data it was given, or has made.
    pub incarnation: Uuid,
    /// What its agent finds when it starts.
    pub surroundings: Surroundings,
    dir: PathBuf,
    tls: Arc<rustls::ClientConfig>,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

impl Member {
    /// A member that does not run yet. Its TLS directory has been written.
    pub fn new(name: &str, ip: IpAddr, dir: PathBuf, tls: Arc<rustls::ClientConfig>) -> anyhow::Result<Self> {
        let secrets = dir.join("secrets");
        std::fs::create_dir_all(&secrets)?;
        for file in ["root-password", "admin-password", "replication-password", "app-password"] {
            std::fs::write(secrets.join(file), PASSWORD)?;
        }
        std::fs::write(dir.join("boot-id"), "first boot\n")?;
        let small = "innodb_buffer_pool_size = 64M\nmax_connections = 40\ninnodb_redo_log_capacity = 16M\n";
        std::fs::write(dir.join("user.cnf"), small)?;
        Ok(Self {
            name: name.to_owned(),
            ip,
            incarnation: Uuid::nil(),
            surroundings: Surroundings::default(),
            dir,
            tls,
            running: None,
        })
    }

    /// The volume.
    pub fn volume(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Everything the member has on disk.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let mut arguments = vec![
            "agent".to_owned(),
            "--cluster=shop".to_owned(),
            "--namespace=test".to_owned(),
            format!("--member={}", self.name),
            format!("--role={}", if self.name.contains("-read-") { "read-replica" } else { "member" }),
            format!("--pod-ip={}", self.ip),
            format!("--bind={}", self.ip),
            "--database=shop".to_owned(),
            "--user=app".to_owned(),
            format!("--data={}", path("data")),
            format!("--runtime={}", path("run")),
            format!("--tls={}", path("tls")),
            format!("--secrets={}", path("secrets")),
            format!("--user-config={}", path("user.cnf")),
            format!("--boot-id={}", path("boot-id")),
            format!("--mysqld={}", program("mysqld")?),
        ];
        arguments.extend(self.surroundings.reopen_after_s.map(|seconds| format!("--reopen-after-s={seconds}")));
        arguments.extend(self.surroundings.signals_every_ms.map(|every| format!("--signals-every-ms={every}")));
        arguments.extend(self.surroundings.archive_after_ms.map(|after| format!("--archive-after-ms={after}")));
        let api = self.surroundings.api_server.as_ref();
        arguments
            .push(format!("--api-server-host={}", api.map(|api| api.address.ip().to_string()).unwrap_or_default()));
        if let Some(ApiServer { address, ca }) = api {
            arguments.push(format!("--api-server-port={}", address.port()));
            arguments.push(format!("--api-server-ca={}", ca.display()));
        }
        Ok(arguments)
    }

    /// Starts the agent and waits until it serves.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let shutdown = CancellationToken::new();
        let config = Arguments::try_parse_from(self.arguments()?)?.config;
        let task = tokio::spawn(agent::run(config, shutdown.clone()));
        self.running = Some((shutdown, task));
        let until = Instant::now() + PATIENCE;
        while let Err(why) = self.connect().await {
            if self.running.as_ref().is_some_and(|(_, task)| task.is_finished()) {
                bail!("the agent ended: {:?}", self.stop().await);
            }
            if Instant::now() > until {
                return Err(why.context("the agent does not serve"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Starts the agent as a process of its own, which can be stopped as one. `test` names a test of the calling
    /// binary that does nothing but call [`run_apart`].
    pub async fn start_apart(&self, test: &str) -> anyhow::Result<Apart> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["--ignored", "--exact", test, "--nocapture"]).env(APART, self.arguments()?.join("\n"));
        let apart = Apart(command.spawn()?);
        let until = Instant::now() + PATIENCE;
        while let Err(why) = self.connect().await {
            anyhow::ensure!(Instant::now() < until, "the agent of its own does not serve: {why:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(apart)
    }

    /// Ends the agent, and its mysqld with a kill: nobody wants its data any more.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        let pid = self.facts().await.ok().and_then(|facts| i32::try_from(facts.pid).ok());
        let Some((shutdown, task)) = self.running.take() else { return Ok(()) };
        shutdown.cancel();
        if let Some(pid) = pid {
            // It may be gone already.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        task.await?
    }

    /// Ends the agent as SIGTERM would.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some((shutdown, task)) = self.running.take() else { return Ok(()) };
        shutdown.cancel();
        task.await?
    }

    /// A connection as the operator.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        self.connect_with(Arc::clone(&self.tls)).await
    }

    /// A connection as somebody.
    pub async fn connect_with(&self, tls: Arc<rustls::ClientConfig>) -> anyhow::Result<Connection> {
        let name = format!("{}.shop-instances.test.svc", self.name);
        Ok(Connection::open((self.ip, wire::AGENT_PORT).into(), tls, &name).await?)
    }

    /// Gives a command.
    pub async fn command(&self, record: &Record, command: Command) -> anyhow::Result<Response> {
        let request = Request { wire: WIRE_VERSION, record: record.clone(), command };
        let answer = async { anyhow::Ok(self.connect().await?.command(&request).await?) };
        timeout(PATIENCE, answer).await.context("no answer in time")?
    }

    /// Gives a command that must succeed.
    pub async fn done(&self, record: &Record, command: Command) -> anyhow::Result<MemberReport> {
        let said = format!("{command:?}");
        let Response { outcome, report } = self.command(record, command).await?;
        match outcome {
            Outcome::Done => Ok(report),
            other => bail!("{} to {said}: {other:?}\n{report:#?}", self.name),
        }
    }

    /// Makes it follow another, asking again while the connection is being made.
    pub async fn follow(&self, record: &Record, source: &Member) -> anyhow::Result<MemberReport> {
        let until = Instant::now() + PATIENCE;
        loop {
            let response = self.command(record, Command::Follow { source: source.endpoint().await? }).await?;
            match response.outcome {
                Outcome::Done => return Ok(response.report),
                Outcome::Pending { .. } if Instant::now() < until => {}
                other => bail!("{} does not follow {}: {other:?}", self.name, source.name),
            }
        }
    }

    /// The report as it stands.
    pub async fn report(&self) -> anyhow::Result<MemberReport> {
        let heartbeat = self.connect().await?.report().await?;
        Ok(*heartbeat.report.context("a report")?)
    }

    /// The report after everything under way was looked at again.
    pub async fn observed(&self) -> anyhow::Result<MemberReport> {
        tokio::time::sleep(Duration::from_millis(400)).await;
        self.report().await
    }

    /// Waits on the report stream until a report is as wanted.
    pub async fn wait(&self, what: &str, wanted: impl Fn(&MemberReport) -> bool) -> anyhow::Result<MemberReport> {
        let mut last = None;
        let found = timeout(PATIENCE, async {
            let mut reports = self.connect().await?.reports().await?;
            while let Some(heartbeat) = reports.next().await {
                let Some(report) = heartbeat?.report else { continue };
                if wanted(&report) {
                    return Ok(*report);
                }
                last = Some(report);
            }
            bail!("the stream ended")
        })
        .await;
        found.unwrap_or_else(|_| bail!("{}: waited in vain until {what}; last: {last:#?}", self.name))
    }

    /// What mysqld says.
    pub async fn facts(&self) -> anyhow::Result<ServerFacts> {
        facts(&self.report().await?).cloned()
    }

    /// What mysqld has executed at this moment, asked by a client: a report may be a moment old.
    pub async fn executed(&self) -> anyhow::Result<GtidSet> {
        let text: Option<String> = self.client("root").await?.query_first("SELECT @@GLOBAL.gtid_executed").await?;
        Ok(text.context("a GTID set")?.parse()?)
    }

    /// Where its mysqld is.
    pub async fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let server_uuid = self.facts().await?.server_uuid;
        Ok(Endpoint { member: self.name.clone(), host: self.ip.to_string(), server_uuid })
    }

    /// A client's connection over TCP.
    pub async fn client(&self, account: &str) -> anyhow::Result<Conn> {
        let tls = SslOpts::default()
            .with_root_certs(vec![self.dir.join("tls/ca.crt").into()])
            .with_disable_built_in_roots(true)
            .with_danger_tls_hostname_override(Some(format!("{}.shop-instances.test.svc", self.name)));
        let options = OptsBuilder::default()
            .ip_or_hostname(self.ip.to_string())
            .tcp_port(wire::MYSQL_PORT)
            .user(Some(account))
            .pass(Some(PASSWORD))
            .db_name((account == "app").then_some("shop"))
            .prefer_socket(false)
            .ssl_opts(Some(tls));
        timeout(PATIENCE, Conn::new(options)).await.context("no connection in time")?.map_err(Into::into)
    }

    /// Ends mysqld with SIGKILL.
    pub async fn kill_mysqld(&self) -> anyhow::Result<()> {
        self.signal_mysqld(Signal::SIGKILL).await
    }

    /// Sends mysqld a signal.
    pub async fn signal_mysqld(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.facts().await?.pid)?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)?;
        Ok(())
    }

    /// One answer of the plain probes: status and words.
    pub async fn probe(&self, path: &str) -> anyhow::Result<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect((self.ip, wire::PROBE_PORT)).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let status = text.split(' ').nth(1).context("a status")?.parse()?;
        Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
    }
}

/// Where [`run_apart`] finds the agent's arguments, one a line.
const APART: &str = "GRAMPUS_TEST_AGENT";

/// An agent in a process of its own. It ends with this value, and its mysqld with it.
pub struct Apart(std::process::Child);

impl Apart {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?), signal)?)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // It may hang, and it may have ended.
        let _ = self.signal(Signal::SIGTERM);
        let _ = self.signal(Signal::SIGCONT);
        let _ = self.0.wait();
    }
}

/// Is the agent that [`Member::start_apart`] starts, until SIGTERM.
///
/// # Errors
/// As [`agent::run`]. Nobody started this as an agent: nothing is done.
pub async fn run_apart() -> anyhow::Result<()> {
    let Ok(arguments) = std::env::var(APART) else { return Ok(()) };
    let config = Arguments::try_parse_from(arguments.lines())?.config;
    let (shutdown, asked) = (CancellationToken::new(), agent::asked_to_end());
    let ending = async {
        let asked = asked.await;
        shutdown.cancel();
        anyhow::Ok(asked?)
    };
    tokio::try_join!(agent::run(config, shutdown.clone()), ending).map(drop)
}

/// What a report says of a running server.
pub fn facts(report: &MemberReport) -> anyhow::Result<&ServerFacts> {
    match &report.server {
        ServerState::Running(facts) => Ok(facts),
        other => bail!("{}: expected a running server, found {other:?}", report.member),
    }
}

/// Where a program of the MySQL package is.
///
/// # Errors
/// It is not there: the set-up has not run.
pub fn program(name: &str) -> anyhow::Result<String> {
    let cache = std::env::var("GRAMPUS_CACHE")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cache/grampus")))?;
    let path = format!("{cache}/mysql/bin/{name}");
    if !Path::new(&path).exists() {
        bail!("there is no {path}: tests/lab/setup.sh makes it");
    }
    Ok(path)
}

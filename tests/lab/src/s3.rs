//! A real S3 server over a directory, for as long as somebody holds it.
//!
//! It is a process like any other: it can be killed, and what it holds are plain files that a test can read and spoil.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::paths::Paths;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(20);

/// The public half of the key that it lets in.
pub const ACCESS_KEY: &str = "grampus";
/// The secret half.
pub const SECRET_KEY: &str = "grampus-in-a-lab";

/// A server that runs.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    address: SocketAddr,
    root: PathBuf,
}

impl S3Server {
    /// Starts it on this computer, with one empty bucket.
    ///
    /// # Errors
    /// It is not built, or does not answer.
    pub fn start(root: &Path, bucket: &str, address: SocketAddr) -> Result<Self> {
        let program = Paths::from_environment()?.s3_server();
        Self::start_as(Command::new(&program), root, bucket, address)
    }

    /// The same by a command of the caller's, which may run it somewhere else.
    ///
    /// # Errors
    /// It is not built, or does not answer.
    pub fn start_as(mut command: Command, root: &Path, bucket: &str, address: SocketAddr) -> Result<Self> {
        let program = PathBuf::from(command.get_program());
        ensure!(program.exists(), "there is no S3 server at {}; run tests/lab/setup.sh", program.display());
        std::fs::create_dir_all(root.join(bucket)).context("the bucket cannot be made")?;
        command.args(["--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet", "--port", &address.to_string()]);
        command.arg("posix").arg(root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let mut server = Self { child, address, root: root.to_owned() };
        let deadline = Instant::now() + START;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the S3 server ended at once: {status}");
            }
            ensure!(Instant::now() < deadline, "the S3 server does not answer at {address}");
            sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The directory with its buckets.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // A server that has ended is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

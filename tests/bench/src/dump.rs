//! What people have without Grampus: mysqldump, mysql and mysqlbinlog of the same release, through zstd. They are given
//! every advantage that costs nobody data: no TLS, whole rows in one packet, nothing read twice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kit::Login;
use tempfile::TempDir;
use tokio::process::Command;

/// How each of them connects; the password is in the environment.
const CONNECTED: &str = "--host=\"$HOST\" --user=\"$USER\" --ssl-mode=DISABLED --get-server-public-key";

/// What the manual advises for InnoDB without stopping anybody.
const DUMP: &str = "--single-transaction --quick --set-gtid-purged=OFF --no-tablespaces --max-allowed-packet=64M";

/// Those programs, and a place for what they make.
pub struct Tools {
    programs: PathBuf,
    scratch: TempDir,
}

impl Tools {
    /// Those in this directory.
    pub fn of(programs: PathBuf) -> Result<Self> {
        Ok(Self { programs, scratch: tempfile::tempdir()? })
    }

    /// Dumps a database, compressed as Grampus's backups are. How long it took.
    pub async fn dump(&self, from: &Login, database: &str) -> Result<Duration> {
        let script = format!("mysqldump {CONNECTED} {DUMP} {database} | zstd -q -3 -T0 -f -o dump.sql.zst");
        self.run(&script, from).await
    }

    /// How large the dump is, in bytes.
    pub fn dumped(&self) -> Result<u64> {
        Ok(self.scratch.path().join("dump.sql.zst").metadata()?.len())
    }

    /// Loads the dump into an empty database. How long it took.
    pub async fn load(&self, into: &Login, database: &str) -> Result<Duration> {
        let script = format!("zstd -q -d -c dump.sql.zst | mysql {CONNECTED} --max-allowed-packet=64M {database}");
        self.run(&script, into).await
    }

    /// Fetches a server's binary log from that file on, as far as it is about one database.
    pub async fn fetch_log(&self, from: &Login, file: &str, database: &str) -> Result<()> {
        let fetch = format!(
            "mysqlbinlog {CONNECTED} --read-from-remote-server --to-last-log --database={database} {file} > log.sql"
        );
        self.run(&fetch, from).await.map(drop)
    }

    /// Replays what was fetched, statement by statement as mysql does. How long it took.
    pub async fn replay(&self, into: &Login) -> Result<Duration> {
        self.run(&format!("mysql {CONNECTED} --max-allowed-packet=64M --binary-mode < log.sql"), into).await
    }

    async fn run(&self, script: &str, login: &Login) -> Result<Duration> {
        let path = std::env::var("PATH").unwrap_or_default();
        let began = Instant::now();
        let run = Command::new("bash")
            .args(["-o", "pipefail", "-c", script])
            .current_dir(self.scratch.path())
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .envs([("HOST", &login.host), ("USER", &login.user), ("MYSQL_PWD", &login.password)])
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(run.status.success(), "`{script}`: {}", String::from_utf8_lossy(&run.stderr));
        Ok(began.elapsed())
    }
}

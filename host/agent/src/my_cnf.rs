//! The my.cnf that mysqld really gets: the user's part first, then what safety rests on, so that the latter wins.
//!
//! It must never let a mistake in the user's part keep mysqld down, and never pass over it in silence.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::process::Command;

use crate::config::Config;
use crate::reap::Children;

/// The base name of the binary logs.
pub const BINLOG: &str = "binlog";

/// The base name of the relay logs.
pub const RELAY_LOG: &str = "relay";

/// Added to the ordinal: server_id must not be 0, and low numbers are what people pick by hand.
const FIRST_SERVER_ID: u32 = 1000;

/// The same for read replicas, so that no two servers of a cluster have one number: a source gives up the older of
/// two connections that say the same. Members have at most seven.
const FIRST_READER_SERVER_ID: u32 = 2000;

/// The longest that a commit may wait for an acknowledgement, in milliseconds: the largest value mysqld takes,
/// 49.7 days. It must never run out, because what follows is a commit that only one server has.
pub const SEMI_SYNC_TIMEOUT_MS: u64 = 4_294_967_295;

/// How long, in seconds, a receiver hears nothing before it reconnects. With a heartbeat every 0.3 s a silent
/// source is noticed after 0.74 s (measured).
const NET_TIMEOUT_S: u32 = 1;

/// Appliers of a replica, unless the user's part says otherwise. With 16 a failover under load took 0.15–0.53 s
/// on two cores, with mysqld's default of 4 a median of 1.76 s (measured).
const APPLIER_WORKERS: u32 = 16;

/// The buffer pool of a server for one job: it shares the container's memory with nobody, but only for a moment.
const JOB_POOL: &str = "128M";

/// What every server loads.
const PLUGINS: &str = "\
plugin_load_add = semisync_source.so
plugin_load_add = semisync_replica.so
plugin_load_add = mysql_clone.so
";

/// A rendered my.cnf, ready to start mysqld with.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The file.
    pub path: PathBuf,
    /// Whether the user's part is in it.
    pub with_user_part: bool,
    /// Why it is not, if there is one: mysqld's own words.
    pub user_part_error: Option<String>,
}

/// Writes my.cnf, with the user's part if mysqld accepts it.
///
/// # Errors
/// The runtime directory cannot be written, or mysqld cannot be run.
pub async fn render(config: &Config, children: &Children) -> anyhow::Result<Rendered> {
    let path = config.runtime.join("my.cnf");
    let Some(user_part) = read_user_part(config)? else {
        return without_user_part(config, None);
    };
    std::fs::write(&path, text(config, Some(&user_part))?).context("cannot write my.cnf")?;
    match validate(config, children, &path).await? {
        None => Ok(Rendered { path, with_user_part: true, user_part_error: None }),
        Some(error) => {
            tracing::error!(error, "mysqld does not accept the user's part of my.cnf: starting without it");
            without_user_part(config, Some(error))
        }
    }
}

/// Writes my.cnf without the user's part.
///
/// # Errors
/// The runtime directory cannot be written.
pub fn without_user_part(config: &Config, because: Option<String>) -> anyhow::Result<Rendered> {
    let path = config.runtime.join("my.cnf");
    std::fs::write(&path, text(config, None)?).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Rendered { path, with_user_part: false, user_part_error: because })
}

fn read_user_part(config: &Config) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(&config.user_config) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why).with_context(|| format!("cannot read {}", config.user_config.display())),
    }
}

/// What mysqld says against a my.cnf, if anything. It looks at names and values, and starts nothing.
async fn validate(config: &Config, children: &Children, path: &Path) -> anyhow::Result<Option<String>> {
    let mut command = Command::new(&config.mysqld);
    command.arg(format!("--defaults-file={}", path.display())).arg("--validate-config");
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let output =
        children.output(&mut command).await.with_context(|| format!("cannot run {}", config.mysqld.display()))?;
    if output.status.success() {
        return Ok(None);
    }
    let log = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = log.lines().filter_map(|line| line.split_once("[ERROR] ").map(|(_, said)| said)).collect();
    let said = if errors.is_empty() { log.trim().to_owned() } else { errors.join("; ") };
    Ok(Some(said))
}

/// Writes the my.cnf of a server that lives for one job only: nobody connects to it from outside, it writes no
/// binary log, and it has the plugins that a donor has, because a clone wants them to match. Its buffer pool is small,
/// or as large as the user's part says.
///
/// # Errors
/// The runtime directory cannot be written.
pub fn for_job(
    config: &Config,
    runtime: &Path,
    datadir: &Path,
    with_user_part: bool,
    small: bool,
) -> anyhow::Result<PathBuf> {
    let user_part = if with_user_part { read_user_part(config)?.unwrap_or_default() } else { String::new() };
    let places = places(config, datadir, &runtime.join("mysqld.sock"));
    let pid_file = runtime.join("mysqld.pid");
    let pool = if small { format!("innodb_buffer_pool_size = {JOB_POOL}\n") } else { String::new() };
    let text = format!(
        "[mysqld]\n{user_part}\n\n[mysqld]\n{places}pid_file = {}\nskip_networking = ON\nskip_log_bin\n\
         {pool}{PLUGINS}",
        pid_file.display()
    );
    let path = runtime.join("my.cnf");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The my.cnf of a closed start: the options that no user may change come last.
fn text(config: &Config, user_part: Option<&str>) -> anyhow::Result<String> {
    let workers = format!("replica_parallel_workers = {APPLIER_WORKERS}\n");
    let user_part = user_part.unwrap_or_default();
    Ok(format!(
        "[mysqld]\n{workers}{user_part}\n\n[mysqld]\n{}{}",
        places(config, &config.datadir(), &config.socket()),
        fixed(config)?
    ))
}

/// Where a server keeps things. Also for servers that only live for one job.
pub fn places(config: &Config, datadir: &Path, socket: &Path) -> String {
    let (tls, runtime) = (config.tls.display(), config.runtime.display());
    // Only test machines and their containers run this as root; mysqld asks to be told so.
    let user = if nix::unistd::geteuid().is_root() { "user = root\n" } else { "" };
    let names = config.lower_case_table_names.map(|value| format!("lower_case_table_names = {value}\n"));
    format!(
        "{user}{names}datadir = {}\nsocket = {}\npid_file = {runtime}/mysqld.pid\nmysqlx = OFF\n\
         secure_file_priv = NULL\nskip_name_resolve = ON\ntmpdir = {runtime}\n\
         ssl_ca = {tls}/ca.crt\nssl_cert = {tls}/tls.crt\nssl_key = {tls}/tls.key\n",
        datadir.display(),
        socket.display(),
        names = names.unwrap_or_default(),
    )
}

fn fixed(config: &Config) -> anyhow::Result<String> {
    let first = if config.reads_along() { FIRST_READER_SERVER_ID } else { FIRST_SERVER_ID };
    let server_id = first + config.ordinal()?;
    let Config { bind, mysql_port: port, pod_ip, .. } = config;
    Ok(format!(
        "\
bind_address = {bind}
port = {port}
report_host = {pod_ip}
report_port = {port}
server_id = {server_id}

# Every start is a closed start: opening is a decision.
offline_mode = ON
read_only = ON
super_read_only = ON
skip_replica_start = ON

# What was acknowledged must still be there.
sync_binlog = 1
innodb_flush_log_at_trx_commit = 1
innodb_doublewrite = ON
relay_log_recovery = OFF
relay_log_purge = ON

gtid_mode = ON
enforce_gtid_consistency = ON
log_bin = {BINLOG}
relay_log = {RELAY_LOG}
log_replica_updates = ON
binlog_format = ROW
binlog_row_image = FULL
binlog_checksum = CRC32
binlog_encryption = OFF
replica_preserve_commit_order = ON
replica_net_timeout = {NET_TIMEOUT_S}

{PLUGINS}# Both sides are switched on by the agent: the source's just before it opens, because a replica that applies
# would wait for acknowledgements as well; the replica's once this member may acknowledge.
loose_rpl_semi_sync_source_enabled = OFF
loose_rpl_semi_sync_source_timeout = {SEMI_SYNC_TIMEOUT_MS}
loose_rpl_semi_sync_source_wait_no_replica = ON
loose_rpl_semi_sync_source_wait_point = AFTER_SYNC
loose_rpl_semi_sync_replica_enabled = OFF

# The agent itself must always get in, however many applications are waiting.
back_log = 1000
"
    ))
}

/// Removes what an earlier mysqld left in the runtime directory. A `.lock` that names a living process, which
/// in a container may be anybody, would keep the next mysqld from starting.
pub fn remove_stale_socket(socket: &Path) {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    for stale in [socket.to_owned(), PathBuf::from(lock)] {
        if let Err(why) = std::fs::remove_file(&stale)
            && why.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%why, path = %stale.display(), "a stale socket could not be removed");
        }
    }
}

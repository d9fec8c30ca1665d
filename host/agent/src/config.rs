//! What the agent is told from outside: flags, environment, and the paths that follow from them.
//!
//! It must never read a file: passwords and certificates change while the agent runs and are read where they
//! are used.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::alone::decide::PATIENCE;
use crate::archive::CLOSED_AFTER;
use crate::signals::EVERY;

/// The arguments of `grampus agent`. Every one has an environment variable, as containers prefer.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The name of the MysqlCluster.
    #[arg(long, env = "GRAMPUS_CLUSTER")]
    pub cluster: String,
    /// The namespace of the MysqlCluster.
    #[arg(long, env = "GRAMPUS_NAMESPACE")]
    pub namespace: String,
    /// The name of this pod, which ends in its ordinal: `shop-0`.
    #[arg(long, env = "GRAMPUS_MEMBER")]
    pub member: String,
    /// Whether this pod votes or only reads along. A voting member if not given, as in pods that are older than
    /// read replicas.
    #[arg(long, env = "GRAMPUS_ROLE", value_enum, default_value_t = Role::Member)]
    pub role: Role,
    /// The address of this pod, which mysqld reports to its source.
    #[arg(long, env = "GRAMPUS_POD_IP")]
    pub pod_ip: IpAddr,
    /// A database to make with the first data.
    #[arg(long, env = "GRAMPUS_DATABASE")]
    pub database: Option<String>,
    /// An account to make with the first data, with every right on that database.
    #[arg(long, env = "GRAMPUS_USER")]
    pub user: Option<String>,
    /// The character set of that database.
    #[arg(long, env = "GRAMPUS_CHARSET")]
    pub charset: Option<String>,
    /// `lower_case_table_names`: fixed for ever when the first data is made.
    #[arg(long, env = "GRAMPUS_LOWER_CASE_TABLE_NAMES")]
    pub lower_case_table_names: Option<u8>,
    /// The volume: `mysql/` in it is mysqld's, `grampus/` the agent's.
    #[arg(long, env = "GRAMPUS_DATA", default_value = "/data")]
    pub data: PathBuf,
    /// Where sockets and the rendered my.cnf live; emptied by a restart of the container.
    #[arg(long, env = "GRAMPUS_RUNTIME", default_value = "/run/grampus")]
    pub runtime: PathBuf,
    /// A directory with tls.crt, tls.key and ca.crt.
    #[arg(long, env = "GRAMPUS_TLS", default_value = "/etc/grampus/tls")]
    pub tls: PathBuf,
    /// A directory with root-password, admin-password, replication-password and app-password.
    #[arg(long, env = "GRAMPUS_SECRETS", default_value = "/etc/grampus/secrets")]
    pub secrets: PathBuf,
    /// The user's part of my.cnf. It may be absent.
    #[arg(long, env = "GRAMPUS_USER_CONFIG", default_value = "/etc/grampus/config/my.cnf")]
    pub user_config: PathBuf,
    /// The server to supervise.
    #[arg(long, env = "GRAMPUS_MYSQLD", default_value = "mysqld")]
    pub mysqld: PathBuf,
    /// The kernel's boot identifier.
    #[arg(long, env = "GRAMPUS_BOOT_ID", default_value = "/proc/sys/kernel/random/boot_id")]
    pub boot_id: PathBuf,
    /// The address on which the agent and mysqld listen.
    #[arg(long, env = "GRAMPUS_BIND", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind: IpAddr,
    /// The port for the operator.
    #[arg(long, env = "GRAMPUS_AGENT_PORT", default_value_t = wire::AGENT_PORT)]
    pub agent_port: u16,
    /// The port for probes.
    #[arg(long, env = "GRAMPUS_PROBE_PORT", default_value_t = wire::PROBE_PORT)]
    pub probe_port: u16,
    /// The port of mysqld, the same for every member.
    #[arg(long, env = "GRAMPUS_MYSQL_PORT", default_value_t = wire::MYSQL_PORT)]
    pub mysql_port: u16,
    /// The control groups, as the container sees them.
    #[arg(long, env = "GRAMPUS_CGROUP", hide = true, default_value = "/sys/fs/cgroup")]
    pub cgroup: PathBuf,
    /// Where the API server is, as Kubernetes tells every container.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub api_server_host: Option<String>,
    /// Its port.
    #[arg(long, env = "KUBERNETES_SERVICE_PORT", hide = true, default_value_t = 443)]
    pub api_server_port: u16,
    /// The authority behind its certificate, from the ConfigMap that Kubernetes puts into every namespace. It may be
    /// absent.
    #[arg(long, env = "GRAMPUS_API_SERVER_CA", hide = true, default_value = "/etc/grampus/kubernetes/ca.crt")]
    pub api_server_ca: PathBuf,
    /// For how many seconds a primary whose mysqld is gone waits for an operator. Tests are not that patient.
    #[arg(long, env = "GRAMPUS_REOPEN_AFTER_S", hide = true, default_value_t = PATIENCE.as_secs())]
    pub reopen_after_s: u64,
    /// Every how many milliseconds it is measured what the server does. Tests are not that patient.
    #[arg(long, env = "GRAMPUS_SIGNALS_EVERY_MS", hide = true, default_value_t = EVERY.as_millis() as u64)]
    pub signals_every_ms: u64,
    /// How many milliseconds after its first transaction a segment of the archive is closed. Tests are not that patient.
    #[arg(long, env = "GRAMPUS_ARCHIVE_AFTER_MS", hide = true, default_value_t = CLOSED_AFTER.as_millis() as u64)]
    pub archive_after_ms: u64,
}

/// What a pod is for, as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// It votes: acknowledges, and may lead.
    Member,
    /// It is read from, and can never acknowledge or lead, whatever a record or a command says.
    ReadReplica,
}

impl Config {
    /// The number at the end of the pod's name.
    ///
    /// # Errors
    /// A name without one cannot be a member's.
    pub fn ordinal(&self) -> anyhow::Result<u32> {
        ordinal(&self.member)
    }

    /// Where the operator connects.
    pub fn agent_address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.agent_port)
    }

    /// Where the kubelet probes.
    pub fn probe_address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.probe_port)
    }

    /// mysqld's data directory.
    pub fn datadir(&self) -> PathBuf {
        self.data.join("mysql")
    }

    /// A data directory that is being made.
    pub fn new_datadir(&self) -> PathBuf {
        self.data.join("mysql.new")
    }

    /// The data directory before the last clone, kept until the clone has answered.
    pub fn old_datadir(&self) -> PathBuf {
        self.data.join("mysql.old")
    }

    /// What the throw-away server that receives a clone keeps for itself.
    pub fn scratch_datadir(&self) -> PathBuf {
        self.data.join("mysql.scratch")
    }

    /// The copy from which a backup is being sent.
    pub fn backup_datadir(&self) -> PathBuf {
        self.data.join("mysql.backup")
    }

    /// The segments of an archive that are being replayed.
    pub fn replay_dir(&self) -> PathBuf {
        self.data.join("mysql.replay")
    }

    /// The agent's own directory on the volume.
    pub fn own_dir(&self) -> PathBuf {
        self.data.join("grampus")
    }

    /// Where what was cut off the binary log is kept.
    pub fn trimmed_dir(&self) -> PathBuf {
        self.own_dir().join("trimmed")
    }

    /// mysqld's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("mysqld.sock")
    }

    /// The name that a member's certificate is for.
    pub fn tls_name(&self, member: &str) -> String {
        format!("{member}.{}-instances.{}.svc", self.cluster, self.namespace)
    }

    /// Whether this pod only reads along.
    pub fn reads_along(&self) -> bool {
        self.role == Role::ReadReplica
    }

    /// The account under which this member replicates from any other.
    ///
    /// # Errors
    /// As [`Config::ordinal`].
    pub fn replication_account(&self, acknowledges: bool) -> anyhow::Result<String> {
        let ordinal = self.ordinal()?;
        Ok(match self.role {
            Role::Member if acknowledges => replication_account(ordinal),
            Role::Member | Role::ReadReplica => FOLLOWER_ACCOUNT.to_owned(),
        })
    }
}

/// What the name of every member's own replication account begins with.
pub const OWN_ACCOUNTS: &str = "grampus-repl-";

/// The account under which the member with this ordinal receives while it acknowledges: each has its own, so that one
/// can be locked out.
pub fn replication_account(ordinal: u32) -> String {
    format!("{OWN_ACCOUNTS}{ordinal}")
}

/// The account under which everybody receives and copies who acknowledges nothing. It is never locked.
pub const FOLLOWER_ACCOUNT: &str = "grampus-follower";

/// The agent's account on its own mysqld.
pub const ADMIN_ACCOUNT: &str = "grampus";

/// The account under which the agent reads what its mysqld counts. It may do nothing else.
pub const SIGNALS_ACCOUNT: &str = "grampus-signals";

/// The number at the end of a pod's name.
///
/// # Errors
/// A name without one cannot be a member's.
pub fn ordinal(pod: &str) -> anyhow::Result<u32> {
    let digits = pod.rsplit_once('-').map(|(_, digits)| digits).unwrap_or_default();
    digits
        .parse()
        .map_err(|_| anyhow::anyhow!("`{pod}` is no pod of a StatefulSet: expected NAME-ORDINAL, e.g. shop-0"))
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn the_ordinal_is_the_number_after_the_last_dash() {
        assert_eq!(ordinal("web-shop-12").unwrap(), 12);
        assert!(ordinal("shop").is_err());
    }
}

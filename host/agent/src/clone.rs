//! Replaces the data by a copy of another member's.
//!
//! A throw-away server receives the copy, so that it does not matter in which state the old data is: it may be
//! missing, torn or of another history. The old mysqld is stopped meanwhile, because two do not fit into one
//! container's memory; its data stays until the copy has answered, and comes back if that fails.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use topology::facts::{Copies, JobKind, JobState};
use uuid::Uuid;
use wire::Endpoint;

use crate::config::{Config, FOLLOWER_ACCOUNT};
use crate::member::Member;
use crate::sql::{self, Sql, accounts, quote, replication};
use crate::supervise::{Running, Supervisor};
use crate::{data, durable, initialize, my_cnf};

/// How long the throw-away server may take to answer. Its data is new and small.
const START: Duration = Duration::from_secs(120);

/// How long an orderly end of a mysqld may take before it is killed.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// How often progress is read.
const PROGRESS: Duration = Duration::from_millis(500);

/// After so long without a copy the next one is the first again, in milliseconds: twice the longest pause that the
/// operator makes between two.
const FORGOTTEN_MS: u64 = 2 * 3_600_000;

/// How long the donor may take to say who it is.
const ASK_DONOR: Duration = Duration::from_secs(5);

/// Copies the donor's data, then starts mysqld closed on it.
///
/// # Errors
/// In words; whatever data there was before is still there.
pub async fn clone(member: Arc<Member>, donor: Endpoint) -> anyhow::Result<()> {
    let begun = unix_ms();
    member.state.change_own(|remembered| remembered.copies = Some(another(remembered.copies, begun))).await?;
    check_donor(&member.config, &donor).await?;
    stage(&member, "stopping mysqld");
    member.supervisor.shut_down(SHUTDOWN).await;
    let copied = copy(&member, &donor).await;
    let config = Arc::clone(&member.config);
    let scratch = tokio::task::spawn_blocking(move || durable::remove_tree(&config.scratch_datadir()));
    scratch.await?.context("the throw-away data directory could not be removed")?;
    copied?;
    put_in_place(&member).await?;
    stage(&member, "starting mysqld");
    let started = match member.ensure_started().await {
        Ok(_) => forget_channel(&member).await,
        Err(why) => Err(why),
    };
    if let Err(why) = started {
        member.kill().await;
        data::swap_back(&member.config).context("the old data could not be put back")?;
        member.forget_logs();
        return Err(why.context("mysqld does not start on the copy; the old data was put back"));
    }
    Ok(())
}

/// Copies begun one soon after the other, with one more.
fn another(before: Option<Copies>, now_unix_ms: u64) -> Copies {
    let before = before.filter(|before| now_unix_ms.abs_diff(before.last_unix_ms) < FORGOTTEN_MS);
    Copies { begun: before.map_or(0, |before| before.begun).saturating_add(1), last_unix_ms: now_unix_ms }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What a donor knows of its own channel is copied and its relay logs are not: mysqld refuses any new source then,
/// with error 1872.
async fn forget_channel(member: &Member) -> anyhow::Result<()> {
    let (mut session, _) = member.session().await?;
    replication::forget(&mut session).await.context("the donor's channel could not be removed from the copy")
}

fn stage(member: &Member, stage: impl Into<String>) {
    member.set_job(JobKind::Clone, JobState::Running { stage: stage.into() });
}

async fn put_in_place(member: &Member) -> anyhow::Result<()> {
    let config = Arc::clone(&member.config);
    let work = tokio::task::spawn_blocking(move || {
        let incarnation = data::complete(&config.new_datadir())?;
        data::swap(&config)?;
        Ok::<_, std::io::Error>(incarnation)
    });
    let incarnation = work.await?.context("the copy could not be put in place")?;
    tracing::info!(%incarnation, "the copy is in place");
    member.forget_logs();
    member.look_at_data();
    Ok(())
}

/// Asks the donor who it is: addresses are reused, and a copy of the wrong data is worse than none.
async fn check_donor(config: &Config, donor: &Endpoint) -> anyhow::Result<()> {
    let tls = SslOpts::default()
        .with_root_certs(vec![config.tls.join("ca.crt").into()])
        .with_disable_built_in_roots(true)
        // Its certificate is for its name, not for the address this member was told.
        .with_danger_tls_hostname_override(Some(config.tls_name(&donor.member)));
    let options = OptsBuilder::default()
        .ip_or_hostname(donor.host.as_str())
        .tcp_port(config.mysql_port)
        .user(Some(FOLLOWER_ACCOUNT))
        .pass(Some(sql::secret(config, "replication-password")?))
        .prefer_socket(false)
        .ssl_opts(Some(tls));
    let ask = async {
        let mut conn = Conn::new(options).await?;
        let uuid: Option<String> = conn.query_first("SELECT @@server_uuid").await?;
        conn.disconnect().await?;
        Ok::<_, mysql_async::Error>(uuid)
    };
    let asked = tokio::time::timeout(ASK_DONOR, ask).await;
    let uuid = asked.map_err(|_| anyhow::anyhow!("no answer within {} s", ASK_DONOR.as_secs()));
    let uuid =
        uuid.and_then(|uuid| Ok(uuid?)).with_context(|| format!("the donor {} cannot be asked", donor.member))?;
    let uuid = uuid.and_then(|uuid| Uuid::try_parse(&uuid).ok());
    if uuid != Some(donor.server_uuid) {
        bail!("{} answers as server {uuid:?}, expected {} of {}", donor.host, donor.server_uuid, donor.member);
    }
    Ok(())
}

/// A server that lives only to receive the copy.
struct Recipient {
    supervisor: Supervisor,
    sql: Sql,
    running: Running,
}

async fn copy(member: &Arc<Member>, donor: &Endpoint) -> anyhow::Result<()> {
    stage(member, "preparing");
    let new = member.config.new_datadir();
    durable::remove_tree(&new)?;
    let recipient = Recipient::start(member).await?;
    let copied = tokio::select! {
        copied = recipient.receive(member, donor, &new) => copied,
        () = member.ending.cancelled() => Err(anyhow::anyhow!("the agent is ending")),
    };
    recipient.supervisor.kill().await;
    if copied.is_err() {
        durable::remove_tree(&new)?;
    }
    copied
}

impl Recipient {
    async fn start(member: &Member) -> anyhow::Result<Self> {
        let runtime = member.config.runtime.join("job");
        let scratch = member.config.scratch_datadir();
        durable::remove_tree(&scratch)?;
        let with_user_part = my_cnf::render(&member.config, &member.children).await?.with_user_part;
        let statements = accounts::scratch_statements(&member.config)?;
        initialize::make(member, &runtime, &scratch, &statements, with_user_part).await?;
        let config = Config { runtime: runtime.clone(), ..Config::clone(&member.config) };
        my_cnf::remove_stale_socket(&config.socket());
        let supervisor = Supervisor::new(config.mysqld.clone(), member.children.clone());
        supervisor.start(&[format!("--defaults-file={}", runtime.join("my.cnf").display())]).await?;
        let running = supervisor.now().running().context("the throw-away server ended at once")?;
        let recipient = Self { supervisor, sql: Sql::new(Arc::new(config)), running };
        tokio::time::timeout(START, recipient.answers()).await.context("the throw-away server does not answer")??;
        Ok(recipient)
    }

    async fn answers(&self) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if self.supervisor.now().running().is_none() {
                bail!("the throw-away server ended: {:?}", self.supervisor.now());
            }
            if self.sql.session(self.running.pid).await.is_ok() {
                return Ok(());
            }
        }
    }

    async fn receive(&self, member: &Member, donor: &Endpoint, new: &Path) -> anyhow::Result<()> {
        let config = &member.config;
        let tls = |file: &str| quote(&config.tls.join(file).display().to_string());
        let mut session = self.sql.session(self.running.pid).await?;
        let from = format!("{}:{}", donor.host, config.mysql_port);
        session
            .run_all(&[
                &format!("SET GLOBAL clone_valid_donor_list = {}", quote(&from)),
                &format!("SET GLOBAL clone_ssl_ca = {}", tls("ca.crt")),
                &format!("SET GLOBAL clone_ssl_cert = {}", tls("tls.crt")),
                &format!("SET GLOBAL clone_ssl_key = {}", tls("tls.key")),
            ])
            .await?;
        let statement = format!(
            "CLONE INSTANCE FROM {}@{}:{} IDENTIFIED BY {} DATA DIRECTORY = {} REQUIRE SSL",
            quote(FOLLOWER_ACCOUNT),
            quote(&donor.host),
            config.mysql_port,
            quote(&sql::secret(config, "replication-password")?),
            quote(&new.display().to_string()),
        );
        // As long as it takes: progress is what tells a slow copy from a dead one, and the job can be looked at.
        let copying = session.run(&statement, Duration::MAX);
        tokio::select! {
            copied = copying => Ok(copied.with_context(|| format!("cloning {}", donor.member))?),
            never = self.report_progress(member) => never,
        }
    }

    async fn report_progress(&self, member: &Member) -> anyhow::Result<()> {
        let query = "SELECT CONCAT(STAGE, ' ', FLOOR(100 * DATA / GREATEST(ESTIMATE, 1)), ' %') \
            FROM performance_schema.clone_progress WHERE STATE = 'In Progress' ORDER BY ID DESC LIMIT 1";
        let mut tick = tokio::time::interval(PROGRESS);
        loop {
            tick.tick().await;
            let Ok(mut session) = self.sql.session(self.running.pid).await else { continue };
            if let Ok(text) = session.value::<String>(query, sql::PROMPT).await {
                stage(member, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_while_they_come_one_soon_after_the_other() {
        let one = another(None, 1_000);
        let two = another(Some(one), 61_000);
        assert_eq!((one.begun, two), (1, Copies { begun: 2, last_unix_ms: 61_000 }));
        assert_eq!(another(Some(two), 61_000 + FORGOTTEN_MS).begun, 1);
        assert_eq!(another(Some(two), 60_000).begun, 3, "a clock that was put back by a second");
    }
}

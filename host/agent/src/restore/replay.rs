//! Goes on from a backup over the archive of its cluster's binary log, on a server that nobody else can reach.
//!
//! Segments are placed as relay logs of a channel without a source and applied in parallel. mysqld takes what it cannot
//! read for the end of a log, so the end is never what it says: only the exact set of transactions that was planned is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use backup::archive::Archive;
use backup::manifest::Manifest;
use backup::{Keys, find, recovery};
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use topology::gtid::GtidSet;
use wire::RecoveryTarget;

use super::segments::{RELAY_LOG, Round, Source, make_empty};
use super::stage;
use crate::member::Member;
use crate::sql::{Session, facts, quote};

/// How many appliers there are, as on every replica.
const WORKERS: u32 = 16;

/// The server_id of the server that replays: the highest there is. Members have low ones, and a server passes over
/// whatever was logged under its own, in silence.
const SERVER_ID: u32 = u32::MAX;

/// How long a statement may take that changes a channel.
const CHANNEL: Duration = Duration::from_secs(120);

/// How long a question may take while all appliers are busy.
const ANSWER: Duration = Duration::from_secs(60);

/// How long the server waits before it says that a round has not ended, in seconds: as often progress is told, which ends
/// up in a status.
const LOOK_S: u32 = 1;

/// How often an applier must be seen to have nothing to do, and nothing new executed, until that is believed: between two
/// steps of its work there are moments that look like that.
const IDLE: u32 = 5;

/// Where a recovery goes on from the backup, and how far.
pub struct Onward {
    /// The archive.
    pub archive: Archive,
    /// Where it ends.
    pub target: RecoveryTarget,
}

/// What a server that replays is started with. It writes no binary log, and nothing needs to be on the disk before it
/// has ended in an orderly way.
pub fn options(dir: &Path) -> Vec<String> {
    vec![
        format!("--server-id={SERVER_ID}"),
        format!("--relay-log={}", dir.join(RELAY_LOG).display()),
        format!("--replica-parallel-workers={WORKERS}"),
        "--replica-preserve-commit-order=ON".to_owned(),
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
    ]
}

impl Onward {
    /// Refuses what cannot be reached whatever the backup turns out to hold: fetching it may take hours.
    ///
    /// # Errors
    /// In words, with the object that is to blame or with what can be reached.
    pub async fn check(&self, manifest: &Manifest, keys: &Keys) -> Result<(), backup::Error> {
        let found = find::entries(&self.archive, &manifest.gtids.at_most, &self.target).await?;
        recovery::check(self.archive.path(), manifest, &found.entries, &self.target)?;
        recovery::opened(self.archive.path(), manifest, &found.entries, keys)
    }

    /// Replays everything up to the target.
    ///
    /// # Errors
    /// In words: the target cannot be reached, an object is damaged or missing, a transaction cannot be applied.
    pub async fn go(
        &self,
        member: &Member,
        session: &mut Session,
        manifest: &Manifest,
        keys: &Keys,
        executed: &GtidSet,
    ) -> anyhow::Result<()> {
        stage(member, "reading the archive");
        let found = find::entries(&self.archive, executed, &self.target).await?;
        let path = self.archive.path();
        let way = recovery::way(path, manifest, executed, found.before.as_ref(), &found.entries, &self.target)?;
        session.run("RESET REPLICA ALL", CHANNEL).await.context("the channel of the copied member")?;
        let dir = member.config.replay_dir();
        make_empty(&dir)?;
        let source = Source {
            archive: &self.archive,
            way: &way,
            keys,
            target: &self.target,
            executed,
            dir: &dir,
            volume: &member.config.data,
        };
        // One round is applied, one waits, one is being fetched.
        let (sender, receiver) = mpsc::channel(1);
        let all = way.replay.len();
        let replaying = replay(member, session, receiver, &dir, all);
        let (until, ()) = tokio::try_join!(replaying, source.fetch(sender))?;
        let until = until.unwrap_or_else(|| executed.clone());
        tracing::info!(target = ?self.target, gtids = %until, segments = all, "recovered from the archive");
        Ok(())
    }
}

/// Applies what comes, and says what was executed at the end. None where nothing came.
async fn replay(
    member: &Member,
    session: &mut Session,
    mut rounds: mpsc::Receiver<Round>,
    dir: &Path,
    all: usize,
) -> anyhow::Result<Option<GtidSet>> {
    let mut until = None;
    let mut before = 0;
    while let Some(round) = rounds.recv().await {
        let said = format!("replaying segments {} to {} of {all}", before + 1, round.segments);
        stage(member, said.clone());
        apply(session, &round, dir, |percent| stage(member, format!("{said}: {percent} %")))
            .await
            .with_context(|| said.clone())?;
        before = round.segments;
        until = Some(round.until);
    }
    Ok(until)
}

/// Applies one round, exactly.
async fn apply(session: &mut Session, round: &Round, dir: &Path, tell: impl Fn(u128)) -> anyhow::Result<()> {
    let channel = round.channel();
    let names: String = round.files.iter().map(|file| format!("{}\n", file.display())).collect();
    std::fs::write(dir.join(format!("{RELAY_LOG}-{channel}.index")), names)?;
    let first = round.files.first().and_then(|file| file.file_name()).context("a round without files")?;
    let (first, channel) = (quote(&first.to_string_lossy()), quote(&channel));
    // The host is never called.
    let change = format!(
        "CHANGE REPLICATION SOURCE TO RELAY_LOG_FILE = {first}, RELAY_LOG_POS = 4, SOURCE_HOST = 'archive' \
         FOR CHANNEL {channel}"
    );
    session.run(&change, CHANNEL).await?;
    session.run(&format!("START REPLICA SQL_THREAD FOR CHANNEL {channel}"), CHANNEL).await?;
    wait(session, round, &channel, tell).await?;
    session.run(&format!("STOP REPLICA SQL_THREAD FOR CHANNEL {channel}"), CHANNEL).await?;
    let executed = executed(session).await?;
    if executed != round.until {
        bail!(differs(&round.until, &executed));
    }
    // Its relay logs go with it.
    Ok(session.run(&format!("RESET REPLICA ALL FOR CHANNEL {channel}"), CHANNEL).await?)
}

/// Waits until everything is applied, or can be no more.
async fn wait(session: &mut Session, round: &Round, channel: &str, tell: impl Fn(u128)) -> anyhow::Result<()> {
    let waiting = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {LOOK_S})", quote(&round.until.to_string()));
    let begun = executed(session).await?;
    let all = u128::from(round.until.subtract(&begun).count()).max(1);
    let (mut idle, mut seen) = (0, begun);
    while session.value::<i64>(&waiting, ANSWER).await? != 0 {
        let executed = executed(session).await?;
        tell(100 - u128::from(round.until.subtract(&executed).count()).min(all) * 100 / all);
        idle = match look(session, channel).await? {
            Applier::Stopped(why) => bail!(why),
            Applier::Idle if seen == executed => idle + 1,
            Applier::Idle | Applier::Busy => 0,
        };
        if idle == IDLE {
            bail!(differs(&round.until, &executed));
        }
        seen = executed;
    }
    Ok(())
}

fn differs(planned: &GtidSet, executed: &GtidSet) -> String {
    let (missing, beyond) = (planned.subtract(executed), executed.subtract(planned));
    let said = [(missing, "were not applied, and nothing says why"), (beyond, "were applied, and are not wanted")];
    let said = said.iter().filter(|(gtids, _)| !gtids.is_empty()).map(|(gtids, what)| format!("{gtids} {what}"));
    format!("the replay did not lead to what was planned: {}", said.collect::<Vec<_>>().join("; "))
}

async fn executed(session: &mut Session) -> anyhow::Result<GtidSet> {
    let text: String = session.value("SELECT @@GLOBAL.gtid_executed", ANSWER).await?;
    Ok(facts::gtids(&text)?)
}

/// How the applier of a channel is.
enum Applier {
    /// It has something to do.
    Busy,
    /// It has read everything, as far as it can be read, and does nothing.
    Idle,
    /// It has ended; why.
    Stopped(String),
}

async fn look(session: &mut Session, channel: &str) -> anyhow::Result<Applier> {
    let errors = |table: &str| {
        format!(
            "SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_{table} \
             WHERE CHANNEL_NAME = {channel} AND LAST_ERROR_NUMBER <> 0"
        )
    };
    // What a worker says is the reason; the coordinator only says which worker.
    let query = format!("{} UNION ALL {}", errors("worker"), errors("coordinator"));
    let error = session.with(ANSWER, async |conn| conn.query_first::<String, _>(query).await).await?;
    let query = format!(
        "SELECT SERVICE_STATE FROM performance_schema.replication_applier_status WHERE CHANNEL_NAME = {channel}"
    );
    let state: String = session.value(&query, ANSWER).await?;
    if error.is_some() || state == "OFF" {
        return Ok(Applier::Stopped(
            error.unwrap_or_else(|| "the applier has stopped; mysqld's log says why".to_owned()),
        ));
    }
    let query = format!(
        "SELECT EXISTS (SELECT 1 FROM performance_schema.replication_applier_status_by_coordinator c \
         JOIN performance_schema.threads t ON t.THREAD_ID = c.THREAD_ID WHERE c.CHANNEL_NAME = {channel} \
         AND t.PROCESSLIST_STATE LIKE '%has read all relay log%') AND NOT EXISTS (SELECT 1 FROM \
         performance_schema.replication_applier_status_by_worker w WHERE w.CHANNEL_NAME = {channel} \
         AND w.APPLYING_TRANSACTION <> '')"
    );
    let idle: i64 = session.value(&query, ANSWER).await?;
    Ok(if idle == 1 { Applier::Idle } else { Applier::Busy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much_are_named() {
        let set = |numbers: &str| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{numbers}").parse::<GtidSet>().unwrap();
        let said = differs(&set("1-9"), &set("1-7:11"));
        assert!(said.contains(":8-9 were not applied") && said.contains(":11 were applied"), "{said}");
    }
}

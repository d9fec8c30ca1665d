//! One attempt to archive: from the end of the chain on, segment after segment, until the order ends or something fails.
//!
//! Whatever it was in the middle of is given up then and read again by the next one, here or at another member: only what
//! has an entry is archived.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use backup::archive::{Appended, Archive};
use backup::encryption::{self, Recipients};
use backup::log::{Entry, FIRST, FORMAT};
use backup::store::{Patience, Upload};
use backup::{Store, layout};
use jiff::Timestamp;
use tokio::time::Instant;
use topology::gtid::GtidSet;
use uuid::Uuid;
use wire::ArchiveOrder;

use super::follow::{Follow, Found};
use super::segment::{Contents, Segment};
use super::{Task, in_force, purged};
use crate::member::Member;
use crate::supervise::Running;

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How patient to be with a store: whoever gives up begins again soon.
const PATIENCE: Patience = Patience { retry: Duration::from_secs(20), request: Duration::from_secs(60) };

/// The end of the chain.
struct Chain {
    sequence: u64,
    covered: GtidSet,
    base: GtidSet,
}

impl Chain {
    fn of(entry: &Entry) -> Self {
        Self { sequence: entry.sequence, covered: entry.after(), base: entry.base.clone() }
    }
}

/// What is archived from, as long as one process of mysqld lives.
struct Source<'a> {
    member: &'a Arc<Member>,
    order: &'a ArchiveOrder,
    recipients: Option<&'a Recipients>,
    archive: Archive,
    running: Running,
    server_uuid: Uuid,
    version: String,
}

/// Archives by this order. Done when another is in force, or none.
pub async fn run(member: &Arc<Member>, task: &Task) -> anyhow::Result<()> {
    let (order, recipients) = (&task.order, task.recipients.as_ref());
    let (mut session, running) = member.session().await?;
    let facts = member.facts(&mut session, running).await?;
    drop(session);
    let archive = Archive::at(Store::open(&order.store, PATIENCE)?, &order.path)?;
    let (server_uuid, version) = (facts.server_uuid, facts.version);
    let source = Source { member, order, recipients, archive, running, server_uuid, version };
    let newest = source.archive.newest(None).await?;
    if let Some(entry) = newest.as_ref().filter(|entry| entry.cluster_uid != order.cluster_uid) {
        bail!("{} is of another cluster, {}", layout::log_entry(&order.path, entry.sequence), entry.cluster_uid);
    }
    let executed = facts.executed.intersect(&order.executed);
    source.keep(newest.as_ref(), executed).await
}

impl Source<'_> {
    async fn keep(&self, newest: Option<&Entry>, executed: GtidSet) -> anyhow::Result<()> {
        let mut chain = match newest {
            Some(entry) => Chain::of(entry),
            None => Chain { sequence: FIRST - 1, covered: executed.clone(), base: executed },
        };
        let missing = self.missing(newest, &chain).await?;
        let mut follow = {
            let (datadir, covered) = (self.member.config.datadir(), chain.covered.union(&missing));
            tokio::task::spawn_blocking(move || Follow::open(&datadir, &covered)).await??
        };
        self.member.archiving.tell(|state| {
            (state.sequence, state.covered, state.base) = (chain.sequence, chain.covered.clone(), chain.base.clone());
            state.last_commit_unix_us = newest.map(|entry| entry.last_commit_unix_us).filter(|time| *time > 0);
            (state.problem, state.lacks) = (None, GtidSet::new());
        });
        if newest.is_none() || !missing.is_empty() {
            // At once, so that it is known what a full backup has to hold.
            let (empty, upload) = (follow.segment(&chain.covered, self.recipients)?, self.begin(&chain)?);
            self.close(&mut chain, empty, upload, missing).await?;
        }
        while self.goes_on() {
            let segment = follow.segment(&chain.covered, self.recipients)?;
            let mut upload = self.begin(&chain)?;
            let (read, filled) = match self.fill(follow, segment, &mut upload, &chain.covered).await {
                Ok(read) => read,
                Err(why) => {
                    upload.1.abort().await;
                    return Err(why);
                }
            };
            follow = read;
            match filled {
                Some(segment) => self.close(&mut chain, segment, upload, GtidSet::new()).await?,
                None => upload.1.abort().await,
            }
        }
        if self.member.supervisor.now().running() != Some(self.running) {
            bail!("mysqld has ended, or was started anew");
        }
        Ok(())
    }

    /// What can be archived by nobody any more, as far as the order lets it be told so.
    async fn missing(&self, newest: Option<&Entry>, chain: &Chain) -> anyhow::Result<GtidSet> {
        if newest.is_none() {
            return Ok(GtidSet::new());
        }
        let purged = purged(self.member).await.context("reading what was purged")?;
        let lacks = purged.intersect(&self.order.executed).subtract(&chain.covered);
        if lacks.is_subset_of(&self.order.give_up) {
            return Ok(lacks);
        }
        self.member.archiving.tell(|state| state.lacks = lacks.clone());
        bail!("the binary log of this member does not hold {lacks} any more, and the archive does not cover them")
    }

    /// Whether the order is still the one in force, and the process the same.
    fn goes_on(&self) -> bool {
        let same = |task: &Task| {
            let place = |order: &ArchiveOrder| (order.store.clone(), order.path.clone(), order.cluster_uid.clone());
            place(&task.order) == place(self.order) && task.recipients.as_ref() == self.recipients
        };
        let process = self.member.supervisor.now().running() == Some(self.running);
        process && !self.member.ending.is_cancelled() && in_force(self.member).is_some_and(|task| same(&task))
    }

    fn begin(&self, chain: &Chain) -> anyhow::Result<(String, Upload)> {
        let nonce = Uuid::new_v4().simple().to_string();
        let data = layout::log_data(chain.sequence + 1, self.member.name(), &nonce[..8]);
        let object = if self.recipients.is_some() { layout::encrypted(&data) } else { data };
        let upload = self.archive.begin(&object)?;
        Ok((object, upload))
    }

    /// Fills a segment until it is to be closed. None where nothing more is to be archived.
    async fn fill(
        &self,
        mut follow: Follow,
        mut segment: Segment,
        upload: &mut (String, Upload),
        covered: &GtidSet,
    ) -> anyhow::Result<(Follow, Option<Segment>)> {
        let mut orders = self.member.archiving.order.subscribe();
        let after = Duration::from_millis(self.member.config.archive_after_ms);
        let mut due = None;
        while let Some(task) = in_force(self.member).filter(|_| self.goes_on()) {
            let covered = covered.clone();
            let read = move || {
                let found = follow.read(&covered, &task.order.executed, &mut segment);
                (follow, segment, found)
            };
            let found: io::Result<Found>;
            (follow, segment, found) = tokio::task::spawn_blocking(read).await?;
            let compressed = segment.take();
            if !compressed.is_empty() {
                upload.1.write(compressed.into()).await?;
            }
            if due.is_none() && segment.transactions() > 0 {
                due = Some(Instant::now() + after);
            }
            let late = due.is_some_and(|due| Instant::now() >= due) && !follow.is_within();
            match found? {
                Found::Close => return Ok((follow, Some(segment))),
                _ if late => return Ok((follow, Some(segment))),
                Found::More => {}
                Found::Nothing => {
                    let wake = due.unwrap_or_else(|| Instant::now() + LOOK).min(Instant::now() + LOOK);
                    tokio::select! {
                        () = tokio::time::sleep_until(wake) => {}
                        _ = orders.changed() => {}
                        () = self.member.ending.cancelled() => {}
                    }
                }
            }
        }
        Ok((follow, None))
    }

    /// Puts a segment into the chain.
    async fn close(
        &self,
        chain: &mut Chain,
        segment: Segment,
        (object, mut upload): (String, Upload),
        missing: GtidSet,
    ) -> anyhow::Result<()> {
        let (rest, contents) = tokio::task::spawn_blocking(move || segment.finish()).await??;
        upload.write(rest.into()).await?;
        let (size, sha256) = upload.finish().await?;
        let entry = self.entry(chain, contents, missing, object, size, sha256);
        if let Appended::Taken(other) = self.archive.commit(&entry).await? {
            bail!("{} has written segment {} meanwhile; going on behind it", other.member, other.sequence);
        }
        if !entry.missing.is_empty() {
            tracing::error!(missing = %entry.missing, "the archive has a hole: these were purged before they were archived");
        }
        tracing::debug!(sequence = entry.sequence, gtids = %entry.gtids, "a segment is archived");
        *chain = Chain::of(&entry);
        self.member.archiving.tell(|state| {
            (state.sequence, state.covered, state.base) = (chain.sequence, chain.covered.clone(), chain.base.clone());
            if entry.transactions > 0 {
                state.last_commit_unix_us = Some(entry.last_commit_unix_us);
            }
        });
        Ok(())
    }

    fn entry(
        &self,
        chain: &Chain,
        contents: Contents,
        missing: GtidSet,
        object: String,
        size: u64,
        sha256: String,
    ) -> Entry {
        let encryption = self.recipients.map(Recipients::encryption);
        Entry {
            format: encryption::format(FORMAT, encryption.as_ref()),
            sequence: chain.sequence + 1,
            cluster_uid: self.order.cluster_uid.clone(),
            member: self.member.name().to_owned(),
            server_uuid: self.server_uuid,
            server_version: self.version.clone(),
            before: chain.covered.clone(),
            gtids: contents.gtids,
            base: if missing.is_empty() { chain.base.clone() } else { chain.covered.union(&missing) },
            missing,
            object,
            size,
            sha256,
            encryption,
            bytes: contents.bytes,
            transactions: contents.transactions,
            first_commit_unix_us: contents.first_commit_unix_us,
            last_commit_unix_us: contents.last_commit_unix_us,
            closed_at: Timestamp::now(),
        }
    }
}

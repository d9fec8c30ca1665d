//! Several members and the record that a test, in the operator's place, keeps for them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Context;
use futures::future::try_join_all;
use mysql_async::prelude::Queryable;
use topology::facts::{JobKind, JobState, MemberReport, Standing, ThreadState};
use topology::gtid::GtidSet;
use topology::record::{self, Phase, Record};
use wire::{Command, Endpoint};

use crate::certificates::Authority;
use crate::member::{Member, Surroundings, facts};
use crate::mounted::Mounted;
use crate::template;

/// The last byte of the next member's address: one process is one test binary.
static NEXT: AtomicU8 = AtomicU8::new(10);

/// Members that trust one authority.
pub struct Cluster {
    /// The authority.
    pub authority: Authority,
    dir: tempfile::TempDir,
    tls: Arc<rustls::ClientConfig>,
    members: Vec<Member>,
    surroundings: Surroundings,
    readers: Vec<Member>,
}

impl Cluster {
    /// No members yet.
    pub async fn new() -> anyhow::Result<Self> {
        log();
        let authority = Authority::new()?;
        let operator = authority.issue(agent::OPERATOR, &[])?;
        let tls = wire_client::tls_config(
            authority.pem().as_bytes(),
            operator.certificate.as_bytes(),
            operator.key.as_bytes(),
        )?;
        let dir = tempfile::Builder::new().prefix("gr").tempdir_in(fast_dir())?;
        let (members, readers) = (Vec::new(), Vec::new());
        Ok(Self { authority, dir, tls, members, readers, surroundings: Surroundings::default() })
    }

    /// So many members with the same, empty history; the first opened as primary, the others following it in good
    /// standing, k = `acks`. Returns the record, which is Serving.
    pub async fn serving(size: usize, acks: u32) -> anyhow::Result<(Self, Record)> {
        Self::new().await?.serve(size, acks).await
    }

    /// The same, with agents that find something else around them.
    pub async fn serving_in(surroundings: Surroundings, size: usize, acks: u32) -> anyhow::Result<(Self, Record)> {
        Self { surroundings, ..Self::new().await? }.serve(size, acks).await
    }

    async fn serve(mut self, size: usize, acks: u32) -> anyhow::Result<(Self, Record)> {
        let cluster = &mut self;
        for _ in 0..size {
            cluster.add_placed().await?;
        }
        let mut record = cluster.record(1, Phase::Promoting, 0, acks);
        let alone = Record { acks: 0, ..record.clone() };
        let first = cluster.member(0);
        first.done(&alone, promote(None, &GtidSet::new())).await?;
        record.generation = 1;
        record.acks = acks;
        record.primary_server_uuid = Some(first.endpoint().await?.server_uuid);
        for replica in 1..size {
            cluster.follow_in_good_standing(replica, 0, &record).await?;
        }
        first.done(&record, Command::SetAcks { acks }).await?;
        record.phase = Phase::Serving;
        for member in &cluster.members {
            member.done(&record, Command::Store).await?;
        }
        let mut root = first.client("root").await?;
        root.query_drop("CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)").await?;
        Ok((self, record))
    }

    /// Adds a member with an empty volume and starts its agent.
    pub async fn add_empty(&mut self) -> anyhow::Result<()> {
        let member = self.make()?;
        self.members.push(member);
        self.members.last_mut().context("just added")?.start().await
    }

    /// Adds a member whose volume is a file system of its own, and starts its agent.
    pub async fn add_mounted(&mut self) -> anyhow::Result<Mounted> {
        let member = self.make()?;
        let mounted = Mounted::at(&member.volume())?;
        self.members.push(member);
        self.members.last_mut().context("just added")?.start().await?;
        Ok(mounted)
    }

    /// Adds a member with a copy of the first data and starts its agent.
    pub async fn add_placed(&mut self) -> anyhow::Result<()> {
        let mut member = self.make()?;
        member.incarnation = Box::pin(template::place(&member.volume())).await?;
        member.start().await?;
        self.members.push(member);
        Ok(())
    }

    /// Adds a read replica with an empty volume and starts its agent.
    pub async fn add_reader(&mut self) -> anyhow::Result<()> {
        let mut reader = self.make_named(&format!("shop-read-{}", self.readers.len()))?;
        reader.start().await?;
        self.readers.push(reader);
        Ok(())
    }

    /// A read replica by its ordinal. It is in no record.
    pub fn reader(&self, index: usize) -> &Member {
        &self.readers[index]
    }

    fn make(&self) -> anyhow::Result<Member> {
        self.make_named(&format!("shop-{}", self.members.len()))
    }

    fn make_named(&self, name: &str) -> anyhow::Result<Member> {
        let ip =
            IpAddr::V4(Ipv4Addr::new(127, 83, (std::process::id() % 250) as u8, NEXT.fetch_add(1, Ordering::SeqCst)));
        let dir = self.dir.path().join(name.trim_start_matches("shop-"));
        let pair = self.authority.issue(name, &[format!("{name}.shop-instances.test.svc")])?;
        self.authority.write(&dir.join("tls"), &pair)?;
        let mut member = Member::new(name, ip, dir, Arc::clone(&self.tls))?;
        member.surroundings.clone_from(&self.surroundings);
        Ok(member)
    }

    /// Makes the first data of an empty member, which becomes the primary of epoch 1.
    pub async fn initialize(&mut self, index: usize) -> anyhow::Result<MemberReport> {
        let record = self.record(1, Phase::Promoting, 0, 0);
        let member = &mut self.members[index];
        member.command(&record, Command::Initialize).await?;
        let report = member.wait("the data is made", |report| ended(report, JobKind::Initialize)).await?;
        anyhow::ensure!(report.job.as_ref().is_some_and(|job| job.state == JobState::Done), "{:?}", report.job);
        member.incarnation = report.data.incarnation().context("an incarnation")?;
        Ok(report)
    }

    /// Makes a member follow another and proves its standing.
    pub async fn follow_in_good_standing(&self, replica: usize, source: usize, record: &Record) -> anyhow::Result<()> {
        let source = self.member(source);
        let replica = self.member(replica);
        replica.follow(record, source).await?;
        let barrier = source.executed().await?;
        let received = |report: &MemberReport| facts(report).is_ok_and(|facts| barrier.is_subset_of(&facts.known()));
        replica.wait("the barrier is received", received).await?;
        replica.done(record, Command::GrantStanding { barrier: barrier.clone() }).await?;
        replica.wait("it acknowledges", acknowledges).await?;
        Ok(())
    }

    /// The record of all members, led by the first.
    pub fn record(&self, epoch: u64, phase: Phase, generation: u64, acks: u32) -> Record {
        let members = self
            .members
            .iter()
            .map(|member| record::Member { name: member.name.clone(), incarnation: member.incarnation });
        Record {
            epoch,
            phase,
            generation,
            primary_since_epoch: epoch,
            members: members.collect(),
            acks,
            ..Record::first("shop-0".to_owned())
        }
    }

    /// A member by its ordinal.
    pub fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// A member by its ordinal.
    pub fn member_mut(&mut self, index: usize) -> &mut Member {
        &mut self.members[index]
    }

    /// Ends every agent and everything they run, without ceremony: their data goes with them.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let members = self.members.iter_mut().chain(&mut self.readers);
        try_join_all(members.map(Member::end)).await.map(drop)
    }

    /// Keeps the directory when the cluster is gone.
    pub fn into_dir(self) -> tempfile::TempDir {
        self.dir
    }

    /// The directory of everything.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

/// The command to open.
pub fn promote(source: Option<Endpoint>, required: &GtidSet) -> Command {
    Command::Promote { source, required: required.clone(), deadline_ms: 20_000 }
}

/// A claimed record that names its new primary.
pub fn choose(claimed: &Record, primary: &Member, server: &Endpoint, base: &GtidSet) -> Record {
    Record {
        phase: Phase::Promoting,
        primary: primary.name.clone(),
        primary_since_epoch: claimed.epoch,
        primary_server_uuid: Some(server.server_uuid),
        base: base.clone(),
        ..claimed.clone()
    }
}

/// Whether a job has ended, one way or the other.
pub fn ended(report: &MemberReport, kind: JobKind) -> bool {
    report.job.as_ref().is_some_and(|job| job.kind == kind && !matches!(job.state, JobState::Running { .. }))
}

/// Whether a replica acknowledges.
pub fn acknowledges(report: &MemberReport) -> bool {
    report.standing == Standing::Good
        && facts(report).is_ok_and(|facts| {
            facts
                .replication
                .as_ref()
                .is_some_and(|channel| channel.acknowledges && channel.receiver == ThreadState::On)
        })
}

/// Where data lives: in memory where there is room. Processes are killed here and machines are not, so an fsync
/// proves nothing, and it makes every test wait for whatever else the disk is doing.
fn fast_dir() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
}

/// Shows what agents log when a test fails or `RUST_LOG` asks for it.
fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

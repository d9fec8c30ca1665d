//! One member: its disk, its mysqld, its agent's memory, and the report that follows from them.
//!
//! Abstractions: a binary log is the list of transactions in it, and purged files are not modelled, so that what
//! came with a clone is in the list as well. A relay log holds only what is not executed yet: `RECEIVED_TRANSACTION_SET`
//! of a real server holds more, and everywhere the product uses its union with `gtid_executed`.

use std::collections::BTreeMap;

use topology::gtid::GtidSet;
use topology::record::{Claim, Phase, Record};
use uuid::Uuid;

use super::rules::{Rule, Rules};
use super::transaction::{Gtid, ServerId, Transaction, names};

/// A member by its place in the world.
pub type Index = usize;

/// A directory with a copy of the data in it.
#[derive(Debug, Clone)]
pub struct Data {
    /// Which copy this is.
    pub incarnation: Uuid,
    /// Its server_uuid; None where the next start makes a new one up.
    pub server: Option<ServerId>,
    /// Its binary log, fsynced with every commit.
    pub binlog: Vec<Transaction>,
    /// How many of those the engine has committed. The others wait for acknowledgements, or did when mysqld died.
    pub committed: usize,
    /// Where the newest file of the binary log begins.
    pub newest_file: usize,
    /// Whether mysqld closed that file in an orderly way.
    pub closed: bool,
    /// What is received and not executed yet.
    pub relay: Vec<Transaction>,
    /// How many of those are fsynced.
    pub synced: usize,
    /// Whom its channel receives from.
    pub source: Option<Index>,
    /// Whether a mysqld has answered on it: until then nobody can read what it holds.
    pub answered: bool,
    /// Whether its applier ends on an error whenever it is started: a row is not what it should be.
    pub broken: bool,
}

impl Data {
    pub fn new(incarnation: Uuid, binlog: Vec<Transaction>) -> Self {
        let committed = binlog.len();
        Self {
            incarnation,
            server: None,
            newest_file: committed,
            committed,
            binlog,
            closed: true,
            relay: Vec::new(),
            synced: 0,
            source: None,
            answered: false,
            broken: false,
        }
    }

    /// Whether it holds a transaction of that name, executed or not.
    pub fn holds(&self, gtid: Gtid) -> bool {
        self.find(gtid).is_some()
    }

    /// The transaction of that name.
    pub fn find(&self, gtid: Gtid) -> Option<Transaction> {
        self.binlog.iter().chain(&self.relay).find(|held| held.gtid == gtid).copied()
    }

    /// `gtid_executed`.
    pub fn executed(&self) -> GtidSet {
        names(&self.binlog[..self.committed])
    }

    /// What can be executed from it.
    pub fn known(&self) -> GtidSet {
        self.executed().union(&names(&self.relay))
    }

    /// What its logs show while mysqld is stopped.
    pub fn in_logs(&self) -> GtidSet {
        names(&self.binlog).union(&names(&self.relay))
    }

    /// The number MySQL gives to the next transaction of this server: the lowest that is free.
    pub fn next_number(&self, server: ServerId) -> u32 {
        let taken: Vec<u32> =
            self.binlog.iter().filter(|held| held.gtid.server == server).map(|held| held.gtid.number).collect();
        (1..).find(|number| !taken.contains(number)).unwrap_or(u32::MAX)
    }
}

/// Whom a replica was told to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    pub source: Index,
    pub server: ServerId,
    pub claim: Claim,
    pub incarnation: Uuid,
}

/// An opening for writing, as the agent keeps it on disk.
#[derive(Debug, Clone)]
pub struct Opened {
    pub epoch: u64,
    pub incarnation: Uuid,
    pub servers: Vec<ServerId>,
}

/// What the agent keeps on disk. See `Remembered` in the agent's `state.rs`.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    pub record: Option<Record>,
    pub opened: Option<Opened>,
    /// The data that was proved, and the boot of the machine in which it was.
    pub proved: Option<(Uuid, u32)>,
    pub following: Option<Following>,
}

/// A connection of a receiver to its source.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The source's process.
    pub process: u32,
    /// The source's server_uuid.
    pub server: ServerId,
    /// Whether this replica acknowledges on it.
    pub acknowledges: bool,
    /// How far into the source's binary log it has come.
    pub sent: usize,
    /// Up to where something was really received on it: what an acknowledgement names.
    pub received: usize,
}

/// The thread that receives.
#[derive(Debug, Clone)]
pub enum Receiver {
    Off,
    Connecting,
    On(Connection),
}

/// A running mysqld.
#[derive(Debug, Clone)]
pub struct Mysqld {
    /// Tells one start from another.
    pub process: u32,
    pub offline: bool,
    pub read_only: bool,
    /// The epoch in which it was opened.
    pub epoch: u64,
    /// `rpl_semi_sync_source_enabled`.
    pub waits: bool,
    pub wait_count: u32,
    /// How far each replica has acknowledged. It outlives the connection, as in a real server.
    pub acknowledged: BTreeMap<Index, usize>,
    /// `rpl_semi_sync_replica_enabled`.
    pub replica_side: bool,
    pub receiver: Receiver,
    pub applies: bool,
}

impl Mysqld {
    pub fn is_open(&self) -> bool {
        !self.offline && !self.read_only
    }
}

/// A copy of another member's data that is being made.
#[derive(Debug, Clone)]
pub enum Copying {
    /// Nothing is touched yet.
    Begun { donor: Index, server: ServerId },
    /// mysqld is stopped.
    Stopped { donor: Index },
    /// The copy is complete and not in place.
    Copied { binlog: Vec<Transaction> },
}

/// What the agent is at, or was at last.
#[derive(Debug, Clone)]
pub enum Work {
    Copy(Copying),
    Copied,
    CopyFailed,
}

/// One member.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub index: Index,
    /// Whether its machine has power; its agent runs whenever it has.
    pub powered: bool,
    /// Counts the boots of its machine.
    pub boot: u32,
    pub terminating: bool,
    /// Counts the processes of its agent.
    pub agent: u32,
    /// Whether its applier does nothing until it is told to.
    pub lags: bool,
    pub data: Option<Data>,
    pub remembered: Remembered,
    pub mysqld: Option<Mysqld>,
    /// Whether the agent has opened the mysqld that runs.
    pub was_opened: bool,
    /// Whether the logs of a stopped mysqld were read.
    pub logs_read: bool,
    pub work: Option<Work>,
}

impl Member {
    pub fn new(index: Index) -> Self {
        Self {
            name: name(index),
            index,
            powered: true,
            boot: 1,
            terminating: false,
            agent: 1,
            lags: false,
            data: None,
            remembered: Remembered::default(),
            mysqld: None,
            was_opened: false,
            logs_read: false,
            work: None,
        }
    }

    pub fn incarnation(&self) -> Option<Uuid> {
        self.data.as_ref().map(|data| data.incarnation)
    }

    pub fn claim(&self) -> Option<Claim> {
        self.remembered.record.as_ref().map(Record::claim)
    }

    /// Its mysqld and data, where it runs.
    pub fn running(&self) -> Option<(&Mysqld, &Data)> {
        Some((self.mysqld.as_ref()?, self.data.as_ref()?))
    }

    pub fn is_open(&self) -> bool {
        self.mysqld.as_ref().is_some_and(Mysqld::is_open)
    }

    /// How many commits wait for acknowledgements.
    pub fn waiting(&self) -> usize {
        self.running().map_or(0, |(_, data)| data.binlog.len() - data.committed)
    }

    pub fn is_drained(&self) -> bool {
        self.mysqld.as_ref().is_some_and(|mysqld| mysqld.offline && mysqld.read_only) && self.waiting() == 0
    }

    pub fn opened(&self) -> Option<&Opened> {
        self.remembered.opened.as_ref().filter(|opened| Some(opened.incarnation) == self.incarnation())
    }

    /// Whether its log may hold what nobody acknowledged.
    pub fn led_last(&self) -> bool {
        self.opened().is_some() && self.remembered.following.is_none()
    }

    pub fn is_proved(&self, rules: Rules) -> bool {
        let proved = self.remembered.proved.filter(|(of, _)| Some(*of) == self.incarnation());
        rules.off(Rule::Standing) || proved.is_some_and(|(_, boot)| boot == self.boot || self.led_last())
    }

    /// Whether it acknowledges to whom it follows.
    pub fn wants_acks(&self, rules: Rules) -> bool {
        let (Some(record), Some(following)) = (&self.remembered.record, &self.remembered.following) else {
            return false;
        };
        name(following.source) == record.primary
            && self.incarnation().is_some()
            && record.incarnation_of(&self.name) == self.incarnation()
            && record.leaving.as_deref() != Some(self.name.as_str())
            && self.is_proved(rules)
    }

    /// Whether the keeper may start it without being told.
    pub fn is_replica(&self) -> bool {
        let following = self.remembered.following.as_ref().map(|following| following.incarnation);
        following.is_some() && following == self.incarnation()
    }

    /// Whom it may go on following without being told.
    pub fn may_resume(&self) -> Option<Following> {
        let record = self.remembered.record.as_ref().filter(|record| record.phase == Phase::Serving)?;
        let following = self.remembered.following.clone()?;
        let same = following.claim.epoch == record.epoch && name(following.source) == record.primary;
        (same && Some(following.incarnation) == self.incarnation()).then_some(following)
    }
}

/// The pod's name.
pub fn name(index: Index) -> String {
    format!("shop-{index}")
}

/// The pod's address. It stays with the name.
pub fn address(index: Index) -> String {
    format!("10.0.0.{index}")
}

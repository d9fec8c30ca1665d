//! Everything there is: members, two operators, the API server, the network between them, a clock, and a memory of
//! what clients were told, which nobody in the model can read.

use std::collections::{BTreeMap, BTreeSet};

use topology::record::Record;
use topology::snapshot::{Desired, Rebuild};
use uuid::Uuid;

use super::agent::{Message, Task};
use super::member::{Index, Member, name};
use super::operator::Operator;
use super::rules::Rules;
use super::transaction::{Gtid, ServerId};

/// Something with a place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Member(Index),
    Operator(usize),
    Api,
}

/// The API server: one object, and a version that every change raises.
#[derive(Debug, Clone, Default)]
pub struct Api {
    pub record: Option<Record>,
    pub version: u64,
    /// The record was deleted: a new one need not follow the old.
    pub lost: bool,
}

/// A planned change of primary that somebody asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    pub to: Option<String>,
    pub from: String,
    pub until: u64,
}

/// What happened, for the report of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub acks: u64,
    pub failovers: u64,
    pub reopenings: u64,
    pub trims: u64,
    pub copies: u64,
    pub overlapping_faults: u64,
    pub wipes: u64,
    pub breaks: u64,
    pub lost_records: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.acks += other.acks;
        self.failovers += other.failovers;
        self.reopenings += other.reopenings;
        self.trims += other.trims;
        self.copies += other.copies;
        self.overlapping_faults += other.overlapping_faults;
        self.wipes += other.wipes;
        self.breaks += other.breaks;
        self.lost_records += other.lost_records;
    }
}

/// What clients know.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Every transaction whose client heard OK, and what it did.
    pub acknowledged: BTreeMap<Gtid, u32>,
    /// Who acknowledged in which epoch.
    pub writers: BTreeMap<u64, Index>,
    /// Who opened in which epoch.
    pub openings: BTreeMap<u64, Index>,
}

/// Everything there is.
#[derive(Debug, Clone)]
pub struct World {
    pub rules: Rules,
    pub members: Vec<Member>,
    pub operators: Vec<Operator>,
    pub api: Api,
    pub cut: BTreeSet<(Place, Place)>,
    /// Milliseconds.
    pub now: u64,
    pub messages: Vec<Message>,
    pub tasks: Vec<Task>,
    pub desired: Desired,
    pub switchover: Option<Wish>,
    pub rebuild: Option<Rebuild>,
    pub truth: Truth,
    pub counts: Counts,
    /// The first invariant that was broken.
    pub broken: Option<String>,
    /// What happened, in words; only where somebody will read it.
    pub log: Option<Vec<String>>,
    serial: u32,
}

impl World {
    /// A new cluster: empty volumes and no record.
    pub fn new(replicas: u32, acks: Option<u32>) -> Self {
        Self {
            rules: Rules::default(),
            members: (0..replicas as Index).map(Member::new).collect(),
            operators: vec![Operator::new(), Operator::new()],
            api: Api::default(),
            cut: BTreeSet::new(),
            now: 1_000,
            messages: Vec::new(),
            tasks: Vec::new(),
            desired: Desired { replicas, acks: acks.unwrap_or_else(|| usual_acks(replicas)) },
            switchover: None,
            rebuild: None,
            truth: Truth::default(),
            counts: Counts::default(),
            broken: None,
            log: None,
            serial: 0,
        }
    }

    /// Asks for more members, and for the acknowledgements that go with them.
    pub fn grow(&mut self, replicas: u32) {
        for index in self.members.len()..replicas as Index {
            self.members.push(Member::new(index));
        }
        self.desired = Desired { replicas, acks: usual_acks(replicas) };
    }

    pub fn say(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(log) = &mut self.log {
            log.push(format!("{now:>7} {}", line()));
        }
    }

    /// Notes that an invariant is broken.
    pub fn breaks(&mut self, what: String) {
        self.say(|| format!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }

    pub fn number(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    pub fn incarnation(&mut self) -> Uuid {
        Uuid::from_u128(0xda7a_0000_0000_0000_0000_0000_0000_0000 + u128::from(self.number()))
    }

    pub fn server(&mut self) -> ServerId {
        self.number()
    }

    /// Whether two places can talk: nobody cut the link, and who is a member has power.
    pub fn linked(&self, one: Place, other: Place) -> bool {
        let powered = |place| match place {
            Place::Member(index) => self.members.get(index).is_some_and(|member| member.powered),
            Place::Operator(_) | Place::Api => true,
        };
        !self.cut.contains(&ordered(one, other)) && powered(one) && powered(other)
    }

    pub fn cut(&mut self, one: Place, other: Place) {
        if one != other {
            self.cut.insert(ordered(one, other));
        }
    }

    pub fn mend(&mut self, one: Place, other: Place) {
        self.cut.remove(&ordered(one, other));
    }

    /// The member of that name.
    pub fn index(&self, named: &str) -> Option<Index> {
        self.members.iter().position(|member| member.name == named)
    }

    /// How many voting members lost what they vote with.
    pub fn wiped(&self) -> usize {
        let Some(record) = &self.api.record else { return usize::MAX };
        let lost = record.members.iter().filter(|voter| {
            self.index(&voter.name).is_none_or(|index| self.members[index].incarnation() != Some(voter.incarnation))
        });
        lost.count()
    }

    /// A member opened under its record: it must hold all that was ever acknowledged, and nobody else may have opened
    /// in that epoch.
    pub fn has_opened(&mut self, index: Index, epoch: u64) {
        let before = self.truth.openings.insert(epoch, index);
        if let Some(other) = before.filter(|other| *other != index) {
            self.breaks(format!("{} and {} opened in epoch {epoch}", name(other), name(index)));
        }
        let Some(data) = &self.members[index].data else { return };
        let lost = self.truth.acknowledged.iter().find(|(gtid, content)| {
            data.binlog.iter().find(|held| held.gtid == **gtid).is_none_or(|held| held.content != **content)
        });
        if let Some((gtid, _)) = lost {
            let what = format!("{} opens in epoch {epoch} without {gtid:?}, which was acknowledged", name(index));
            self.breaks(what);
        }
        let last = self.truth.openings.range(..epoch).next_back().map(|(_, member)| *member);
        match last {
            Some(last) if last == index => self.counts.reopenings += 1,
            Some(_) => self.counts.failovers += 1,
            None => {}
        }
    }

    /// A client heard OK.
    pub fn told_ok(&mut self, index: Index, epoch: u64, gtid: Gtid, content: u32) {
        self.counts.acks += 1;
        let writer = *self.truth.writers.entry(epoch).or_insert(index);
        if writer != index {
            self.breaks(format!("{} and {} acknowledged in epoch {epoch}", name(writer), name(index)));
        }
        self.truth.acknowledged.insert(gtid, content);
        let newest = self.truth.openings.last_key_value().map(|(epoch, member)| (*epoch, *member));
        if let Some((newer, leader)) = newest.filter(|(newer, _)| *newer > epoch) {
            let there = self.members[leader].data.as_ref().and_then(|data| data.find(gtid));
            if there.is_none_or(|there| there.content != content) {
                let (late, leader) = (name(index), name(leader));
                self.breaks(format!("{late} acknowledged {gtid:?} in epoch {epoch}, after {leader} opened in {newer}"));
            }
        }
    }
}

/// k where nobody says otherwise.
pub fn usual_acks(replicas: u32) -> u32 {
    if replicas == 1 { 0 } else { ((replicas - 1) / 2).max(1) }
}

fn ordered(one: Place, other: Place) -> (Place, Place) {
    if one < other { (one, other) } else { (other, one) }
}

//! What must come about once nothing is in the way any more: a cluster that takes writes, with every voter whole.

use topology::assess::Waiting;
use topology::record::Phase;

use super::member::{Receiver, name};
use super::operator::Policy;
use super::world::World;

/// How many passes two operators have to bring everything in order. A copy of every member takes some twenty.
pub const PASSES: usize = 160;

/// How a healed history ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything is as it should be, after so many passes.
    Whole(usize),
    /// Too few members are left to know what was acknowledged, and the operators say so.
    WaitsForAPerson,
    /// A member holds what nobody can vouch for, and the operators say so.
    Errant,
}

impl World {
    /// Everything is mended, and both operators do what they can.
    ///
    /// # Errors
    /// What is still wrong, where nobody says that a person is needed.
    pub fn heal(&mut self, passes: usize) -> Result<End, String> {
        self.say(|| "--- healed".to_owned());
        self.cut.clear();
        for member in &mut self.members {
            (member.powered, member.terminating, member.lags) = (true, false, false);
        }
        let person = |waiting: &Waiting| matches!(waiting, Waiting::Quorum(_) | Waiting::Adoption { .. });
        let mut told = 0;
        for pass in 0..passes {
            self.serve(pass % 2, Policy::Sensible);
            told += usize::from(self.operators[pass % 2].waiting.iter().any(person));
            let open = self.members.iter().position(super::member::Member::is_open);
            if let Some(open) = open {
                self.write(open);
            }
            self.flow();
            if self.broken.is_some() || (self.troubles().is_empty() && self.switchover.is_none()) {
                return Ok(End::Whole(pass));
            }
        }
        let open = self.members.iter().any(super::member::Member::is_open);
        let errant = self
            .operators
            .iter()
            .any(|operator| operator.waiting.iter().any(|waiting| matches!(waiting, Waiting::Errant { .. })));
        if errant {
            return Ok(End::Errant);
        }
        if told > passes / 4 && !open && self.too_many_forgot() {
            Ok(End::WaitsForAPerson)
        } else {
            Err(self.troubles().join("; "))
        }
    }

    /// Whether more than k voters lost their data, or may have forgotten what they acknowledged.
    fn too_many_forgot(&self) -> bool {
        let Some(record) = &self.api.record else { return false };
        let sound = record.members.iter().filter(|voter| {
            let member = self.index(&voter.name).map(|index| &self.members[index]);
            member.is_some_and(|member| member.incarnation() == Some(voter.incarnation) && member.is_proved(self.rules))
        });
        sound.count() < record.freeze_quorum()
    }

    /// What is not as it should be.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        let Some(record) = &self.api.record else { return vec!["there is no record".to_owned()] };
        if record.phase != Phase::Serving || record.acks != self.desired.acks || record.raising_acks.is_some() {
            troubles.push(format!("the record is {} with k={}", record.claim(), record.acks));
        }
        if record.members.len() != self.desired.replicas as usize {
            troubles.push(format!("{} members vote", record.members.len()));
        }
        let primary = self.index(&record.primary).map(|index| &self.members[index]);
        let Some((primary, (mysqld, data))) = primary.and_then(|primary| Some((primary, primary.running()?))) else {
            troubles.push("the primary does not run".to_owned());
            return troubles;
        };
        if !mysqld.is_open() || primary.waiting() > 0 {
            troubles.push(format!("{} takes no writes", primary.name));
        }
        for member in self.members.iter().filter(|member| member.index != primary.index) {
            let Some((there, held)) = member.running() else {
                troubles.push(format!("{} does not run", member.name));
                continue;
            };
            let votes = record.incarnation_of(&member.name) == member.incarnation();
            let attached = matches!(&there.receiver, Receiver::On(connection)
                if connection.acknowledges && connection.process == mysqld.process);
            if !votes || !attached || !member.is_proved(self.rules) {
                troubles.push(format!(
                    "{} is no voter in good standing that follows {}",
                    name(member.index),
                    primary.name
                ));
            }
            let differs = |held: &super::transaction::Transaction| data.find(held.gtid) != Some(*held);
            if held.binlog.len() != data.binlog.len() || held.binlog.iter().any(differs) {
                troubles.push(format!("{} holds other data than {}", member.name, primary.name));
            }
        }
        troubles
    }
}

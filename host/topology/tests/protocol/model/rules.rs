//! The rules that can be switched off, and what is then done to what the core sees. The product has no such switches:
//! a rule is switched off by a member or a network that breaks it, or by a snapshot that hides what the rule is about.

use topology::facts::{DataState, MemberReport, ServerState, Standing};
use topology::gtid::GtidSet;
use topology::plan::Step;
use topology::record::{Phase, Record};
use topology::snapshot::{Probe, Snapshot};

/// A rule of the protocol that is not kept. The numbers are those of ARCHITECTURE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// 1: the record changes only by compare-and-swap. Off: whoever writes last wins.
    CompareAndSwap,
    /// 1: agents refuse what is older than what they promised. Off: they store and obey anything, and what they hold
    /// tells an operator that is behind nothing.
    RefuseStale,
    /// 2: N−k replicas are frozen. Off: one fewer is enough.
    FreezeQuorum,
    /// 2: a stopped primary is no replica. Off: it counts as one.
    PrimaryIsNoReplica,
    /// 3: commits wait for k′ before k′ is promised. Off: the primary says so and does not.
    RaiseBeforePromise,
    /// 4: who may have forgotten something neither counts nor acknowledges. Off: everybody always does.
    Standing,
    /// 5: only the receiver is re-pointed. Off: what was received and not executed is deleted.
    KeepRelayLogs,
    /// 6: what nobody acknowledged is removed before its holder follows. Off: nobody sees it.
    SeeTails,
    /// 7: a trimmed member has a new server_uuid. Off: it keeps the old one.
    NewName,
    /// 8: every mysqld boots closed. Off: it boots open.
    BootClosed,
    /// 9: fencing ends waiting commits without an answer. Off: it ends mysqld as SIGTERM does, which answers OK.
    FenceByKill,
    /// 9: only what the open primary of this reign lacks is trimmed. Off: what any member lacks.
    TrimAgainstPrimary,
    /// 10: a drain waits for the commits under way. Off: it does not.
    DrainWaits,
    /// 12: silence is not emptiness. Off: who does not answer is taken for a new volume.
    SilenceIsNotEmptiness,
}

/// Which rules are kept: all, or all but one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    off: Option<Rule>,
}

impl Rules {
    pub fn without(rule: Rule) -> Self {
        Self { off: Some(rule) }
    }

    pub fn off(self, rule: Rule) -> bool {
        self.off == Some(rule)
    }

    /// What an agent says when a rule is off that its report is about.
    pub fn tamper_report(self, report: &mut MemberReport) {
        match self.off {
            Some(Rule::Standing) => report.standing = Standing::Good,
            Some(Rule::RaiseBeforePromise) => promise_early(report),
            Some(Rule::SeeTails) => hide_tail(report),
            Some(Rule::DrainWaits) => {
                if let ServerState::Running(facts) = &mut report.server {
                    facts.semi_sync.waiting_commits = 0;
                }
            }
            _ => {}
        }
    }

    /// What the core sees when a rule is off that it reads from the snapshot.
    pub fn tamper_snapshot(self, snapshot: &mut Snapshot) {
        match self.off {
            Some(Rule::FreezeQuorum) => {
                if let Some(record) = snapshot.record.as_mut().filter(|record| record.phase != Phase::Serving) {
                    record.acks += 1;
                }
            }
            Some(Rule::PrimaryIsNoReplica) => count_the_stopped_primary(snapshot),
            Some(Rule::RefuseStale) => forget_the_future(snapshot),
            Some(Rule::SilenceIsNotEmptiness) if snapshot.record.is_none() => hear_silence(snapshot),
            _ => {}
        }
    }

    /// Takes back what [`Rules::tamper_snapshot`] did to the record.
    pub fn restore(self, step: &mut Step, real: Option<&Record>) {
        if let (Step::Advance { to, .. }, Some(real)) = (step, real)
            && self.off(Rule::FreezeQuorum)
        {
            to.acks = real.acks;
        }
    }
}

/// The wait count that the record asks for, in force or not.
fn promise_early(report: &mut MemberReport) {
    let asked = report.record.as_ref().map(Record::effective_acks);
    if let (ServerState::Running(facts), Some(asked)) = (&mut report.server, asked) {
        facts.semi_sync.enabled = true;
        facts.semi_sync.wait_count = asked;
    }
}

fn hide_tail(report: &mut MemberReport) {
    let Some(record) = &report.record else { return };
    match &mut report.server {
        ServerState::Running(facts) => facts.executed = record.legal_part(&facts.executed),
        ServerState::Stopped { gtids: Some(gtids), .. } => *gtids = record.legal_part(gtids),
        ServerState::Stopped { gtids: None, .. } | ServerState::Starting | ServerState::Unresponsive { .. } => {}
    }
}

/// A stopped primary whose logs were read looks like a frozen replica. There is no report of a running server to copy
/// from, so one of another member is taken.
fn count_the_stopped_primary(snapshot: &mut Snapshot) {
    let Some(record) = snapshot.record.clone().filter(|record| record.phase == Phase::Freezing) else { return };
    let Some(mut facts) = snapshot.members.iter().find_map(|member| member.server().cloned()) else { return };
    let primary = snapshot.members.iter_mut().find(|member| member.name == record.primary);
    let Some(Probe::Known { report, .. }) = primary.map(|primary| &mut primary.probe) else { return };
    let ServerState::Stopped { gtids: Some(gtids), .. } = &report.server else { return };
    (facts.executed, facts.received) = (gtids.clone(), GtidSet::new());
    (facts.open, facts.replication) = (false, None);
    report.opened_in_epoch = None;
    report.server = ServerState::Running(Box::new(facts));
}

/// Agents that promise nothing have nothing to tell an operator that is behind.
fn forget_the_future(snapshot: &mut Snapshot) {
    let Some(record) = snapshot.record.clone() else { return };
    for member in &mut snapshot.members {
        if let Probe::Known { report, .. } = &mut member.probe {
            report.record = report.record.take().filter(|stored| record.may_replace(Some(stored)).is_ok());
        }
    }
}

fn hear_silence(snapshot: &mut Snapshot) {
    let heard = snapshot.members.iter().find_map(|member| member.report().cloned());
    let Some(heard) = heard else { return };
    for member in &mut snapshot.members {
        if member.report().is_none() {
            let empty = MemberReport {
                member: member.name.clone(),
                record: None,
                opened_in_epoch: None,
                opened_as: Vec::new(),
                data: DataState::Empty,
                server: ServerState::Stopped { exit: None, gtids: None },
                ..heard.clone()
            };
            member.probe = Probe::Known { report: Box::new(empty), age_ms: 0, connected_ms: 0 };
        }
    }
}

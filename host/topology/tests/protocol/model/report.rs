//! What an agent says about its member: everything that an operator knows of it.

use topology::facts::{
    DataState, Job, JobKind, JobState, MemberReport, Replication, SemiSync, ServerFacts, ServerState, Standing,
    ThreadState,
};
use topology::gtid::GtidSet;

use super::member::{Data, Index, Member, Mysqld, Receiver, Work, address};
use super::rules::Rules;
use super::transaction::{names, uuid};

impl Member {
    /// What its agent says now.
    pub fn report(&self, rules: Rules) -> MemberReport {
        let copying = matches!(self.work, Some(Work::Copy(_)));
        let data = match &self.data {
            Some(data) => DataState::Ready { incarnation: data.incarnation },
            None if copying => DataState::Incomplete,
            None => DataState::Empty,
        };
        let standing = if self.is_proved(rules) {
            Standing::Good
        } else {
            Standing::Unproved { because: "new data or a new boot".to_owned() }
        };
        let mut report = MemberReport {
            member: self.name.clone(),
            agent_version: String::new(),
            boot_id: self.boot.to_string(),
            record: self.remembered.record.clone(),
            opened_in_epoch: self.opened().map(|opened| opened.epoch),
            opened_as: self
                .opened()
                .map(|opened| opened.servers.iter().copied().map(uuid).collect())
                .unwrap_or_default(),
            trimmed: None,
            data,
            standing,
            server: self.server(),
            job: self.work.as_ref().map(job),
            config_error: None,
            volume: None,
            ends: None,
            copies: None,
        };
        rules.tamper_report(&mut report);
        report
    }

    fn server(&self) -> ServerState {
        let Some((mysqld, data)) = self.running() else {
            let read = self.data.as_ref().filter(|data| data.answered && self.logs_read);
            return ServerState::Stopped { exit: None, gtids: read.map(Data::in_logs) };
        };
        let replication = data.source.map(|source| self.channel(mysqld, source));
        ServerState::Running(Box::new(ServerFacts {
            pid: mysqld.process,
            started_unix_ms: 0,
            server_uuid: uuid(data.server.unwrap_or_default()),
            version: String::new(),
            executed: data.executed(),
            owned: names(&data.binlog[data.committed..]),
            received: if replication.is_some() { names(&data.relay) } else { GtidSet::new() },
            open: mysqld.is_open(),
            offline: mysqld.offline,
            read_only: mysqld.read_only,
            replication,
            semi_sync: SemiSync {
                enabled: mysqld.waits,
                wait_count: mysqld.wait_count,
                // Only read to say that commits wait, which nothing here depends on.
                clients: u32::MAX,
                waiting_commits: self.waiting() as u32,
            },
        }))
    }

    fn channel(&self, mysqld: &Mysqld, source: Index) -> Replication {
        let (receiver, connection) = match &mysqld.receiver {
            Receiver::Off => (ThreadState::Off, None),
            Receiver::Connecting => (ThreadState::Connecting, None),
            Receiver::On(connection) => (ThreadState::On, Some(connection)),
        };
        let broken = self.data.as_ref().is_some_and(|data| data.broken);
        Replication {
            source_host: address(source),
            source_uuid: connection.map(|connection| uuid(connection.server)),
            receiver,
            receiver_error: String::new(),
            applier: if mysqld.applies && !broken { ThreadState::On } else { ThreadState::Off },
            applier_error: if broken { "1062: a row is there already".to_owned() } else { String::new() },
            acknowledges: connection.is_some_and(|connection| connection.acknowledges),
            lag_s: None,
            delay_s: 0,
        }
    }
}

fn job(work: &Work) -> Job {
    let state = match work {
        Work::Copy(_) => JobState::Running { stage: String::new() },
        Work::Copied => JobState::Done,
        Work::CopyFailed => JobState::Failed { error: "the donor did not answer".to_owned() },
    };
    Job { kind: JobKind::Clone, state }
}

//! What policies that scale and tune are asked, from what is known of a cluster and what was measured of its servers.
//!
//! Nothing here decides or does anything. What was not measured stays unknown in a question; it must never be made up.

mod load;

use std::collections::BTreeSet;

use crate::assess::{Assessment, Waiting};
use crate::measured::{Load, Resources};
use crate::readers::{ReaderView, lag_of};
use crate::reading::readable;
use crate::record::{Phase, Record};
use crate::signals::Signals;
use crate::snapshot::{MemberView, Snapshot};
use crate::tuning::{Kind, Setting, tunable};
use crate::{scaling, tuning};

/// What the agent may take of a container's memory: its budget.
const AGENT_BYTES: u64 = 20 << 20;

/// What the spec says of servers, which no snapshot shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What each server may have.
    pub resources: Resources,
    /// Bytes of each volume.
    pub volume_bytes: u64,
    /// How many read replicas there should be.
    pub read_replicas: u32,
    /// Seconds between two backups. None where there are none.
    pub backup_every_s: Option<u64>,
    /// Settings that a person made, with underscores.
    pub by_person: BTreeSet<String>,
}

/// What a policy that scales is asked. None while nobody leads, or whoever does was not measured: there is nothing to go
/// by then.
pub fn scaling(
    snapshot: &Snapshot,
    assessment: &Assessment,
    wanted: &Wanted,
    bounds: scaling::Bounds,
) -> Option<scaling::Question> {
    let (record, primary, _) = leading(snapshot)?;
    let everybody = snapshot.members.iter().map(|member| member.name.as_str());
    let everybody = everybody.chain(snapshot.readers.views.iter().map(ReaderView::name)).map(ToOwned::to_owned);
    let served: BTreeSet<&str> =
        readable(snapshot, record, primary, &everybody.collect()).into_iter().map(|served| served.name).collect();
    let voting = snapshot.members.iter().filter(|member| record.incarnation_of(&member.name).is_some());
    let mut servers: Vec<scaling::Server> = voting.map(|member| voter(member, primary, &served)).collect();
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    let mut readers: Vec<scaling::Server> =
        snapshot.readers.views.iter().map(|reader| self::reader(snapshot, reader, &served)).collect();
    readers.sort_by(|one, other| one.name.cmp(&other.name));
    servers.append(&mut readers);
    Some(scaling::Question {
        namespace: snapshot.namespace.clone(),
        cluster: snapshot.cluster.clone(),
        now_unix_ms: snapshot.now_unix_ms,
        seed: record.epoch,
        present: scaling::Present {
            members: u32::try_from(record.members.len()).unwrap_or(u32::MAX),
            acks: record.acks,
            read_replicas: wanted.read_replicas,
            resources: wanted.resources,
            volume_bytes: wanted.volume_bytes,
            read_replicas_changed_s: None,
            resources_changed_s: None,
            volume_changed_s: None,
            unsettled: unsettled(snapshot, assessment, record),
        },
        bounds,
        servers,
        facts: Vec::new(),
    })
}

/// What a policy that tunes is asked. None while nobody leads, or whoever does was not measured.
pub fn tuning(snapshot: &Snapshot, assessment: &Assessment, wanted: &Wanted) -> Option<tuning::Question> {
    let (record, _, signals) = leading(snapshot)?;
    let hour = signals.hour.as_ref();
    let servers = snapshot.members.iter().filter_map(MemberView::server);
    let servers = servers.chain(snapshot.readers.views.iter().filter_map(ReaderView::server));
    Some(tuning::Question {
        namespace: snapshot.namespace.clone(),
        cluster: snapshot.cluster.clone(),
        now_unix_ms: snapshot.now_unix_ms,
        seed: record.epoch,
        version: lowest(servers.map(|facts| facts.version.as_str())).unwrap_or_default().to_owned(),
        present: tuning::Present {
            resources: wanted.resources,
            volume_bytes: Some(wanted.volume_bytes),
            agent_bytes: AGENT_BYTES,
            settings: signals.settings.iter().map(|(name, value)| setting(name, value, wanted)).collect(),
            changed_s: None,
            cooldown_s: 0,
            backup_every_s: wanted.backup_every_s,
            unsettled: unsettled(snapshot, assessment, record),
        },
        load: load::load(signals, hour, None),
        activity: load::activity(signals, hour),
        facts: Vec::new(),
    })
}

/// The record, the member that leads by it and takes writes, and what was measured of it.
fn leading(snapshot: &Snapshot) -> Option<(&Record, &MemberView, &Signals)> {
    let record = snapshot.record.as_ref().filter(|record| record.phase == Phase::Serving)?;
    let primary =
        snapshot.member(&record.primary).filter(|primary| primary.server().is_some_and(|facts| facts.open))?;
    let counted = |signals: &&Signals| signals.hour.is_some_and(|hour| hour.served_ms > 0);
    let signals = primary.signals.as_deref().filter(counted)?;
    Some((record, primary, signals))
}

/// Why a cluster is not as it should be. A read replica that is not there yet is no reason: it carries no promise.
fn unsettled(snapshot: &Snapshot, assessment: &Assessment, record: &Record) -> Option<String> {
    let of_readers = |waiting: &&Waiting| match waiting {
        Waiting::Replaced { .. } | Waiting::Foreign { .. } => true,
        Waiting::Member { member, .. } => snapshot.readers.views.iter().any(|reader| reader.name() == member),
        _ => false,
    };
    if let Some(waiting) = assessment.waiting.iter().find(|waiting| !of_readers(waiting)) {
        return Some(waiting.to_string());
    }
    if let Some(due) = assessment.upkeep.due.first() {
        return Some(format!("{} is to be restarted, because {}", due.member, due.cause));
    }
    if assessment.question.is_some() {
        return Some("another primary is being chosen".to_owned());
    }
    let away = snapshot.members.iter().find(|member| {
        record.incarnation_of(&member.name).is_some()
            && (member.server().is_none() || !member.in_good_standing(record) || member.is_leaving())
    });
    away.map(|member| format!("{} is not in good standing", member.name))
}

fn voter(member: &MemberView, primary: &MemberView, served: &BTreeSet<&str>) -> scaling::Server {
    let leads = member.name == primary.name;
    let lag = if leads { None } else { lag_of(member.server()) };
    scaling::Server {
        name: member.name.clone(),
        role: if leads { scaling::Role::Primary } else { scaling::Role::Replica },
        zone: member.pod.as_ref().map(|pod| pod.zone.clone()).unwrap_or_default(),
        serving: leads || served.contains(member.name.as_str()),
        load: lately(member.signals.as_deref(), lag),
    }
}

fn reader(snapshot: &Snapshot, reader: &ReaderView, served: &BTreeSet<&str>) -> scaling::Server {
    scaling::Server {
        name: reader.name().to_owned(),
        role: scaling::Role::ReadReplica,
        zone: reader.pod().map(|pod| pod.zone.clone()).unwrap_or_default(),
        serving: served.contains(reader.name()),
        load: lately(reader.signals(), reader.lag_s(snapshot)),
    }
}

/// The last minute: whoever scales, or has a backup wait, looks often, and an hour ago there was another load.
pub fn lately(signals: Option<&Signals>, lag_s: Option<u64>) -> Load {
    match signals {
        Some(signals) => load::load(signals, signals.minute.as_ref(), lag_s),
        None => Load { replication_lag_s: lag_s, ..Load::default() },
    }
}

fn setting(name: &str, value: &str, wanted: &Wanted) -> Setting {
    let flag = tunable(name).is_some_and(|tunable| tunable.kind == Kind::Flag);
    let value = if flag { value.to_ascii_uppercase() } else { value.to_owned() };
    Setting { name: name.to_owned(), value, by_person: wanted.by_person.contains(name) }
}

/// The lowest of several versions, by the numbers that each begins with.
fn lowest<'a>(versions: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    versions.min_by_key(|version| {
        let numbers = version.split(|letter: char| !letter.is_ascii_digit()).take(3);
        numbers.map(|number| number.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>()
    })
}

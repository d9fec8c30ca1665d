//! What else is known of a member, for policies to weigh. Nothing here may keep anybody from being chosen.

use crate::decision::{Activity, Capacity, CatchUp};
use crate::facts::{Job, JobKind, JobState};
use crate::record::Record;
use crate::signals::{Gauges, Signals, Window};
use crate::snapshot::{MemberView, Snapshot};

use super::voters;

/// How fast a member catches up that has so many transactions to execute. Its pace is that of the last minute in which it
/// had any, or else of the last hour.
pub(super) fn catch_up(member: &MemberView, unapplied: u64) -> CatchUp {
    let channel = member.server().and_then(|facts| facts.replication.as_ref());
    let seen = CatchUp { replication_lag_s: channel.and_then(|channel| channel.lag_s), ..CatchUp::default() };
    let Some(Signals { minute, hour, now, .. }) = member.signals.as_deref() else { return seen };
    let lately = [minute, hour];
    let mut pace = lately.iter().filter_map(|window| window.as_ref()?.applied_per_second());
    let applied = pace.next();
    CatchUp {
        unapplied_bytes: now.pending_bytes,
        received_transactions_per_second: minute
            .as_ref()
            .and_then(|minute| minute.per_second(minute.server.received_transactions)),
        applied_transactions_per_second: applied,
        predicted_drain_ms: if unapplied == 0 { Some(0) } else { drain_ms(unapplied, applied) },
        ..seen
    }
}

fn drain_ms(unapplied: u64, per_second: Option<u64>) -> Option<u64> {
    unapplied.saturating_mul(1_000).checked_div(per_second?)
}

/// What a member has to lead with.
pub(super) fn capacity(snapshot: &Snapshot, record: &Record, member: &MemberView) -> Capacity {
    let standing = |view: &MemberView| view.signals.as_ref().map(|signals| signals.now);
    let storage_class = member.pod.as_ref().and_then(|pod| pod.storage_class.clone());
    let Some(now) = standing(member) else { return Capacity { storage_class, ..Capacity::default() } };
    let primary = snapshot.member(&record.primary).and_then(standing);
    let to_primary = |of: fn(&Gauges) -> Option<u64>| Window::permille(of(&now), primary.as_ref().and_then(of));
    Capacity {
        cpu_limit_millicores: now.cpu_limit_millicores,
        memory_limit_bytes: now.memory_limit_bytes,
        cpu_to_primary_permille: to_primary(|now| now.cpu_limit_millicores),
        memory_to_primary_permille: to_primary(|now| now.memory_limit_bytes),
        buffer_pool_bytes: now.buffer_pool_bytes,
        buffer_pool_warm_permille: now.buffer_pool_used_permille(),
        volume_bytes: now.volume_bytes,
        volume_free_bytes: now.volume_free_bytes,
        storage_class,
    }
}

/// What a member has done and is doing.
pub(super) fn activity(snapshot: &Snapshot, record: &Record, member: &MemberView) -> Activity {
    let counted = snapshot.ended_leads.before(record);
    let led = if member.name == record.primary {
        Some(snapshot.without_primary_ms / 1_000)
    } else {
        counted.since_led_s(&member.name)
    };
    Activity {
        ackers_afterwards: Some(ackers_afterwards(snapshot, record, member)),
        copying: copying(snapshot, member),
        since_led_s: led,
        failovers_in_window: counted.lost(Some(&member.name)),
        // Whoever makes a backup says so to who asks for it, and in no report.
        backing_up: None,
    }
}

/// Voters beside this one whose servers run and whose memory can be relied upon.
fn ackers_afterwards(snapshot: &Snapshot, record: &Record, member: &MemberView) -> u32 {
    let others = voters(snapshot, record).filter(|other| other.name != member.name);
    let able = others.filter(|other| other.in_good_standing(record) && other.server().is_some() && !other.is_leaving());
    u32::try_from(able.count()).unwrap_or(u32::MAX)
}

/// Who copies says so; whose data is copied does not. So only where nobody copies, nobody's data is.
fn copying(snapshot: &Snapshot, member: &MemberView) -> Option<bool> {
    let copies = |view: &MemberView| view.report().and_then(|report| report.job.as_ref()).is_some_and(is_copy);
    if copies(member) {
        return Some(true);
    }
    let somebody = snapshot.members.iter().any(copies) || snapshot.readers.are_copying();
    (!somebody && member.report().is_some()).then_some(false)
}

fn is_copy(job: &Job) -> bool {
    job.kind == JobKind::Clone && matches!(job.state, JobState::Running { .. })
}

//! What else is known of a member, for policies to weigh. Nothing here may keep anybody from being chosen.

use crate::decision::{Activity, CatchUp};
use crate::facts::{Job, JobKind, JobState};
use crate::record::Record;
use crate::snapshot::{MemberView, Snapshot};

use super::voters;

/// How fast a member catches up.
pub(super) fn catch_up(member: &MemberView) -> CatchUp {
    let channel = member.server().and_then(|facts| facts.replication.as_ref());
    CatchUp { replication_lag_s: channel.and_then(|channel| channel.lag_s), ..CatchUp::default() }
}

/// What a member has done and is doing.
pub(super) fn activity(snapshot: &Snapshot, record: &Record, member: &MemberView) -> Activity {
    Activity {
        ackers_afterwards: Some(ackers_afterwards(snapshot, record, member)),
        copying: copying(snapshot, member),
        since_led_s: (member.name == record.primary).then_some(snapshot.without_primary_ms / 1_000),
        ..Activity::default()
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

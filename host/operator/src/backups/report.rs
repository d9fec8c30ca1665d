//! Tells of a backup: its status, and an Event where it ends or costs something. Nothing is decided by it but that what
//! has ended is not begun again.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};
use objects::api::{BackupPhase, BackupStore, MysqlBackup, MysqlBackupStatus};
use wire::BackupSummary;

use backup::choose::Choice;

use super::reconcile::Error;
use crate::Context;
use crate::backups::tell::event;

/// It has not been begun, or is not heard of for a moment.
pub async fn waits(context: &Context, backup: &MysqlBackup, phase: BackupPhase, message: &str) -> Result<(), Error> {
    let before = backup.status.clone().unwrap_or_default();
    let phase = before.phase.unwrap_or(phase);
    write(context, backup, MysqlBackupStatus { phase: Some(phase), message: Some(message.to_owned()), ..before }).await
}

/// A member has been told to make it.
pub async fn begun(
    context: &Context,
    backup: &MysqlBackup,
    choice: &Choice,
    store: &BackupStore,
    path: &str,
) -> Result<(), Error> {
    let message = match &choice.warning {
        Some(warning) => format!("made from {}: {}; {warning}", choice.member, choice.because),
        None => format!("made from {}: {}", choice.member, choice.because),
    };
    let status = MysqlBackupStatus {
        phase: Some(BackupPhase::Running),
        message: Some(message.clone()),
        member: Some(choice.member.clone()),
        store: Some(store.clone()),
        path: Some(path.to_owned()),
        started_at: Some(Time(Timestamp::now())),
        ..MysqlBackupStatus::default()
    };
    let kind = if choice.warning.is_some() { EventType::Warning } else { EventType::Normal };
    event(context, backup, kind, "BackupBegun", "Backup", message).await;
    write(context, backup, status).await
}

/// How far it is.
pub async fn running(
    context: &Context,
    backup: &MysqlBackup,
    member: &str,
    stage: &str,
    bytes_done: u64,
    bytes_total: u64,
) -> Result<(), Error> {
    let before = backup.status.clone().unwrap_or_default();
    let status = MysqlBackupStatus {
        phase: Some(BackupPhase::Running),
        message: Some(format!("{stage}, from {member}")),
        member: Some(member.to_owned()),
        bytes_done: Some(signed(bytes_done)),
        bytes: (bytes_total > 0).then(|| signed(bytes_total)),
        ..before
    };
    write(context, backup, status).await
}

/// It is in the store.
pub async fn succeeded(
    context: &Context,
    backup: &MysqlBackup,
    member: &str,
    store: Option<&BackupStore>,
    path: &str,
    summary: &BackupSummary,
) -> Result<(), Error> {
    let before = backup.status.clone().unwrap_or_default();
    let took = SignedDuration::from_millis(signed(summary.ended_unix_ms.saturating_sub(summary.began_unix_ms)));
    let moment = |unix_ms: u64| Timestamp::from_millisecond(signed(unix_ms)).ok().map(Time);
    let message = format!("made from {member}, {} of {} in the store", size(summary.stored_bytes), size(summary.bytes));
    let status = MysqlBackupStatus {
        phase: Some(BackupPhase::Succeeded),
        message: Some(message.clone()),
        member: Some(member.to_owned()),
        store: before.store.or_else(|| store.cloned()),
        path: Some(path.to_owned()),
        gtids: Some(summary.gtids.to_string()),
        bytes_done: Some(signed(summary.bytes)),
        bytes: Some(signed(summary.bytes)),
        stored_bytes: Some(signed(summary.stored_bytes)),
        size: Some(size(summary.stored_bytes)),
        duration: Some(duration(took)),
        manifest_sha256: Some(summary.manifest_sha256.clone()),
        started_at: moment(summary.began_unix_ms),
        finished_at: moment(summary.ended_unix_ms),
        verified_at: before.verified_at,
    };
    event(context, backup, EventType::Normal, "BackupSucceeded", "Backup", message.clone()).await;
    write(context, backup, status).await
}

/// It is given up.
pub async fn failed(context: &Context, backup: &MysqlBackup, member: Option<&str>, error: &str) -> Result<(), Error> {
    let before = backup.status.clone().unwrap_or_default();
    let message = match member {
        Some(member) => format!("{member}: {error}"),
        None => error.to_owned(),
    };
    event(context, backup, EventType::Warning, "BackupFailed", "Backup", message.clone()).await;
    let status = MysqlBackupStatus {
        phase: Some(BackupPhase::Failed),
        message: Some(message),
        finished_at: Some(Time(Timestamp::now())),
        ..before
    };
    write(context, backup, status).await
}

/// Writes a status that differs from the one there is.
async fn write(context: &Context, backup: &MysqlBackup, status: MysqlBackupStatus) -> Result<(), Error> {
    if backup.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let name = backup.name_any();
    let api: Api<MysqlBackup> = Api::namespaced(context.client.clone(), &backup.namespace().unwrap_or_default());
    let patch = Patch::Merge(serde_json::json!({ "status": status }));
    let written = api.patch_status(&name, &PatchParams::default(), &patch).await;
    written.map(drop).map_err(|source| Error::Status { name, source })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

/// A duration for people: `1h02m03s`, `4m05s`, `6.7s`.
fn duration(took: SignedDuration) -> String {
    let seconds = took.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1}s", took.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes:02}m{seconds:02}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_for_people() {
        assert_eq!([0, 1023, 1536, 5 << 30].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        let told = [700, 65_000, 3_723_000].map(|ms| duration(SignedDuration::from_millis(ms)));
        assert_eq!(told, ["0.7s", "1m05s", "1h02m03s"]);
    }
}

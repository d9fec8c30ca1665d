//! Sees that there is a full backup for an archive to begin from. Which one that is, and whether another is to be asked for,
//! is [`backup::full`]'s to say.

use std::time::Duration;

use backup::full::{Full, FullState, Start, start};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use objects::api::{BackupMethod, BackupPhase, MysqlBackup, MysqlCluster};
use tokio::time::Instant;
use topology::gtid::GtidSet;

use crate::Context;
use crate::backups::schedule;

/// For how long what was found counts: the first backup may be removed, because it is not to be kept any longer.
const FOUND_LASTS: Duration = Duration::from_secs(300);

/// What was found last: it spares lists.
#[derive(Default)]
pub struct Fulls {
    /// What a backup has to hold, since when one does, in seconds since 1970, and when that was found.
    found: Option<(GtidSet, i64, Instant)>,
}

impl Fulls {
    /// Whether there is a full backup that holds `base`; asks for one where there is none.
    pub async fn start(&mut self, context: &Context, cluster: &MysqlCluster, base: GtidSet) -> Start {
        let fresh = self.found.as_ref().filter(|(found, _, at)| *found == base && at.elapsed() < FOUND_LASTS);
        if let Some((_, since, _)) = fresh {
            return Start::There { since_unix_s: *since };
        }
        let namespace = cluster.namespace().unwrap_or_default();
        let backups: Api<MysqlBackup> = Api::namespaced(context.client.clone(), &namespace);
        let listed = match backups.list(&ListParams::default()).await {
            Ok(listed) => listed.items,
            Err(error) => return Start::Wait(format!("MysqlBackups cannot be listed: {error}")),
        };
        let fulls: Vec<_> = listed.iter().filter_map(|backup| full(cluster, backup)).collect();
        let start = start(&cluster.name_any(), &base, &fulls, Timestamp::now().as_second());
        match &start {
            Start::There { since_unix_s } => self.found = Some((base, *since_unix_s, Instant::now())),
            Start::Ask(name) => {
                if let Err(error) = schedule::ask(context, cluster, name.clone()).await {
                    return Start::Wait(format!("MysqlBackup {name} cannot be created: {error}"));
                }
            }
            Start::Wait(_) => {}
        }
        start
    }
}

/// A backup of this cluster in the store that its archive is in.
fn full(cluster: &MysqlCluster, backup: &MysqlBackup) -> Option<Full> {
    // From a logical one nothing goes on.
    let leads_on = backup.spec.method.unwrap_or_default() == BackupMethod::Clone;
    if backup.spec.cluster != cluster.name_any() || !leads_on {
        return None;
    }
    let status = backup.status.clone().unwrap_or_default();
    let at_unix_s = status.finished_at.map(|time| time.0.as_second()).unwrap_or_default();
    let state = match status.phase {
        Some(BackupPhase::Failed) => FullState::Failed { at_unix_s },
        Some(BackupPhase::Succeeded) => {
            let store = cluster.spec.backup.as_ref().map(|backup| &backup.store);
            let gtids = status.gtids?.parse().ok().filter(|_| status.store.as_ref() == store)?;
            FullState::Made { gtids, at_unix_s }
        }
        Some(BackupPhase::Removed) => return None,
        Some(BackupPhase::Pending | BackupPhase::Running) | None => FullState::Pending,
    };
    Some(Full { name: backup.name_any(), state })
}

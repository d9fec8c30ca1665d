//! Makes full backups of this member: a copy beside the data, and from there to the store.
//!
//! A backup takes no turn, holds no lock that a command could wait for, and changes nothing about what this member
//! promises: whoever leads or stops meanwhile, it goes on or it ends. The copy is the agent's own and is removed at its
//! end, and at the start of an agent.

mod copy;
mod logical;

pub use copy::check_room;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use backup::encryption::Recipients;
use backup::manifest::{self, Gtids, Manifest, Method, Origin};
use backup::store::Patience;
use backup::write::Manner;
use backup::{Progress, Store};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use wire::{BackupAnswer, BackupAsk, BackupCall, BackupJob, BackupOrder, BackupState, BackupSummary, WIRE_VERSION};

use crate::durable;
use crate::member::Member;

/// The backup that is being made or was made last.
#[derive(Debug, Default)]
pub struct Backups {
    current: Mutex<Option<Current>>,
}

#[derive(Debug, Clone)]
struct Current {
    id: String,
    abort: CancellationToken,
    progress: Arc<Progress>,
    stage: &'static str,
    /// None while it is being made.
    ended: Option<BackupState>,
}

impl Backups {
    fn job(&self) -> Option<BackupJob> {
        let current = self.lock().clone()?;
        let state = current.ended.unwrap_or_else(|| BackupState::Running {
            stage: current.stage.to_owned(),
            bytes_done: current.progress.done(),
            bytes_total: current.progress.total(),
        });
        Some(BackupJob { id: current.id, state })
    }

    fn stage(&self, stage: &'static str) {
        if let Some(current) = &mut *self.lock() {
            current.stage = stage;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers an operator. What is ordered is begun, and goes on whoever asks next.
pub fn answer(member: &Arc<Member>, call: BackupCall) -> BackupAnswer {
    let refused = if call.wire == WIRE_VERSION {
        match call.ask {
            BackupAsk::Look => None,
            BackupAsk::Begin(order) => begin(member, *order, Method::Clone, None).err(),
            BackupAsk::BeginEncrypted { order, recipients } => match recipients_of(&recipients) {
                Ok(recipients) => begin(member, *order, Method::Clone, Some(recipients)).err(),
                Err(why) => Some(why),
            },
            BackupAsk::BeginLogical { order, recipients } => {
                match recipients.as_deref().map(recipients_of).transpose() {
                    Ok(recipients) => begin(member, *order, Method::Logical, recipients).err(),
                    Err(why) => Some(why),
                }
            }
            BackupAsk::Abort { id } => {
                if let Some(current) = member.backups.lock().as_ref().filter(|current| current.id == id) {
                    current.abort.cancel();
                }
                None
            }
            BackupAsk::Unknown => {
                Some("this agent is of an earlier release and does not know this question".to_owned())
            }
        }
    } else {
        Some(format!("this agent speaks wire version {WIRE_VERSION}, not {}", call.wire))
    };
    BackupAnswer { wire: WIRE_VERSION, job: member.backups.job(), refused }
}

/// Public keys as an order has them. Nothing is done by an order for nobody, or for a key that is none.
///
/// # Errors
/// Which line is none.
pub fn recipients_of(recipients: &[String]) -> Result<Recipients, String> {
    Recipients::parse(&recipients.join("\n")).map_err(|why| format!("the order's public keys: {why}"))
}

fn begin(
    member: &Arc<Member>,
    order: BackupOrder,
    method: Method,
    recipients: Option<Recipients>,
) -> Result<(), String> {
    let mut current = member.backups.lock();
    match &*current {
        Some(known) if known.id == order.id => return Ok(()),
        Some(busy) if busy.ended.is_none() => return Err(format!("the backup {} is being made", busy.id)),
        _ => {}
    }
    let abort = member.ending.child_token();
    let progress = Arc::<Progress>::default();
    *current = Some(Current {
        id: order.id.clone(),
        abort: abort.clone(),
        progress: Arc::clone(&progress),
        stage: "beginning",
        ended: None,
    });
    drop(current);
    let member = Arc::clone(member);
    tokio::spawn(async move {
        tracing::info!(id = order.id, path = order.path, ?method, encrypted = recipients.is_some(), "making a backup");
        let made = tokio::spawn({
            let member = Arc::clone(&member);
            async move { make(&member, &order, method, recipients.as_ref(), &progress, &abort).await }
        });
        let made = made.await.unwrap_or_else(|why| Err(anyhow::anyhow!("the agent has a defect: {why}")));
        let ended = match made {
            Ok(summary) => {
                tracing::info!(gtids = %summary.gtids, bytes = summary.bytes, stored = summary.stored_bytes, "backup made");
                BackupState::Done(summary)
            }
            Err(why) => {
                tracing::error!("no backup was made: {why:#}");
                BackupState::Failed { error: format!("{why:#}") }
            }
        };
        if let Some(current) = &mut *member.backups.lock() {
            current.ended = Some(ended);
        }
    });
    Ok(())
}

async fn make(
    member: &Arc<Member>,
    order: &BackupOrder,
    method: Method,
    recipients: Option<&Recipients>,
    progress: &Arc<Progress>,
    abort: &CancellationToken,
) -> anyhow::Result<BackupSummary> {
    let store = Store::open(&order.store, Patience::default())?;
    remove_copy(member).await?;
    let made = copy_and_send(member, order, method, recipients, &store, progress, abort).await;
    remove_copy(member).await?;
    made
}

async fn remove_copy(member: &Member) -> anyhow::Result<()> {
    let copy = member.config.backup_datadir();
    let removed = tokio::task::spawn_blocking(move || durable::remove_tree(&copy)).await?;
    removed.context("the copy that backups are sent from could not be removed")
}

async fn copy_and_send(
    member: &Arc<Member>,
    order: &BackupOrder,
    method: Method,
    recipients: Option<&Recipients>,
    store: &Store,
    progress: &Arc<Progress>,
    abort: &CancellationToken,
) -> anyhow::Result<BackupSummary> {
    let began_at = Timestamp::now();
    member.backups.stage("copying");
    let copied = match method {
        Method::Clone => copy::copy(member, abort).await?,
        Method::Logical => logical::dump(member, abort).await?,
    };
    member.backups.stage("sending");
    let manner = Manner { bytes_per_second: order.bytes_per_second, recipients, ..Manner::default() };
    let (config, encryption) = (&member.config, recipients.map(Recipients::encryption));
    let manifest_of = |content| Manifest {
        format: manifest::format(method, encryption.as_ref()),
        id: order.id.clone(),
        method,
        cluster: Origin {
            namespace: config.namespace.clone(),
            name: config.cluster.clone(),
            uid: order.cluster_uid.clone(),
        },
        member: config.member.clone(),
        server_uuid: copied.server_uuid,
        members: order.members.clone(),
        policies: order.policies.clone(),
        server: copied.server,
        gtids: Gtids { at_least: copied.at_least, at_most: copied.at_most },
        began_at,
        ended_at: Timestamp::now(),
        encryption,
        content,
    };
    let dir = config.backup_datadir();
    let (manifest, sum) = backup::write::write(store, &order.path, &dir, manner, progress, abort, manifest_of).await?;
    let unix_ms = |time: Timestamp| u64::try_from(time.as_millisecond()).unwrap_or(0);
    Ok(BackupSummary {
        gtids: manifest.gtids.at_least,
        bytes: manifest.content.bytes,
        stored_bytes: manifest.content.stored_bytes,
        manifest_sha256: sum,
        began_unix_ms: unix_ms(manifest.began_at),
        ended_unix_ms: unix_ms(manifest.ended_at),
    })
}

//! One look at one backup, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use backup::steps::{Next, PATIENCE_S, next};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use objects::api::{BackupMethod, BackupPhase, BackupStore, MysqlBackup, MysqlBackupStatus};
use objects::validate::backup_bandwidth;
use wire::{BackupAsk, BackupOrder, StoreAccess};

use super::observe::Subject;
use super::{access, report};
use crate::Context;

/// How soon a backup is looked at again while it is made, and after an error.
pub const RETRY: Duration = Duration::from_secs(2);

/// How soon one is looked at again that waits for something.
const WAITING: Duration = Duration::from_secs(5);

/// Why a look came to nothing; it is repeated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not take the status.
    #[error("the status of MysqlBackup {name} could not be written")]
    Status {
        /// The backup.
        name: String,
        /// Why not.
        source: kube::Error,
    },
}

pub(super) async fn reconcile(backup: Arc<MysqlBackup>, context: Arc<Context>) -> Result<Action, Error> {
    let finished = backup.status.as_ref().is_some_and(MysqlBackupStatus::is_finished);
    if finished || backup.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let age_s = age_s(&backup);
    let subject = match Subject::of(&context, &backup).await {
        Ok(subject) => subject,
        Err(why) if age_s < PATIENCE_S => return wait(&context, &backup, why).await,
        Err(why) => {
            report::failed(&context, &backup, None, &why).await?;
            return Ok(Action::await_change());
        }
    };
    let store = match &subject.cluster.spec.backup {
        Some(spec) => Ok(&spec.store),
        None => Err(format!("MysqlCluster {} has no spec.backup.store; add one", subject.key.name)),
    };
    let opened = match store.clone() {
        Ok(store) => {
            access::access(&context.client, &subject.key.namespace, store).await.map_err(|why| format!("{why:#}"))
        }
        Err(why) => Err(why),
    };
    let seen = subject.observe(&context, opened.as_ref().map_err(Clone::clone), age_s).await;
    match (next(&seen), store, &opened) {
        (Next::Begin(choice), Ok(store), Ok(access)) => {
            if let Err(why) = begin(&context, &subject, access, &choice.member).await {
                return wait(&context, &backup, why).await;
            }
            report::begun(&context, &backup, &choice, store, &subject.path(&choice.member)).await?;
            Ok(Action::requeue(RETRY))
        }
        // Nothing is begun without a store, because then there is nothing to be seen in it.
        (Next::Begin(_), _, _) => wait(&context, &backup, "the store cannot be used".to_owned()).await,
        (Next::Tell { member, stage, bytes_done, bytes_total }, _, _) => {
            report::running(&context, &backup, &member, &stage, bytes_done, bytes_total).await?;
            Ok(Action::requeue(RETRY))
        }
        (Next::Succeed { member, summary }, store, _) => {
            let place: Option<&BackupStore> = store.ok();
            report::succeeded(&context, &backup, &member, place, &subject.path(&member), &summary).await?;
            Ok(Action::await_change())
        }
        (Next::Fail { member, error }, _, _) => {
            report::failed(&context, &backup, member.as_deref(), &error).await?;
            Ok(Action::await_change())
        }
        (Next::Wait { for_what }, _, _) => wait(&context, &backup, for_what).await,
    }
}

async fn begin(context: &Context, subject: &Subject, store: &StoreAccess, member: &str) -> Result<(), String> {
    let spec = subject.cluster.spec.backup.as_ref().ok_or("spec.backup is gone")?;
    let recipients = access::recipients(&context.client, &subject.key.namespace, spec).await;
    let recipients = recipients.map_err(|why| format!("{why:#}"))?;
    let order = BackupOrder {
        id: subject.id.clone(),
        store: store.clone(),
        path: subject.path(member),
        cluster_uid: subject.cluster.uid().unwrap_or_default(),
        members: subject.record.members.iter().map(|member| member.name.clone()).collect(),
        policies: policies(subject),
        bytes_per_second: backup_bandwidth(spec),
    };
    let (order, recipients) = (Box::new(order), recipients.map(|recipients| recipients.texts()));
    let ask = match (subject.method, recipients) {
        (BackupMethod::Logical, recipients) => BackupAsk::BeginLogical { order, recipients },
        (BackupMethod::Clone, Some(recipients)) => BackupAsk::BeginEncrypted { order, recipients },
        (BackupMethod::Clone, None) => BackupAsk::Begin(order),
    };
    let answer = subject.ask(context, member, ask).await;
    let refused = answer.map_or_else(Some, |answer| answer.refused);
    refused.map_or(Ok(()), |why| Err(format!("{member}: {why}")))
}

/// The modules that the spec names.
fn policies(subject: &Subject) -> Vec<String> {
    let policies = subject.cluster.spec.policies.as_ref();
    let module = policies.and_then(|policies| policies.primary_selection.as_ref()?.module.as_ref());
    module.map(|module| module.config_map.name.clone()).into_iter().collect()
}

async fn wait(context: &Context, backup: &MysqlBackup, for_what: String) -> Result<Action, Error> {
    report::waits(context, backup, BackupPhase::Pending, &for_what).await?;
    Ok(Action::requeue(WAITING))
}

/// For how long it has been asked for, in seconds.
fn age_s(backup: &MysqlBackup) -> u64 {
    let created = backup.creation_timestamp().map_or(Timestamp::now(), |time| time.0);
    u64::try_from(Timestamp::now().duration_since(created).as_secs()).unwrap_or(0)
}

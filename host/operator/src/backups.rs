//! The backups controller: has the backups made that MysqlBackups ask for and binary logs archived where a spec says so,
//! removes what is not to be kept any longer, has the newest backup restored where a drill is due, and tells of all that.
//!
//! What is to be done is [`backup::steps::next`]'s to say, from what agents and the store say at that moment; nothing is
//! remembered here, so that any operator can go on where another stopped. It must never touch a role, a child or the
//! record, and nothing that moves roles waits for it.

mod access;
mod archive;
mod drills;
mod observe;
mod reconcile;
mod report;
mod retention;
mod schedule;
mod tell;
mod window;

use std::sync::Arc;

use futures::StreamExt as _;
use kube::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use objects::api::MysqlBackup;
use tokio_util::sync::CancellationToken;

pub use access::Source;

use crate::Context;
use crate::resources::while_leading;

/// How many backups are looked after at a time; each waits for agents and a store most of the time.
const CONCURRENCY: u16 = 8;

/// Looks after backups whenever this operator leads, until told to stop.
///
/// # Errors
/// When whoever says whether this operator leads is gone.
pub async fn run(context: Arc<Context>, stop: CancellationToken) -> anyhow::Result<()> {
    while_leading(context.leads.clone(), stop, move |term| serve_term(context.clone(), term)).await
}

async fn serve_term(context: Arc<Context>, term: CancellationToken) {
    let backups: Api<MysqlBackup> = Api::all(context.client.clone());
    let controller = Controller::new(backups, watcher::Config::default());
    let seen = controller.store();
    tokio::join!(
        look_after(controller, context.clone(), term.clone()),
        schedule::run(context.clone(), seen.clone(), term.clone()),
        retention::run(context.clone(), seen, term.clone()),
        archive::run(context.clone(), term.clone()),
        drills::run(context, term),
    );
}

async fn look_after(controller: Controller<MysqlBackup>, context: Arc<Context>, term: CancellationToken) {
    let ended = term.clone();
    controller
        .graceful_shutdown_on(ended.cancelled_owned())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .run(reconcile::reconcile, |_, _, _| Action::requeue(reconcile::RETRY), context)
        .for_each(async |outcome| {
            if let Err(error) = outcome {
                tracing::warn!(error = %crate::resources::chain(&error), "a backup could not be looked after");
            }
        })
        .await;
    term.cancel();
}

//! What people type, one file a command.
//!
//! A command reads and writes Kubernetes objects and nothing else: it must never talk to an agent or to mysqld,
//! and it must never write what only the operator may write. Whatever it asks for is an object that RBAC, audit
//! logs and GitOps see too.

mod accept;
mod backup;
mod backups;
mod crds;
mod drill;
mod explain;
mod journal;
mod operation;
mod policy;
mod rebuild;
mod restart;
mod restore;
mod site;
mod status;
mod style;
mod switchover;

use std::process::ExitCode;

/// A command for people, as in `kubectl grampus status shop`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show a cluster: its members, who leads and why, and what is not as it should be.
    Status(status::Arguments),
    /// Say who would lead if the primary died now and why, what the shadows say, and what was decided last.
    Explain(explain::Arguments),
    /// Print the last decisions of a cluster's policy, one JSON object a line.
    Journal(journal::Arguments),
    /// Move the role of primary to another member, losing nothing and restarting nothing.
    Switchover(switchover::Arguments),
    /// Replace the data of a replica by a copy of another member's.
    Rebuild(rebuild::Arguments),
    /// Go on without members that are needed and do not come back, giving up what only they hold.
    AcceptDataLoss(accept::Arguments),
    /// Restart members, replicas first; the role of primary moves before its member's turn.
    Restart(restart::Arguments),
    /// Make a full backup of a cluster now, and follow it.
    Backup(backup::Arguments),
    /// List the backups of a cluster.
    Backups(backups::Arguments),
    /// Restore the newest backup of a cluster to a throw-away cluster, compare it, remove it, and say what that proved.
    Drill(drill::Arguments),
    /// Make a new cluster from a backup, and follow it until it serves.
    Restore(restore::Arguments),
    /// Work with policy modules.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Print the CustomResourceDefinitions of this version, for `kubectl apply --server-side -f -`.
    Crds,
}

/// Carries out a command. The exit code says whether what was asked for is so.
///
/// # Errors
/// What could not be done, with the object it is about and what to do next.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status(arguments) => status::run(arguments).await,
        Command::Explain(arguments) => explain::run(arguments).await,
        Command::Journal(arguments) => journal::run(arguments).await,
        Command::Switchover(arguments) => switchover::run(arguments).await,
        Command::Rebuild(arguments) => rebuild::run(arguments).await,
        Command::AcceptDataLoss(arguments) => accept::run(arguments).await,
        Command::Restart(arguments) => restart::run(arguments).await,
        Command::Backup(arguments) => backup::run(arguments).await,
        Command::Backups(arguments) => backups::run(arguments).await,
        Command::Drill(arguments) => drill::run(arguments).await,
        Command::Restore(arguments) => restore::run(arguments).await,
        Command::Policy(command) => policy::run(command).await,
        Command::Crds => crds::run(),
    }
}

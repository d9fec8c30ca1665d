//! What is to be done next about one drill, and what a drill has proved. Pure.
//!
//! Nothing is remembered between two looks: what was begun is seen in the agents and in the throw-away cluster. It must
//! never say that a backup is good of which that was not seen, nor that it is bad because nothing could be found out.

mod compare;

use topology::gtid::GtidSet;
use uuid::Uuid;
use wire::{CheckJob, CheckState, TableSum};

pub use compare::{Proof, compare};

use crate::choose::{Candidate, Choice, choose};

/// What is seen of one drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What its checks are known by.
    pub id: String,
    /// Whether its time is over.
    pub is_over: bool,
    /// The members of the cluster, and what each says about checks.
    pub members: Vec<(Candidate, Option<CheckJob>)>,
    /// How many acknowledgements a commit waits for.
    pub acks: u32,
    /// The newest backup from which the moment of the check can be reached; None while there is none. Only looked for while
    /// there is no throw-away cluster.
    pub newest: Result<Option<Newest>, String>,
    /// The throw-away cluster.
    pub instance: Option<Instance>,
    /// Whether it is known that there was one.
    pub was_made: bool,
}

/// A backup in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Where it is.
    pub path: String,
    /// Everything that may be in it.
    pub at_most: GtidSet,
    /// What the archive of the binary log covers; None where none is written.
    pub covered: Option<GtidSet>,
}

/// The throw-away cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// How far it is.
    pub state: InstanceState,
    /// Up to where the archive was to be replayed; None for a backup alone.
    pub gtids: Option<GtidSet>,
    /// What its only member says about checks.
    pub check: Option<CheckJob>,
}

/// How far the throw-away cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceState {
    /// Being made; what is done there.
    Making(String),
    /// It cannot be made.
    Failed(String),
    /// It takes writes, and nobody writes.
    Serving {
        /// Its server, which may have committed something for itself.
        server_uuid: Uuid,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Have a member of the cluster checked.
    CheckSource {
        /// Which.
        choice: Choice,
        /// What it must have executed.
        at_least: GtidSet,
    },
    /// Make the throw-away cluster.
    Make {
        /// From this backup.
        path: String,
        /// Up to where the archive is replayed.
        gtids: Option<GtidSet>,
    },
    /// Have the throw-away cluster checked.
    CheckInstance,
    /// Say how far it is, and look again.
    Tell(String),
    /// It has come to an end.
    End(End),
}

/// What a drill came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// What was restored is what it should be.
    Succeeded(Proof),
    /// It could not be restored, or holds something else.
    Failed(String),
    /// Nothing was found out about the backup.
    Inconclusive(String),
}

/// What is to be done.
pub fn next(seen: &Seen) -> Next {
    let next = match &seen.instance {
        None if seen.was_made => {
            return Next::End(End::Failed(
                "somebody removed the throw-away cluster before anything was proved".to_owned(),
            ));
        }
        None => before_it_is_made(seen),
        Some(instance) => with(seen, instance),
    };
    match next {
        Next::End(end) => Next::End(end),
        next if seen.is_over => Next::End(late(seen, next)),
        next => next,
    }
}

/// What it came to in its time, where this would be next.
fn late(seen: &Seen, next: Next) -> End {
    let what = match next {
        Next::Tell(what) => what,
        Next::CheckSource { .. } | Next::CheckInstance | Next::Make { .. } | Next::End(_) => "it goes on".to_owned(),
    };
    let said = format!("its time is over: {what}");
    let serves = seen.instance.as_ref().is_some_and(|instance| matches!(instance.state, InstanceState::Serving { .. }));
    let unknown = seen.instance.is_none() && matches!(seen.newest, Ok(Some(_)));
    if serves || unknown { End::Inconclusive(said) } else { End::Failed(said) }
}

fn before_it_is_made(seen: &Seen) -> Next {
    let newest = match &seen.newest {
        Ok(Some(newest)) => newest,
        Ok(None) => return Next::Tell("there is no backup in the store yet".to_owned()),
        Err(why) => return Next::Tell(format!("the store: {why}")),
    };
    let Some(covered) = &newest.covered else { return Next::Make { path: newest.path.clone(), gtids: None } };
    let Some((member, job)) = source(seen) else { return begin(seen, newest) };
    if let CheckState::Failed { error, table } = &job.state {
        return inconclusive(member, table.as_deref(), error);
    }
    let Some(gtids) = &job.gtids else { return Next::Tell(format!("waiting for a quiet moment on {member}")) };
    if !gtids.is_subset_of(covered) {
        return Next::Tell(format!("waiting until {} are archived", gtids.subtract(covered)));
    }
    Next::Make { path: newest.path.clone(), gtids: Some(gtids.clone()) }
}

/// Whoever checks the cluster for this drill, and how far that is.
fn source(seen: &Seen) -> Option<(&str, &CheckJob)> {
    let ours = |job: &&CheckJob| job.id == seen.id;
    seen.members.iter().find_map(|(candidate, job)| Some((candidate.name.as_str(), job.as_ref().filter(ours)?)))
}

fn begin(seen: &Seen, newest: &Newest) -> Next {
    let busy = seen.members.iter().find(|(_, job)| {
        job.as_ref().is_some_and(|job| matches!(job.state, CheckState::Running { .. } | CheckState::Unknown))
    });
    if let Some((candidate, _)) = busy {
        return Next::Tell(format!("{} is being checked for another drill", candidate.name));
    }
    let candidates: Vec<_> = seen.members.iter().map(|(candidate, _)| candidate.clone()).collect();
    match choose(&candidates, seen.acks) {
        Ok(choice) => Next::CheckSource { choice, at_least: newest.at_most.clone() },
        Err(why) => Next::Tell(why),
    }
}

fn with(seen: &Seen, instance: &Instance) -> Next {
    let server_uuid = match &instance.state {
        InstanceState::Making(what) => return Next::Tell(format!("recovering: {what}")),
        InstanceState::Failed(why) => return Next::End(End::Failed(why.clone())),
        InstanceState::Serving { server_uuid } => *server_uuid,
    };
    let Some(check) = instance.check.as_ref().filter(|check| check.id == seen.id) else { return Next::CheckInstance };
    let restored = match &check.state {
        CheckState::Running { .. } | CheckState::Unknown => return Next::Tell(far("what was restored", &check.state)),
        CheckState::Failed { table: Some(table), error } => {
            return Next::End(End::Failed(format!("{table} cannot be read in what was restored: {error}")));
        }
        CheckState::Failed { table: None, error } => return inconclusive("the throw-away cluster", None, error),
        CheckState::Done { tables, .. } => tables,
    };
    let (Some(wanted), Some(reached)) = (&instance.gtids, &check.gtids) else {
        return Next::End(End::Succeeded(Proof::read(restored)));
    };
    let reached = reached.subtract(&reached.of_server(server_uuid));
    if reached != *wanted {
        let (missing, beyond) = (wanted.subtract(&reached), reached.subtract(wanted));
        let why =
            format!("the archive has another order: {missing} lack and {beyond} are too much in what was restored");
        return Next::End(End::Inconclusive(why));
    }
    against_the_source(seen, restored)
}

fn against_the_source(seen: &Seen, restored: &[TableSum]) -> Next {
    let Some((member, job)) = source(seen) else {
        let why =
            "what the cluster held is not known any more: the member that was checked, or its agent, was restarted";
        return Next::End(End::Inconclusive(why.to_owned()));
    };
    match &job.state {
        CheckState::Running { .. } | CheckState::Unknown => Next::Tell(far(member, &job.state)),
        CheckState::Failed { table, error } => inconclusive(member, table.as_deref(), error),
        CheckState::Done { tables, .. } => Next::End(match compare(member, tables, restored) {
            Ok(proof) => End::Succeeded(proof),
            Err(difference) => End::Failed(difference),
        }),
    }
}

fn far(what: &str, state: &CheckState) -> String {
    match state {
        CheckState::Running { tables_done, tables_total, rows } => {
            format!("reading {what}: {tables_done} of {tables_total} tables, {rows} rows")
        }
        CheckState::Done { .. } | CheckState::Failed { .. } | CheckState::Unknown => format!("reading {what}"),
    }
}

fn inconclusive(whose: &str, table: Option<&str>, error: &str) -> Next {
    let at = table.map(|table| format!(", {table}")).unwrap_or_default();
    Next::End(End::Inconclusive(format!("{whose}{at}: {error}")))
}

#[cfg(test)]
mod tests;

//! What is to be done next about one backup, from what agents and the store say. Pure.
//!
//! Nothing is remembered between two looks: an operator that has just started comes to the same answer as the one that
//! began. Each attempt lies under a path with its member's name, so that an agent that nobody hears of and one that took
//! its place never write the same object.

use wire::{BackupJob, BackupState, BackupSummary};

use crate::choose::{Candidate, Choice, choose};
use crate::manifest::Manifest;

/// For how long nobody may be fit, in seconds, before it is given up: a failover or a restart of everything is over by
/// then, and a person should know.
pub const PATIENCE_S: u64 = 3_600;

/// What is seen of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it is known by.
    pub id: String,
    /// For how long it has been asked for, in seconds.
    pub age_s: u64,
    /// The members, and what each says about backups; None where it does not answer or has made none.
    pub members: Vec<(Candidate, Option<BackupJob>)>,
    /// How many acknowledgements a commit waits for.
    pub acks: u32,
    /// The finished attempt in the store, with the member it came from and the checksum of its manifest. An error where
    /// the store does not answer. Only looked for where no agent knows of the backup.
    pub stored: Result<Option<(String, Manifest, String)>, String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Tell this member to make it.
    Begin(Choice),
    /// Say how far it is.
    Tell {
        /// Where it is made.
        member: String,
        /// What is being done there.
        stage: String,
        /// Bytes that have been read for the store.
        bytes_done: u64,
        /// Bytes that there are; 0 while that is not known.
        bytes_total: u64,
    },
    /// It is made.
    Succeed {
        /// From where.
        member: String,
        /// What it holds.
        summary: BackupSummary,
    },
    /// It is given up.
    Fail {
        /// Where it was made, if it was begun.
        member: Option<String>,
        /// Why.
        error: String,
    },
    /// Look again later.
    Wait {
        /// For what.
        for_what: String,
    },
}

/// What is to be done.
pub fn next(seen: &Seen) -> Next {
    let ours = seen.members.iter().find_map(|(candidate, job)| {
        job.as_ref().filter(|job| job.id == seen.id).map(|job| (candidate.name.clone(), &job.state))
    });
    if let Some((member, state)) = ours {
        return match state.clone() {
            BackupState::Running { stage, bytes_done, bytes_total } => {
                Next::Tell { member, stage, bytes_done, bytes_total }
            }
            BackupState::Done(summary) => Next::Succeed { member, summary },
            BackupState::Failed { error } => Next::Fail { member: Some(member), error },
        };
    }
    match &seen.stored {
        Ok(Some((member, manifest, sum))) => {
            return Next::Succeed { member: member.clone(), summary: summary(manifest, sum) };
        }
        Err(why) => return wait(seen, format!("the store: {why}")),
        Ok(None) => {}
    }
    let busy = seen
        .members
        .iter()
        .find(|(_, job)| job.as_ref().is_some_and(|job| matches!(job.state, BackupState::Running { .. })));
    if let Some((candidate, _)) = busy {
        return Next::Wait { for_what: format!("{} is making another backup", candidate.name) };
    }
    let candidates: Vec<_> = seen.members.iter().map(|(candidate, _)| candidate.clone()).collect();
    match choose(&candidates, seen.acks) {
        Ok(choice) => Next::Begin(choice),
        Err(why) => wait(seen, why),
    }
}

fn wait(seen: &Seen, for_what: String) -> Next {
    if seen.age_s < PATIENCE_S {
        return Next::Wait { for_what };
    }
    Next::Fail { member: None, error: format!("it could not be begun within {} min: {for_what}", PATIENCE_S / 60) }
}

/// What a manifest says of itself, as its agent would have.
fn summary(manifest: &Manifest, sum: &str) -> BackupSummary {
    let unix_ms = |time: jiff::Timestamp| u64::try_from(time.as_millisecond()).unwrap_or(0);
    BackupSummary {
        gtids: manifest.gtids.at_least.clone(),
        bytes: manifest.content.bytes,
        stored_bytes: manifest.content.stored_bytes,
        manifest_sha256: sum.to_owned(),
        began_unix_ms: unix_ms(manifest.began_at),
        ended_unix_ms: unix_ms(manifest.ended_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::Part;

    fn member(name: &str, part: Part) -> (Candidate, Option<BackupJob>) {
        let acknowledges = part == Part::Replica;
        (Candidate { name: name.to_owned(), part, unfit: None, acknowledges, lag_s: 0 }, None)
    }

    fn seen() -> Seen {
        Seen {
            id: "one".to_owned(),
            age_s: 1,
            members: vec![member("shop-0", Part::Primary), member("shop-1", Part::Replica)],
            acks: 1,
            stored: Ok(None),
        }
    }

    fn job(id: &str, state: BackupState) -> Option<BackupJob> {
        Some(BackupJob { id: id.to_owned(), state })
    }

    fn running() -> BackupState {
        BackupState::Running { stage: "sending".to_owned(), bytes_done: 1, bytes_total: 2 }
    }

    fn stored() -> Manifest {
        let text = include_str!("manifest/format-1.json");
        Manifest::read("shop", text.as_bytes(), &crate::manifest::sha256(text.as_bytes())).unwrap()
    }

    #[test]
    fn what_is_under_way_is_followed_whoever_began_it() {
        let mut seen = seen();
        seen.members[1].1 = job("one", running());
        assert!(matches!(next(&seen), Next::Tell { member, .. } if member == "shop-1"));
        seen.members[1].1 = job("one", BackupState::Failed { error: "no room".to_owned() });
        assert!(matches!(next(&seen), Next::Fail { error, .. } if error == "no room"));
    }

    #[test]
    fn what_is_in_the_store_is_made_though_no_agent_remembers() {
        let mut seen = seen();
        seen.stored = Ok(Some(("shop-1".to_owned(), stored(), "sum".to_owned())));
        let Next::Succeed { member, summary } = next(&seen) else { panic!("{:?}", next(&seen)) };
        assert_eq!((member.as_str(), summary.bytes, summary.manifest_sha256.as_str()), ("shop-1", 77_594_624, "sum"));
        assert_eq!(summary.ended_unix_ms - summary.began_unix_ms, 7_000);
    }

    #[test]
    fn one_backup_after_the_other() {
        let mut seen = seen();
        seen.members[0].1 = job("other", running());
        assert!(matches!(next(&seen), Next::Wait { .. }));
        seen.members[0].1 = job("other", BackupState::Failed { error: String::new() });
        assert!(matches!(next(&seen), Next::Begin(choice) if choice.member == "shop-1"));
    }

    #[test]
    fn a_store_that_does_not_answer_is_not_one_without_the_backup() {
        let mut seen = seen();
        seen.stored = Err("connection refused".to_owned());
        assert!(matches!(next(&seen), Next::Wait { .. }));
        seen.age_s = PATIENCE_S;
        assert!(matches!(next(&seen), Next::Fail { member: None, error } if error.contains("connection refused")));
    }
}

//! What there is to go on with where too few members are there: whom to wait for, and what is left if somebody accepts to
//! wait no longer.
//!
//! Nothing here counts without an acceptance for this very freeze, and none gives up a member that was there when it was
//! given.

use crate::gtid::GtidSet;
use crate::record::{AcceptedLoss, GivenUp, Record};
use crate::snapshot::{MemberView, Probe, Snapshot};

use super::{Memory, Quorum, frozen};

/// Why the recorded primary does not suffice alone, for people. Its binary log is on disk with every commit, so it is
/// what a cluster waits for whose machines all restarted.
pub(crate) fn last_primary(snapshot: &Snapshot, record: &Record) -> Option<(String, String)> {
    record.primary_server_uuid?;
    let why = match snapshot.member(&record.primary).map(|view| (view, &view.probe)) {
        None => "it has no pod".to_owned(),
        Some((_, Probe::Unreachable { error, .. })) => format!("its agent does not answer: {error}"),
        Some((_, Probe::NotProbed)) => "its agent has not been reached yet".to_owned(),
        Some((view, Probe::Known { .. })) if !view.votes_in(record) => "its data is not the data that led".to_owned(),
        Some((view, Probe::Known { .. })) if !view.opened_as_primary_of(record) => {
            "it never opened, so it counts as a replica".to_owned()
        }
        Some((view, Probe::Known { .. })) => match view.known_transactions() {
            None => "what it holds has not been read yet".to_owned(),
            Some(known) if !record.base.is_subset_of(&known) => "it lacks what it was chosen with".to_owned(),
            Some(_) => format!("with it, {} members have to answer", record.freeze_quorum()),
        },
    };
    Some((record.primary.clone(), why))
}

/// What those hold together who are frozen, where somebody accepted to go on without the others. Whoever is not named in
/// the acceptance has to be among them: nobody is given up who was there when it was given.
///
/// Here a member counts with what it holds even if it may have forgotten something, because more than the others know is
/// not to be had.
pub(super) fn reduced(snapshot: &Snapshot, record: &Record, accepted: &AcceptedLoss) -> Option<Quorum> {
    let mut quorum = Quorum::of(GtidSet::new());
    let mut absent = Vec::new();
    let mut complete = false;
    for member in &record.members {
        let view = snapshot.member(&member.name);
        let held = view.and_then(|view| held(view, record));
        match held {
            Some(known) => {
                if view.is_some_and(|view| view.opened_as_primary_of(record)) {
                    // One that lacks what it was chosen with could issue numbers that others know already.
                    complete = record.base.is_subset_of(&known);
                    quorum.counts_former_primary = complete;
                }
                quorum.union = quorum.union.union(&record.legal_part(&known));
            }
            None if accepted.without.contains(&member.name) => absent.push(member.name.clone()),
            None => return None,
        }
    }
    if absent.len() == record.members.len() {
        return None;
    }
    let mut servers: Vec<_> = record.base.subtract(&quorum.union).servers().collect();
    // Whatever was acknowledged is in the base, or was committed since by the primary and is in its binary log.
    if !complete {
        servers.extend(record.primary_server_uuid.filter(|primary| !servers.contains(primary)));
    }
    quorum.given_up = Some(GivenUp { epoch: record.epoch, servers, members: absent });
    Some(quorum)
}

/// What a member holds that takes part in this freeze, whether or not it remembers everything.
fn held(member: &MemberView, record: &Record) -> Option<GtidSet> {
    if member.opened_as_primary_of(record) {
        let closed = member.server().is_none_or(|facts| !facts.open);
        return member.known_transactions().filter(|_| closed && member.has_stored(record.claim()));
    }
    frozen(member, record, Memory::AsItIs).ok()
}

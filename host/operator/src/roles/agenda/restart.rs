//! How a restart goes on and how it ends, from what is seen.
//!
//! Nothing here replaces a pod: [`topology::upkeep`] says whose turn it is.

use topology::snapshot::{Restart, Snapshot};
use topology::upkeep::{Cause, Next, Upkeep};

use super::End;
use crate::roles::cluster::open_primary;

/// How a restart ends, if it does now.
pub(super) fn restarted(snapshot: &Snapshot, upkeep: &Upkeep, asked: &Restart, over: bool) -> Option<End> {
    let members = meant(snapshot, asked);
    if members.is_empty() {
        let member = asked.member.as_deref().unwrap_or("every member");
        return Some(End::failed(format!("{member} is no member; nothing was changed")));
    }
    let back = members.iter().all(|name| is_whole(upkeep, name)) && open_primary(snapshot).is_some();
    if still_due(upkeep) == 0 && back {
        let leads = snapshot.record.as_ref().map(|record| record.primary.as_str()).unwrap_or_default();
        return Some(End::succeeded(format!("{}; {leads} leads", counted(members.len(), 0))));
    }
    over.then(|| {
        let progress = progress(snapshot, upkeep, asked);
        End::failed(format!("not done in time: {progress}. Nobody else is restarted for it"))
    })
}

/// How far it has come, and what is waited for.
pub(super) fn progress(snapshot: &Snapshot, upkeep: &Upkeep, asked: &Restart) -> String {
    let members = meant(snapshot, asked);
    let counted = counted(members.len(), still_due(upkeep));
    match &upkeep.next {
        Some(Next::Replace { member, .. }) => format!("{counted}; {member} is next"),
        Some(Next::HandOver { .. }) => format!("{counted}; the primary gives way"),
        Some(Next::Wait { why }) => format!("{counted}; {why}"),
        None => {
            let troubles = upkeep.troubles.iter().filter(|(name, _)| members.contains(&name.as_str()));
            let troubles: Vec<_> = troubles.map(|(name, why)| format!("{name}: {why}")).collect();
            let awaited = if troubles.is_empty() { "a primary to take writes".to_owned() } else { troubles.join("; ") };
            format!("{counted}; waiting for {awaited}")
        }
    }
}

fn counted(members: usize, due: usize) -> String {
    format!("{} of {members} restarted", members - due.min(members))
}

/// The members that are meant.
fn meant<'a>(snapshot: &'a Snapshot, asked: &Restart) -> Vec<&'a str> {
    let names = snapshot.members.iter().map(|member| member.name.as_str());
    names.filter(|name| asked.member.as_deref().is_none_or(|wanted| wanted == *name)).collect()
}

/// Those of them whose pods have yet to be replaced. One without a pod gets a new one.
fn still_due(upkeep: &Upkeep) -> usize {
    upkeep.due.iter().filter(|due| due.cause == Cause::Asked).count()
}

/// Whether a member is back.
fn is_whole(upkeep: &Upkeep, member: &str) -> bool {
    upkeep.troubles.iter().all(|(troubled, _)| troubled != member)
}

#[cfg(test)]
mod tests {
    use objects::api::Outcome;
    use topology::snapshot::{MemberView, PodFacts};
    use topology::upkeep::Due;

    use super::*;
    use crate::roles::fixtures::{self, member};

    /// Three members, of which nobody knows more than when their pods were made.
    fn snapshot() -> Snapshot {
        let pod = PodFacts { created_unix_ms: 1_000, ..PodFacts::default() };
        let view = |ordinal| MemberView { pod: Some(pod.clone()), ..member(ordinal) };
        Snapshot { members: (0..3).map(view).collect(), ..fixtures::snapshot() }
    }

    fn asked(member: Option<&str>) -> Restart {
        Restart { member: member.map(ToOwned::to_owned), asked_unix_ms: 2_000 }
    }

    #[test]
    fn it_is_said_how_far_a_restart_has_come_and_why_it_was_given_up() {
        let due = |name: &str| Due { member: name.to_owned(), cause: Cause::Asked };
        let changed = Due { member: "shop-2".to_owned(), cause: Cause::Spec };
        let why = "waiting for shop-2: it does not acknowledge".to_owned();
        let upkeep = Upkeep { due: vec![due("shop-0"), changed], next: Some(Next::Wait { why }), ..Upkeep::default() };
        let says = progress(&snapshot(), &upkeep, &asked(None));
        assert_eq!(says, "2 of 3 restarted; waiting for shop-2: it does not acknowledge");
        assert!(restarted(&snapshot(), &upkeep, &asked(None), false).is_none());
        let end = restarted(&snapshot(), &upkeep, &asked(None), true).unwrap();
        assert_eq!(end.outcome, Outcome::Failed);
        assert!(end.message.contains(&says), "{}", end.message);
    }

    #[test]
    fn it_is_not_over_before_a_primary_takes_writes_and_never_begins_for_a_stranger() {
        let upkeep = Upkeep::default();
        assert!(restarted(&snapshot(), &upkeep, &asked(Some("shop-1")), false).is_none());
        let says = progress(&snapshot(), &upkeep, &asked(Some("shop-1")));
        assert_eq!(says, "1 of 1 restarted; waiting for a primary to take writes");
        let end = restarted(&snapshot(), &upkeep, &asked(Some("shop-9")), false).unwrap();
        assert!(end.message.contains("shop-9 is no member"), "{}", end.message);
    }
}

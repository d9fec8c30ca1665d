//! Which backups are kept, for how long, and from where on the archive is. Pure.
//!
//! **What is promised.** A policy names a number of full backups, a window of time, or both. With what it removes
//! - every moment within the window that could be recovered before can be recovered after, and by the same means;
//! - so many of the newest backups are there as the policy names, if that many were made;
//! - the newest good backup is there, and all of the archive that leads on from it, whatever the policy says.
//!
//! **A backup is removed** only when everything that the policy names allows it: so many that are kept can take its place,
//! and one of them holds nothing that was committed within the window. A backup *can take the place* of another if it was
//! asked for later and ended later, by clocks that may be wrong; if it did not end in the future; if it does not hold fewer
//! transactions; and if it leads as far along the archive as the other one perhaps does. Where one of these is not so,
//! more is kept than was asked for, and never less.
//!
//! **The window** ends now or, if that is earlier, with the newest thing in the store: of a cluster that is not backed up
//! any more nothing is removed by the passing of time.
//!
//! **The archive** is kept from one segment before the one with which the first of the kept backups goes on: that one says
//! what the backup already holds. Nothing of it is removed while there is a backup that cannot be read, because nobody
//! knows from where that one goes on.
//!
//! **What is not ours is never removed**: what has no manifest of this cluster, with its uid, stays and is told of. What
//! was never finished is removed when it was not touched for [`UNTOUCHED_S`] and has a name that this crate gives.

use std::time::Duration;

use topology::gtid::GtidSet;

use crate::layout;
use crate::manifest::Origin;

/// How long what has no manifest must lie untouched until it is removed, in seconds: a week. Nobody sends a backup for so
/// long without sending anything.
pub const UNTOUCHED_S: u64 = 7 * 24 * 3_600;

/// How long backups are kept. One of the two is given, or nothing is ever removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// So many of the newest, at least 1.
    pub fulls: Option<u32>,
    /// What is needed to recover any moment of so long a time.
    pub window: Option<Duration>,
}

/// What lies below the backups of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A backup.
    Whole(Box<Whole>),
    /// Something with a manifest that cannot be read: why.
    Unreadable(String),
    /// Something without a manifest.
    Unfinished {
        /// When anything of it was written last, in microseconds since 1970.
        modified_unix_us: u64,
    },
}

/// A backup, as far as this matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Of which cluster.
    pub origin: Origin,
    /// SHA-256 of its manifest.
    pub sum: String,
    /// When it ended, in microseconds since 1970.
    pub ended_unix_us: u64,
    /// Which transactions are surely in it.
    pub at_least: GtidSet,
    /// How it leads on.
    pub lead: Lead,
}

/// How a backup leads on over the archive. Which transactions it holds exactly shows only once a server runs on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lead {
    /// The first segment that may be needed to go on from it. None where it does not lead into the archive.
    pub from: Option<u64>,
    /// The last segment that it surely leads to. None where it leads to none.
    pub surely: Option<u64>,
    /// The last that it perhaps leads to.
    pub perhaps: Option<u64>,
    /// When the last transaction that it may hold was committed, as far as the segments tell, in microseconds since 1970.
    pub held_unix_us: u64,
}

/// The segments of an archive: all numbers from the first to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// The first that is there.
    pub first: u64,
    /// The newest.
    pub newest: u64,
    /// When the newest was closed, or its last transaction was committed, in microseconds since 1970.
    pub closed_unix_us: u64,
}

/// All that there is of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// What lies below its backups, by name.
    pub fulls: Vec<(String, Seen)>,
    /// Its archive, if there is one.
    pub segments: Option<Segments>,
}

/// What is to become of something, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept.
    Keep(String),
    /// It is to be removed.
    Remove(String),
    /// It is not this cluster's to remove, or not yet.
    Leave(String),
}

/// What is to be removed and what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is to become of everything below the backups, the newest first.
    pub fulls: Vec<(String, Verdict)>,
    /// From where on the archive is kept. None where there is none.
    pub archive: Option<Cut>,
    /// When the oldest backup that is kept ended, in microseconds since 1970. None where there is none.
    pub oldest_unix_us: Option<u64>,
}

/// From where on an archive is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The first segment that is kept.
    pub from: u64,
    /// How many there are before it.
    pub removed: u64,
    /// Why from there.
    pub because: String,
}

impl Plan {
    /// What is to be removed, the oldest first.
    pub fn removals(&self) -> impl Iterator<Item = &str> {
        let removed = self.fulls.iter().rev().filter(|(_, verdict)| matches!(verdict, Verdict::Remove(_)));
        removed.map(|(name, _)| name.as_str())
    }
}

/// Says what is to become of everything that is seen of the cluster `own`.
pub fn judge(policy: &Policy, own: &Origin, sight: &Sight, now_unix_us: u64) -> Plan {
    let mut names: Vec<_> = sight.fulls.iter().collect();
    names.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    let begins = window_begins(policy, own, sight, now_unix_us);
    let mut kept: Vec<(&str, &Whole)> = Vec::new();
    let mut fulls = Vec::new();
    for (name, seen) in names {
        let verdict = match seen {
            Seen::Whole(whole) if whole.origin == *own => {
                let verdict = of_whole(policy, begins, &kept, (name, whole), now_unix_us);
                if !matches!(verdict, Verdict::Remove(_)) {
                    kept.push((name, whole));
                }
                verdict
            }
            Seen::Whole(whole) => {
                let Origin { namespace, name, uid } = &whole.origin;
                Verdict::Leave(format!("it is of another cluster, {namespace}/{name} with the uid {uid}"))
            }
            Seen::Unreadable(why) => Verdict::Leave(format!("its manifest cannot be read: {why}")),
            Seen::Unfinished { modified_unix_us } => of_unfinished(name, *modified_unix_us, now_unix_us),
        };
        fulls.push((name.clone(), verdict));
    }
    let archive = sight.segments.map(|segments| cut(sight, segments, &kept));
    let oldest_unix_us = kept.iter().map(|(_, whole)| whole.ended_unix_us).min();
    Plan { fulls, archive, oldest_unix_us }
}

/// When the window begins, in microseconds since 1970.
fn window_begins(policy: &Policy, own: &Origin, sight: &Sight, now_unix_us: u64) -> Option<u64> {
    let ended = sight.fulls.iter().filter_map(|(_, seen)| match seen {
        Seen::Whole(whole) if whole.origin == *own => Some(whole.ended_unix_us),
        _ => None,
    });
    let newest = ended.chain(sight.segments.map(|segments| segments.closed_unix_us)).max()?;
    let window = u64::try_from(policy.window?.as_micros()).unwrap_or(u64::MAX);
    Some(now_unix_us.min(newest).saturating_sub(window))
}

/// `kept` is what is kept of all that was asked for later.
fn of_whole(
    policy: &Policy,
    window_begins: Option<u64>,
    kept: &[(&str, &Whole)],
    (name, whole): (&str, &Whole),
    now_unix_us: u64,
) -> Verdict {
    if policy.fulls.is_none() && policy.window.is_none() {
        return Verdict::Keep("nothing is said of how long".to_owned());
    }
    if kept.is_empty() {
        return Verdict::Keep("it is the newest".to_owned());
    }
    if whole.ended_unix_us > now_unix_us {
        return Verdict::Keep("it ended in the future: some clock was wrong, so nobody knows its age".to_owned());
    }
    let places: Vec<_> =
        kept.iter().filter(|(other, later)| takes_the_place(other, later, name, whole, now_unix_us)).collect();
    if places.is_empty() {
        return Verdict::Keep("no later one that is kept holds as much and leads as far along the archive".to_owned());
    }
    if let Some(fulls) = policy.fulls.filter(|fulls| places.len() < (*fulls).max(1) as usize) {
        return Verdict::Keep(format!("it is one of the newest {fulls}"));
    }
    // From one that holds nothing of the window every moment of it can be recovered, as far as there is an archive.
    let before =
        |later: &Whole| window_begins.is_some_and(|begins| later.ended_unix_us.max(later.lead.held_unix_us) <= begins);
    match (policy.fulls, policy.window) {
        (_, Some(window)) if !places.iter().any(|(_, later)| before(later)) => {
            Verdict::Keep(format!("moments within {} are recovered from it", days(window)))
        }
        (Some(_), Some(window)) => Verdict::Remove(format!(
            "{} newer ones are kept, and every moment within {} is recovered from them",
            places.len(),
            days(window)
        )),
        (None, Some(window)) => {
            Verdict::Remove(format!("every moment within {} is recovered from newer ones", days(window)))
        }
        (_, None) => Verdict::Remove(format!("{} newer ones are kept", places.len())),
    }
}

/// Whether `later` can take the place of `whole`.
fn takes_the_place(other: &str, later: &Whole, name: &str, whole: &Whole, now_unix_us: u64) -> bool {
    let fewer = later.at_least != whole.at_least && later.at_least.is_subset_of(&whole.at_least);
    other > name
        && later.ended_unix_us > whole.ended_unix_us
        && later.ended_unix_us <= now_unix_us
        && !fewer
        && later.lead.surely >= whole.lead.perhaps
}

fn of_unfinished(name: &str, modified_unix_us: u64, now_unix_us: u64) -> Verdict {
    let untouched_s = now_unix_us.saturating_sub(modified_unix_us) / 1_000_000;
    if !layout::is_full_name(name) {
        return Verdict::Leave("it is no backup, and nothing that Grampus writes has such a name".to_owned());
    }
    let days = UNTOUCHED_S / (24 * 3_600);
    if untouched_s < UNTOUCHED_S {
        return Verdict::Leave(format!("it has no manifest; it is removed when it was not touched for {days} days"));
    }
    Verdict::Remove(format!("it was never finished, and not touched for {days} days"))
}

fn cut(sight: &Sight, segments: Segments, kept: &[(&str, &Whole)]) -> Cut {
    let Segments { first, newest, .. } = segments;
    let all = |because: String| Cut { from: first, removed: 0, because };
    let unreadable = sight.fulls.iter().find(|(_, seen)| matches!(seen, Seen::Unreadable(_)));
    if let Some((name, _)) = unreadable {
        return all(format!("all of it, because nobody knows from where {name} goes on, which cannot be read"));
    }
    let leading = kept.iter().filter_map(|(name, whole)| Some((whole.lead.from?, *name)));
    let Some((from, name)) = leading.min() else {
        return all("all of it, because no backup leads into it yet".to_owned());
    };
    // Even one that holds everything is gone on from: the newest segment says where.
    let from = from.saturating_sub(1).clamp(first, newest);
    Cut { from, removed: from - first, because: format!("what {name} goes on with, the first of the backups kept") }
}

/// A window for people.
pub fn days(window: Duration) -> String {
    let seconds = window.as_secs();
    match (seconds / 86_400, seconds % 86_400 / 3_600, seconds % 3_600) {
        (days, 0, 0) if days > 0 => format!("{days} d"),
        (days, hours, 0) => format!("{} h", days * 24 + hours),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests;

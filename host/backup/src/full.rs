//! Whether an archive has a full backup to begin from, or one is to be made. Pure.

use topology::gtid::GtidSet;

use crate::manifest::sha256;

/// How long after a failure another one is asked for, in seconds: what fails at once fails again, and a person is told.
pub const RETRY_S: u64 = 300;

/// A backup that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: FullState,
}

/// How far a backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FullState {
    /// Not finished.
    Pending,
    /// Made.
    Made {
        /// Every transaction that is surely in it.
        gtids: GtidSet,
        /// When, in seconds since 1970.
        at_unix_s: i64,
    },
    /// Given up.
    Failed {
        /// When, in seconds since 1970.
        at_unix_s: i64,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// There is one; this is when the first was made.
    There {
        /// In seconds since 1970.
        since_unix_s: i64,
    },
    /// One is to be asked for, under this name, so that nobody asks twice.
    Ask(String),
    /// One is being made, or failed a moment ago.
    Wait(String),
}

/// Says whether one of these backups holds `base`, what a backup has to hold to be led to the end of the archive.
pub fn start(cluster: &str, base: &GtidSet, backups: &[Full], now_unix_s: i64) -> Start {
    let made = backups.iter().filter_map(|backup| match &backup.state {
        FullState::Made { gtids, at_unix_s } if base.is_subset_of(gtids) => Some(*at_unix_s),
        _ => None,
    });
    if let Some(since_unix_s) = made.min() {
        return Start::There { since_unix_s };
    }
    if let Some(pending) = backups.iter().find(|backup| backup.state == FullState::Pending) {
        return Start::Wait(format!("the full backup {} is being made", pending.name));
    }
    let stem = format!("{cluster}-archive-{}", &sha256(base.to_string().as_bytes())[..8]);
    let ours: Vec<_> = backups.iter().filter(|backup| backup.name.starts_with(&stem)).collect();
    let failed = ours.iter().filter_map(|backup| match backup.state {
        FullState::Failed { at_unix_s } => Some((at_unix_s, &backup.name)),
        _ => None,
    });
    if let Some((at, name)) = failed.max()
        && now_unix_s < at.saturating_add(RETRY_S.cast_signed())
    {
        return Start::Wait(format!("the full backup {name} failed; another one is made after {} min", RETRY_S / 60));
    }
    let taken = |name: &String| ours.iter().any(|backup| backup.name == *name);
    // There are as many names as backups, and one more.
    let name = |attempt: usize| if attempt == 1 { stem.clone() } else { format!("{stem}-{attempt}") };
    let free = (1..=ours.len() + 1).map(name).find(|name| !taken(name));
    Start::Ask(free.unwrap_or_else(|| stem.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(last: u64) -> GtidSet {
        format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{last}").parse().unwrap()
    }

    fn full(name: &str, state: FullState) -> Full {
        Full { name: name.to_owned(), state }
    }

    fn made(last: u64, at_unix_s: i64) -> FullState {
        FullState::Made { gtids: range(last), at_unix_s }
    }

    #[test]
    fn the_first_backup_that_holds_enough_is_where_the_archive_begins() {
        let backups = [full("a", made(9, 10)), full("b", made(12, 30)), full("c", made(15, 20))];
        assert_eq!(start("shop", &range(10), &backups, 99), Start::There { since_unix_s: 20 });
    }

    #[test]
    fn one_is_asked_for_once_and_again_some_time_after_it_failed() {
        let Start::Ask(first) = start("shop", &range(10), &[full("a", made(9, 10))], 99) else { panic!() };
        assert!(first.starts_with("shop-archive-"), "{first}");
        assert_eq!(start("shop", &range(10), &[], 7), Start::Ask(first.clone()), "whoever looks, whenever");
        let Start::Ask(other) = start("shop", &range(11), &[], 7) else { panic!() };
        assert_ne!(first, other, "a hole takes another one");
        let pending = [full("nightly", FullState::Pending)];
        assert!(matches!(start("shop", &range(10), &pending, 99), Start::Wait(why) if why.contains("nightly")));
        let failed = [full(&first, FullState::Failed { at_unix_s: 100 })];
        assert!(matches!(start("shop", &range(10), &failed, 399), Start::Wait(why) if why.contains(&first)));
        assert_eq!(start("shop", &range(10), &failed, 400), Start::Ask(format!("{first}-2")));
    }
}

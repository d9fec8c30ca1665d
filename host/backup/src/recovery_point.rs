//! How much could be lost now: how far the archive is behind the primary. Pure.

use topology::gtid::GtidSet;

/// More than so many seconds are not what is promised.
pub const PROMISED_S: u64 = 60;

/// What is known of an archive and of the primary.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What the primary has executed. None while nobody can say.
    pub executed: Option<&'a GtidSet>,
    /// What the archive covers.
    pub covered: &'a GtidSet,
    /// When the newest transaction in it was committed, in microseconds since 1970; 0 where there is none.
    pub last_commit_unix_us: u64,
    /// When the archive was last known to cover everything that the primary had executed, in microseconds since 1970; 0
    /// where it never was.
    pub whole_unix_us: u64,
}

/// Whether the archive covers everything that the primary has executed.
pub fn is_whole(known: &Known<'_>) -> bool {
    known.executed.is_some_and(|executed| executed.is_subset_of(known.covered))
}

/// How many seconds of commits may be missing from the archive: none while it covers everything; else whatever was
/// committed since the newest transaction in it, or since it last covered everything, whichever is later. So a cluster
/// that wrote nothing for an hour is not an hour behind when it writes again.
pub fn seconds(known: &Known<'_>, now_unix_us: u64) -> u64 {
    if is_whole(known) {
        return 0;
    }
    now_unix_us.saturating_sub(known.last_commit_unix_us.max(known.whole_unix_us)).div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_missing_was_committed_since_everything_was_there() {
        let set = |last: u32| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{last}").parse::<GtidSet>().unwrap();
        let (executed, covered) = (set(10), set(9));
        let s = 1_000_000;
        let known =
            Known { executed: Some(&executed), covered: &covered, last_commit_unix_us: 3_600 * s, whole_unix_us: 0 };
        assert_eq!(seconds(&known, 3_630 * s), 30);
        assert_eq!(seconds(&Known { whole_unix_us: 3_625 * s, ..known }, 3_630 * s), 5, "it rested for a while");
        assert_eq!(seconds(&Known { covered: &executed, ..known }, 9_999 * s), 0);
        assert_eq!(seconds(&Known { executed: None, covered: &executed, ..known }, 3_660 * s), 60, "nobody can say");
        assert_eq!(seconds(&known, 3_000 * s), 0, "a clock that is behind is no recovery point in the future");
    }
}

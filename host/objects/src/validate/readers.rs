//! The servers that are only read from: how many, how late, how far behind.

use std::time::Duration;

use topology::readers::DEFAULT_MAX_LAG_S;

use super::ResolvedReadReplicas;
use crate::api::ReadReplicas;
use crate::duration;
use crate::problem::Problem;

/// The most that a cluster can have. One voting replica feeds them all when the others are gone, and each costs it a
/// thread and its share of the network.
pub const MOST_READERS: u32 = 50;

/// The longest delay, in seconds: 30 days, for which mysqld keeps binary logs if not told otherwise.
const LONGEST_DELAY_S: u64 = 30 * 24 * 3_600;

/// What the spec asks for, or what comes nearest to it where that cannot be; [`super::validate`] says so then. Nearest,
/// because what is there goes on by it meanwhile: a delay that is too long must not become none.
pub fn read_replicas(asked: &ReadReplicas) -> ResolvedReadReplicas {
    check(asked, &mut Vec::new())
}

pub(super) fn check(asked: &ReadReplicas, problems: &mut Vec<Problem>) -> ResolvedReadReplicas {
    let count = u32::try_from(asked.count.max(0)).unwrap_or(0).min(MOST_READERS);
    if i64::from(count) != i64::from(asked.count) {
        let message = format!("there can be 0 to {MOST_READERS}, not {}", asked.count);
        problems.push(Problem::new("spec.readReplicas.count", message, format!("use 0 to {MOST_READERS}")));
    }
    let mut seconds = |field: &str, text: Option<&str>, default: u64, most: u64| {
        let Some(text) = text else { return default };
        let asked = duration::parse(text);
        let nearest = asked.map_or(default, |asked| asked.as_secs().clamp(1, most));
        if asked != Some(Duration::from_secs(nearest)) {
            let message = format!("{text:?} is not a duration of whole seconds, from 1s to {}h", most / 3_600);
            problems.push(Problem::new(field, message, "write it as in 30s, 15m or 1h, or leave it out"));
        }
        nearest
    };
    ResolvedReadReplicas {
        count,
        delay_s: seconds("spec.readReplicas.delay", asked.delay.as_deref(), 0, LONGEST_DELAY_S),
        max_lag_s: seconds("spec.readReplicas.maxLag", asked.max_lag.as_deref(), DEFAULT_MAX_LAG_S, LONGEST_DELAY_S),
    }
}

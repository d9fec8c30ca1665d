//! What is to be told of an archive, and when. Pure.

use std::time::Duration;

use backup::full::Start;
use backup::recovery_point::PROMISED_S;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use objects::api::ArchiveStatus;
use objects::conditions::{BACKUPS_CURRENT, Finding, Status};
use topology::gtid::GtidSet;

/// How often a status is written when only the archive grew.
const GROWTH_EVERY: Duration = Duration::from_secs(60);

/// How often it is written when what keeps it from growing changed.
const WORDS_EVERY: Duration = Duration::from_secs(10);

/// What is known of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// From whom it is written.
    pub member: Option<String>,
    /// How many seconds of commits may be missing from it.
    pub behind_s: u64,
    /// When the newest transaction in it was committed, in microseconds since 1970.
    pub through_unix_us: Option<u64>,
    /// Whether there is a full backup to begin from. None while it is not known from where the archive goes.
    pub start: Option<Start>,
    /// What it covers and the cluster has given up.
    pub given_up: GtidSet,
    /// What keeps it from going on.
    pub problem: Option<String>,
}

/// The condition that follows.
pub fn finding(known: &Known, archive: &str) -> Finding {
    let wrong = |reason: &str, message: String| Finding::new(BACKUPS_CURRENT, Status::False, reason, message);
    if !known.given_up.is_empty() {
        return wrong(
            "HistoryGivenUp",
            format!(
                "the archive holds {}, which the cluster gave up: no backup made since leads to its end. Set \
                 spec.backup.continuous to false, move {archive} to another place in the store, and set it to true again",
                known.given_up
            ),
        );
    }
    let problem = known.problem.clone().unwrap_or_else(|| "it is catching up".to_owned());
    if known.behind_s > PROMISED_S {
        return wrong(
            "Behind",
            format!("commits of more than {PROMISED_S} s may be missing from the archive: {problem}"),
        );
    }
    let member = known.member.as_deref().unwrap_or("nobody yet");
    match &known.start {
        Some(Start::There { .. }) => {
            let message = format!("the binary log is archived from {member}, and a full backup leads to it");
            Finding::new(BACKUPS_CURRENT, Status::True, "Archived", message)
        }
        Some(Start::Wait(why)) => wrong("NoFullBackup", format!("there is no full backup to begin from: {why}")),
        Some(Start::Ask(name)) => {
            wrong("NoFullBackup", format!("there is no full backup to begin from: {name} is asked for"))
        }
        None => wrong("NoFullBackup", format!("the archive has not begun: {problem}")),
    }
}

/// The status that follows.
pub fn status(known: &Known) -> ArchiveStatus {
    let since = match known.start {
        Some(Start::There { since_unix_s }) => Timestamp::from_second(since_unix_s).ok().map(Time),
        _ => None,
    };
    let through = known.through_unix_us.and_then(|us| Timestamp::from_microsecond(i64::try_from(us).ok()?).ok());
    ArchiveStatus {
        since,
        through: through.map(Time),
        member: known.member.clone(),
        lag_seconds: i64::try_from(known.behind_s).ok(),
        problem: known.problem.clone(),
    }
}

/// Whether something is to be written, so long after something was. At once what a person waits for, now and then what
/// changes by itself, and never the same again.
pub fn is_due(
    before: Option<(&ArchiveStatus, &Condition)>,
    now: &ArchiveStatus,
    condition: &Condition,
    since: Duration,
) -> bool {
    let Some((told, said)) = before else { return true };
    if (told, said) == (now, condition) {
        return false;
    }
    let turned = (&said.status, &said.reason) != (&condition.status, &condition.reason);
    let moved = told.member != now.member || told.since != now.since;
    let words = told.problem != now.problem || said.message != condition.message;
    turned || moved || (words && since >= WORDS_EVERY) || since >= GROWTH_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            member: Some("shop-1".to_owned()),
            behind_s: 4,
            through_unix_us: Some(1_795_772_809_000_000),
            start: Some(Start::There { since_unix_s: 1_795_772_000 }),
            given_up: GtidSet::new(),
            problem: None,
        }
    }

    fn told(known: &Known) -> (ArchiveStatus, Condition) {
        let condition = finding(known, "store/shop/log/uid").over(&[], None, &Time(Timestamp::UNIX_EPOCH));
        (status(known), condition)
    }

    #[test]
    fn current_is_what_can_be_led_to_within_the_last_minute() {
        let of = |change: fn(&mut Known)| {
            let mut known = known();
            change(&mut known);
            let finding = finding(&known, "store/shop/log/uid");
            (finding.status == Status::True, finding.reason)
        };
        assert_eq!(of(|_| {}), (true, "Archived".to_owned()));
        assert_eq!(of(|known| known.problem = Some("the store".to_owned())), (true, "Archived".to_owned()), "not yet");
        assert_eq!(of(|known| known.behind_s = 61), (false, "Behind".to_owned()));
        assert_eq!(of(|known| known.start = None), (false, "NoFullBackup".to_owned()));
        assert_eq!(of(|known| known.start = Some(Start::Wait(String::new()))), (false, "NoFullBackup".to_owned()));
        let given_up = "3e11fa47-71ca-11e1-9e33-c80aa9429562:7";
        let lost = Known { given_up: given_up.parse().unwrap(), ..known() };
        assert!(finding(&lost, "store/shop/log/uid").message.contains("move store/shop/log/uid"));
    }

    #[test]
    fn what_changes_by_itself_is_written_now_and_then_and_what_turns_at_once() {
        let s = Duration::from_secs;
        let (before, condition) = told(&known());
        let due = |known: &Known, since| {
            let (now, said) = told(known);
            is_due(Some((&before, &condition)), &now, &said, since)
        };
        assert!(!due(&known(), s(3_600)), "nothing changed");
        let grown = Known { through_unix_us: Some(1_795_772_999_000_000), behind_s: 7, ..known() };
        assert!(!due(&grown, s(59)) && due(&grown, s(60)));
        let hindered = Known { problem: Some("the store".to_owned()), ..known() };
        assert!(!due(&hindered, s(9)) && due(&hindered, s(10)));
        assert!(due(&Known { member: Some("shop-2".to_owned()), ..known() }, s(0)));
        assert!(due(&Known { behind_s: 61, ..known() }, s(0)));
        let (now, said) = told(&known());
        assert!(is_due(None, &now, &said, s(0)));
    }
}

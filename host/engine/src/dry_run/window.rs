//! Rehearsals for policies that say when backups are made: from the first of a cluster at rest to one that has waited for
//! as long as it may.

use topology::backup_window::{LastBackup, LocalTime, Question, Server};
use topology::measured::Load;
use topology::scaling::Role;

use super::REHEARSAL_NAMESPACE;
use super::scaling::{ends, ordinary};

const HOUR_MS: u64 = 3_600_000;

/// Two o'clock at night, UTC, on the first of January 2026, a Thursday.
const DUE_UNIX_MS: u64 = 1_767_232_800_000;

/// The built-in questions with a name for each.
pub fn questions() -> Vec<(&'static str, Question)> {
    let case = |change: &dyn Fn(&mut Question)| {
        let mut question = nightly();
        change(&mut question);
        question
    };
    let loads = |question: &mut Question, change: &dyn Fn(&mut Load)| {
        question.servers.iter_mut().for_each(|server| change(&mut server.load));
    };
    vec![
        ("a backup at night", nightly()),
        ("the first backup", case(&|question| question.last = None)),
        ("nobody can be reached", case(&|question| question.servers.clear())),
        ("nothing was measured", case(&|question| loads(question, &|load| *load = Load::default()))),
        ("a primary alone", case(&|question| question.servers.truncate(1))),
        (
            "servers that are busy",
            case(&|question| {
                loads(question, &|load| {
                    load.queries_per_second = Some(40_000);
                    load.cpu_used_millicores = Some(3_900);
                });
            }),
        ),
        (
            "the last one took longer than there is time",
            case(&|question| {
                question.last = question.last.map(|last| LastBackup { took_s: 40_000, ..last });
            }),
        ),
        (
            "on the last minute of a leap day",
            case(&|question| {
                question.local = LocalTime { year: 2028, month: 2, day: 29, weekday: 2, minute_of_day: 1_439 };
            }),
        ),
        (
            "it has waited for hours",
            case(&|question| {
                question.now_unix_ms = question.latest_unix_ms - 1;
                question.local.minute_of_day = 479;
            }),
        ),
        ("it has waited for as long as it may", case(&|question| question.now_unix_ms = question.latest_unix_ms)),
        (
            "in the evening before a holiday",
            case(&|question| {
                question.local = LocalTime { year: 2026, month: 12, day: 24, weekday: 4, minute_of_day: 20 * 60 + 15 };
            }),
        ),
        (
            "a clock that went back",
            case(&|question| {
                question.now_unix_ms = 0;
                question.local = LocalTime { year: 1970, month: 1, day: 1, weekday: 4, minute_of_day: 0 };
            }),
        ),
        (
            "numbers at their ends",
            case(&|question| {
                loads(question, &ends);
                question.now_unix_ms = u64::MAX;
                question.seed = u64::MAX;
                question.local.minute_of_day = 1_439;
                question.last = Some(LastBackup { ended_unix_ms: u64::MAX, took_s: u64::MAX, bytes: u64::MAX });
            }),
        ),
    ]
}

fn nightly() -> Question {
    let server = |name: &str, role: Role| Server { name: name.to_owned(), role, load: ordinary(role) };
    Question {
        namespace: REHEARSAL_NAMESPACE.to_owned(),
        cluster: "shop".to_owned(),
        now_unix_ms: DUE_UNIX_MS + 4_000,
        seed: 0x5eed_5eed_5eed_5eed,
        local: LocalTime { year: 2026, month: 1, day: 1, weekday: 4, minute_of_day: 120 },
        due_unix_ms: DUE_UNIX_MS,
        latest_unix_ms: DUE_UNIX_MS + 6 * HOUR_MS,
        last: Some(LastBackup { ended_unix_ms: DUE_UNIX_MS - 23 * HOUR_MS, took_s: 340, bytes: 12 << 30 }),
        servers: vec![
            server("shop-0", Role::Primary),
            server("shop-1", Role::Replica),
            server("shop-2", Role::Replica),
            server("shop-read-0", Role::ReadReplica),
        ],
        facts: Vec::new(),
    }
}

//! Rehearsals for policies that tune: servers from tiny to large, measured well, badly and not at all.

use topology::measured::{Load, Resources};
use topology::tuning::{Activity, Present, Question, Setting};

use super::REHEARSAL_NAMESPACE;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The built-in questions with a name for each.
pub fn questions() -> Vec<(&'static str, Question)> {
    let case = |memory: u64, change: &dyn Fn(&mut Question)| {
        let mut question = server(memory);
        change(&mut question);
        question
    };
    vec![
        ("a server of 512 MiB", case(512 * MIB, &|_| {})),
        ("a server of 1 GiB", case(GIB, &|_| {})),
        ("a server of 8 GiB", case(8 * GIB, &|_| {})),
        ("a server of 256 GiB", case(256 * GIB, &|_| {})),
        ("no limit of memory", case(8 * GIB, &|question| question.present.resources = Resources::default())),
        (
            "nothing was measured",
            case(8 * GIB, &|question| {
                question.load = Load::default();
                question.activity = Activity::default();
            }),
        ),
        ("no setting is known", case(8 * GIB, &|question| question.present.settings.clear())),
        (
            "a person set everything",
            case(8 * GIB, &|question| {
                question.present.settings.iter_mut().for_each(|setting| setting.by_person = true);
            }),
        ),
        (
            "values that are none",
            case(8 * GIB, &|question| {
                question.present.settings.iter_mut().for_each(|setting| setting.value = "a lot".to_owned());
            }),
        ),
        ("a pool that is far too large", case(2 * GIB, &|question| set(question, "innodb_buffer_pool_size", 4 * GIB))),
        (
            "a pool that is far too small",
            case(64 * GIB, &|question| set(question, "innodb_buffer_pool_size", 128 * MIB)),
        ),
        (
            "connections are refused",
            case(8 * GIB, &|question| {
                question.load.connections_peak = Some(151);
                question.activity.refused_connections_per_hour = Some(400);
            }),
        ),
        (
            "a redo log that wraps in a minute",
            case(8 * GIB, &|question| {
                question.activity.redo_written_bytes_per_hour = Some(60 * GIB);
                question.activity.checkpoint_age_bytes = Some(900 * MIB);
                question.activity.log_waits_per_hour = Some(9_000);
            }),
        ),
        (
            "just changed, and unsettled",
            case(8 * GIB, &|question| {
                question.present.changed_s = Some(0);
                question.present.unsettled = Some("a rollout is under way".to_owned());
            }),
        ),
        (
            "numbers at their ends",
            case(u64::MAX, &|question| {
                question.load = ends();
                question.present.resources.cpu_millicores = Some(u64::MAX);
                question.present.settings.iter_mut().for_each(|setting| setting.value = u64::MAX.to_string());
            }),
        ),
    ]
}

fn set(question: &mut Question, name: &str, value: u64) {
    let settings = question.present.settings.iter_mut().filter(|setting| setting.name == name);
    settings.for_each(|setting| setting.value = value.to_string());
}

fn server(memory: u64) -> Question {
    let pool = memory / 10 * 6;
    let settings = [
        ("binlog_expire_logs_seconds", 259_200),
        ("innodb_buffer_pool_size", pool),
        ("innodb_io_capacity", 10_000),
        ("innodb_log_buffer_size", 64 * MIB),
        ("innodb_redo_log_capacity", (pool / 2).min(4 * GIB)),
        ("join_buffer_size", 262_144),
        ("max_connections", 151),
        ("replica_parallel_workers", 16),
        ("sort_buffer_size", 262_144),
        ("table_open_cache", 4_000),
        ("temptable_max_ram", memory / 16),
        ("thread_cache_size", 9),
    ];
    let settings =
        settings.map(|(name, value)| Setting { name: name.to_owned(), value: value.to_string(), by_person: false });
    Question {
        namespace: REHEARSAL_NAMESPACE.to_owned(),
        cluster: "shop".to_owned(),
        now_unix_ms: 1_767_225_600_000,
        seed: 0x5eed_5eed_5eed_5eed,
        version: "8.4.6".to_owned(),
        present: Present {
            resources: Resources { cpu_millicores: Some(4_000), memory_bytes: Some(memory) },
            volume_bytes: Some(100 * GIB),
            agent_bytes: 64 * MIB,
            settings: settings.into(),
            cooldown_s: 3_600,
            ..Present::default()
        },
        load: Load {
            window_s: 3_600,
            running_threads_milli: Some(2_000),
            running_threads_peak: Some(12),
            cpu_used_millicores: Some(900),
            queries_per_second: Some(900),
            connections_peak: Some(40),
            connections_limit: Some(151),
            buffer_pool_hit_permille: Some(998),
            memory_working_set_bytes: Some(memory / 10 * 7),
            oom_kills: Some(0),
            ..Load::default()
        },
        activity: Activity {
            redo_written_bytes_per_hour: Some(GIB),
            log_waits_per_hour: Some(0),
            tmp_tables_per_hour: Some(5_000),
            tmp_tables_on_disk_permille: Some(20),
            threads_created_per_hour: Some(3),
            connections_peak_since_start: Some(60),
            refused_connections_per_hour: Some(0),
            data_bytes: Some(30 * GIB),
            ..Activity::default()
        },
        facts: Vec::new(),
    }
}

fn ends() -> Load {
    let most = Some(u64::MAX);
    Load {
        window_s: u64::MAX,
        running_threads_milli: most,
        running_threads_peak: most,
        connections_peak: most,
        connections_limit: most,
        memory_working_set_bytes: most,
        oom_kills: most,
        ..Load::default()
    }
}

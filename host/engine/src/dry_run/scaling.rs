//! Rehearsals for policies that scale: clusters from idle to drowning, and with nothing known of them.

use topology::measured::{Load, Resources};
use topology::scaling::{Bounds, Present, Question, Range, Role, Server};

use super::REHEARSAL_NAMESPACE;

const GIB: u64 = 1 << 30;

/// The built-in questions with a name for each.
pub fn questions() -> Vec<(&'static str, Question)> {
    let case = |readers: u32, change: &dyn Fn(&mut Question)| {
        let mut question = cluster(3, readers);
        change(&mut question);
        question
    };
    let loads = |question: &mut Question, change: &dyn Fn(&mut Load)| {
        question.servers.iter_mut().for_each(|server| change(&mut server.load));
    };
    let busy = |load: &mut Load| {
        load.cpu_used_millicores = Some(1_950);
        load.running_threads_milli = Some(31_000);
        load.cpu_throttled_permille = Some(400);
    };
    vec![
        ("no server at all", case(0, &|question| question.servers.clear())),
        ("one member and nobody else", Question { ..cluster(1, 0) }),
        ("three members, no reader", case(0, &|_| {})),
        ("three members, two idle readers", case(2, &|question| loads(question, &idle))),
        ("readers that are busy", case(2, &|question| loads(question, &busy))),
        ("as many readers as there may be, all busy", case(8, &|question| loads(question, &busy))),
        ("nothing was measured", case(2, &|question| loads(question, &|load| *load = Load::default()))),
        ("nothing may be changed", case(2, &|question| question.bounds = Bounds::default())),
        (
            "readers that do not serve",
            case(3, &|question| {
                let readers = question.servers.iter_mut().filter(|server| server.role == Role::ReadReplica);
                readers.for_each(|reader| {
                    reader.serving = false;
                    reader.load.replication_lag_s = Some(4_000);
                });
            }),
        ),
        (
            "a primary that drowns in writes",
            case(1, &|question| {
                busy(&mut question.servers[0].load);
                question.servers[0].load.writes_per_second = Some(40_000);
            }),
        ),
        (
            "a volume that is full in an hour",
            case(1, &|question| {
                loads(question, &|load| {
                    load.volume_free_bytes = Some(GIB);
                    load.volume_growth_bytes_per_hour = Some(1 << 30);
                });
            }),
        ),
        (
            "a server that ran out of memory",
            case(1, &|question| {
                loads(question, &|load| {
                    load.oom_kills = Some(3);
                    load.memory_working_set_bytes = Some(4 * GIB - 1);
                });
            }),
        ),
        (
            "just changed, and unsettled",
            case(2, &|question| {
                let present = &mut question.present;
                present.read_replicas_changed_s = Some(0);
                present.resources_changed_s = Some(0);
                present.volume_changed_s = Some(0);
                present.unsettled = Some("shop-2 is away".to_owned());
            }),
        ),
        ("no limits at all", case(1, &|question| question.present.resources = Resources::default())),
        (
            "numbers at their ends",
            case(2, &|question| {
                loads(question, &ends);
                question.present.volume_bytes = u64::MAX;
                question.present.resources = Resources { cpu_millicores: Some(u64::MAX), memory_bytes: Some(u64::MAX) };
                question.present.read_replicas = u32::MAX;
            }),
        ),
    ]
}

fn cluster(members: u32, readers: u32) -> Question {
    let server = |number: u32, role: Role| Server {
        name: if role == Role::ReadReplica { format!("shop-read-{number}") } else { format!("shop-{number}") },
        role,
        zone: ["a", "b", "c"][number as usize % 3].to_owned(),
        serving: true,
        load: ordinary(role),
    };
    let voters = (0..members).map(|number| server(number, if number == 0 { Role::Primary } else { Role::Replica }));
    Question {
        namespace: REHEARSAL_NAMESPACE.to_owned(),
        cluster: "shop".to_owned(),
        now_unix_ms: 1_767_225_600_000,
        seed: 0x5eed_5eed_5eed_5eed,
        present: Present {
            members,
            acks: u32::from(members > 1),
            read_replicas: readers,
            resources: Resources { cpu_millicores: Some(2_000), memory_bytes: Some(4 * GIB) },
            volume_bytes: 20 * GIB,
            ..Present::default()
        },
        bounds: Bounds {
            read_replicas: Some(Range { least: 0, most: 8 }),
            read_replicas_step: 1,
            cpu_millicores: Some(Range { least: 500, most: 8_000 }),
            memory_bytes: Some(Range { least: GIB, most: 32 * GIB }),
            volume_most_bytes: Some(200 * GIB),
            cooldown_s: 600,
        },
        servers: voters.chain((0..readers).map(|number| server(number, Role::ReadReplica))).collect(),
        facts: Vec::new(),
    }
}

/// A server with enough to do.
pub fn ordinary(role: Role) -> Load {
    Load {
        window_s: 300,
        running_threads_milli: Some(1_500),
        running_threads_peak: Some(9),
        cpu_used_millicores: Some(700),
        cpu_throttled_permille: Some(0),
        queries_per_second: Some(900),
        reads_per_second: Some(700),
        writes_per_second: Some(if role == Role::Primary { 200 } else { 0 }),
        statement_p95_micros: Some(4_000),
        connections_peak: Some(40),
        connections_limit: Some(151),
        buffer_pool_misses_per_second: Some(20),
        buffer_pool_hit_permille: Some(998),
        data_read_micros: Some(300),
        data_write_micros: Some(500),
        row_lock_waits_per_minute: Some(2),
        history_list_length: Some(80),
        replication_lag_s: (role != Role::Primary).then_some(0),
        memory_working_set_bytes: Some(3 * GIB),
        oom_kills: Some(0),
        volume_free_bytes: Some(12 * GIB),
        volume_growth_bytes_per_hour: Some(1 << 20),
        semi_sync_wait_micros: (role == Role::Primary).then_some(900),
    }
}

fn idle(load: &mut Load) {
    load.running_threads_milli = Some(1_000);
    load.cpu_used_millicores = Some(20);
    load.queries_per_second = Some(1);
    load.reads_per_second = Some(0);
}

/// A load of which every number is as far out as it can be.
pub fn ends(load: &mut Load) {
    let most = Some(u64::MAX);
    *load = Load {
        window_s: u64::MAX,
        running_threads_milli: most,
        running_threads_peak: most,
        cpu_used_millicores: most,
        cpu_throttled_permille: Some(1_000),
        queries_per_second: most,
        reads_per_second: most,
        writes_per_second: most,
        statement_p95_micros: most,
        connections_peak: most,
        connections_limit: Some(0),
        buffer_pool_misses_per_second: most,
        buffer_pool_hit_permille: Some(0),
        data_read_micros: most,
        data_write_micros: most,
        row_lock_waits_per_minute: most,
        history_list_length: most,
        replication_lag_s: most,
        memory_working_set_bytes: most,
        oom_kills: most,
        volume_free_bytes: Some(0),
        volume_growth_bytes_per_hour: Some(i64::MAX),
        semi_sync_wait_micros: most,
    };
}

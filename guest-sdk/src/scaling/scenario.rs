//! Writing down a situation in a test as briefly as one would say it.
//!
//! This is for tests only and must never be needed to decide.

use super::{Bounds, Load, Present, Question, Range, Resources, Role, Server};

const GIB: u64 = 1 << 30;

/// Three members of two processors, 4 GiB and a volume of 20 GiB, with so many readers. Everything may be changed, one
/// reader at a time, every ten minutes. Nothing was measured.
pub fn cluster(readers: u32) -> Question {
    let voter =
        |number: u32| server(&format!("shop-{number}"), if number == 0 { Role::Primary } else { Role::Replica });
    let reader = |number: u32| server(&format!("shop-read-{number}"), Role::ReadReplica);
    Question {
        namespace: "default".into(),
        cluster: "shop".into(),
        now_unix_ms: 1_700_000_000_000,
        seed: 42,
        present: Present {
            members: 3,
            acks: 1,
            read_replicas: readers,
            resources: Resources { cpu_millicores: Some(2_000), memory_bytes: Some(4 * GIB) },
            volume_bytes: 20 * GIB,
            read_replicas_changed_s: None,
            resources_changed_s: None,
            volume_changed_s: None,
            unsettled: None,
        },
        bounds: Bounds {
            read_replicas: Some(Range { least: 0, most: 8 }),
            read_replicas_step: 1,
            cpu_millicores: Some(Range { least: 500, most: 8_000 }),
            memory_bytes: Some(Range { least: GIB, most: 32 * GIB }),
            volume_most_bytes: Some(200 * GIB),
            cooldown_s: 600,
        },
        servers: (0..3).map(voter).chain((0..readers).map(reader)).collect(),
        facts: Vec::new(),
    }
}

/// A server that serves, and of which nothing was measured.
pub fn server(name: &str, role: Role) -> Server {
    Server { name: name.into(), role, zone: "a".into(), serving: true, load: unmeasured() }
}

impl Question {
    /// The same, with something else measured of every server.
    pub fn measured(mut self, change: impl Fn(&mut Server)) -> Self {
        self.servers.iter_mut().for_each(change);
        self
    }
}

fn unmeasured() -> Load {
    Load {
        window_s: 300,
        running_threads_milli: None,
        running_threads_peak: None,
        cpu_used_millicores: None,
        cpu_throttled_permille: None,
        queries_per_second: None,
        reads_per_second: None,
        writes_per_second: None,
        statement_p95_micros: None,
        connections_peak: None,
        connections_limit: None,
        buffer_pool_misses_per_second: None,
        buffer_pool_hit_permille: None,
        data_read_micros: None,
        data_write_micros: None,
        row_lock_waits_per_minute: None,
        history_list_length: None,
        replication_lag_s: None,
        memory_working_set_bytes: None,
        oom_kills: None,
        volume_free_bytes: None,
        volume_growth_bytes_per_hour: None,
        semi_sync_wait_micros: None,
    }
}

//! Writing down a situation in a test as briefly as one would say it.
//!
//! This is for tests only and must never be needed to decide.

use super::{LastBackup, Load, LocalTime, Question, Role, Server};

const HOUR_MS: u64 = 3_600_000;

/// A backup that is due now, on a Monday at two in the morning, and can wait for six hours. The last one was made a day
/// ago and took ten minutes. Nothing was measured of the three members.
pub fn nightly() -> Question {
    let now = 1_700_445_600_000;
    let server = |number: u32| Server {
        name: format!("shop-{number}"),
        role: if number == 0 { Role::Primary } else { Role::Replica },
        load: unmeasured(),
    };
    Question {
        namespace: "default".into(),
        cluster: "shop".into(),
        now_unix_ms: now,
        seed: 42,
        local: LocalTime { year: 2023, month: 11, day: 20, weekday: 1, minute_of_day: 120 },
        due_unix_ms: now,
        latest_unix_ms: now + 6 * HOUR_MS,
        last: Some(LastBackup { ended_unix_ms: now - 24 * HOUR_MS, took_s: 600, bytes: 10 << 30 }),
        servers: (0..3).map(server).collect(),
        facts: Vec::new(),
    }
}

impl Question {
    /// The same on another weekday (from 1 for Monday), at so many minutes after midnight.
    pub fn at(mut self, weekday: u32, minute_of_day: u32) -> Self {
        (self.local.weekday, self.local.minute_of_day) = (weekday, minute_of_day);
        self
    }

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

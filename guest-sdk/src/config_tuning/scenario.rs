//! Writing down a situation in a test as briefly as one would say it.
//!
//! This is for tests only and must never be needed to decide.

use super::{Activity, Load, Present, Question, Resources, Setting};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A server of four processors and so many bytes of memory, with a volume of 100 GiB and 151 connections, of which
/// nothing was measured and nothing set.
pub fn server(memory: u64) -> Question {
    let question = Question {
        namespace: "default".into(),
        cluster: "shop".into(),
        now_unix_ms: 1_700_000_000_000,
        seed: 42,
        version: "8.4.6".into(),
        present: Present {
            resources: Resources { cpu_millicores: Some(4_000), memory_bytes: Some(memory) },
            volume_bytes: Some(100 * GIB),
            agent_bytes: 64 * MIB,
            settings: Vec::new(),
            changed_s: None,
            cooldown_s: 3_600,
            backup_every_s: None,
            unsettled: None,
        },
        load: Load { window_s: 3_600, ..unmeasured() },
        activity: idle(),
        facts: Vec::new(),
    };
    question.set("max_connections", 151)
}

impl Question {
    /// The same, with a setting in force.
    pub fn set(self, name: &str, value: u64) -> Self {
        self.with(name, value, false)
    }

    /// The same, with a setting in force that a person set.
    pub fn by_person(self, name: &str, value: u64) -> Self {
        self.with(name, value, true)
    }

    fn with(mut self, name: &str, value: u64, by_person: bool) -> Self {
        self.present.settings.retain(|setting| setting.name != name);
        self.present.settings.push(Setting { name: name.into(), value: value.to_string(), by_person });
        self.present.settings.sort_by(|a, b| a.name.cmp(&b.name));
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

fn idle() -> Activity {
    Activity {
        redo_written_bytes_per_hour: None,
        checkpoint_age_bytes: None,
        log_waits_per_hour: None,
        dirty_pages_permille: None,
        buffer_pool_used_permille: None,
        free_page_waits_per_hour: None,
        tmp_tables_per_hour: None,
        tmp_tables_on_disk_permille: None,
        table_cache_misses_per_hour: None,
        table_cache_overflows_per_hour: None,
        threads_created_per_hour: None,
        sort_merge_passes_per_hour: None,
        full_joins_per_hour: None,
        binlog_cache_disk_uses_per_hour: None,
        aborted_clients_per_hour: None,
        aborted_connects_per_hour: None,
        refused_connections_per_hour: None,
        connections_peak_since_start: None,
        data_bytes: None,
    }
}

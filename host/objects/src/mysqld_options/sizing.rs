//! What follows from the size of the pod: buffers that fit the memory, appliers that keep up.
//!
//! A failover waits until the new primary has applied what it received, so the number of appliers decides how long
//! writes stop: with 4 of them a median of 1.76 s was measured, with 16 of them 0.15 to 0.53 s.

use std::collections::BTreeMap;

use super::size_of;

const MIB: u64 = 1 << 20;

/// What mysqld needs beside its buffer pool before anybody connects, performance_schema included, and the agent.
const OVERHEAD: u64 = 640 * MIB;
/// A pool takes one part in so many more than its size, for what is known of each page. It shows only once it is full.
const PAGES_SHARE: u64 = 12;
/// What a connection may take.
const PER_CONNECTION: u64 = 4 * MIB;
/// mysqld's own default.
const CONNECTIONS: u64 = 151;
/// Below this a pool is not worth having; it is mysqld's own default.
const SMALLEST_POOL: u64 = 128 * MIB;
/// What mysqld rounds the size of a pool up to (`innodb_buffer_pool_chunk_size`), unless it is smaller.
const CHUNK: u64 = 128 * MIB;

/// The size of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizing {
    /// Bytes of memory, if limited.
    pub memory: Option<u64>,
    /// Thousandths of a CPU, if limited or requested.
    pub millicores: Option<u64>,
    /// Bytes of the volume.
    pub storage: u64,
}

/// Options that follow from the size, as far as nobody set them.
pub fn defaults(sizing: &Sizing, set: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut put = |name: &str, value: u64| options.insert(name.to_owned(), value.to_string());

    let connections = set.get("max_connections").and_then(|value| size_of(value)).unwrap_or(CONNECTIONS);
    let pool = sizing.memory.map(|memory| pool_size(memory, connections));
    if let (Some(pool), Some(memory)) = (pool, sizing.memory) {
        put("innodb_buffer_pool_size", pool);
        // Internal temporary tables share one gigabyte by default, which alone is more than a small pod has.
        put("temptable_max_ram", temporary_tables(memory));
    }
    // Known from 8.0.30 on; older ones pass over a loose option. It must leave room for data on a small volume.
    let redo = (pool.unwrap_or(SMALLEST_POOL) / 2).clamp(100 * MIB, 4096 * MIB).min(sizing.storage / 8);
    put("loose_innodb_redo_log_capacity", redo.max(8 * MIB) / MIB * MIB);
    put("max_binlog_size", (sizing.storage / 32).clamp(16 * MIB, 256 * MIB) / MIB * MIB);
    put("binlog_expire_logs_seconds", 3 * 24 * 3600);
    put("replica_parallel_workers", sizing.millicores.unwrap_or(0).div_ceil(250).clamp(16, 256));
    // Clients come from pods, whose addresses have no names worth waiting for.
    options.insert("skip_name_resolve".to_owned(), "ON".to_owned());
    options
}

fn temporary_tables(memory: u64) -> u64 {
    (memory / 16).clamp(16 * MIB, 1024 * MIB)
}

/// With a pool that is full and temporary tables as large as they get, nothing must be left for the kernel to kill: with
/// neither counted, a server of 2 GiB was killed as soon as its data was larger than its pool.
fn pool_size(memory: u64, connections: u64) -> u64 {
    let others = OVERHEAD.max(connections.saturating_mul(PER_CONNECTION)) + temporary_tables(memory);
    let left = memory.saturating_sub(others);
    let pool = (memory / 10 * 7).min(left - left / (PAGES_SHARE + 1));
    let unit = if pool < CHUNK { MIB } else { CHUNK };
    (pool / unit * unit).max(SMALLEST_POOL.min(memory / 4) / MIB * MIB)
}

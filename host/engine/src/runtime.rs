//! The WebAssembly runtime: its configuration, its clock, and how many calls may run at once.
//!
//! What is compiled must never depend on the machine beyond its instruction set, and nothing that makes two runs
//! of the same module differ may be enabled.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Enabled, PoolingAllocationConfig};

use crate::error::EngineError;
use crate::limits::Limits;

/// Milliseconds between two ticks of the clock that stops modules.
pub const TICK_MS: u64 = 10;

/// Bytes of stack a module may use inside the host's thread.
const STACK_BYTES: usize = 512 << 10;

/// Bytes of initial memory that are laid out ahead of time however little of it is written. What is spread further has
/// to be dense, or is copied into each instance: otherwise a module of a hundred bytes compiles to 16 MiB.
const IMAGE_BYTES: u64 = 256 << 10;

/// Core instances in one component: the module itself and the two shims that componentizing adds, with room for
/// toolchains that add more.
pub const CORE_INSTANCES: u32 = 8;

/// Elements in one table. Rust policies have about a hundred.
pub const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of an instance's memory that stay mapped for the next one. Policies touch less; what they touch beyond
/// goes back to the system.
const RESIDENT_BYTES: usize = 256 << 10;

/// What decides how modules are compiled: the same in the compiling process and in the one that runs them.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .max_wasm_stack(STACK_BYTES)
        .memory_guaranteed_dense_image_size(IMAGE_BYTES)
        .parallel_compilation(false);
    config
}

/// The runtime with instances from a pool; without one where the address space for it cannot be had.
pub fn start(limits: &Limits) -> Result<wasmtime::Engine, EngineError> {
    let slots = limits.concurrent_calls;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_memories(slots)
        .max_memories_per_component(1)
        .max_memory_size(limits.memory_bytes)
        .total_tables(slots * CORE_INSTANCES)
        .max_tables_per_component(CORE_INSTANCES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(TABLE_ELEMENTS * size_of::<usize>())
        .pagemap_scan(Enabled::Auto);
    let mut pooled = config();
    pooled.allocation_strategy(pool);
    let engine = wasmtime::Engine::new(&pooled)
        .inspect_err(|error| tracing::warn!(%error, "no pool for policy instances; decisions take a little longer"))
        .or_else(|_| wasmtime::Engine::new(&config()))
        .map_err(|error| EngineError::Runtime(format!("{error:#}")))?;
    tick(&engine)?;
    Ok(engine)
}

/// Lets the engine's clock tick for as long as the engine lives.
///
/// A thread of the system's own: a task of an async runtime would stand still exactly when the machine is busy.
fn tick(engine: &wasmtime::Engine) -> Result<(), EngineError> {
    let weak = engine.weak();
    std::thread::Builder::new().name("policy-clock".to_owned()).stack_size(64 << 10).spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(Duration::from_millis(TICK_MS));
        }
    })?;
    Ok(())
}

/// Room for a number of calls at a time. Waiting is bounded because every call is.
pub struct Room {
    places: Mutex<Places>,
    freed: Condvar,
}

/// Those that are free, and how many calls wait for one.
struct Places {
    free: u32,
    waiting: u32,
}

impl Room {
    /// Room for this many.
    pub fn new(calls: u32) -> Self {
        Self { places: Mutex::new(Places { free: calls.max(1), waiting: 0 }), freed: Condvar::new() }
    }

    /// Waits for a place and keeps it until the result is dropped.
    pub fn enter(&self) -> Place<'_> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        while places.free == 0 {
            places.waiting += 1;
            places = self.freed.wait(places).unwrap_or_else(PoisonError::into_inner);
            places.waiting -= 1;
        }
        places.free -= 1;
        Place(self)
    }
}

/// A place in a [`Room`].
pub struct Place<'a>(&'a Room);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.free += 1;
        // Waking somebody is a system call even where there is nobody, and there hardly ever is.
        if places.waiting > 0 {
            self.0.freed.notify_one();
        }
    }
}

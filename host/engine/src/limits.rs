//! How much a module may cost. Every number says its unit, and why it is what it is.
//!
//! A limit must never depend on the clock alone where a count can be had: fuel is the same on every run, time is
//! only a backstop.

/// Bounds on compiling and running modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a component, packed or unpacked. A ConfigMap holds at most 1 MiB; a component of 1 MiB packed is
    /// below 8 MiB unpacked at the compression rates seen (3–5 ×).
    pub component_bytes: usize,
    /// Milliseconds of wall-clock time one compilation may take. 1 MB of code compiles in about a second.
    pub compile_time_ms: u64,
    /// Seconds of processor time one compilation may take.
    pub compile_cpu_seconds: u64,
    /// Bytes of address space the compiling process may have, its program included. A policy of 35 kB needs about
    /// 50 MB, one of 5 MB about 350 MB. It counts towards the operator's container.
    pub compile_address_space_bytes: u64,
    /// Units of fuel one call may burn: about one for each WebAssembly instruction. The embedded default needs
    /// about 10,000 for three members and 22,000 for seven; 20,000,000 take some 20 ms.
    pub fuel: u64,
    /// Milliseconds of processor time one call may take, should fuel ever fail to stop it: far above what the fuel
    /// can buy, far below a failover's budget of 2 s. Processor time and not the clock's, because a call never
    /// waits for anything, and a throttled container must not fail a good module. It is noticed within twice as
    /// long.
    pub call_cpu_ms: u64,
    /// Bytes of memory one instance may have.
    pub memory_bytes: usize,
    /// Bytes a module may hand to the host at once: in an answer, or in a line it logs.
    pub transfer_bytes: usize,
    /// Bytes a module may write to its log in one call, kept or not, each line counting as 256 more. Taking a line
    /// costs the host time and the module hardly any fuel; so many take some 20 ms.
    pub log_bytes: usize,
    /// Lines kept of what a module says in one call.
    pub log_lines: usize,
    /// Bytes kept of each such line, and of each reason in an answer: what still fits an Event (1,024 bytes).
    pub text_bytes: usize,
    /// Bytes of settings, as JSON, and of a schema of them. Checking takes at worst as many steps as the product of
    /// both has values.
    pub settings_bytes: usize,
    /// Calls that may run at the same time; further ones wait. A call takes microseconds.
    pub concurrent_calls: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 8 << 20,
            compile_time_ms: 30_000,
            compile_cpu_seconds: 20,
            compile_address_space_bytes: 256 << 20,
            fuel: 20_000_000,
            call_cpu_ms: 250,
            memory_bytes: 16 << 20,
            transfer_bytes: 1 << 20,
            log_bytes: 16 << 20,
            log_lines: 32,
            text_bytes: 1_000,
            settings_bytes: 64 << 10,
            concurrent_calls: 16,
        }
    }
}

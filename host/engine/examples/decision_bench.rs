//! What a decision costs: the same rule natively and in the sandbox. Prints one JSON object.
//!
//! Run with `cargo run --release -p engine --example decision_bench [CALLS]`. Times are nanoseconds; each call is
//! measured by itself, the sandboxed one with a fresh instance, as the operator makes it.

use std::time::Instant;

use engine::{Engine, Options, PrimarySelection, built_in_questions};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let calls: usize = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    let engine = Engine::new(Options::compiling_in_process())?;
    let module = engine.embedded()?;
    let slot = PrimarySelection::new(engine);
    let mut rows = Vec::new();
    for name in ["three members, two equal", "seven members, all healthy"] {
        let Some((_, question)) = built_in_questions().into_iter().find(|(known, _)| *known == name) else { continue };
        let sandboxed = measure(calls, || slot.decide(&question));
        let native = measure(calls, || engine::decide_natively(&question));
        let fuel = slot.decide(&question).fuel;
        rows.push(json!({"question": name, "fuel": fuel, "native": native, "sandboxed": sandboxed}));
    }
    let module = json!({"name": module.description().name, "digest": module.digest(), "bytes": module.bytes()});
    println!(
        "{:#}",
        json!({"engine": Engine::version(), "module": module, "calls": calls, "unit": "ns", "rows": rows})
    );
    Ok(())
}

/// The distribution over single calls, after a tenth as many to warm up.
fn measure<T>(calls: usize, call: impl Fn() -> T) -> serde_json::Value {
    (0..calls / 10).for_each(|_| drop(std::hint::black_box(call())));
    let mut times: Vec<u128> = (0..calls)
        .map(|_| {
            let started = Instant::now();
            std::hint::black_box(call());
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len().saturating_sub(1)) * share / 1_000).copied().unwrap_or(0) as u64;
    json!({"p50": at(500), "p90": at(900), "p99": at(990), "p999": at(999)})
}

//! Many modules at once, and one module in many clusters.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use engine::{Binding, PrimarySelection};
use serde_json::json;

use crate::figures::{Report, Times, resident_bytes};
use crate::modules::{engine, with_remark};
use crate::question::failover;

/// Loads so many different modules, then one in so many clusters.
///
/// # Errors
/// One does not load, or the one was compiled more than once.
pub fn measure(many: usize, report: &mut Report) -> Result<()> {
    let component = engine::build::policy("prefer-zone")?;
    let settings = json!({ "zones": ["b"] });
    let engine = engine()?;
    // What the first one brings with it belongs to all of them.
    let first = engine.load(&component)?;
    let before = resident_bytes()?;
    let mut took = Vec::new();
    let mut modules: Vec<Arc<Binding>> = Vec::new();
    for number in 1..=many {
        let bytes = with_remark(&component, number);
        let started = Instant::now();
        let module = engine.load(&bytes)?;
        modules.push(engine.bind(module, &settings)?);
        took.push(started.elapsed());
    }
    let each = resident_bytes()?.saturating_sub(before) / many.max(1) as u64;
    let size = component.len();
    report.amount(format!("memory of a module, {many} different ones of {size} bytes loaded"), kibibytes(each));
    if let Some(times) = Times::of(took) {
        report.add("loading a module: unpacked, compiled by a child, checked, rehearsed", times);
    }
    drop(modules);

    let question = failover(3).context("there is no question to ask")?;
    let before = resident_bytes()?;
    let started = Instant::now();
    let mut slots = Vec::new();
    for _ in 0..many {
        let module = engine.load(&component)?;
        ensure!(Arc::ptr_eq(&module, &first), "the same module was loaded twice");
        let slot = PrimarySelection::new(engine.clone());
        slot.swap(engine.bind(module, &settings)?);
        ensure!(slot.decide(&question).failures.is_empty(), "a decision failed");
        slots.push(slot);
    }
    let took = started.elapsed() / u32::try_from(many)?.max(1);
    let each = resident_bytes()?.saturating_sub(before) / many.max(1) as u64;
    let value = format!("compiled once; {} and {} µs for each cluster", kibibytes(each), took.as_micros());
    report.amount(format!("one module in {many} clusters"), value);
    Ok(())
}

fn kibibytes(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

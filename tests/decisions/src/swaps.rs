//! Swapping modules while eight threads decide: no decision may fail or be torn, and memory must not grow.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use engine::{Binding, Decision, Engine, PrimarySelection, Source};
use serde_json::json;
use topology::decision::Answer;

use crate::figures::{Report, Times, resident_bytes};
use crate::modules::{engine, with_remark};
use crate::question::failover;

/// Threads that decide.
const DECIDERS: usize = 8;

/// After so many swaps comes a module that was never seen before and has to be compiled.
const ANEW: usize = 500;

/// The zones that modules are told to prefer, and the member that lives there.
const ZONES: [(&str, &str); 2] = [("b", "shop-1"), ("c", "shop-2")];

/// Which of [`ZONES`] each module was told, by digest. A module never gets another one, so that a decision by one
/// module with the settings of another shows.
type Told = RwLock<HashMap<String, usize>>;

/// What the deciders saw.
#[derive(Default)]
struct Seen {
    decided: AtomicUsize,
    failed: AtomicUsize,
    torn: AtomicUsize,
    /// The first decision that failed or was torn, in the words of a programmer.
    first: OnceLock<String>,
}

/// Swaps so many times and adds what it saw.
///
/// # Errors
/// A decision failed or was torn.
pub fn measure(swaps: usize, report: &mut Report) -> Result<()> {
    let component = engine::build::policy("prefer-zone")?;
    let question = failover(3).context("there is no question to ask")?;
    let engine = engine()?;
    let slot = PrimarySelection::new(engine.clone());
    // Held, so that none but every so many-th swap compiles.
    let _held = [1, 2].map(|remark| engine.load(&with_remark(&component, remark)));
    let (told, seen, over) = (Told::default(), Seen::default(), AtomicBool::new(false));
    slot.swap(next(&engine, &component, 0, &told)?);
    let (mut took, mut took_anew, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..DECIDERS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    seen.judge(&slot.decide(&question), &told);
                }
            });
        }
        let swapped = (1..=swaps).try_for_each(|number| {
            let started = Instant::now();
            slot.swap(next(&engine, &component, number, &told)?);
            let list = if number.is_multiple_of(ANEW) { &mut took_anew } else { &mut took };
            list.push(started.elapsed());
            if number % swaps.div_ceil(5) == 0 || number == swaps {
                resident.push(resident_bytes()?);
            }
            Ok::<_, anyhow::Error>(())
        });
        over.store(true, Ordering::Relaxed);
        swapped
    })?;
    let Seen { decided, failed, torn, first } = seen;
    let (failed, torn) = (failed.into_inner(), torn.into_inner());
    let what = format!("decisions of {DECIDERS} threads beside {swaps} swaps");
    report.amount(what, format!("{failed} failed, {torn} torn of {}", decided.into_inner()));
    let mebibytes: Vec<String> =
        resident.iter().map(|bytes| format!("{:.1}", *bytes as f64 / f64::from(1 << 20))).collect();
    report.amount("memory of the process after each fifth of the swaps", format!("{} MiB", mebibytes.join(", ")));
    for (what, took) in [("a swap beside 8 deciding threads", took), ("the same with a module to compile", took_anew)] {
        if let Some(times) = Times::of(took) {
            report.add(what, times);
        }
    }
    let first = first.get().map_or("", String::as_str);
    ensure!(failed == 0 && torn == 0, "{failed} decisions failed and {torn} were torn, the first: {first}");
    Ok(())
}

/// The binding of a swap: the two first modules by turns and, now and then, one more.
fn next(engine: &Engine, component: &[u8], number: usize, told: &Told) -> Result<Arc<Binding>> {
    let zone = number % ZONES.len();
    let remark = if number.is_multiple_of(ANEW) { number } else { zone + 1 };
    let module = engine.load(&with_remark(component, remark))?;
    told.write().unwrap_or_else(PoisonError::into_inner).insert(module.digest().to_owned(), zone);
    Ok(engine.bind(module, &json!({ "zones": [ZONES[zone].0] }))?)
}

impl Seen {
    /// Counts a decision. Module, settings and answer have to be those that belong together.
    fn judge(&self, decision: &Decision, told: &Told) {
        self.decided.fetch_add(1, Ordering::Relaxed);
        if !decision.failures.is_empty() || decision.by.source != Source::Configured {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.first.get_or_init(|| format!("{decision:?}"));
            return;
        }
        let zone = told.read().unwrap_or_else(PoisonError::into_inner).get(&decision.by.digest).copied();
        let whole = zone.map(|zone| ZONES[zone]).is_some_and(|(zone, member)| {
            let settings = json!({ "zones": [zone] }).to_string();
            let settings = decision.attempts.iter().all(|asked| asked.settings == settings);
            settings
                && matches!(&decision.answer, Answer::Promote { candidate, reason, .. }
                    if candidate == member && reason.contains(&format!("zone {zone}, preference 1 of 1")))
        });
        if !whole {
            self.torn.fetch_add(1, Ordering::Relaxed);
            self.first.get_or_init(|| format!("{decision:?}"));
        }
    }
}

//! One call into one fresh instance, bounded in every way, with whatever goes wrong as a value.
//!
//! A store is used once and dropped, after a trap as after an answer. Nothing may outlive a call but its result,
//! its fuel and its log lines.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

use crate::decision::{Failure, FailureKind};
use crate::limits::Limits;
use crate::runtime::{Room, TICK_MS};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the policy's author.
    Debug,
    /// For the operator of the cluster.
    Info,
    /// Something looks wrong.
    Warn,
    /// Something is wrong.
    Error,
}

/// A line that a module wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says, cut to [`Limits::text_bytes`].
    pub message: String,
}

/// What a call carries: its log and its memory limit.
pub struct Context {
    logs: Vec<LogLine>,
    dropped_lines: usize,
    log_lines: usize,
    text_bytes: usize,
    memory_bytes: usize,
    memory_refused: bool,
    memory_most: usize,
    /// Processor time of this thread when the clock first asked whether the call takes too long.
    first_asked: Option<Duration>,
    /// The last error a module logged: a panic's own words, which the trap does not carry.
    last_error: Option<String>,
}

impl Context {
    fn new(limits: &Limits) -> Self {
        Self {
            logs: Vec::new(),
            dropped_lines: 0,
            log_lines: limits.log_lines,
            text_bytes: limits.text_bytes,
            memory_bytes: limits.memory_bytes,
            memory_refused: false,
            memory_most: 0,
            first_asked: None,
            last_error: None,
        }
    }

    /// Takes a line from a module.
    pub fn log(&mut self, level: Level, message: &str) {
        let message = clean(message, self.text_bytes);
        if level == Level::Error {
            self.last_error = Some(message.clone());
        }
        if self.logs.len() < self.log_lines {
            self.logs.push(LogLine { level, message });
        } else {
            self.dropped_lines += 1;
        }
    }

    /// Decides whether a call that has been running for some ticks may go on: as long as it has not had its share
    /// of the processor. The reading is only taken here, because it costs a system call.
    fn tick(&mut self, ticks: u64, most: Duration) -> UpdateDeadline {
        let Ok(now) = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from) else {
            return UpdateDeadline::Interrupt;
        };
        let since = *self.first_asked.get_or_insert(now);
        if now.saturating_sub(since) >= most { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(ticks) }
    }

    fn into_logs(mut self) -> Vec<LogLine> {
        if self.dropped_lines > 0 {
            let message = format!("{} further lines were dropped", self.dropped_lines);
            self.logs.push(LogLine { level: Level::Warn, message });
        }
        self.logs
    }
}

impl ResourceLimiter for Context {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.memory_bytes {
            self.memory_refused = true;
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        self.memory_most = self.memory_most.max(desired);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// What a call came to.
pub struct Called<T> {
    /// Its result.
    pub result: Result<T, Failure>,
    /// Units of fuel it burnt.
    pub fuel: u64,
    /// Bytes of memory its instance had in the end.
    pub memory_bytes: usize,
    /// Microseconds it took.
    pub took_micros: u64,
    /// What the module said.
    pub logs: Vec<LogLine>,
}

/// Runs something in a fresh store.
pub fn call<T>(
    engine: &wasmtime::Engine,
    limits: &Limits,
    room: &Room,
    run: impl FnOnce(&mut Store<Context>) -> wasmtime::Result<T>,
) -> Called<T> {
    let _place = room.enter();
    let started = Instant::now();
    let mut store = Store::new(engine, Context::new(limits));
    store.limiter(|context| context);
    store.set_hostcall_fuel(limits.transfer_bytes);
    let ticks = limits.call_cpu_ms.div_ceil(TICK_MS) + 1;
    let most = Duration::from_millis(limits.call_cpu_ms);
    store.set_epoch_deadline(ticks);
    store.epoch_deadline_callback(move |mut store| Ok(store.data_mut().tick(ticks, most)));
    let fuelled = store.set_fuel(limits.fuel);
    let result = match fuelled {
        // A panic of the runtime itself must cost one answer, never the failover that waits for it.
        Ok(()) => catch_unwind(AssertUnwindSafe(|| run(&mut store))).map_err(|_| Failure {
            kind: FailureKind::Sandbox,
            message: "the sandbox panicked; please report this with the module's digest".to_owned(),
        }),
        Err(error) => Ok(Err(error)),
    };
    let fuel = limits.fuel - store.get_fuel().unwrap_or(0).min(limits.fuel);
    let context = store.into_data();
    let memory_bytes = context.memory_most;
    let result = result.and_then(|result| result.map_err(|error| failure(&error, &context, limits)));
    let took_micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    Called { result, fuel, memory_bytes, took_micros, logs: context.into_logs() }
}

/// Says in what way a call failed.
fn failure(error: &wasmtime::Error, context: &Context, limits: &Limits) -> Failure {
    let because = |kind, message| Failure { kind, message };
    if context.memory_refused {
        let message = format!("it wanted more than {} bytes of memory", limits.memory_bytes);
        return because(FailureKind::Memory, message);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            let message = format!("it burnt all its {} units of fuel without an answer; does it loop?", limits.fuel);
            because(FailureKind::OutOfFuel, message)
        }
        Some(Trap::Interrupt) => {
            because(FailureKind::Timeout, format!("it had no answer after {} ms of processor time", limits.call_cpu_ms))
        }
        Some(Trap::UnreachableCodeReached) => {
            let words = context.last_error.as_deref().unwrap_or("it reached code that must not be reached");
            because(FailureKind::Trap, format!("it crashed: {words}"))
        }
        Some(Trap::MemoryOutOfBounds) => {
            let message = "it crashed: it reached outside its memory, as a recursion without end does".to_owned();
            because(FailureKind::Trap, message)
        }
        Some(trap) => because(FailureKind::Trap, format!("it crashed: {trap}")),
        None => {
            let words = format!("{error:#}");
            if words.contains("fuel allocated for hostcalls") {
                let message = format!("it handed over more than {} bytes at once", limits.transfer_bytes);
                return because(FailureKind::TooMuchData, message);
            }
            because(FailureKind::Sandbox, clean(&words, limits.text_bytes))
        }
    }
}

/// Makes a module's text fit for status, Events and terminals: no control characters, bounded length.
pub fn clean(text: &str, bytes: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes));
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if out.len() + character.len_utf8() > bytes {
            while out.len() + '…'.len_utf8() > bytes && out.pop().is_some() {}
            out.push('…');
            break;
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_whole_characters_and_loses_control_characters() {
        assert_eq!(clean("a\n\x1b[31mb", 100), "a  [31mb");
        assert_eq!(clean("äöü", 6), "äöü");
        assert_eq!(clean("äöüx", 6), "ä…");
        assert!(clean(&"x".repeat(5_000), 1_000).len() <= 1_000);
    }
}

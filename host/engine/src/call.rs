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
use crate::runtime::{CORE_INSTANCES, Room, TABLE_ELEMENTS, TICK_MS};

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

/// What a line costs besides its bytes, of what a call may write: the host's work for an empty one.
const LINE_BYTES: usize = 256;

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
    /// Bytes that may still be written to the log, kept or not.
    log_bytes: usize,
    log_refused: bool,
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
            log_bytes: limits.log_bytes,
            log_refused: false,
            memory_bytes: limits.memory_bytes,
            memory_refused: false,
            memory_most: 0,
            first_asked: None,
            last_error: None,
        }
    }

    /// Takes a line from a module, or ends the call: what a line costs the host, fuel does not count.
    pub fn log(&mut self, level: Level, message: &str) -> wasmtime::Result<()> {
        let Some(left) = self.log_bytes.checked_sub(message.len().saturating_add(LINE_BYTES)) else {
            self.log_refused = true;
            return Err(wasmtime::Error::msg("the log is full"));
        };
        self.log_bytes = left;
        let message = clean(message, self.text_bytes);
        if level == Level::Error {
            self.last_error = Some(message.clone());
        }
        if self.logs.len() < self.log_lines {
            self.logs.push(LogLine { level, message });
        } else {
            self.dropped_lines += 1;
        }
        Ok(())
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

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    // A pool of instances has the same limits. These hold where there is none.
    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        1
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

/// Parts of what the runtime says of values that a module hands over in a wrong shape. It has no types for them; the
/// tests in `tests/attacks` notice other words.
const MALFORMED: [&str; 6] = [
    "out of bounds of memory",
    "beyond end of memory",
    "not aligned",
    "unexpected discriminant",
    "invalid utf-8",
    "incomplete utf-8",
];

/// Whether the runtime says that an instance would be too large: the same of a pool of instances and without one.
pub fn wants_too_much(words: &str) -> bool {
    ["exceeds", "limit exceeded"].iter().any(|part| words.contains(part))
}

/// Says in what way a call failed.
fn failure(error: &wasmtime::Error, context: &Context, limits: &Limits) -> Failure {
    let because = |kind, message| Failure { kind, message };
    if context.memory_refused {
        let message = format!("it wanted more than {} bytes of memory", limits.memory_bytes);
        return because(FailureKind::Memory, message);
    }
    if context.log_refused {
        let message = format!("it wrote more than {} bytes to its log", limits.log_bytes);
        return because(FailureKind::TooMuchData, message);
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
        Some(Trap::CannotLeaveComponent) => {
            let message = "it crashed: it called the host while it made room for arguments or after its answer, where nothing may be called";
            because(FailureKind::Trap, message.to_owned())
        }
        Some(trap) => {
            let words = trap.to_string();
            because(FailureKind::Trap, format!("it crashed: {}", words.trim_start_matches("wasm trap: ")))
        }
        None => {
            let words = format!("{error:#}");
            if words.contains("fuel allocated for hostcalls") {
                let message = format!("it handed over more than {} bytes at once", limits.transfer_bytes);
                return because(FailureKind::TooMuchData, message);
            }
            // Around the innermost words there may be a trace of where it was, which says nothing without its symbols.
            let inner = clean(&error.root_cause().to_string(), limits.text_bytes);
            if MALFORMED.iter().any(|part| inner.contains(part)) {
                return because(
                    FailureKind::Malformed,
                    format!("it handed over what the contract does not allow: {inner}"),
                );
            }
            because(FailureKind::Sandbox, clean(&words, limits.text_bytes))
        }
    }
}

/// Makes a module's text fit for status, Events and terminals: nothing that moves the cursor, colours, hides or turns
/// around what is shown, and bounded length.
pub fn clean(text: &str, bytes: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes));
    for character in text.chars() {
        let character = if deceives(character) { ' ' } else { character };
        if out.len() + character.len_utf8() > bytes {
            while out.len() + '…'.len_utf8() > bytes && out.pop().is_some() {}
            out.push('…');
            break;
        }
        out.push(character);
    }
    out
}

/// Whether a character is not shown as itself: control characters, marks of no width, other ends of lines, and those
/// that change the direction of what follows.
pub fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(character, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_whole_characters_and_loses_control_characters() {
        assert_eq!(clean("a\n\x1b[31mb", 100), "a  [31mb");
        assert_eq!(clean("a\u{9b}1mb\u{202e}c\u{2028}d\u{200b}e", 100), "a 1mb c d e");
        assert_eq!(clean("äöü", 6), "äöü");
        assert_eq!(clean("äöüx", 6), "ä…");
        assert!(clean(&"x".repeat(5_000), 1_000).len() <= 1_000);
    }
}

//! Where attacks take place: one engine, another cluster that goes on deciding meanwhile, and a measure of what it costs.
//!
//! Tests take turns, making of modules included, so that what is measured is what one attack costs.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::{Compiler, Engine, LoadError, Options, PrimarySelection, Source, built_in_questions};
use serde_json::{Value, json};
use topology::decision::{Answer, Question};

/// Bytes that an attack may add to what this process takes at its worst: an instance's memory twice, what a module and
/// its machine code take on their way through, and what the test's own threads need.
const GROWTH_BYTES: u64 = 96 << 20;

/// Bytes that a compiling child may take: what [`engine::Limits::compile_address_space_bytes`] says.
const CHILD_BYTES: u64 = 256 << 20;

/// How long the other cluster's slowest decision may take. Processors may be few and busy.
const SLOWEST: Duration = Duration::from_secs(5);

/// Bytes of the longest message: conditions and Events hold some thousand.
const MESSAGE_BYTES: usize = 2_500;

/// Waits until no other test runs. It comes first in each.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine as the operator has it.
pub fn engine() -> Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(options()).unwrap());
    ENGINE.clone()
}

/// The operator's options.
pub fn options() -> Options {
    Options::new(Compiler { program: env!("CARGO_BIN_EXE_engine-compiler").into(), arguments: Vec::new() })
}

/// Three members asked about for real, the first of which is gone.
pub fn three() -> Question {
    let (_, question) = built_in_questions().into_iter().find(|(name, _)| *name == "three members, two equal").unwrap();
    Question { namespace: "default".into(), ..question }
}

/// Attacks one after the other, and tells what a user sees of each.
pub fn attack<'a>(attacks: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> String {
    let mut told = String::new();
    for (name, bytes) in attacks {
        let message = attack_with(&engine(), name, &bytes, &json!({}), &[three()]);
        write!(told, "{name}:\n    {message}\n").unwrap();
    }
    told
}

/// Loads, binds and asks a module while another cluster decides, and tells what a user sees of it.
///
/// # Panics
/// It cost more than an attack may, or anybody was left without an answer.
pub fn attack_with(engine: &Engine, name: &str, bytes: &[u8], settings: &Value, questions: &[Question]) -> String {
    let before = memory_at_start();
    let stop = AtomicBool::new(false);
    let attacker = nix::unistd::gettid();
    let (message, seen) = std::thread::scope(|scope| {
        let bystander = scope.spawn(|| decide_until(engine, attacker, &stop));
        let message = climb(engine, bytes, settings, questions);
        stop.store(true, Ordering::Relaxed);
        (message, bystander.join().unwrap_or_else(|_| panic!("{name}: another cluster's decision failed")))
    });
    let growth = status("self", "VmHWM").unwrap().saturating_sub(before);
    assert!(growth < GROWTH_BYTES, "{name}: this process grew by {growth} bytes ({message})");
    assert!(seen.child_bytes <= CHILD_BYTES, "{name}: a child took {} bytes ({message})", seen.child_bytes);
    // What was compiled for so long must have been seen, or nothing was measured.
    assert!(seen.child_bytes > 0 || !message.starts_with("ModuleExceedsCompileLimit"), "{name}: no child was seen");
    assert!(seen.slowest < SLOWEST, "{name}: another cluster's decision took {:?} ({message})", seen.slowest);
    assert!(message.len() < MESSAGE_BYTES, "{name}: {} bytes are no message", message.len());
    assert!(!message.chars().any(deceives), "{name}: {message:?}");
    message
}

/// Whether a character moves the cursor, colours what follows or turns it around.
pub fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What was seen during an attack.
#[derive(Default)]
struct Seen {
    slowest: Duration,
    child_bytes: u64,
}

/// What another cluster does meanwhile: it decides with a good module, and looks at what the compiling child takes.
fn decide_until(engine: &Engine, attacker: nix::unistd::Pid, stop: &AtomicBool) -> Seen {
    let slot = PrimarySelection::new(engine.clone());
    slot.swap(engine.bind(engine.embedded().unwrap(), &json!({})).unwrap());
    let mut seen = Seen::default();
    loop {
        let started = Instant::now();
        let decision = slot.decide(&three());
        assert_eq!((decision.by.source, decision.failures.len()), (Source::Configured, 0), "{:?}", decision.failures);
        assert!(matches!(decision.answer, Answer::Promote { candidate, .. } if candidate == "shop-2"));
        seen.slowest = seen.slowest.max(started.elapsed());
        if stop.load(Ordering::Relaxed) {
            return seen;
        }
        seen.child_bytes = seen.child_bytes.max(child_of(attacker));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The most bytes that the compiling child of a thread has taken so far.
fn child_of(thread: nix::unistd::Pid) -> u64 {
    let children = std::fs::read_to_string(format!("/proc/self/task/{thread}/children")).unwrap_or_default();
    children
        .split_whitespace()
        // Until it runs its own program, it shares this one's memory.
        .filter(|child| {
            std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name == "engine-compiler\n")
        })
        .filter_map(|child| status(child, "VmHWM"))
        .max()
        .unwrap_or_default()
}

fn climb(engine: &Engine, bytes: &[u8], settings: &Value, questions: &[Question]) -> String {
    let refused = |error: LoadError| match &error {
        // Which of its limits a compilation meets first depends on the machine.
        LoadError::CompileLimit { .. } => {
            let error = LoadError::CompileLimit { limit: "(one of them)".to_owned() };
            format!("{}: {error}", error.reason())
        }
        _ => format!("{}: {error}", error.reason()),
    };
    let binding = match engine.load(bytes).and_then(|module| engine.bind(module, settings)) {
        Ok(binding) => binding,
        Err(error) => return refused(error),
    };
    let slot = PrimarySelection::new(engine.clone());
    slot.swap(binding);
    let told: Vec<String> = questions.iter().map(|question| decide(&slot, question)).collect();
    told.join("; ")
}

/// One decision of the attacked cluster, which must have an answer that its question allows.
fn decide(slot: &PrimarySelection, question: &Question) -> String {
    let decision = slot.decide(question);
    let chosen = match &decision.answer {
        Answer::Promote { candidate, reason, ranking } => {
            let known = question.candidates.iter().find(|known| known.name == *candidate);
            assert!(known.is_some_and(topology::decision::Candidate::is_eligible), "{candidate} left the engine");
            format!("{candidate} ({} in the ranking), because: {reason}", ranking.len())
        }
        Answer::Hold { reason } => format!("nobody, because: {reason}"),
    };
    assert!(decision.took_micros < 5_000_000, "it took {} µs", decision.took_micros);
    let kept = decision.attempts.iter().flat_map(|attempt| &attempt.logs);
    assert!(kept.clone().all(|line| line.message.len() <= 1_000 && !line.message.chars().any(deceives)));
    assert!(kept.count() <= 33);
    match decision.failures.as_slice() {
        [] => format!("decides: {chosen}"),
        [failed] => {
            assert_eq!(decision.by.source, Source::Default);
            format!("fails ({:?}: {}), the default decides", failed.failure.kind, failed.failure.message)
        }
        several => panic!("the default failed, too: {several:?}"),
    }
}

/// Bytes that this process takes more at its worst while something runs.
pub fn growth(run: impl FnOnce()) -> u64 {
    let before = memory_at_start();
    run();
    status("self", "VmHWM").unwrap().saturating_sub(before)
}

/// Bytes that this process takes, from where its maximum counts anew.
fn memory_at_start() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    status("self", "VmRSS").unwrap()
}

/// A number of bytes that the system tells of a process, while it lives.
fn status(process: &str, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

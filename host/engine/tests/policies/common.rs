//! One engine, one build of each policy, and a question to ask, shared by all tests of this binary.

use std::sync::{Arc, LazyLock};

pub use engine::chosen;
use engine::{Binding, Compiler, Engine, LoadError, Module, Options, built_in_questions};
use serde_json::Value;
use topology::decision::Question;

/// The program that compiles: this crate's own, because a test has no hidden subcommand.
pub fn compiler() -> Compiler {
    Compiler { program: env!("CARGO_BIN_EXE_engine-compiler").into(), arguments: Vec::new() }
}

/// An engine with the usual limits.
pub fn engine() -> Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(Options::new(compiler())).unwrap());
    ENGINE.clone()
}

/// The bytes of a policy of this workspace.
pub fn built(package: &str) -> &'static [u8] {
    static HOSTILE: LazyLock<Vec<u8>> = LazyLock::new(|| engine::build::policy("hostile").unwrap());
    static PREFER_ZONE: LazyLock<Vec<u8>> = LazyLock::new(|| engine::build::policy("prefer-zone").unwrap());
    static READ_LOAD: LazyLock<Vec<u8>> = LazyLock::new(|| engine::build::policy("read-load").unwrap());
    static MEMORY_BUDGET: LazyLock<Vec<u8>> = LazyLock::new(|| engine::build::policy("memory-budget").unwrap());
    static QUIET_HOURS: LazyLock<Vec<u8>> = LazyLock::new(|| engine::build::policy("quiet-hours").unwrap());
    match package {
        "hostile" => &HOSTILE,
        "prefer-zone" => &PREFER_ZONE,
        "read-load" => &READ_LOAD,
        "memory-budget" => &MEMORY_BUDGET,
        "quiet-hours" => &QUIET_HOURS,
        other => panic!("no test needs {other}"),
    }
}

/// The policy that misbehaves as told.
pub fn hostile() -> Arc<Module> {
    static MODULE: LazyLock<Arc<Module>> = LazyLock::new(|| engine().load(built("hostile")).unwrap());
    MODULE.clone()
}

/// The same with its settings, behaving in rehearsals.
pub fn hostile_after_rehearsal(mischief: &str) -> Arc<Binding> {
    bind(serde_json::json!({"do": mischief, "afterRehearsal": true})).unwrap()
}

/// The same with any settings.
pub fn bind(settings: Value) -> Result<Arc<Binding>, LoadError> {
    bound(hostile(), &settings)
}

/// A module that says who leads, with settings.
pub fn bound(module: Arc<Module>, settings: &Value) -> Result<Arc<Binding>, LoadError> {
    engine().bind(module, settings)
}

/// A built-in question, asked for real.
pub fn question(name: &str) -> Question {
    let (_, question) = built_in_questions().into_iter().find(|(known, _)| *known == name).unwrap();
    Question { namespace: "default".into(), ..question }
}

/// Three members, the first gone, the second with a transaction left to apply, the third up to date.
pub fn three() -> Question {
    question("three members, two equal")
}

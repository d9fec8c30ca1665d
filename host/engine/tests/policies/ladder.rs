//! Every rung of the ladder, with the error that names it.

use std::sync::LazyLock;

use engine::{Compiler, Demand, Engine, Limits, LoadError, Options, SecretKey, fixtures};
use serde_json::json;

use crate::common::{bound, built, compiler, engine, hostile, hostile_after_rehearsal, question, three};

fn refused(bytes: &[u8]) -> LoadError {
    engine().load(bytes).unwrap_err()
}

#[test]
fn what_is_no_component_is_refused_with_a_way_out() {
    let error = refused(fixtures::NOT_WASM);
    assert!(
        matches!(&error, LoadError::NotWasm { found } if found.starts_with("text beginning with \"#!/bin/sh")),
        "{error}"
    );
    let error = refused(fixtures::CORE_MODULE);
    assert_eq!(error, LoadError::CoreModule);
    assert!(error.to_string().contains("wasm-tools component new"), "{error}");
    assert_eq!(refused(&engine::build::pack(fixtures::CORE_MODULE).unwrap()), LoadError::CoreModule);
}

#[test]
fn what_does_not_compile_is_refused_by_the_child() {
    assert!(matches!(refused(&fixtures::damaged()), LoadError::Invalid { why } if !why.is_empty()));
}

#[test]
fn another_world_is_named() {
    let error = refused(&fixtures::other_world());
    let LoadError::OtherWorld { expected, found } = &error else { panic!("{error}") };
    for known in [
        "primary-selection/policy@0.1.0",
        "primary-selection/policy@0.2.0",
        "scaling/policy@0.1.0",
        "config-tuning/policy@0.1.0",
        "backup-window/policy@0.1.0",
    ] {
        assert!(expected.contains(&format!("grampus:{known}")), "{expected}");
    }
    assert_eq!(found, "`wasi:http/incoming-handler@0.2.0`");
}

#[test]
fn a_forbidden_import_is_named() {
    let error = refused(&fixtures::wants_wasi());
    assert!(matches!(&error, LoadError::ForbiddenImport { import, .. } if import == "wasi:cli/environment@0.2.0"));
    assert!(error.to_string().contains("wasm32-unknown-unknown"), "{error}");
}

#[test]
fn a_component_without_the_functions_is_refused() {
    assert!(matches!(refused(&fixtures::wrong_shape()), LoadError::Instantiate { .. }));
}

#[test]
fn settings_are_checked_by_the_module_with_their_path() {
    let zone = engine().load(built("prefer-zone")).unwrap();
    assert_eq!(zone.description().name, "prefer-zone");
    assert!(zone.description().settings_schema.is_some());
    assert!(bound(zone.clone(), &json!({"zones": ["a", "b"]})).is_ok());
    for (settings, told) in [
        (json!(null), "settings: missing field `zones`"),
        (json!({"zones": ["a", 7]}), "settings.zones[1]: invalid type: integer `7`, expected a string"),
        (json!({"zones": ["a", "a"]}), "settings.zones[1]: zone `a` is listed twice"),
        (json!({"zone": ["a"]}), "settings.zone: unknown field `zone`, expected `zones`"),
    ] {
        assert_eq!(bound(zone.clone(), &settings).unwrap_err().to_string(), told);
    }
    let default = engine().embedded().unwrap();
    let told = bound(default, &json!({"zones": []})).unwrap_err().to_string();
    assert_eq!(told, "settings: this policy has no settings: remove them");
}

#[test]
fn settings_that_the_module_takes_are_held_against_the_schema_it_declares() {
    assert!(bound(hostile(), &json!({"do": "nothing", "name": "x".repeat(5_000)})).is_ok());
    let error = bound(hostile(), &json!({"do": "nothing", "name": "x".repeat(6_000)})).unwrap_err();
    assert_eq!(error.to_string(), "settings.name: expected at most 5000 characters, found 6000");
}

#[test]
fn what_a_component_imports_is_known() {
    assert_eq!(engine().load(built("prefer-zone")).unwrap().imports(), ["grampus:log/log@0.1.0"]);
}

#[test]
fn settings_have_a_size() {
    let error = bound(hostile(), &json!({"name": "x".repeat(70_000)})).unwrap_err();
    assert!(matches!(error, LoadError::Settings { .. }), "{error}");
}

#[test]
fn one_module_is_compiled_once_however_it_is_packed() {
    let plain = engine().load(built("prefer-zone")).unwrap();
    let packed = engine().load(&engine::build::pack(built("prefer-zone")).unwrap()).unwrap();
    assert!(std::sync::Arc::ptr_eq(&plain, &packed));
    assert_eq!(plain.digest().len(), "sha256:".len() + 64);
    assert_eq!(plain.abi().name(), "grampus:primary-selection@0.2.0");
}

/// Loads a component that is expensive to compile, under some limits.
fn expensive(limit: impl Fn(&mut Limits)) -> LoadError {
    static ENORMOUS: LazyLock<Vec<u8>> = LazyLock::new(fixtures::enormous);
    let mut options = Options::new(compiler());
    limit(&mut options.limits);
    Engine::new(options).unwrap().load(&ENORMOUS).unwrap_err()
}

#[test]
fn compiling_is_bounded_in_memory() {
    let error = expensive(|limits| limits.compile_address_space_bytes = 96 << 20);
    assert_eq!(error, LoadError::CompileLimit { limit: "100663296 bytes of memory".to_owned() });
}

#[test]
fn compiling_is_bounded_in_processor_time() {
    let error = expensive(|limits| limits.compile_cpu_seconds = 1);
    assert!(
        matches!(&error, LoadError::CompileLimit { limit } if limit.starts_with("1 s of processor time")),
        "{error}"
    );
}

#[test]
fn compiling_is_bounded_in_time() {
    let error = expensive(|limits| limits.compile_time_ms = 200);
    assert_eq!(error, LoadError::CompileLimit { limit: "200 ms".to_owned() });
}

#[test]
fn nothing_but_the_childs_own_words_is_taken_for_machine_code() {
    let mut options = Options::new(compiler());
    options.compiler = Some(engine::Compiler { program: "/bin/cat".into(), arguments: Vec::new() });
    let fooled = Engine::new(options).unwrap();
    let error = fooled.load(built("prefer-zone")).unwrap_err();
    assert!(matches!(&error, LoadError::Compiler { why } if why.contains("something else")), "{error}");
}

/// A compiler that leaves a line in a file whenever it is started, and that file.
fn counting(name: &str) -> (Engine, impl Fn() -> usize) {
    let file = std::env::temp_dir().join(format!("grampus-compilations-{name}-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let script = format!("echo compiled >> {}; exec {}", file.display(), compiler().program.display());
    let arguments = vec!["-c".to_owned(), script];
    let engine = Engine::new(Options::new(Compiler { program: "/bin/sh".into(), arguments })).unwrap();
    // The embedded default was the first.
    (engine, move || std::fs::read_to_string(&file).unwrap().lines().count() - 1)
}

#[test]
fn however_many_load_a_module_at_once_it_is_compiled_once() {
    let (engine, compiled) = counting("one");
    let loaded: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| engine.load(built("prefer-zone")).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let beside = engine.apart(1).unwrap();
    assert_eq!(beside.load(built("prefer-zone")).unwrap().digest(), loaded[0].digest());
    assert_eq!(compiled(), 1, "an engine that is apart takes what was compiled");
    assert!(loaded.iter().all(|module| std::sync::Arc::ptr_eq(module, &loaded[0])));
}

#[test]
fn a_module_that_does_not_climb_is_compiled_once_too_and_says_why_every_time() {
    let (engine, compiled) = counting("refused");
    for _ in 0..4 {
        assert!(matches!(engine.load(&fixtures::other_world()).unwrap_err(), LoadError::OtherWorld { .. }));
    }
    assert_eq!(compiled(), 1);
}

#[test]
fn nothing_is_compiled_that_is_not_what_was_named_or_not_signed_as_it_has_to_be() {
    let (engine, compiled) = counting("vouched");
    let (key, bytes) = (SecretKey::generate().unwrap(), built("prefer-zone"));
    let digest = engine::module_digest(bytes).unwrap();
    let demand = |signature: Option<String>| Demand {
        decision: "primary-selection".to_owned(),
        digest: Some(digest.clone()),
        signature,
        keys: vec![key.public()],
        required_by: Some("a test".to_owned()),
    };
    let unsigned = engine.load_vouched(bytes, &demand(None)).unwrap_err();
    assert_eq!(unsigned.reason(), "ModuleUnsigned");
    let reused = engine.load_vouched(bytes, &demand(Some(key.sign("scaling", &digest)))).unwrap_err();
    assert_eq!(reused.reason(), "SignatureWrong");
    let other = Demand { digest: Some(digest.replace('0', "1")), ..demand(None) };
    assert_eq!(engine.load_vouched(bytes, &other).unwrap_err().reason(), "ModuleOtherDigest");
    assert_eq!(compiled(), 0);
    let signed = demand(Some(key.sign("primary-selection", &digest)));
    let (module, vouched) = engine.load_vouched(&engine::build::pack(bytes).unwrap(), &signed).unwrap();
    assert_eq!((module.digest(), vouched.by), (digest.as_str(), Some(key.public().id())));
}

#[test]
fn a_module_is_rehearsed_on_what_was_asked_lately() {
    let recent = [("the failover of epoch 8".to_owned(), question("no members at all")), ("of 9".to_owned(), three())];
    let rehearse = |mischief: &str| engine().rehearse(&hostile_after_rehearsal(mischief), &recent);
    for (mischief, kind) in [("trap", "told to panic"), ("loop", "does it loop?"), ("ineligible", "may not lead")] {
        let error = rehearse(mischief).unwrap_err().to_string();
        assert!(error.contains("rehearsal (\"") && error.contains(kind), "{mischief}: {error}");
    }
    assert!(rehearse("ineligible").unwrap_err().to_string().contains("of 9"), "the question is named");
    rehearse("hold").unwrap();
    rehearse("nothing").unwrap();
}

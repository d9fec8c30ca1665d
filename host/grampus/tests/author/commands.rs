//! The commands about policies, one by one.

use std::path::Path;

use serde_json::Value;

use crate::program::{PACKED_BYTES, building, ended, grampus, offline, root};

/// The default, as it is embedded.
fn most_advanced() -> String {
    root().join("host/engine/embedded/most-advanced.wasm.zst").to_str().unwrap().to_owned()
}

#[test]
fn the_policies_of_this_tree_decide_as_their_scenarios_say() {
    let directory = tempfile::tempdir().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(root().join("policies"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Those in other languages have tests of their own.
        .filter(|policy| policy.join("Cargo.toml").exists())
        .map(|policy| policy.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let module = directory.path().join(format!("{name}.wasm"));
        let component = engine::build::policy(&name).unwrap();
        std::fs::write(&module, &component).unwrap();
        let packed = engine::build::pack(&component).unwrap().len();
        assert!(packed <= PACKED_BYTES, "{name} has {packed} bytes when packed");
        let scenarios = root().join("policies").join(&name).join("scenarios.yaml");
        let ended =
            grampus(directory.path(), &["policy", "test", module.to_str().unwrap(), scenarios.to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.text);
    }
}

#[test]
fn an_answer_that_was_not_expected_ends_with_1_and_says_what_was() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = "scenarios: [{name: nobody else, members: [{name: shop-0}, {name: shop-1}], expect: {chosen: shop-1}}]";
    std::fs::write(directory.path().join("wrong.yaml"), wrong).unwrap();
    let ended = grampus(directory.path(), &["policy", "test", &most_advanced(), "wrong.yaml"]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    for line in ["FAILED  nobody else", "- chosen: shop-1", "+ chosen: shop-0", "1 scenario, 1 failed"] {
        assert!(ended.text.contains(line), "{line} is missing in: {}", ended.text);
    }
    let nothing = grampus(directory.path(), &["policy", "test", &most_advanced(), "wrong.yaml", "--only", "xyz"]);
    assert_ne!(nothing.code, Some(0), "a test of nothing passed: {}", nothing.text);
}

#[test]
fn a_panic_is_told_with_its_words_and_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hostile.wasm"), engine::build::policy("hostile").unwrap()).unwrap();
    for settings in ["{do: trap}", "{do: trap, afterRehearsal: true}"] {
        let asked = format!(
            "settings: {settings}\nscenarios: [{{name: a panic, members: [{{name: shop-0}}], expect: {{chosen: shop-0}}}}]"
        );
        std::fs::write(directory.path().join("panic.yaml"), asked).unwrap();
        let ended = grampus(directory.path(), &["policy", "test", "hostile.wasm", "panic.yaml"]);
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        for words in [
            "- chosen: shop-0",
            "+ none: ",
            "it crashed: panicked at host/engine/tests/hostile/src/lib.rs:",
            "told to panic",
        ] {
            assert!(ended.text.contains(words), "{words} is missing in: {}", ended.text);
        }
    }
}

#[test]
fn a_crate_is_never_made_over_something() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("avoid-zone");
    std::fs::create_dir(&there).unwrap();
    let ended = grampus(directory.path(), &["policy", "new", "avoid-zone"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.text.contains("avoid-zone is there already"), "{}", ended.text);
    assert!(is_empty(&there), "something was written");
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn a_bench_measures_every_size_of_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let ended = grampus(directory.path(), &["policy", "bench", &most_advanced(), "--calls", "20", "--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let json = ended.text.rsplit_once('}').map(|(json, _)| format!("{json}}}")).unwrap();
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["module"], "most-advanced");
    let rows = told["rows"].as_array().unwrap();
    let members: Vec<u64> = rows.iter().map(|row| row["members"].as_u64().unwrap()).collect();
    assert_eq!(members, [3, 7, 9, 100]);
    let fuel: Vec<u64> = rows.iter().map(|row| row["fuel"].as_u64().unwrap()).collect();
    assert!(fuel.is_sorted_by(|a, b| a < b), "more members cost no more fuel: {fuel:?}");
    for row in rows {
        assert!(row["p50Ns"].as_u64().unwrap() <= row["p99Ns"].as_u64().unwrap(), "{row}");
        assert!((1..=16 << 20).contains(&row["memoryBytes"].as_u64().unwrap()), "{row}");
    }
}

#[test]
fn a_new_policy_of_each_decision_builds_and_decides_as_its_scenarios_say() {
    let _turn = building();
    let home = tempfile::tempdir().unwrap();
    for (decision, unit) in [("scaling", "servers"), ("config-tuning", "settings"), ("backup-window", "servers")] {
        let name = format!("my-{decision}");
        let run = |directory: &Path, arguments: &[&str]| {
            let ended = grampus(directory, &[&["policy"], arguments].concat());
            assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.text);
            ended.text
        };
        run(home.path(), &["new", &name, "--decision", decision]);
        let here = home.path().join(&name);
        let mut tests = offline("cargo", &here);
        tests.args(["test", "--quiet"]);
        let tests = ended(tests);
        assert_eq!(tests.code, Some(0), "{}", tests.text);
        run(&here, &["build"]);
        let module = format!("{name}.wasm");
        let tested = run(&here, &["test", &module, "scenarios.yaml"]);
        assert!(tested.contains(", 0 failed"), "{tested}");
        let inspected = run(&here, &["inspect", &module, "--settings", "{}"]);
        assert!(inspected.contains(&format!("decides    {decision}")) && inspected.contains("accepted"), "{inspected}");
        let packed = engine::build::pack(&std::fs::read(here.join(&module)).unwrap()).unwrap().len();
        assert!(packed <= PACKED_BYTES, "{name} has {packed} bytes when packed");
        assert!(run(&here, &["bench", &module, "--calls", "20"]).contains(unit));
    }
}

#[test]
fn a_scenario_of_another_decision_is_refused_and_so_is_a_wish_that_the_guard_refuses() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("read-load.wasm"), engine::build::policy("read-load").unwrap()).unwrap();
    let asked = |scenario: &str| {
        std::fs::write(directory.path().join("wrong.yaml"), format!("scenarios: [{scenario}]")).unwrap();
        let ended = grampus(directory.path(), &["policy", "test", "read-load.wasm", "wrong.yaml"]);
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        ended.text
    };
    let told = asked("{name: x, members: [{name: shop-0}], expect: {chosen: shop-0}}");
    assert!(told.contains("members"), "{told}");
    let told = asked(
        "{name: in trouble, question: {present: {unsettled: shop-2 is away}, \
         servers: [{name: a, role: replica, load: {cpuUsedMillicores: 2000}}]}, expect: {readReplicas: 1}}",
    );
    assert!(told.contains("what the guard refuses") && told.contains("shop-2 is away"), "{told}");
}

#[test]
fn a_module_is_signed_and_verified_and_no_key_is_ever_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| grampus(directory.path(), &[&["policy"], arguments].concat());
    assert_eq!(run(&["keygen", "team"]).code, Some(0));
    assert_eq!(run(&["keygen", "other"]).code, Some(0));
    let again = run(&["keygen", "team"]);
    assert!(again.code != Some(0) && again.text.contains("is there already"), "{}", again.text);
    std::fs::remove_file(directory.path().join("other.pub")).unwrap();
    let half = run(&["keygen", "other"]);
    assert!(half.code != Some(0) && half.text.contains("nothing is overwritten"), "{}", half.text);

    let module = most_advanced();
    let signed = run(&["sign", &module, "--key", "team.key"]);
    assert!(signed.code == Some(0) && signed.text.contains("digest: sha256:"), "{}", signed.text);
    let signature = run(&["sign", &module, "--key", "team.key", "--only"]).text.trim().to_owned();
    assert!(signed.text.contains(&format!("signature: {signature}")), "{}", signed.text);
    let good = run(&["verify", &module, "--key", "team.pub", "--signature", &signature]);
    assert!(good.code == Some(0) && good.text.contains("is signed for primary-selection by key"), "{}", good.text);
    assert_eq!(run(&["keygen", "stranger"]).code, Some(0));
    let bad = run(&["verify", &module, "--key", "stranger.pub", "--signature", &signature]);
    assert!(bad.code != Some(0) && bad.text.contains("tried: "), "{}", bad.text);
    let secret = run(&["verify", &module, "--key", "team.key", "--signature", &signature]);
    assert!(secret.code != Some(0) && secret.text.contains("BEGIN PUBLIC KEY"), "{}", secret.text);
}

//! The policy in C: built from its source as its paper says, with the tools that `make setup` brings.

use std::path::Path;
use std::process::Command;

use crate::paper::follow;
use crate::program::{PACKED_BYTES, ended, grampus, root};

/// A copy of what the paper works on, so that nothing is written into the tree.
fn copy(home: &Path) {
    for directory in ["policies/prefer-larger", "wit/primary-selection"] {
        let to = home.join(directory).parent().unwrap().to_owned();
        std::fs::create_dir_all(&to).unwrap();
        let mut command = Command::new("cp");
        command.args(["--recursive", "--dereference"]).arg(root().join(directory)).arg(&to);
        let copied = ended(command);
        assert_eq!(copied.code, Some(0), "{}", copied.text);
    }
}

#[test]
fn a_policy_in_c_works_as_its_paper_is_written() {
    let text = std::fs::read_to_string(root().join("docs/policy-in-c.md")).unwrap();
    let home = tempfile::tempdir().unwrap();
    copy(home.path());
    let (directory, commands) = follow(&text, home.path());
    assert!(commands >= 5, "the paper lost its commands");
    let module = directory.join("build/prefer-larger.wasm");
    let packed = engine::build::pack(&std::fs::read(&module).unwrap()).unwrap().len();
    assert!(packed <= PACKED_BYTES, "a policy in C has {packed} bytes when packed");
}

#[test]
fn a_core_module_without_the_contract_is_refused_and_told_what_it_lacks() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let ended = grampus(home.path(), &["policy", "build", "--core", "core.wasm", "--output", "policy.wasm"]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    for words in ["--core: core.wasm", "carries no contract", "wasm-tools component embed"] {
        assert!(ended.text.contains(words), "it does not say `{words}`: {}", ended.text);
    }
    assert!(!home.path().join("policy.wasm").exists(), "it was written all the same");
}

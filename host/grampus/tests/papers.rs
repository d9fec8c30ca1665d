//! ARCHITECTURE.md names tests and files; each of them has to be there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory of the tree").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_and_file_that_architecture_names_is_there() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut files = Vec::new();
    for dir in ["host", "guest-sdk", "policies", "tests"] {
        sources(&root().join(dir), &mut files);
    }
    let functions: BTreeSet<String> = files
        .iter()
        .flat_map(|file| {
            let source = std::fs::read_to_string(file).expect("a source file");
            source.split("fn ").skip(1).filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    // Tests are sentences; nothing else that is named there has so many words.
    let is_test = |name: &&str| name.matches('_').count() >= 3 && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let named: Vec<&str> = quoted(&text).filter(is_test).collect();
    assert!(named.len() > 20, "the table of invariants names many tests: {named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !functions.contains(**name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names tests that are not there: {missing:?}");

    let is_file = |name: &&str| name.ends_with(".rs") && name.contains('/');
    let there = |name: &str| files.iter().any(|file| file.ends_with(name));
    let missing: Vec<_> = quoted(&text).filter(is_file).filter(|name| !there(name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names files that are not there: {missing:?}");
}

//! Papers name tests, files, policies and one another's headings; each of them has to be there.

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

/// The papers that people read.
fn papers() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs").flatten().map(|entry| entry.path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    docs.chain(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name))).collect()
}

/// The anchors of a paper's headings, as they are made of their words where papers are shown.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let words = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |words: String| words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    words.map(|words| kept(words).replace(' ', "-")).collect()
}

#[test]
fn every_link_from_one_paper_to_another_leads_somewhere() {
    let mut followed = 0;
    for paper in papers() {
        let text = std::fs::read_to_string(&paper).expect("a paper");
        let links = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for link in links.filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { paper.clone() } else { paper.with_file_name("").join(file) };
            assert!(target.exists(), "{}: {link} is not there", paper.display());
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&target).expect("a paper"));
                assert!(there.contains(anchor), "{}: {link} is no heading", paper.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "the papers lost their links");
}

#[test]
fn every_policy_of_this_tree_has_scenarios_and_says_what_it_weighs() {
    let text = std::fs::read_to_string(root().join("docs/policies.md")).expect("docs/policies.md");
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("policies")).expect("policies").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(entry.path().join("scenarios.yaml").exists(), "{name} has no scenarios");
        assert!(text.contains(&format!("\n### {name}\n")), "docs/policies.md says nothing of {name}");
        seen += 1;
    }
    assert!(seen >= 7, "policies went");
}

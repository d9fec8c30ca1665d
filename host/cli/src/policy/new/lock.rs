//! The lock file of a new crate: the very versions that this program's own policies were built and tested with.

use std::collections::{BTreeMap, BTreeSet};

/// The lock file of this tree.
const TREE: &str = include_str!("../../../../../Cargo.lock");

/// What begins the entry of a package.
const ENTRY: &str = "[[package]]\n";

/// The crate that a policy depends on.
const SDK: &str = "grampus-policy";

/// The lock file of a crate of this name. It may hold more than the crate needs; cargo drops what it does not use.
pub fn of_a_new_crate(name: &str) -> String {
    let (head, entries) = TREE.split_once(ENTRY).unwrap_or((TREE, ""));
    let entries: Vec<Entry<'_>> = entries.split(ENTRY).map(Entry::of).collect();
    let own = format!("name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"{SDK}\",\n \"serde\",\n]\n\n");
    let mut wanted: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut open: Vec<&str> = vec![SDK, "serde"];
    let mut seen = BTreeSet::new();
    while let Some(dependency) = open.pop() {
        if !seen.insert(dependency) {
            continue;
        }
        for entry in entries.iter().filter(|entry| entry.is_meant_by(dependency)) {
            wanted.insert((entry.name, entry.version), entry.text);
            open.extend(entry.dependencies());
        }
    }
    wanted.insert((name, "0.1.0"), &own);
    let body: Vec<String> = wanted.values().map(|text| format!("{ENTRY}{}\n", text.trim_end())).collect();
    format!("{head}{}", body.join("\n"))
}

/// One package.
struct Entry<'a> {
    name: &'a str,
    version: &'a str,
    text: &'a str,
}

impl<'a> Entry<'a> {
    fn of(text: &'a str) -> Self {
        let field = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            value.and_then(|value| value.strip_suffix('"')).unwrap_or_default()
        };
        Self { name: field("name"), version: field("version"), text }
    }

    /// Dependencies are written as `name`, or as `name version` where there are several versions.
    fn is_meant_by(&self, dependency: &str) -> bool {
        let mut words = dependency.split(' ');
        words.next() == Some(self.name) && words.next().is_none_or(|version| version == self.version)
    }

    fn dependencies(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_depended_on_is_there_once() {
        let lock = of_a_new_crate("avoid-zone");
        let (_, entries) = lock.split_once(ENTRY).unwrap();
        let entries: Vec<Entry<'_>> = entries.split(ENTRY).map(Entry::of).collect();
        for dependency in entries.iter().flat_map(Entry::dependencies) {
            let meant = entries.iter().filter(|entry| entry.is_meant_by(dependency)).count();
            assert_eq!(meant, 1, "{dependency}");
        }
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        assert!(names.contains(&"avoid-zone") && names.contains(&"wit-bindgen") && names.contains(&"serde_json"));
        assert!(!names.contains(&"wasmtime"), "{names:?}");
        assert!(names.is_sorted());
    }
}

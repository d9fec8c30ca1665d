//! The SDK and the contract that this program was built from, as text.
//!
//! A file that the SDK needs and that is missing here would be noticed by somebody outside of this tree; a test
//! notices it first.

/// Files of this tree with their paths from its root.
macro_rules! carried {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path))),)*]
    };
}

/// Each file's path from the root of the tree, and its text.
pub const CARRIED: &[(&str, &str)] = carried![
    "guest-sdk/Cargo.toml",
    "guest-sdk/src/backup_window.rs",
    "guest-sdk/src/backup_window/scenario.rs",
    "guest-sdk/src/config_tuning.rs",
    "guest-sdk/src/config_tuning/scenario.rs",
    "guest-sdk/src/guest.rs",
    "guest-sdk/src/lib.rs",
    "guest-sdk/src/log.rs",
    "guest-sdk/src/module.rs",
    "guest-sdk/src/primary_selection.rs",
    "guest-sdk/src/primary_selection/cost.rs",
    "guest-sdk/src/primary_selection/rank.rs",
    "guest-sdk/src/primary_selection/rules.rs",
    "guest-sdk/src/primary_selection/scenario.rs",
    "guest-sdk/src/scaling.rs",
    "guest-sdk/src/scaling/scenario.rs",
    "guest-sdk/src/settings.rs",
    "wit/backup-window/backup-window.wit",
    "wit/backup-window/deps/log/log.wit",
    "wit/config-tuning/config-tuning.wit",
    "wit/config-tuning/deps/log/log.wit",
    "wit/primary-selection/primary-selection.wit",
    "wit/primary-selection/deps/log/log.wit",
    "wit/scaling/scaling.wit",
    "wit/scaling/deps/log/log.wit",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
    }

    fn files(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else {
                found.insert(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_sdk_and_of_the_contract_is_carried() {
        let mut there = BTreeSet::from(["guest-sdk/Cargo.toml".to_owned()]);
        files(&root().join("guest-sdk/src"), &mut there);
        for decision in ["backup-window", "config-tuning", "primary-selection", "scaling"] {
            files(&root().join("wit").join(decision), &mut there);
        }
        let carried: BTreeSet<String> = CARRIED.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(carried, there, "bring the list in policy/new/carried.rs up to date");
    }

    #[test]
    fn the_sdk_says_of_itself_what_the_workspace_says() {
        let (_, sdk) = CARRIED[0];
        let workspace = include_str!("../../../../../Cargo.toml");
        let (_, package) = workspace.split_once("[workspace.package]\n").unwrap();
        let (package, _) = package.split_once("\n\n").unwrap();
        let (_, lints) = workspace.split_once("[workspace.lints.rust]\n").unwrap();
        let (lints, _) = lints.split_once("\n\n# ").unwrap();
        // Its version is that of the newest contract that it speaks, and not the workspace's.
        let lines = package.lines().filter(|line| !line.starts_with("version = ")).chain(lints.lines());
        for line in lines.filter(|line| line.contains(" = ")) {
            assert!(sdk.contains(line), "guest-sdk/Cargo.toml lacks `{line}`");
        }
        let pinned = workspace.lines().find(|line| line.starts_with("wit-bindgen = ")).unwrap();
        assert!(sdk.contains(pinned), "guest-sdk/Cargo.toml lacks `{pinned}`");
    }
}

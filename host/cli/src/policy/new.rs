//! `policy new`: a policy crate that builds at once, wherever it lies.
//!
//! The program carries the SDK and the contract it was built from and writes them into the crate, so nothing is
//! fetched but what the SDK itself needs. It must never write over anything that is there.

mod carried;
mod lock;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};

use carried::CARRIED;

/// What a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Decision {
    /// Which replica shall lead.
    PrimarySelection,
    /// How many read replicas there are, and how large servers and volumes.
    Scaling,
    /// How mysqld is set.
    ConfigTuning,
    /// Whether a backup that is due may begin now.
    BackupWindow,
}

/// Which crate to make.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the crate and of the module, e.g. `avoid-zone`.
    #[arg(value_parser = crate_name)]
    name: String,
    /// What it decides.
    #[arg(long, value_enum, default_value = "primary-selection")]
    decision: Decision,
    /// The directory to make. NAME in the current directory if not given.
    #[arg(long, value_name = "DIRECTORY")]
    into: Option<PathBuf>,
}

/// The files that every crate has, with `NAME` and `TYPE` to be filled in.
const TEMPLATE: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("new/template/crate.toml")),
    (".gitignore", include_str!("new/template/gitignore")),
    ("rust-toolchain.toml", include_str!("new/template/toolchain.toml")),
];

/// The files of one decision, in `$directory` of the template.
macro_rules! files_of {
    ($directory:literal) => {
        [
            ("scenarios.yaml", include_str!(concat!("new/template/", $directory, "/scenarios.yaml"))),
            ("src/lib.rs", include_str!(concat!("new/template/", $directory, "/lib.rs"))),
            ("src/settings.schema.json", include_str!(concat!("new/template/", $directory, "/settings.schema.json"))),
        ]
    };
}

impl Decision {
    /// The files that are its own.
    fn template(self) -> [(&'static str, &'static str); 3] {
        match self {
            Self::PrimarySelection => files_of!("primary-selection"),
            Self::Scaling => files_of!("scaling"),
            Self::ConfigTuning => files_of!("config-tuning"),
            Self::BackupWindow => files_of!("backup-window"),
        }
    }
}

/// Where the SDK and the contract lie in the crate.
const GRAMPUS: &str = "grampus";

/// Makes a crate.
///
/// # Errors
/// The directory is there already, or cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, decision, into } = arguments;
    let directory = into.clone().unwrap_or_else(|| PathBuf::from(name));
    if directory.exists() {
        bail!("{} is there already; choose another name, or another place with --into", directory.display());
    }
    for (path, text) in files(name, *decision) {
        write(&directory.join(path), &text)?;
    }
    print!("{}", next_steps(name, &directory));
    Ok(ExitCode::SUCCESS)
}

/// Every file of a new crate, by its path in the crate.
fn files(name: &str, decision: Decision) -> Vec<(String, String)> {
    let filled = |text: &str| text.replace("NAME", name).replace("TYPE", &type_name(name));
    let own = TEMPLATE.into_iter().chain(decision.template());
    let own = own.map(|(path, text)| (path.to_owned(), filled(text)));
    let carried = CARRIED.iter().map(|(path, text)| (format!("{GRAMPUS}/{path}"), (*text).to_owned()));
    own.chain(carried).chain([("Cargo.lock".to_owned(), lock::of_a_new_crate(name))]).collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(path);
    std::fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// `avoid-zone` as the name of a type: `AvoidZone`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(capital).collect()
}

/// A name that a crate, a module and a ConfigMap may all have.
fn crate_name(name: &str) -> Result<String, String> {
    /// Names that mean something else to Rust or to this crate's own dependencies.
    const TAKEN: [&str; 8] = ["core", "std", "alloc", "test", "serde", "grampus-policy", "grampus", "self"];
    let fits = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    let shaped = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(fits)
        && !name.ends_with('-')
        && !name.contains("--");
    let check = || -> anyhow::Result<()> {
        ensure!(shaped, "expected lowercase letters, digits and single `-`, beginning with a letter, as in avoid-zone");
        ensure!(name.len() <= 63, "expected at most 63 characters, which is what a module's name may have");
        ensure!(!TAKEN.contains(&name), "another crate has this name; choose one that says what the policy prefers");
        Ok(())
    };
    check().map(|()| name.to_owned()).map_err(|error| error.to_string())
}

fn next_steps(name: &str, directory: &Path) -> String {
    let there = directory.display();
    format!(
        "{there}: src/lib.rs is the policy, scenarios.yaml says what it shall decide\n\
         \x20 cd {there}\n\
         \x20 cargo test                                  # the rules, as ordinary Rust\n\
         \x20 grampus policy build                        # {name}.wasm\n\
         \x20 grampus policy test {name}.wasm scenarios.yaml\n\
         \x20 grampus policy push {name} {name}.wasm      # into a ConfigMap that clusters can name\n"
    )
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn names_that_would_not_build_are_refused() {
        for name in ["avoid-zone", "a", "x2"] {
            assert!(crate_name(name).is_ok(), "{name}");
        }
        for name in ["", "Avoid", "2x", "a_b", "a--b", "a-", "-a", "a b", "serde", "test", &"x".repeat(64)] {
            assert!(crate_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        let files = Decision::value_variants().iter().flat_map(|decision| files("avoid-zone", *decision));
        let files: Vec<_> = files.collect();
        for (path, text) in files.iter().filter(|(path, _)| !path.starts_with(GRAMPUS) && path != "Cargo.lock") {
            assert!(!text.contains("NAME") && !text.contains("TYPE"), "{path}: {text}");
        }
        let sources: Vec<&String> =
            files.iter().filter(|(path, _)| path == "src/lib.rs").map(|(_, text)| text).collect();
        assert_eq!(sources.len(), 4);
        assert!(sources.iter().all(|source| source.contains("impl Policy for AvoidZone")), "{sources:?}");
    }

    #[test]
    fn a_new_crate_is_built_like_the_policies_of_this_tree() {
        let tree = include_str!("../../../../Cargo.toml");
        let (_, profile) = tree.split_once("[profile.policy]").unwrap();
        assert!(include_str!("new/template/crate.toml").ends_with(&format!("[profile.policy]{profile}")));
        let toolchain = include_str!("../../../../rust-toolchain.toml");
        let channel = toolchain.lines().find(|line| line.starts_with("channel")).unwrap();
        assert!(include_str!("new/template/toolchain.toml").contains(channel), "{channel}");
    }
}

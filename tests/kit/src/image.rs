//! Makes the image of the binary in this tree, and puts the same binary where kubectl finds its plugin.
//!
//! The tag is a digest of what is in the image, so an unchanged tree gives the image that runs already. Nothing
//! here talks to the lab.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// How many digits of the digest are in the tag.
const DIGITS: usize = 12;

/// How many images of earlier builds are kept, so that going back to one costs nothing.
const KEPT: usize = 4;

/// An image in the cache.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name and tag.
    pub tag: String,
    /// The archive.
    pub archive: PathBuf,
}

/// `$GRAMPUS_CACHE`, or `$HOME/.cache/grampus`.
///
/// # Errors
/// Neither is set.
pub fn cache() -> Result<PathBuf> {
    let given = std::env::var_os("GRAMPUS_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/grampus"));
    given.or_else(home).context("neither GRAMPUS_CACHE nor HOME is set: set one of them")
}

/// The root of this workspace.
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Builds the binary as cargo's settings say. Cargo's own progress is shown when there is something to build.
///
/// # Errors
/// It does not build.
pub fn build(release: bool) -> Result<PathBuf> {
    // Tests are built with the features of the whole workspace, those that only its tests ask for included. A demo or
    // a lab image built with others would build the large crates a second time, so it selects the same: naming one
    // small test is enough. What is measured and shipped has its own features only.
    let shared = ["--workspace", "--test=crds"];
    built("grampus", if release { &["--release", "--package=grampus"] } else { &shared })
}

/// Builds a program that measures, with the features and optimisations of the binary that ships.
///
/// # Errors
/// It does not build.
pub fn optimised(program: &str) -> Result<PathBuf> {
    built(program, &["--release", "--package=grampus", &format!("--package={program}")])
}

fn built(program: &str, selected: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    forget_package(&mut command);
    command.current_dir(workspace()).args(["build", "--quiet", "--message-format", "json-render-diagnostics"]);
    command.args(selected).args(["--bin", program]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the package {program} does not build; see above");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.with_context(|| format!("cargo built no executable called {program}"))
}

/// Cargo tells a test which package it belongs to. Passed on, it would look like a change to build scripts that
/// watch these variables, and whatever depends on them would be built again, each time.
pub fn forget_package(command: &mut Command) {
    let about = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(about) {
            command.env_remove(name);
        }
    }
}

/// Packs a binary, without what only a debugger needs.
///
/// # Errors
/// A file could not be read or written.
pub fn pack(binary: &Path) -> Result<(Image, PathBuf)> {
    let directory = cache()?.join("images/grampus");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let stripped = directory.join("binary.part");
    strip(binary, &stripped)?;
    let bytes = fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))?;
    let digest = hex::encode(Sha256::digest(&bytes));
    let short = &digest[..DIGITS];
    let kept = directory.join(short);
    fs::rename(&stripped, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
    let image = Image { tag: format!("grampus.dev/grampus:{short}"), archive: directory.join(format!("{short}.tar")) };
    if !image.archive.exists() {
        lab::image::pack(&image.tag, &[(&kept, "/grampus", 0o755)], &["/grampus"], &image.archive)?;
    }
    forget_old(&directory)?;
    Ok((image, kept))
}

/// Debug information makes the binary four times as large, and every node has to take it.
fn strip(binary: &Path, to: &Path) -> Result<()> {
    let stripped = Command::new("strip").arg("-g").arg("-o").arg(to).arg(binary).stderr(Stdio::null()).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(binary, to).with_context(|| format!("cannot copy {}", binary.display()))?;
    }
    Ok(())
}

/// Makes the binary kubectl's plugin in the lab: kubectl finds plugins by name on the PATH.
///
/// # Errors
/// The file could not be written.
pub fn install_plugin(binary: &Path) -> Result<()> {
    let directory = cache()?.join("bin");
    fs::create_dir_all(&directory)?;
    for name in ["kubectl-grampus", "grampus"] {
        let target = directory.join(name);
        let part = directory.join(format!(".{name}.part"));
        let _ = fs::remove_file(&part);
        if fs::hard_link(binary, &part).is_err() {
            fs::copy(binary, &part).with_context(|| format!("cannot write {}", part.display()))?;
        }
        fs::rename(&part, &target).with_context(|| format!("cannot write {}", target.display()))?;
        // A rename between two links to one file does nothing and leaves both.
        let _ = fs::remove_file(&part);
    }
    Ok(())
}

fn forget_old(directory: &Path) -> Result<()> {
    let mut images: Vec<_> = fs::read_dir(directory)?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "tar"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    images.sort();
    for (_, archive) in images.iter().rev().skip(KEPT) {
        fs::remove_file(archive)?;
        let _ = fs::remove_file(archive.with_extension(""));
    }
    Ok(())
}

//! A file system of its own in a file, which a test can stop and fill. It must never outlive its test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// How large it is: enough for ext4 and an agent, quick to fill.
const MIB: u64 = 32;

/// A mounted file system. Dropping it lets it go on, and takes it away.
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Makes one and mounts it there.
    pub fn at(at: &Path) -> anyhow::Result<Self> {
        let image = at.with_extension("ext4");
        std::fs::create_dir_all(at)?;
        std::fs::File::create(&image)?.set_len(MIB << 20)?;
        run("mkfs.ext4", &["-q", "-F", &image.display().to_string()])?;
        run("mount", &["-o", "loop", &image.display().to_string(), &at.display().to_string()])?;
        Ok(Self { at: at.to_owned() })
    }

    /// From now on a write does not return.
    pub fn freeze(&self) -> anyhow::Result<()> {
        run("fsfreeze", &["--freeze", &self.at.display().to_string()])
    }

    /// Writes return again.
    pub fn thaw(&self) -> anyhow::Result<()> {
        run("fsfreeze", &["--unfreeze", &self.at.display().to_string()])
    }

    /// Writes a file that leaves no room for another.
    pub fn fill(&self) -> anyhow::Result<PathBuf> {
        let path = self.at.join("filler");
        let mut file = std::fs::File::create(&path)?;
        while file.write_all(&[1; 4096]).is_ok() {}
        Ok(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may not be frozen.
        let _ = self.thaw();
        let _ = run("umount", &["--lazy", &self.at.display().to_string()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

//! Writes that survive a crash: a file is either the old one or the new one, and it is on the disk when the
//! call returns. It must never leave a name pointing at a half-written file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Replaces the contents of a file.
///
/// # Errors
/// Whatever the file system says; the old contents are then still there.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

/// Renames, and makes the new name durable.
///
/// # Errors
/// Whatever the file system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Puts everything under a directory on the disk, by flushing the file system that holds it.
///
/// # Errors
/// Whatever the file system says.
pub fn sync_tree(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    nix::unistd::syncfs(dir.as_fd())?;
    Ok(())
}

/// Removes a file for good. One that is not there is removed already.
///
/// # Errors
/// Whatever the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => sync_parent(path),
    }
}

/// Removes a directory and what is in it. One that is not there is removed already.
///
/// # Errors
/// Whatever the file system says.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

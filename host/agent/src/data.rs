//! The data directory: what state it is in, which copy of the data it holds, and how a new copy takes its place.
//!
//! It must never remove data that was complete before a newer copy has proved itself, and at whatever moment the
//! machine stops, [`settle`] must find one complete directory.

use std::io;
use std::path::Path;

use topology::facts::DataState;
use topology::gtid::GtidSet;
use uuid::Uuid;

use crate::config::Config;
use crate::durable;

/// The file in a data directory that says which copy it is. It is written last, so its presence says that the
/// directory is complete. mysqld neither reads nor copies it.
const INCARNATION_FILE: &str = "grampus-incarnation";

/// The file in a data directory that says which transactions it holds without having a log of them: what came
/// with a clone. mysqld keeps that in a table, which cannot be read while it is stopped.
const UNLOGGED_FILE: &str = "grampus-unlogged";

/// Remembers which transactions this data holds that no log shows: `gtid_purged`, as mysqld said after its start.
///
/// # Errors
/// Whatever the file system says.
pub fn remember_unlogged(config: &Config, purged: &GtidSet) -> io::Result<()> {
    if unlogged(&config.datadir())?.as_ref() == Some(purged) {
        return Ok(());
    }
    durable::write(&config.datadir().join(UNLOGGED_FILE), purged.to_string().as_bytes())
}

/// What this data holds that no log shows. None where mysqld has not answered on it yet: then nobody knows.
///
/// # Errors
/// Whatever the file system says, or a file that holds no GTID set.
pub fn unlogged(datadir: &Path) -> io::Result<Option<GtidSet>> {
    match std::fs::read_to_string(datadir.join(UNLOGGED_FILE)) {
        Ok(text) => text.parse().map(Some).map_err(io::Error::other),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

/// What is in the data directory now.
pub fn look(config: &Config) -> DataState {
    let datadir = config.datadir();
    if let Some(incarnation) = incarnation(&datadir) {
        return DataState::Ready { incarnation };
    }
    let empty = match std::fs::read_dir(&datadir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(why) => why.kind() == io::ErrorKind::NotFound,
    };
    if empty && !config.new_datadir().exists() { DataState::Empty } else { DataState::Incomplete }
}

fn incarnation(datadir: &Path) -> Option<Uuid> {
    let text = std::fs::read_to_string(datadir.join(INCARNATION_FILE)).ok()?;
    text.trim().parse().ok()
}

/// Gives a finished directory its identity and puts it on the disk: from now on it is complete. It starts under a
/// server_uuid of its own.
///
/// # Errors
/// Whatever the file system says.
pub fn complete(datadir: &Path) -> io::Result<Uuid> {
    let incarnation = Uuid::new_v4();
    forget_server_uuid(datadir)?;
    durable::sync_tree(datadir)?;
    durable::write(&datadir.join(INCARNATION_FILE), incarnation.to_string().as_bytes())?;
    Ok(incarnation)
}

/// The server_uuid under which mysqld starts next time. None where it will make one up.
pub fn server_uuid(datadir: &Path) -> Option<Uuid> {
    let text = std::fs::read_to_string(datadir.join("auto.cnf")).ok()?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("server-uuid="))?;
    line.trim().parse().ok()
}

/// Makes mysqld start under a new server_uuid next time.
///
/// # Errors
/// Whatever the file system says.
pub fn forget_server_uuid(datadir: &Path) -> io::Result<()> {
    durable::remove(&datadir.join("auto.cnf"))
}

/// Puts the new, complete directory in the place of the current one, which is kept beside it.
///
/// # Errors
/// Whatever the file system says; [`settle`] then finds the way back or forward.
pub fn swap(config: &Config) -> io::Result<()> {
    let (current, new, old) = (config.datadir(), config.new_datadir(), config.old_datadir());
    if old.exists() {
        // The current data is a copy that never answered, and the old data the last that did: it stays.
        durable::remove_tree(&config.scratch_datadir())?;
        durable::rename(&current, &config.scratch_datadir())?;
    } else if current.exists() {
        durable::rename(&current, &old)?;
    }
    durable::rename(&new, &current)?;
    durable::remove_tree(&config.scratch_datadir())
}

/// Takes a swap back: the new directory did not start.
///
/// # Errors
/// Whatever the file system says.
pub fn swap_back(config: &Config) -> io::Result<()> {
    if !config.old_datadir().exists() {
        return Ok(());
    }
    durable::remove_tree(&config.new_datadir())?;
    durable::rename(&config.datadir(), &config.new_datadir())?;
    durable::rename(&config.old_datadir(), &config.datadir())?;
    durable::remove_tree(&config.new_datadir())
}

/// Ends what an earlier agent was doing when it stopped, one way or the other. Called before anything else.
///
/// # Errors
/// Whatever the file system says.
pub fn settle(config: &Config) -> io::Result<()> {
    let (current, new, old) = (config.datadir(), config.new_datadir(), config.old_datadir());
    durable::remove_tree(&config.scratch_datadir())?;
    durable::remove_tree(&config.backup_datadir())?;
    durable::remove_tree(&config.replay_dir())?;
    if !current.exists() {
        if incarnation(&new).is_some() {
            durable::rename(&new, &current)?;
        } else if old.exists() {
            durable::rename(&old, &current)?;
        }
    }
    durable::remove_tree(&new)
}

/// Removes the data from before the last clone: the new one has answered.
///
/// # Errors
/// Whatever the file system says.
pub fn forget_old(config: &Config) -> io::Result<()> {
    durable::remove_tree(&config.old_datadir())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    fn config(root: &Path) -> Config {
        let root = root.to_str().unwrap();
        let arguments =
            ["x", "--cluster=shop", "--namespace=ns", "--member=shop-0", "--pod-ip=127.0.0.1", "--data", root];
        Arguments::parse_from(arguments).config
    }

    /// A directory with a file that tells it from others.
    fn make(dir: &Path, mark: &str) -> Uuid {
        std::fs::create_dir(dir).unwrap();
        std::fs::write(dir.join("mark"), mark).unwrap();
        complete(dir).unwrap()
    }

    fn mark(config: &Config) -> String {
        std::fs::read_to_string(config.datadir().join("mark")).unwrap()
    }

    #[test]
    fn a_crash_between_the_two_renames_of_a_swap_leaves_the_new_data() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        make(&config.old_datadir(), "old");
        let new = make(&config.new_datadir(), "new");
        settle(&config).unwrap();
        assert_eq!(look(&config), DataState::Ready { incarnation: new });
        assert_eq!(mark(&config), "new");
        assert!(config.old_datadir().exists(), "kept until the new one has answered");
    }

    #[test]
    fn a_crash_before_a_copy_was_complete_leaves_the_old_data() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        let old = make(&config.datadir(), "old");
        std::fs::create_dir(config.new_datadir()).unwrap();
        std::fs::write(config.new_datadir().join("ibdata1"), "half").unwrap();
        settle(&config).unwrap();
        assert_eq!(look(&config), DataState::Ready { incarnation: old });
        assert!(!config.new_datadir().exists());
    }

    #[test]
    fn a_swap_can_be_taken_back() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        let old = make(&config.datadir(), "old");
        make(&config.new_datadir(), "new");
        swap(&config).unwrap();
        assert_eq!(mark(&config), "new");
        swap_back(&config).unwrap();
        assert_eq!(look(&config), DataState::Ready { incarnation: old });
    }

    #[test]
    fn data_of_unknown_origin_is_never_called_empty() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        assert_eq!(look(&config), DataState::Empty);
        std::fs::create_dir(config.datadir()).unwrap();
        std::fs::write(config.datadir().join("ibdata1"), "x").unwrap();
        settle(&config).unwrap();
        assert_eq!(look(&config), DataState::Incomplete);
        assert!(config.datadir().join("ibdata1").exists());
    }
}

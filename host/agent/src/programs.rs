//! MySQL's own programs: its client, which carries a dump out, and mysqldump, which writes one.
//!
//! They connect as the agent does, through the socket, with a password that no list of processes shows. Whoever starts one
//! waits for its end; nothing here may leave one running.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::Context;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::config::{ADMIN_ACCOUNT, Config};
use crate::member::Member;
use crate::sql;

/// How much of what a program says is told.
const TOLD: usize = 1_000;

/// The file by which a program logs in to the server that `config` describes.
///
/// # Errors
/// The password cannot be read.
pub fn login(config: &Config) -> anyhow::Result<String> {
    let password = sql::secret(config, "admin-password")?.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!(
        "[client]\nuser=\"{ADMIN_ACCOUNT}\"\npassword=\"{password}\"\nsocket=\"{}\"\n",
        config.socket().display()
    ))
}

/// One of them, with the file by which it logs in.
pub fn command(config: &Config, name: &str, login: &Path) -> Command {
    let mut command = Command::new(beside(&config.mysqld, name));
    command.arg(format!("--defaults-file={}", login.display())).kill_on_drop(true);
    command
}

/// Starts it. Its caller waits for it and then has [`crate::reap::Children`] forget it.
///
/// # Errors
/// The image does not contain it.
pub fn start(member: &Member, command: &mut Command) -> anyhow::Result<Child> {
    let program = command.as_std().get_program().to_owned();
    member.children.spawn(command).with_context(|| {
        format!(
            "cannot run {}: dumps are made and read by MySQL's own programs, which the image (spec.image) has to \
                 contain",
            program.display()
        )
    })
}

/// What `wait_with_output` would give, of a child that is still there afterwards.
///
/// # Errors
/// Whatever the kernel says.
pub async fn end_of(child: &mut Child) -> std::io::Result<Output> {
    let mut stderr = Vec::new();
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_end(&mut stderr).await?;
    }
    Ok(Output { status: child.wait().await?, stdout: Vec::new(), stderr })
}

/// What went wrong, in the program's words.
pub fn complaint(ended: &Output) -> String {
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.trim();
    match said.char_indices().nth(TOLD) {
        _ if said.is_empty() => format!("it ended with {}", ended.status),
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said.to_owned(),
    }
}

/// The one that came with the server, or the first on the path.
fn beside(mysqld: &Path, name: &str) -> PathBuf {
    let beside = mysqld.with_file_name(name);
    if mysqld.is_absolute() && beside.exists() { beside } else { PathBuf::from(name) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn what_a_program_complains_of_is_told_and_no_more_than_a_person_reads() {
        let said = |text: &str| {
            complaint(&Output { status: ExitStatus::from_raw(256), stdout: Vec::new(), stderr: text.into() })
        };
        assert_eq!(said("ERROR 1146 (42S02) at line 3: no table\n"), "ERROR 1146 (42S02) at line 3: no table");
        assert!(said("").contains("exit status: 1"));
        assert_eq!(said(&"ä".repeat(5_000)).chars().count(), TOLD + 1);
    }

    #[test]
    fn a_program_beside_the_server_comes_before_one_on_the_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mysql"), "").unwrap();
        assert_eq!(beside(&dir.path().join("mysqld"), "mysql"), dir.path().join("mysql"));
        assert_eq!(beside(&dir.path().join("mysqld"), "mysqldump"), Path::new("mysqldump"));
        assert_eq!(beside(Path::new("mysqld"), "mysql"), Path::new("mysql"));
    }
}

//! Makes the first data directory of a cluster, and the small throw-away one that receives a clone.
//!
//! It must never touch a directory that could hold somebody's data: everything is made beside it and put in
//! place by a rename once it is complete.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::process::Command;
use topology::facts::{JobKind, JobState};

use crate::member::Member;
use crate::sql::accounts;
use crate::{data, durable, my_cnf};

/// Makes the first data directory and starts mysqld closed on it.
///
/// # Errors
/// In words; the volume is then as empty as before.
pub async fn initialize(member: Arc<Member>) -> anyhow::Result<()> {
    let stage = |stage: &str| member.set_job(JobKind::Initialize, JobState::Running { stage: stage.to_owned() });
    let config = &member.config;
    let new = config.new_datadir();
    stage("making the data directory");
    durable::remove_tree(&new)?;
    let statements = accounts::first_statements(config)?;
    let with_user_part = my_cnf::render(config, &member.children).await?.with_user_part;
    if let Err(why) = make(&member, &config.runtime.join("job"), &new, &statements, with_user_part).await {
        durable::remove_tree(&new)?;
        return Err(why);
    }
    put_in_place(&member).await?;
    stage("starting mysqld");
    member.ensure_started().await?;
    Ok(())
}

/// Makes the new directory the first data of the cluster.
///
/// # Errors
/// In words.
pub async fn put_in_place(member: &Member) -> anyhow::Result<()> {
    let config = Arc::clone(&member.config);
    let incarnation = tokio::task::spawn_blocking(move || {
        let incarnation = data::complete(&config.new_datadir())?;
        data::swap(&config)?;
        Ok::<_, std::io::Error>(incarnation)
    });
    let incarnation = incarnation.await?.context("the new data directory could not be put in place")?;
    tracing::info!(%incarnation, "made the first data directory");
    member.look_at_data();
    // The first data of a cluster has forgotten nothing: there is nothing before it.
    let proved = member.proved_now();
    member.state.change_own(|remembered| remembered.proved = proved).await?;
    Ok(())
}

/// Runs `mysqld --initialize-insecure`, which also carries out the statements. There is no binary log yet, so they
/// are no transactions of anybody.
///
/// # Errors
/// In words; what was made so far is left to the caller.
pub async fn make(
    member: &Member,
    runtime: &Path,
    datadir: &Path,
    statements: &str,
    with_user_part: bool,
) -> anyhow::Result<()> {
    fs::create_dir_all(runtime)?;
    let init_file = runtime.join("init.sql");
    let _removed_at_the_end = SecretFile::write(&init_file, statements)?;
    let defaults = my_cnf::for_job(&member.config, runtime, datadir, with_user_part, true)?;
    let mut command = Command::new(&member.config.mysqld);
    command
        .arg(format!("--defaults-file={}", defaults.display()))
        .arg("--initialize-insecure")
        .arg(format!("--init-file={}", init_file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = member.children.output(&mut command).await.context("cannot run mysqld")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = log.lines().filter(|line| line.contains("[ERROR]")).collect();
    if !output.status.success() || !errors.is_empty() {
        bail!("mysqld --initialize ended with {}: {}", output.status, errors.join("; "));
    }
    Ok(())
}

/// A file with passwords that lives no longer than it is needed.
pub struct SecretFile<'a>(&'a Path);

impl<'a> SecretFile<'a> {
    /// Writes it for the owner alone.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(path: &'a Path, text: &str) -> std::io::Result<Self> {
        fs::write(path, "")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        fs::write(path, text)?;
        Ok(Self(path))
    }
}

impl Drop for SecretFile<'_> {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_file(self.0) {
            tracing::warn!(%why, path = %self.0.display(), "a file with passwords could not be removed");
        }
    }
}

//! The first data directory, made once for all tests and copied.
//!
//! A copy must never keep what tells one server from another: the agent's own `Initialize` makes the original, and
//! a copy gets a new incarnation and no auto.cnf, which is exactly what a clone of an empty cluster would be.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::Cluster;

static TEMPLATE: OnceCell<(tempfile::TempDir, PathBuf)> = OnceCell::const_new();

/// Puts a copy of the first data directory into a volume. Returns its incarnation.
pub async fn place(volume: &Path) -> anyhow::Result<Uuid> {
    let (_, template) = TEMPLATE.get_or_try_init(make).await?;
    let datadir = volume.join("mysql");
    std::fs::create_dir_all(volume)?;
    let copied = Command::new("cp").arg("-a").arg(template).arg(&datadir).status()?;
    ensure!(copied.success(), "cp failed");
    let incarnation = Uuid::new_v4();
    std::fs::write(datadir.join("grampus-incarnation"), incarnation.to_string())?;
    let _ = std::fs::remove_file(datadir.join("auto.cnf"));
    Ok(incarnation)
}

async fn make() -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let mut cluster = Cluster::new().await?;
    cluster.add_empty().await?;
    cluster.initialize(0).await?;
    cluster.member_mut(0).stop().await.context("stopping the template's agent")?;
    let datadir = cluster.member(0).volume().join("mysql");
    let dir = cluster.into_dir();
    Ok((dir, datadir))
}

//! Watches whether the data volume still takes writes: a small file on it is written and synced now and then.
//!
//! A commit that hangs in the kernel looks from mysqld like any slow one, and mysqld goes on answering questions; a
//! volume that takes nothing can only be seen by writing to it. It must never hold up anything else of the agent,
//! because a write to a stuck volume does not return.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use topology::facts::VolumeTrouble;

use crate::member::Member;

/// How often it is tried: two syncs of one block in a second are nothing beside those of a single busy writer, and
/// every two seconds is often enough for a limit of several.
const EVERY: Duration = Duration::from_secs(2);

/// How often a write that does not return is reported anew.
const REPORT: Duration = Duration::from_secs(1);

/// With so few bytes left, mysqld's next write may find none: a transaction's events and a page of the redo log.
const FULL_BELOW: u64 = 1 << 20;

/// One block of most file systems, rewritten in place.
const BLOCK: [u8; 4096] = [0; 4096];

/// What was last found.
#[derive(Debug, Default)]
pub struct Volume {
    trouble: Mutex<Option<VolumeTrouble>>,
    space: Mutex<Option<Space>>,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may be written.
    pub free: u64,
    /// Bytes that there are in all.
    pub total: u64,
}

impl Volume {
    /// What is wrong, if anything is.
    pub fn trouble(&self) -> Option<VolumeTrouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much room there was when it last took a write.
    pub fn space(&self) -> Option<Space> {
        *self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, trouble: Option<VolumeTrouble>) -> bool {
        let mut now = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = *now != trouble;
        *now = trouble;
        differs
    }
}

/// Runs until the agent ends.
pub async fn run(member: Arc<Member>) {
    let path = member.config.own_dir().join("volume.probe");
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while member.ending.run_until_cancelled(tick.tick()).await.is_some() {
        if member.ending.run_until_cancelled(probe(&member, path.clone())).await.is_none() {
            return;
        }
    }
}

/// Writes once, and says meanwhile for how long it has not returned.
async fn probe(member: &Member, path: PathBuf) {
    let began = Instant::now();
    let mut writing = tokio::task::spawn_blocking(move || write(&path));
    let found = loop {
        tokio::select! {
            written = &mut writing => break written.unwrap_or_else(|why| Err(io::Error::other(why))),
            () = tokio::time::sleep(REPORT) => {
                let for_ms = began.elapsed().as_secs() * 1000;
                tell(member, Some(VolumeTrouble::Stalled { for_ms }));
            }
        }
    };
    let found = found.and_then(|space| {
        *member.volume.space.lock().unwrap_or_else(PoisonError::into_inner) = Some(space);
        enough(space)
    });
    tell(member, found.err().map(|why| VolumeTrouble::Failed { error: why.to_string() }));
}

fn tell(member: &Member, trouble: Option<VolumeTrouble>) {
    if let Some(trouble) = trouble.as_ref().filter(|_| member.volume.trouble().is_none()) {
        tracing::error!(%trouble, "the data volume takes no writes");
    }
    if member.volume.set(trouble) {
        member.changed.notify_one();
    }
}

fn write(path: &Path) -> io::Result<Space> {
    let file: File = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.write_all_at(&BLOCK, 0)?;
    file.sync_data()?;
    let about = nix::sys::statvfs::fstatvfs(&file)?;
    let (block, free, total) = (about.fragment_size(), about.blocks_available(), about.blocks());
    Ok(Space { free: free * block, total: total * block })
}

fn enough(space: Space) -> io::Result<()> {
    if space.free < FULL_BELOW {
        return Err(io::Error::other(format!("it is full: {} bytes are left", space.free)));
    }
    Ok(())
}

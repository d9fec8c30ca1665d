//! The disk that everything in the lab is on, as it does meanwhile.
//!
//! A commit waits for the disk several times, and a disk that stands still for seconds, as those of virtual machines do,
//! stops every one. What a test finds that stood still for longer than its disk is the product's.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

/// How long it rests between two writes: often enough to meet whatever stands still for long.
const REST: Duration = Duration::from_millis(50);

/// Somebody who writes a byte to the disk now and then, and waits for it.
pub struct Disk {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Duration>>,
}

impl Disk {
    /// Begins.
    pub fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::task::spawn_blocking(move || {
            let mut file = tempfile::tempfile().context("a file for the disk")?;
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                file.write_all(b".")?;
                file.sync_data()?;
                longest = longest.max(began.elapsed());
                std::thread::sleep(REST);
            }
            Ok(longest)
        });
        Self { stop, task }
    }

    /// Ends, and says how long the longest of those writes took.
    ///
    /// # Errors
    /// The file could not be written.
    pub async fn longest(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

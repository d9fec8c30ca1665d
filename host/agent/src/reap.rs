//! What process 1 owes to orphans: whoever's parent has died becomes our child and must be waited for.
//!
//! It must never wait for a child that somebody here waits for: the exit of mysqld would be lost.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The children that are waited for by whoever started them.
#[derive(Debug, Clone, Default)]
pub struct Children(Arc<Mutex<HashSet<u32>>>);

impl Children {
    /// Starts a child that its caller will wait for, and then [`Children::forget`].
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        // Held while starting, so that a child which ends at once is known before it can be looked at.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        known.extend(child.id());
        Ok(child)
    }

    /// The child was waited for.
    pub fn forget(&self, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        }
    }

    /// Runs a short-lived child to its end and returns what it wrote.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub async fn output(&self, command: &mut Command) -> std::io::Result<std::process::Output> {
        let child = self.spawn(command.kill_on_drop(true))?;
        let pid = child.id();
        let output = child.wait_with_output().await;
        self.forget(pid);
        output
    }

    /// Reaps orphans whenever a child ends. Only process 1 inherits any, so elsewhere this does nothing.
    pub async fn reap_orphans(self) {
        if std::process::id() != 1 {
            return;
        }
        let Ok(mut ended) = signal(SignalKind::child()) else { return };
        // A known child may lie in front of an orphan until its owner has waited for it: look again later.
        let mut again = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! { _ = ended.recv() => {}, _ = again.tick() => {} }
            while self.reap_one() {}
        }
    }

    fn reap_one(&self) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let Ok(status) = waitid(Id::All, peek) else { return false };
        let Some(pid) = status.pid() else { return false };
        let orphan = u32::try_from(pid.as_raw()).is_ok_and(|pid| !known.contains(&pid));
        orphan && waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_ok()
    }
}

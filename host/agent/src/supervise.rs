//! One mysqld as a child process: started, signalled, and its end known at once.
//!
//! It must never decide to start or end mysqld, and never signal a process identifier that may already belong to
//! somebody else: signals are sent only by the task that also reaps the child.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use topology::facts::Ends;

use crate::reap::Children;

/// A server that has run for so long was well: an end after it is the first again.
const WELL: Duration = Duration::from_secs(60);

/// What is known of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// There is none.
    Stopped {
        /// How the last one ended: `signal 9`, `exit code 1`.
        exit: Option<String>,
    },
    /// There is one.
    Running(Running),
}

/// A running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its identifier.
    pub pid: u32,
    /// When it was started, in milliseconds since 1970.
    pub started_unix_ms: u64,
}

impl Process {
    /// The process, if there is one.
    pub fn running(&self) -> Option<Running> {
        match self {
            Self::Running(running) => Some(*running),
            Self::Stopped { .. } => None,
        }
    }
}

/// A signal on its way.
#[derive(Debug, Clone, Copy)]
enum To {
    /// To the process.
    Process(Signal),
    /// SIGALRM to one of its threads.
    Thread(i32),
}

/// The handle on mysqld. Clones share it.
#[derive(Debug, Clone)]
pub struct Supervisor {
    program: PathBuf,
    children: Children,
    state: watch::Sender<Process>,
    signals: Arc<tokio::sync::Mutex<Option<mpsc::UnboundedSender<To>>>>,
    starts: Arc<std::sync::atomic::AtomicU64>,
    ends: Arc<Mutex<Option<Ends>>>,
}

impl Supervisor {
    /// Nothing runs yet.
    pub fn new(program: PathBuf, children: Children) -> Self {
        let (state, _) = watch::channel(Process::Stopped { exit: None });
        Self { program, children, state, signals: Arc::default(), starts: Arc::default(), ends: Arc::default() }
    }

    /// Ends that nobody asked for, one after the other, if there were any.
    pub fn ends(&self) -> Option<Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The data is another now: what happened on the former says nothing about it.
    pub fn forget_ends(&self) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How often mysqld was started. What was read from disk after one start says nothing about the next.
    pub fn starts(&self) -> u64 {
        self.starts.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// What is known now.
    pub fn now(&self) -> Process {
        self.state.borrow().clone()
    }

    /// Told of every start and end.
    pub fn watch(&self) -> watch::Receiver<Process> {
        self.state.subscribe()
    }

    /// Starts mysqld, unless it runs.
    ///
    /// # Errors
    /// Whatever the kernel says to the attempt.
    pub async fn start(&self, arguments: &[String]) -> std::io::Result<()> {
        let mut signals = self.signals.lock().await;
        if self.now().running().is_some() {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        // In a container mysqld's log is the container's; nothing of ours may reach its standard input.
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let child = self.children.spawn(&mut command)?;
        self.starts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let pid = child.id().unwrap_or_default();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.state.send_replace(Process::Running(Running { pid, started_unix_ms }));
        let (sender, receiver) = mpsc::unbounded_channel();
        *signals = Some(sender);
        let attended = attend(child, receiver, self.state.clone(), self.children.clone(), Arc::clone(&self.ends));
        tokio::spawn(attended);
        tracing::info!(pid, "mysqld started");
        Ok(())
    }

    /// Sends a signal, if there is a process to send it to.
    pub async fn signal(&self, signal: Signal) {
        if let Some(sender) = &*self.signals.lock().await {
            // A closed channel means that the process has ended, which is what a signal is for.
            let _ = sender.send(To::Process(signal));
        }
    }

    /// Interrupts what one of mysqld's threads waits for in the kernel. SIGALRM is what mysqld sends its own
    /// threads for that; it handles it by doing nothing.
    pub async fn interrupt(&self, thread: i32) {
        if let Some(sender) = &*self.signals.lock().await {
            let _ = sender.send(To::Thread(thread));
        }
    }

    /// Ends mysqld at once and waits until it is gone.
    pub async fn kill(&self) {
        self.signal(Signal::SIGKILL).await;
        self.ended().await;
    }

    /// Asks mysqld to shut down, and ends it when it has not in time. Only for a server on which no commit waits:
    /// on SIGTERM mysqld answers OK to commits that nobody has acknowledged.
    pub async fn shut_down(&self, patience: Duration) {
        self.signal(Signal::SIGTERM).await;
        if tokio::time::timeout(patience, self.ended()).await.is_err() {
            tracing::warn!(?patience, "mysqld did not shut down in time and is killed");
            self.kill().await;
        }
    }

    /// Waits until there is no process.
    pub async fn ended(&self) {
        // The sender lives as long as self, so the only answer is that the condition holds.
        let _ = self.watch().wait_for(|process| process.running().is_none()).await;
    }
}

async fn attend(
    mut child: Child,
    mut signals: mpsc::UnboundedReceiver<To>,
    state: watch::Sender<Process>,
    children: Children,
    ends: Arc<Mutex<Option<Ends>>>,
) {
    let (pid, began, mut told) = (child.id(), Instant::now(), false);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            Some(signal) = signals.recv() => {
                // The child is not reaped while this task is not in wait(), so the identifier is still its own.
                let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { continue };
                told |= matches!(signal, To::Process(_));
                match signal {
                    To::Process(signal) => drop(nix::sys::signal::kill(Pid::from_raw(pid), signal)),
                    To::Thread(thread) => interrupt(pid, thread),
                }
            }
        }
    };
    children.forget(pid);
    let by_itself = !told && status.as_ref().is_ok_and(is_of_its_own_accord);
    let exit = status.map_or_else(|why| format!("unknown: {why}"), describe);
    tracing::info!(pid, exit, by_itself, "mysqld ended");
    let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
    *ends = next_end(ends.take(), &exit, by_itself, began.elapsed());
    drop(ends);
    state.send_replace(Process::Stopped { exit: Some(exit) });
}

/// A thread that has ended meanwhile, or belongs to another process, gets nothing.
fn interrupt(pid: i32, thread: i32) {
    // SAFETY: the call takes three numbers and touches no memory of ours.
    unsafe {
        nix::libc::syscall(nix::libc::SYS_tgkill, pid, thread, nix::libc::SIGALRM);
    }
}

/// Whether a process that nobody told to end gave up or crashed. SIGKILL and SIGTERM come from outside: somebody, or the
/// kernel for want of memory.
fn is_of_its_own_accord(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let from_outside = [Signal::SIGKILL, Signal::SIGTERM].map(|signal| signal as i32);
    !status.success() && status.signal().is_none_or(|signal| !from_outside.contains(&signal))
}

/// The ends in a row after another one.
fn next_end(before: Option<Ends>, how: &str, by_itself: bool, ran: Duration) -> Option<Ends> {
    let before = before.filter(|_| ran < WELL);
    if !by_itself {
        return before;
    }
    let in_a_row = before.map_or(0, |before| before.in_a_row).saturating_add(1);
    Some(Ends { in_a_row, how: how.to_owned() })
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_end_counts_if_nobody_caused_it() {
        let ended = |raw| is_of_its_own_accord(&ExitStatus::from_raw(raw));
        assert!(ended(1 << 8) && ended(6) && ended(11), "exit code 1, SIGABRT, SIGSEGV");
        assert!(!ended(0) && !ended(9) && !ended(15), "SHUTDOWN, out of memory, somebody");
    }

    #[test]
    fn ends_are_in_a_row_until_the_server_was_well_for_a_while() {
        let soon = Duration::from_secs(2);
        let ends = |ends: &Option<Ends>| ends.as_ref().map_or(0, |ends| ends.in_a_row);
        let one = next_end(None, "exit code 1", true, soon);
        let two = next_end(one, "signal 6", true, soon);
        assert_eq!(two, Some(Ends { in_a_row: 2, how: "signal 6".to_owned() }));
        assert_eq!(ends(&next_end(two.clone(), "signal 9", false, soon)), 2, "a fence is none");
        assert_eq!(ends(&next_end(two.clone(), "signal 9", false, WELL)), 0, "it had been well");
        assert_eq!(ends(&next_end(two, "exit code 1", true, WELL)), 1);
    }
}

//! One mysqld as a child process: started, signalled, and its end known at once.
//!
//! It must never decide to start or end mysqld, and never signal a process identifier that may already belong to
//! somebody else: signals are sent only by the task that also reaps the child.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use crate::reap::Children;

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
    signals: std::sync::Arc<tokio::sync::Mutex<Option<mpsc::UnboundedSender<To>>>>,
    starts: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Supervisor {
    /// Nothing runs yet.
    pub fn new(program: PathBuf, children: Children) -> Self {
        let (state, _) = watch::channel(Process::Stopped { exit: None });
        Self { program, children, state, signals: std::sync::Arc::default(), starts: std::sync::Arc::default() }
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
        tokio::spawn(attend(child, receiver, self.state.clone(), self.children.clone()));
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
) {
    let pid = child.id();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            Some(signal) = signals.recv() => {
                // The child is not reaped while this task is not in wait(), so the identifier is still its own.
                let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { continue };
                match signal {
                    To::Process(signal) => drop(nix::sys::signal::kill(Pid::from_raw(pid), signal)),
                    To::Thread(thread) => interrupt(pid, thread),
                }
            }
        }
    };
    children.forget(pid);
    let exit = status.map_or_else(|why| format!("unknown: {why}"), describe);
    tracing::info!(pid, exit, "mysqld ended");
    state.send_replace(Process::Stopped { exit: Some(exit) });
}

/// A thread that has ended meanwhile, or belongs to another process, gets nothing.
fn interrupt(pid: i32, thread: i32) {
    // SAFETY: the call takes three numbers and touches no memory of ours.
    unsafe {
        nix::libc::syscall(nix::libc::SYS_tgkill, pid, thread, nix::libc::SIGALRM);
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

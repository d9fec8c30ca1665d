//! Asks modules beside the one in force, on a thread of its own that comes after everything else.
//!
//! Nothing here may ever be waited for by a decision. Use an engine of its own, too: with that, shadows share no room,
//! no instance and no clock with the modules that decide.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::decision::{Attempt, Source};
use crate::kind::DecisionKind;
use crate::module::Binding;

/// Questions that may wait. What a module costs is bounded, and a question comes a few times a failover.
const WAITING: usize = 64;

/// How much nicer than the rest of the program the thread is, of 19.
const NICENESS: i32 = 10;

/// Somebody who asks shadows. It ends with its last handle.
#[derive(Clone)]
pub struct Shadows {
    queue: SyncSender<Job>,
}

/// A question with those to be asked and what to do with their answers, of whatever decision.
struct Job {
    cluster: String,
    ask: Box<dyn FnOnce() + Send>,
}

/// So many questions wait already that another one is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{WAITING} questions wait for the shadows already")]
pub struct Busy;

impl Shadows {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start() -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(WAITING);
        std::thread::Builder::new().name("policy-shadow".to_owned()).spawn(move || work(&jobs))?;
        Ok(Self { queue })
    }

    /// Asks every binding the same, some time later. `done` gets what they said, in their order, on the shadows' thread.
    ///
    /// # Errors
    /// [`Busy`]; the shadows are not asked then.
    pub fn ask<Q: DecisionKind>(
        &self,
        question: Q,
        bindings: Vec<Arc<Binding<Q>>>,
        done: impl FnOnce(Vec<Attempt<Q::Answer>>) + Send + 'static,
    ) -> Result<(), Busy> {
        let cluster = question.cluster().1.to_owned();
        let ask = Box::new(move || {
            done(bindings.iter().map(|binding| Attempt::ask(binding, Source::Shadow, &question)).collect());
        });
        self.queue.try_send(Job { cluster, ask }).map_err(|_| Busy)
    }
}

fn work(jobs: &Receiver<Job>) {
    // SAFETY: no memory is involved. On Linux it is this thread alone that is nicer; if it cannot be, it still works.
    unsafe { nix::libc::nice(NICENESS) };
    while let Ok(Job { cluster, ask }) = jobs.recv() {
        // Whatever goes wrong with one question, the next one is asked.
        if catch_unwind(AssertUnwindSafe(ask)).is_err() {
            tracing::error!(cluster, "asking the shadows panicked");
        }
    }
}

//! Whether an operator is there: one listens to this agent's reports, or has just given it a command.
//!
//! It must never say what an operator's absence means: that is for [`crate::alone`].

use std::sync::Arc;

use tokio::sync::watch;

/// What has been noticed of operators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contact {
    /// How many report streams are open.
    pub streams: usize,
    /// How often an operator has begun to listen or given a command.
    pub heard: u64,
}

/// The operators of one agent.
#[derive(Debug, Default)]
pub struct Operators {
    contact: watch::Sender<Contact>,
}

impl Operators {
    /// Somebody listens, until the answer is dropped.
    pub fn listens(self: &Arc<Self>) -> Listening {
        self.contact.send_modify(|contact| {
            contact.streams += 1;
            contact.heard += 1;
        });
        Listening { operators: Arc::clone(self) }
    }

    /// Somebody has given a command.
    pub fn commands(&self) {
        self.contact.send_modify(|contact| contact.heard += 1);
    }

    /// What has been noticed so far.
    pub fn contact(&self) -> Contact {
        *self.contact.borrow()
    }

    /// Waits until somebody listens, or is heard of again.
    pub async fn appear(&self) {
        let heard = self.contact().heard;
        // The sender lives as long as self, so the only answer is that the condition holds.
        let there = |contact: &Contact| contact.streams > 0 || contact.heard != heard;
        let _ = self.contact.subscribe().wait_for(there).await;
    }
}

/// An open report stream.
#[derive(Debug)]
pub struct Listening {
    operators: Arc<Operators>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.operators.contact.send_modify(|contact| contact.streams -= 1);
    }
}

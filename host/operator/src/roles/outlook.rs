//! What would be decided if the primary were lost now, looked into now and then for people who ask.
//!
//! It runs in a task of its own beside the passes, and only the operator that acts does it. What comes of it goes to the
//! journal, which writes it when it says something new.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Supposed;
use tokio::time::Instant;
use topology::assess::without_primary;
use topology::decision::Question;
use topology::snapshot::Snapshot;

use crate::Context;
use crate::cache::ClusterKey;
use crate::policies::Asked;

/// How often it is looked into. It costs one call of the module in force and one of each shadow.
const EVERY: Duration = Duration::from_secs(5);

/// How long what was told stands before something else is: who has applied a little more can change with every look.
const STANDS: Duration = Duration::from_secs(30);

/// What this operator last told about one cluster.
#[derive(Default)]
pub struct Outlook {
    looked: Option<Instant>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    looking: AtomicBool,
    last: Mutex<Option<(engine::Outlook, Instant)>>,
}

impl Outlook {
    /// Looks into it if the last time is long enough ago. Nothing is waited for.
    pub fn look(&mut self, context: &Arc<Context>, key: &ClusterKey, snapshot: &Snapshot) {
        let leads = *context.leads.borrow();
        if !leads || self.looked.is_some_and(|looked| looked.elapsed() < EVERY) {
            return;
        }
        let Some(supposed) = without_primary(snapshot) else { return };
        if self.told.looking.swap(true, Ordering::Relaxed) {
            return;
        }
        self.looked = Some(Instant::now());
        let (context, key, told) = (context.clone(), key.clone(), self.told.clone());
        let at_unix_ms = snapshot.now_unix_ms;
        tokio::spawn(async move {
            let supposed = match supposed {
                Ok(question) => decided(&context, &key, question).await,
                Err(few) => Some(Supposed::Nobody(few.to_string())),
            };
            if let Some(supposed) = supposed {
                told.tell(&context, &key, engine::Outlook::new(at_unix_ms, supposed));
            }
            told.looking.store(false, Ordering::Relaxed);
        });
    }
}

/// What the module in force and its shadows say.
async fn decided(context: &Context, key: &ClusterKey, question: Question) -> Option<Supposed> {
    let mut entry = context.policies.suppose(key, question.clone()).await?;
    let (send, said) = tokio::sync::oneshot::channel();
    let asked = context.policies.ask_shadows(key, question, move |said| drop(send.send(said)));
    match asked {
        Asked::Nobody => {}
        Asked::Everybody => entry.shadows = said.await.ok()?,
        // Without what they say it would look as if there were none.
        Asked::Busy => return None,
    }
    Some(Supposed::Decided(Box::new(entry)))
}

impl Told {
    fn tell(&self, context: &Context, key: &ClusterKey, outlook: engine::Outlook) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(told, at)| outlook.says_the_same(told) || at.elapsed() < STANDS) {
            return;
        }
        context.journal.outlook(key, outlook.clone());
        *last = Some((outlook, Instant::now()));
    }
}

//! Modules that did not climb the ladder, by digest, so that the same bytes are not compiled again for every cluster that
//! names them.
//!
//! What was not the module's fault is not remembered, and what may have been the machine's only for some time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::LoadError;

/// How many are remembered: more than anybody makes at once. Each is a digest and a sentence.
const MOST: usize = 64;

/// For how long a limit on compiling stands: on a busy machine the same module may fit a little later. Long enough that a
/// module that never will costs 20 s of a processor seldom.
const LIMIT_STANDS: Duration = Duration::from_secs(300);

/// What was refused lately.
#[derive(Default)]
pub struct Refused(Mutex<VecDeque<Entry>>);

struct Entry {
    digest: String,
    error: LoadError,
    at: Instant,
}

impl Refused {
    /// Why that module was refused, if it was and would be again.
    pub fn get(&self, digest: &str, now: Instant) -> Option<LoadError> {
        let entries = self.lock();
        let entry = entries.iter().find(|entry| entry.digest == digest)?;
        let stands = match entry.error {
            LoadError::CompileLimit { .. } => now.saturating_duration_since(entry.at) < LIMIT_STANDS,
            _ => true,
        };
        stands.then(|| entry.error.clone())
    }

    /// That module was refused.
    pub fn remember(&self, digest: &str, error: &LoadError, now: Instant) {
        if error.is_passing() {
            return;
        }
        let mut entries = self.lock();
        entries.retain(|entry| entry.digest != digest);
        let surplus = (entries.len() + 1).saturating_sub(MOST);
        entries.drain(..surplus);
        entries.push_back(Entry { digest: digest.to_owned(), error: error.clone(), at: now });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_may_have_caused_is_tried_again() {
        let (refused, now) = (Refused::default(), Instant::now());
        refused.remember("a", &LoadError::CoreModule, now);
        refused.remember("b", &LoadError::CompileLimit { limit: "200 ms".to_owned() }, now);
        refused.remember("c", &LoadError::Compiler { why: "no memory".to_owned() }, now);
        let later = now + LIMIT_STANDS;
        assert_eq!(refused.get("a", later), Some(LoadError::CoreModule));
        assert!(refused.get("b", now).is_some() && refused.get("b", later).is_none());
        assert_eq!(refused.get("c", now), None);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let (refused, now) = (Refused::default(), Instant::now());
        for number in 0..=MOST {
            refused.remember(&number.to_string(), &LoadError::CoreModule, now);
        }
        assert_eq!(refused.get("0", now), None);
        assert!(refused.get("1", now).is_some() && refused.get(&MOST.to_string(), now).is_some());
    }
}

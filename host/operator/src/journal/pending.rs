//! What has yet to be written into the journal of one cluster, and when.
//!
//! Pure: the time is given. It holds a bounded number of notes, whatever happens to the API server.

use std::collections::HashMap;
use std::time::Duration;

use engine::{Entry, Note, Outlook, Verdict};
use tokio::time::Instant;
use topology::{backup_window, scaling, tuning};

/// How long a note waits for others: a failover is over by then, and its outcome goes along.
pub const COALESCE: Duration = Duration::from_secs(1);

/// How long after one write the next may follow, so that a cluster in trouble costs the API server little.
pub const SPACING: Duration = Duration::from_secs(5);

/// How often a write is made that only counts repetitions.
pub const COUNT_EVERY: Duration = Duration::from_secs(60);

/// The longest pause after a write that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Notes that are held for an API server that does not answer. A failover makes about four.
const MOST: usize = 64;

/// The same of advice, of which there is some each minute at most.
const MOST_ADVICE: usize = 8;

/// What a policy said beside who leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Advice {
    /// How many read replicas there should be, and how large servers and volumes.
    Scaling(Box<Entry<scaling::Question>>),
    /// How mysqld should be set.
    Tuning(Box<Entry<tuning::Question>>),
    /// Whether a backup that is due may begin.
    BackupWindow(Box<Entry<backup_window::Question>>),
}

/// What has yet to be written for one cluster.
#[derive(Debug, Default)]
pub struct Pending {
    notes: Vec<Note>,
    outlook: Option<Outlook>,
    advice: Vec<Advice>,
    /// Since when something waits that is news.
    news: Option<Instant>,
    last: Option<Entry>,
    /// The last decision that was approved.
    approved: Option<String>,
    repeats: HashMap<String, Repeats>,
    written: Option<Instant>,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Repeats {
    times: u64,
    until_unix_ms: u64,
    since: Instant,
}

/// What is written at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Decisions, and what is added to them.
    pub notes: Vec<Note>,
    /// What would be decided now.
    pub outlook: Option<Outlook>,
    /// What policies said beside who leads.
    pub advice: Vec<Advice>,
}

impl Pending {
    /// A decision was made. True if it is another than the one before.
    pub fn decided(&mut self, entry: Entry, now: Instant) -> bool {
        if let Some(last) = self.last.as_ref().filter(|last| entry.repeats(last)) {
            let fresh = Repeats { times: 0, until_unix_ms: 0, since: now };
            let repeats = self.repeats.entry(last.id.clone()).or_insert(fresh);
            repeats.times += 1;
            repeats.until_unix_ms = entry.at_unix_ms;
            return false;
        }
        if matches!(entry.verdict, Some(Verdict::Approved(_))) {
            self.approved = Some(entry.id.clone());
        }
        self.last = Some(entry.clone());
        self.note(Note::Decided(Box::new(entry)), now);
        true
    }

    /// The last approved decision was acted on. After the end nothing more becomes of it.
    pub fn became(&mut self, outcome: String, end: bool, now: Instant) {
        let Some(id) = self.approved.clone() else { return };
        self.approved = self.approved.take().filter(|_| !end);
        self.notes.retain(|note| !matches!(note, Note::Became { id: of, .. } if *of == id));
        self.note(Note::Became { id, outcome }, now);
    }

    /// Shadows answered.
    pub fn note(&mut self, note: Note, now: Instant) {
        self.notes.push(note);
        self.news.get_or_insert(now);
    }

    /// What would be decided has changed.
    pub fn outlook(&mut self, outlook: Outlook, now: Instant) {
        self.outlook = Some(outlook);
        self.news.get_or_insert(now);
    }

    /// A policy said something new beside who leads.
    pub fn advised(&mut self, advice: Advice, now: Instant) {
        self.advice.push(advice);
        self.news.get_or_insert(now);
    }

    /// When something has to be written; never if nothing waits.
    pub fn due(&self) -> Option<Instant> {
        let news = self.news.map(|since| since + COALESCE);
        let counted = self.repeats.values().map(|repeats| repeats.since + COUNT_EVERY).min();
        let due = [news, counted].into_iter().flatten().min()?;
        let rested = self.written.map_or(due, |written| written + self.pause());
        Some(due.max(rested))
    }

    /// How long after the last attempt the next may follow.
    fn pause(&self) -> Duration {
        SPACING.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE)
    }

    /// Takes everything that waits, to be written now.
    pub fn take(&mut self, now: Instant) -> Batch {
        let counted = self.repeats.drain();
        let counted =
            counted.map(|(id, Repeats { times, until_unix_ms, .. })| Note::Repeated { id, times, until_unix_ms });
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(counted);
        self.news = None;
        self.written = Some(now);
        Batch { notes, outlook: self.outlook.take(), advice: std::mem::take(&mut self.advice) }
    }

    /// It was written.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It could not be written, and has to wait. Gives how many decisions had to be let go for want of room.
    pub fn failed(&mut self, batch: Batch, now: Instant) -> usize {
        self.failures += 1;
        let Batch { mut notes, outlook, mut advice } = batch;
        advice.append(&mut self.advice);
        advice.drain(..advice.len().saturating_sub(MOST_ADVICE));
        self.advice = advice;
        notes.append(&mut self.notes);
        let surplus = notes.len().saturating_sub(MOST);
        let lost = notes.drain(..surplus).filter(|note| matches!(note, Note::Decided(_))).count();
        self.notes = notes;
        self.outlook = self.outlook.take().or(outlook);
        self.news.get_or_insert(now);
        lost
    }

    /// Whether the last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use engine::{DecidedBy, Decision, Limits, Source, Supposed, built_in_questions};
    use topology::decision::{Answer, Question};

    use super::*;

    fn entry(at_unix_ms: u64, answer: Answer) -> Entry {
        let by = DecidedBy {
            name: "zones".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:01".to_owned(),
            source: Source::Configured,
        };
        let decision =
            Decision { answer, by, failures: Vec::new(), fuel: 7, took_micros: 9, attempts: Vec::new(), breaker: None };
        let (_, question) = built_in_questions().swap_remove(4);
        let question = Question { now_unix_ms: at_unix_ms, without_primary_ms: at_unix_ms, ..question };
        let mut entry = Entry::new(at_unix_ms.to_string(), question, &decision, &Limits::default());
        entry.verdict = Some(match engine::chosen(&entry.answer) {
            Some(chosen) => Verdict::Approved(chosen.to_owned()),
            None => Verdict::Refused("the policy holds".to_owned()),
        });
        entry
    }

    fn hold(at_unix_ms: u64) -> Entry {
        entry(at_unix_ms, Answer::Hold { reason: format!("nobody led for {at_unix_ms} ms") })
    }

    fn promote(at_unix_ms: u64) -> Entry {
        let (candidate, reason) = ("shop-2".to_owned(), "because".to_owned());
        entry(at_unix_ms, Answer::Promote { candidate, reason, ranking: Vec::new() })
    }

    #[test]
    fn a_hold_that_is_repeated_is_counted_and_written_seldom() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        assert_eq!(pending.due(), None);
        assert!(pending.decided(hold(1_000), now));
        assert_eq!(pending.due(), Some(now + COALESCE));
        for pass in 1..=20 {
            assert!(!pending.decided(hold(1_000 + pass * 200), now));
        }
        let counted = Note::Repeated { id: "1000".to_owned(), times: 20, until_unix_ms: 5_000 };
        assert_eq!(pending.take(now).notes, [Note::Decided(Box::new(hold(1_000))), counted]);
        assert_eq!(pending.due(), None);
        assert!(!pending.decided(hold(5_200), now), "what was written is still what is repeated");
        assert_eq!(pending.due(), Some(now + COUNT_EVERY));
        assert!(pending.decided(promote(5_400), now), "another answer is news");
        assert_eq!(pending.due(), Some(now + SPACING));
    }

    #[test]
    fn only_the_last_that_became_of_a_decision_is_kept() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.became("nothing was decided".to_owned(), true, now);
        assert_eq!(pending.due(), None);
        pending.decided(promote(1_000), now);
        pending.became("it is chosen".to_owned(), false, now);
        pending.became("it leads".to_owned(), true, now);
        pending.became("a person moved it".to_owned(), true, now);
        let became = Note::Became { id: "1000".to_owned(), outcome: "it leads".to_owned() };
        assert_eq!(pending.take(now).notes[1..], [became]);
    }

    #[test]
    fn what_could_not_be_written_waits_within_bounds_and_is_tried_less_and_less_often() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let mut lost = 0;
        for number in 0..80 {
            let answer = Answer::Promote {
                candidate: format!("shop-{}", number % 2),
                reason: String::new(),
                ranking: Vec::new(),
            };
            pending.decided(entry(number, answer), now);
            let batch = pending.take(now);
            lost += pending.failed(batch, now);
        }
        assert_eq!((lost, pending.due()), (80 - MOST, Some(now + LONGEST_PAUSE)));
        assert!(pending.is_failing());
        let batch = pending.take(now);
        assert_eq!(batch.notes.len(), MOST);
        assert!(matches!(&batch.notes[0], Note::Decided(entry) if entry.id == "16"), "the oldest go first");
        pending.succeeded();
        assert!(!pending.is_failing() && pending.due().is_none());
    }

    #[test]
    fn of_two_outlooks_the_later_is_written() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let outlook = |why: &str| Outlook::new(1, Supposed::Nobody(why.to_owned()));
        pending.outlook(outlook("first"), now);
        let batch = pending.take(now);
        pending.outlook(outlook("second"), now);
        pending.failed(batch, now);
        assert_eq!(pending.take(now).outlook, Some(outlook("second")));
    }
}

//! The journal of one cluster: the last decisions, oldest first, packed into so many bytes.
//!
//! Lines that are only carried along stay as they are, so that an older program loses nothing that a newer one wrote.

use std::io::Read;

use serde::Deserialize;
use topology::decision::Question;
use topology::{backup_window, scaling, tuning};

use super::Entry;
use crate::decision::Attempt;
use crate::kind::DecisionKind;

/// How hard zstd tries: a journal is written seldom, and read over the network.
const LEVEL: i32 = 9;

/// Bytes of an unpacked journal that are read at most. Lines of one cluster resemble each other, and shrink to a twentieth.
const UNPACKED_BYTES: u64 = 32 << 20;

/// How much a journal may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Decisions.
    pub entries: usize,
    /// Bytes, packed.
    pub bytes: usize,
}

impl Default for Bounds {
    /// Two hundred decisions are about a hundred failovers. 192 KiB are a fifth of what an object in Kubernetes may have,
    /// and some times what so many ordinary decisions need (about 20 KiB).
    fn default() -> Self {
        Self { entries: 200, bytes: 192 << 10 }
    }
}

/// Something to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note<Q: DecisionKind = Question> {
    /// A decision.
    Decided(Box<Entry<Q>>),
    /// The same was decided again so many times, the last time then.
    Repeated {
        /// Of which entry.
        id: String,
        /// How many times more.
        times: u64,
        /// When last, in milliseconds since 1970.
        until_unix_ms: u64,
    },
    /// Shadows answered.
    Shadowed {
        /// Of which entry.
        id: String,
        /// What they said.
        said: Vec<Attempt<Q::Answer>>,
    },
    /// The answer was acted on.
    Became {
        /// Of which entry.
        id: String,
        /// What became of it.
        outcome: String,
    },
}

/// A journal, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// JSON lines, packed with zstd.
    pub bytes: Vec<u8>,
    /// The identifiers of decisions that are larger than the whole journal.
    pub lost: Vec<String>,
}

/// Why a journal cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not unpack: {0}")]
pub struct UnreadableJournal(String);

/// The last decisions of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    id: String,
    at_unix_ms: u64,
    text: String,
}

/// What every line of every version has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    id: String,
    at_unix_ms: u64,
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        let head: Head = serde_json::from_str(text).ok()?;
        Some(Self { id: head.id, at_unix_ms: head.at_unix_ms, text: text.to_owned() })
    }

    fn of<Q: DecisionKind>(entry: &Entry<Q>) -> Option<Self> {
        // An entry holds text, numbers and lists; all of them can be written as JSON.
        let text = serde_json::to_string(entry).ok()?;
        Some(Self { id: entry.id.clone(), at_unix_ms: entry.at_unix_ms, text })
    }

    /// The decision, if it is of this kind and this version can read it.
    fn entry<Q: DecisionKind>(&self) -> Option<Entry<Q>> {
        serde_json::from_str(&self.text).ok().filter(|entry: &Entry<Q>| entry.decision == Q::KIND.name())
    }

    /// False for a line of another kind, or one that this version cannot read.
    fn change<Q: DecisionKind>(&mut self, change: impl FnOnce(&mut Entry<Q>)) -> bool {
        let Some(mut entry) = self.entry() else { return false };
        change(&mut entry);
        let Some(changed) = Self::of(&entry) else { return false };
        *self = changed;
        true
    }
}

impl Ring {
    /// Unpacks a journal. A line that is none is left out.
    ///
    /// # Errors
    /// The bytes are no journal, or one far larger than any.
    pub fn unpack(packed: &[u8]) -> Result<Self, UnreadableJournal> {
        let failed = |error: std::io::Error| UnreadableJournal(error.to_string());
        let mut text = String::new();
        let decoder = zstd::stream::read::Decoder::new(packed).map_err(failed)?;
        decoder.take(UNPACKED_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > UNPACKED_BYTES {
            return Err(UnreadableJournal(format!("it is larger than {UNPACKED_BYTES} bytes")));
        }
        Ok(Self { lines: text.lines().filter_map(Line::read).collect() })
    }

    /// The decisions as JSON, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().map(|line| line.text.as_str())
    }

    /// The decisions of who leads that this version can read, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Entry> {
        self.entries_of()
    }

    /// The decisions of a kind that this version can read, oldest first.
    pub fn entries_of<Q: DecisionKind>(&self) -> impl DoubleEndedIterator<Item = Entry<Q>> {
        self.lines.iter().filter_map(Line::entry)
    }

    /// Takes notes in. One that was taken in before changes nothing, except that repetitions are counted again.
    pub fn take<Q: DecisionKind>(&mut self, notes: Vec<Note<Q>>) {
        for note in notes {
            match note {
                Note::Decided(entry) => {
                    if !self.lines.iter().any(|line| line.id == entry.id) {
                        self.lines.extend(Line::of(&entry));
                    }
                }
                Note::Repeated { id, times, until_unix_ms } => self.change(&id, |entry: &mut Entry<Q>| {
                    entry.repeated += times;
                    entry.repeated_until_unix_ms = entry.repeated_until_unix_ms.max(until_unix_ms);
                }),
                Note::Shadowed { id, said } => self.change(&id, |entry: &mut Entry<Q>| entry.shadows = said),
                Note::Became { id, outcome } => self.change(&id, |entry: &mut Entry<Q>| entry.outcome = Some(outcome)),
            }
        }
        // Two operators may have decided at the same time.
        self.lines.sort_by_key(|line| line.at_unix_ms);
    }

    fn change<Q: DecisionKind>(&mut self, id: &str, change: impl FnOnce(&mut Entry<Q>)) {
        if let Some(line) = self.lines.iter_mut().rev().find(|line| line.id == id) {
            line.change(change);
        }
    }

    /// Packs what fits, the newest first.
    ///
    /// # Errors
    /// Memory ran out.
    pub fn pack(mut self, bounds: Bounds) -> std::io::Result<Packed> {
        let mut lost = Vec::new();
        let surplus = self.lines.len().saturating_sub(bounds.entries);
        self.lines.drain(..surplus);
        loop {
            let mut text = self.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n");
            text.push('\n');
            let bytes = zstd::bulk::compress(text.as_bytes(), LEVEL)?;
            if bytes.len() <= bounds.bytes || self.lines.is_empty() {
                return Ok(Packed { bytes, lost });
            }
            match self.lines.as_mut_slice() {
                [only] => {
                    let shorter = !only.text.contains("\"cut\":true") && cut_any(only);
                    if !shorter {
                        lost.push(only.id.clone());
                        self.lines.clear();
                    }
                }
                more => {
                    let oldest = more.len().div_ceil(8);
                    self.lines.drain(..oldest);
                }
            }
        }
    }
}

/// Leaves out what is only there to read, whatever was decided. False where the line cannot be read.
fn cut_any(line: &mut Line) -> bool {
    line.change(cut::<Question>)
        || line.change(cut::<scaling::Question>)
        || line.change(cut::<tuning::Question>)
        || line.change(cut::<backup_window::Question>)
}

fn cut<Q: DecisionKind>(entry: &mut Entry<Q>) {
    entry.cut = true;
    entry.shadows.clear();
    entry.attempts.iter_mut().for_each(|attempt| attempt.logs.clear());
}

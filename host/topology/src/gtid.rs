//! GTID sets and their algebra, as MySQL writes them: `uuid:1-5:7,uuid:tag:3`.
//!
//! Losing a transaction and failing to compare two sets are the same mistake here, so this module must never
//! guess: text that is not a GTID set is an error, never an empty set.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The highest sequence number MySQL assigns: the signed 64-bit maximum, less one.
pub const MAX_SEQUENCE: u64 = i64::MAX as u64 - 1;

/// Where transactions come from: the server that first committed them and, from MySQL 8.3 on, a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Origin {
    server: Uuid,
    /// Lower case; empty where there is none.
    tag: String,
}

/// Sequence numbers `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

/// A set of transactions. Two equal sets compare equal however they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GtidSet {
    /// Intervals are sorted, disjoint and not adjacent, and no origin has none of them.
    origins: BTreeMap<Origin, Vec<Interval>>,
}

/// Why a text is not a GTID set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseGtidError {
    /// The part before the first colon is no UUID.
    #[error("`{0}` is not a server UUID (expected 8-4-4-4-12 hexadecimal digits)")]
    Server(String),
    /// An interval is not `n` or `n-m` with 1 ≤ n ≤ m.
    #[error("`{0}` is not a GTID interval (expected `n` or `n-m` with 1 ≤ n ≤ m)")]
    Interval(String),
    /// A tag is not a letter or underscore followed by up to 31 letters, digits or underscores.
    #[error("`{0}` is not a GTID tag (expected a letter or underscore, then up to 31 letters, digits or underscores)")]
    Tag(String),
    /// A server or a tag is followed by no interval at all.
    #[error("`{0}` names no interval")]
    Empty(String),
}

impl GtidSet {
    /// The set without transactions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is no transaction in it.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// How many transactions it holds. Saturates at `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.origins
            .values()
            .flatten()
            .fold(0_u64, |sum, interval| sum.saturating_add(interval.last - interval.first + 1))
    }

    /// Every transaction of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        for (origin, intervals) in &other.origins {
            let merged = result.origins.entry(origin.clone()).or_default();
            merged.extend_from_slice(intervals);
            normalize(merged);
        }
        result
    }

    /// Every transaction of this set that the other lacks.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let origins = self.origins.iter().filter_map(|(origin, intervals)| {
            let left = match other.origins.get(origin) {
                Some(cut) => subtract_intervals(intervals, cut),
                None => intervals.clone(),
            };
            (!left.is_empty()).then(|| (origin.clone(), left))
        });
        Self { origins: origins.collect() }
    }

    /// Every transaction in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.subtract(&self.subtract(other))
    }

    /// Whether every transaction of this set is in the other.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.subtract(other).is_empty()
    }

    /// The transactions that the given server committed first, under any tag.
    #[must_use]
    pub fn of_server(&self, server: Uuid) -> Self {
        let origins = self.origins.iter().filter(|(origin, _)| origin.server == server);
        Self { origins: origins.map(|(origin, intervals)| (origin.clone(), intervals.clone())).collect() }
    }

    /// Everything in it: a server, a tag (empty where there is none), and the sequence numbers from the first to the last
    /// of each run, sorted.
    pub fn runs(&self) -> impl Iterator<Item = (Uuid, &str, impl ExactSizeIterator<Item = (u64, u64)> + '_)> + '_ {
        self.origins.iter().map(|(origin, intervals)| {
            let runs = intervals.iter().map(|interval| (interval.first, interval.last));
            (origin.server, origin.tag.as_str(), runs)
        })
    }

    /// The servers whose transactions are in it, each once.
    pub fn servers(&self) -> impl Iterator<Item = Uuid> + '_ {
        let mut last = None;
        self.origins.keys().map(|origin| origin.server).filter(move |server| last.replace(*server) != Some(*server))
    }
}

/// Sorts intervals and joins the ones that touch.
fn normalize(intervals: &mut Vec<Interval>) {
    intervals.sort_unstable_by_key(|interval| interval.first);
    let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals.drain(..) {
        match joined.last_mut() {
            Some(last) if interval.first <= last.last + 1 => last.last = last.last.max(interval.last),
            _ => joined.push(interval),
        }
    }
    *intervals = joined;
}

/// What is left of `from` without `cut`. Both are normal, and so is the result.
fn subtract_intervals(from: &[Interval], cut: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    for interval in from {
        let mut first = interval.first;
        for hole in cut.iter().filter(|hole| hole.last >= interval.first && hole.first <= interval.last) {
            if hole.first > first {
                left.push(Interval { first, last: hole.first - 1 });
            }
            first = hole.last + 1;
        }
        if first <= interval.last {
            left.push(Interval { first, last: interval.last });
        }
    }
    left
}

impl FromStr for GtidSet {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut set = Self::new();
        for group in text.split(',').map(str::trim).filter(|group| !group.is_empty()) {
            let mut parts = group.split(':').map(str::trim);
            let server = parse_server(parts.next().unwrap_or_default())?;
            let mut tag = String::new();
            let mut seen_interval = false;
            for part in parts {
                if part.starts_with(|first: char| first.is_ascii_digit()) {
                    let interval = parse_interval(part)?;
                    set.origins.entry(Origin { server, tag: tag.clone() }).or_default().push(interval);
                    seen_interval = true;
                } else {
                    if !tag.is_empty() && !seen_interval {
                        return Err(ParseGtidError::Empty(group.to_owned()));
                    }
                    tag = parse_tag(part)?;
                    seen_interval = false;
                }
            }
            if !seen_interval {
                return Err(ParseGtidError::Empty(group.to_owned()));
            }
        }
        set.origins.values_mut().for_each(normalize);
        Ok(set)
    }
}

fn parse_server(text: &str) -> Result<Uuid, ParseGtidError> {
    let hyphenated = text.len() == 36;
    Uuid::try_parse(text).ok().filter(|_| hyphenated).ok_or_else(|| ParseGtidError::Server(text.to_owned()))
}

fn parse_interval(text: &str) -> Result<Interval, ParseGtidError> {
    let wrong = || ParseGtidError::Interval(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u64 = first.trim().parse().map_err(|_| wrong())?;
    let last: u64 = last.trim().parse().map_err(|_| wrong())?;
    if first == 0 || first > last || last > MAX_SEQUENCE {
        return Err(wrong());
    }
    Ok(Interval { first, last })
}

fn parse_tag(text: &str) -> Result<String, ParseGtidError> {
    let tag = text.to_ascii_lowercase();
    let mut letters = tag.chars();
    let starts = letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let goes_on = letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if starts && goes_on && tag.len() <= 32 { Ok(tag) } else { Err(ParseGtidError::Tag(text.to_owned())) }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = None;
        for (origin, intervals) in &self.origins {
            if server != Some(origin.server) {
                if server.is_some() {
                    out.write_str(",")?;
                }
                write!(out, "{}", origin.server)?;
                server = Some(origin.server);
            }
            if !origin.tag.is_empty() {
                write!(out, ":{}", origin.tag)?;
            }
            for interval in intervals {
                if interval.first == interval.last {
                    write!(out, ":{}", interval.first)?;
                } else {
                    write!(out, ":{}-{}", interval.first, interval.last)?;
                }
            }
        }
        Ok(())
    }
}

impl Serialize for GtidSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GtidSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for GtidSet {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GtidSet".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

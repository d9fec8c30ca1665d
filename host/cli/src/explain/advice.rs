//! What policies say beside who leads, in text: how they would scale and tune, and whether a backup may begin. Pure, as
//! everything that is shown here.

use engine::{Answered as _, DecisionKind, Entry, Kind, Verdict};
use jiff::Timestamp;
use objects::api::PolicyStatus;

use super::troubles::troubles;
use crate::style::{Style, Tone};

/// A policy that is asked beside who leads, and what it last said that was new.
#[derive(Debug, Clone, Copy)]
pub struct Consulted<'a, Q: DecisionKind> {
    /// What the status says of it. None where the spec names none.
    pub policy: Option<&'a PolicyStatus>,
    /// What the journal has of it.
    pub last: Option<&'a Entry<Q>>,
}

impl<Q: DecisionKind> Default for Consulted<'_, Q> {
    fn default() -> Self {
        Self { policy: None, last: None }
    }
}

/// The text of one of them; nothing where the spec names none. `since` says how long ago something was.
pub fn consulted<Q: DecisionKind>(
    consulted: &Consulted<'_, Q>,
    now: Timestamp,
    since: impl Fn(u64) -> String,
    style: Style,
) -> String {
    let Some(policy) = consulted.policy else { return String::new() };
    let followed = Q::KIND == Kind::BackupWindow;
    let heading = if followed { Q::KIND.to_string() } else { format!("{}, which nobody follows yet", Q::KIND) };
    let mut text = format!("\n{}\n", style.text(&heading, Tone::Quiet));
    let mut line = |words: &str, tone| text += &format!("{}\n", style.text(words, tone));
    troubles(policy, now).iter().for_each(|(trouble, tone)| line(trouble, *tone));
    let Some(entry) = consulted.last else {
        let why = if followed {
            "it has not answered yet; it is asked when a backup is due by the schedule"
        } else {
            "it has not answered yet; it is asked once a minute while a primary takes writes and was measured"
        };
        line(why, Tone::Doubtful);
        return text;
    };
    let by = format!("{} {}", entry.by.name, entry.by.version);
    line(&format!("{by}, {}: {}", since(entry.at_unix_ms), entry.answer.in_words()), Tone::Plain);
    let would = if followed { "" } else { "would " };
    let (lets, refuses) = if followed { ("lets", "refuses") } else { ("let", "refuse") };
    if let Some(Verdict::Approved(granted)) = &entry.verdict {
        line(&format!("the guard {would}{lets} pass: {granted}"), Tone::Good);
    }
    for refused in &entry.refused {
        line(&format!("the guard {would}{refuses}: {refused}"), Tone::Doubtful);
    }
    if entry.verdict.is_none() {
        line("nothing would change", Tone::Quiet);
    }
    text
}

#[cfg(test)]
mod tests;

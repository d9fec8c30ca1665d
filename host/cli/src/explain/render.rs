//! From what the operator keeps to text. Pure: what is shown can be tested without a cluster, a terminal or a clock.

use std::fmt::Write as _;

use engine::{Attempt, Change, Entry, Outlook, Said, Supposed, Verdict, chosen, disagrees, in_words};
use jiff::Timestamp;
use objects::api::PolicyStatus;
use topology::decision::{Answer, Candidate, Trigger};
use topology::{backup_window, scaling, tuning};

use super::advice::{Consulted, consulted};
use super::troubles::troubles;
use crate::status::ago;
use crate::style::{Style, Tone};

/// What there is to show.
pub struct View<'a> {
    /// The namespace and the name.
    pub name: String,
    /// Who leads, as the status says.
    pub primary: Option<&'a str>,
    /// What the status says of the policy that says who leads.
    pub policy: Option<&'a PolicyStatus>,
    /// What would be decided, if the operator has looked into it.
    pub outlook: Option<&'a Outlook>,
    /// Who says how many read replicas there should be, and how large servers and volumes.
    pub scaling: Consulted<'a, scaling::Question>,
    /// Who says how mysqld should be set.
    pub tuning: Consulted<'a, tuning::Question>,
    /// Who says when backups are made.
    pub backup_window: Consulted<'a, backup_window::Question>,
    /// The last decisions, oldest first.
    pub decisions: &'a [Entry],
    /// Now, for ages.
    pub now: Timestamp,
}

/// The whole text.
pub fn render(view: &View<'_>, style: Style) -> String {
    let mut text = match view.outlook {
        Some(outlook) => supposed(view, outlook, style),
        None => {
            let why = "the operator has not looked yet into who would lead; it does while a primary takes writes";
            format!("{}\n{}\n{}", view.name, style.text(why, Tone::Doubtful), wrong(view, style))
        }
    };
    text += &consulted(&view.scaling, view.now, |at| since(view, at), style);
    text += &consulted(&view.tuning, view.now, |at| since(view, at), style);
    text += &consulted(&view.backup_window, view.now, |at| since(view, at), style);
    let _ = write!(text, "\n{}", decisions(view, style));
    text
}

fn supposed(view: &View<'_>, outlook: &Outlook, style: Style) -> String {
    let since = since(view, outlook.at_unix_ms);
    match &outlook.supposed {
        Supposed::Nobody(why) => {
            let what = format!("if the primary were lost now, nobody could lead: {why}");
            format!("{}\n{} ({since})\n{}", view.name, style.text(&what, Tone::Bad), wrong(view, style))
        }
        Supposed::Decided(entry) => {
            let lost = entry.question.former_primary.as_deref().unwrap_or("the primary");
            let (would, tone) = match &entry.answer {
                Answer::Promote { candidate, reason, .. } => {
                    (format!("{candidate} would lead: {reason}"), Tone::Leading)
                }
                Answer::Hold { reason } => (format!("nobody would lead at first: {reason}"), Tone::Bad),
            };
            let mut text = format!("{}\nif {lost} were lost now, {}\n", view.name, style.text(&would, tone));
            let _ = writeln!(
                text,
                "so says {}; it last changed in substance {since}",
                whole_name(&entry.by.name, &entry.by.version)
            );
            if view.primary.is_some_and(|primary| Some(primary) != entry.question.former_primary.as_deref()) {
                let stale = format!("this is from when {lost} led; the operator looks again within a minute");
                let _ = writeln!(text, "{}", style.text(&stale, Tone::Doubtful));
            }
            for failed in failures(entry) {
                let _ = writeln!(text, "{}", style.text(&failed, Tone::Bad));
            }
            text += &wrong(view, style);
            let _ = write!(text, "\n{}", members(entry, style));
            if !entry.shadows.is_empty() {
                let _ = write!(
                    text,
                    "\n{}\n{}",
                    style.text("shadows, which nobody follows", Tone::Quiet),
                    shadows(entry, style)
                );
            }
            text
        }
    }
}

/// What is wrong with the policy that the spec names.
fn wrong(view: &View<'_>, style: Style) -> String {
    let troubles = view.policy.map(|policy| troubles(policy, view.now)).unwrap_or_default();
    troubles.iter().map(|(trouble, tone)| style.text(trouble, *tone) + "\n").collect()
}

/// What is wrong with modules that should have answered.
fn failures(entry: &Entry) -> impl Iterator<Item = String> {
    entry.attempts.iter().filter_map(|attempt| {
        let name = whole_name(&attempt.by.name, &attempt.by.version);
        match (&attempt.said, &attempt.passed_over) {
            (Said::Failed(failure), _) => Some(format!("{name} fails: {failure}")),
            (Said::Answered(_), Some(why)) => Some(format!("{name} was passed over: {why}")),
            (Said::Answered(_), None) => None,
        }
    })
}

fn members(entry: &Entry, style: Style) -> String {
    let ranking = match &entry.answer {
        Answer::Promote { ranking, .. } => ranking.as_slice(),
        Answer::Hold { .. } => &[],
    };
    let place = |candidate: &Candidate| {
        let first = chosen(&entry.answer) == Some(candidate.name.as_str());
        let ranked = ranking.iter().position(|row| row.name == candidate.name).unwrap_or(usize::MAX);
        (!first, !candidate.is_eligible(), ranked)
    };
    let mut candidates: Vec<_> = entry.question.candidates.iter().collect();
    candidates.sort_by_key(|candidate| place(candidate));
    let mut table = style.table();
    table.set_header(["MEMBER", "MAY LEAD", "SCORE", "WHY"].map(|heading| style.cell(heading, Tone::Quiet)));
    for candidate in candidates {
        let row = ranking.iter().find(|row| row.name == candidate.name);
        let tone = if chosen(&entry.answer) == Some(candidate.name.as_str()) { Tone::Leading } else { Tone::Plain };
        let reasons: Vec<_> = candidate.ineligible.iter().map(|reason| reason.message.as_str()).collect();
        let (may, why) = match candidate.is_eligible() {
            true => (style.cell("yes", Tone::Plain), row.map(|row| row.reason.clone()).unwrap_or_default()),
            false => (style.cell("no", Tone::Bad), reasons.join("; ")),
        };
        let score = row.map_or_else(|| "-".to_owned(), |row| row.score.to_string());
        table.add_row([
            style.cell(&candidate.name, tone),
            may,
            style.cell(score, Tone::Plain),
            style.cell(why, Tone::Plain),
        ]);
    }
    table.trim_fmt() + "\n"
}

fn shadows(entry: &Entry, style: Style) -> String {
    let mut table = style.table();
    for shadow in &entry.shadows {
        let (says, tone) = shadow_in_words(shadow, &entry.answer);
        let name = format!("{} {}", whole_name(&shadow.by.name, &shadow.by.version), shadow.settings);
        table.add_row([style.cell(name, Tone::Plain), style.cell(says, tone)]);
    }
    table.trim_fmt() + "\n"
}

fn shadow_in_words(shadow: &Attempt, answer: &Answer) -> (String, Tone) {
    match &shadow.said {
        Said::Failed(failure) => (format!("fails: {failure}"), Tone::Bad),
        Said::Answered(_) if disagrees(shadow, answer) => {
            (format!("disagrees: {}", in_words(&shadow.said)), Tone::Doubtful)
        }
        Said::Answered(_) => ("agrees".to_owned(), Tone::Good),
    }
}

fn decisions(view: &View<'_>, style: Style) -> String {
    if view.decisions.is_empty() {
        return format!("{}\n", style.text("nothing was decided yet", Tone::Quiet));
    }
    let mut text = format!("{}\n", style.text("last decisions", Tone::Quiet));
    for entry in view.decisions {
        let trigger = match entry.question.trigger {
            Trigger::Failover => "failover",
            Trigger::Switchover => "switchover",
        };
        let said = in_words(&Said::Answered(entry.answer.clone()));
        let (by, epoch) = (whole_name(&entry.by.name, &entry.by.version), entry.question.epoch);
        let _ = writeln!(text, "{}  {trigger}, epoch {epoch}: {said} ({by})", since(view, entry.at_unix_ms));
        let refused = match &entry.verdict {
            Some(Verdict::Refused(why)) => Some((format!("not acted on: {why}"), Tone::Doubtful)),
            Some(Verdict::Approved(_)) | None => None,
        };
        let repeated = (entry.repeated > 0).then(|| {
            let until = since(view, entry.repeated_until_unix_ms);
            (format!("answered again {} times, the last {until}", entry.repeated), Tone::Quiet)
        });
        let became = entry.outcome.clone().map(|outcome| (outcome, Tone::Good));
        let failed = failures(entry).map(|failed| (failed, Tone::Bad));
        let breaker = entry.breaker.map(|change| match change {
            Change::Opened => ("from then on it was not asked for a while".to_owned(), Tone::Bad),
            Change::Closed => ("its trial: from then on it was asked again".to_owned(), Tone::Good),
        });
        let shadows = entry.shadows.iter().map(|shadow| {
            let (says, tone) = shadow_in_words(shadow, &entry.answer);
            (format!("shadow {} {says}", whole_name(&shadow.by.name, &shadow.by.version)), tone)
        });
        for (line, tone) in failed.chain(breaker).chain(refused).chain(repeated).chain(became).chain(shadows) {
            let _ = writeln!(text, "    {}", style.text(&line, tone));
        }
    }
    text
}

fn whole_name(name: &str, version: &str) -> String {
    format!("{name} {version}")
}

fn since(view: &View<'_>, unix_ms: u64) -> String {
    let then = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    then.map_or_else(|| "at an unknown time".to_owned(), |then| ago(view.now, then))
}

#[cfg(test)]
mod tests;

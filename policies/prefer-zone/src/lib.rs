//! Keeps the primary in a preferred zone.
//!
//! Among the eligible members, those in the first zone of the list win, then those in the second, and so on;
//! zones that are not listed come last. Within a zone the one with the least work left leads, as in
//! `most-advanced`. It must never hold because a zone is empty: a primary elsewhere is better than none.

use grampus_policy::SettingsError;
use grampus_policy::primary_selection::{Answer, Candidate, Question};
use serde::Deserialize;

/// What can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The zones to prefer, the most preferred first.
    pub zones: Vec<String>,
}

/// Finds what the types allow and makes no sense.
///
/// # Errors
/// No zone at all, an empty name, or the same zone twice.
pub fn check(settings: &Settings) -> Result<(), SettingsError> {
    if settings.zones.is_empty() {
        return Err(SettingsError::at("zones", "name at least one zone, the most preferred first"));
    }
    for (at, zone) in settings.zones.iter().enumerate() {
        if zone.is_empty() {
            return Err(SettingsError::at(format!("zones[{at}]"), "a zone needs a name"));
        }
        if settings.zones[..at].contains(zone) {
            return Err(SettingsError::at(format!("zones[{at}]"), format!("zone `{zone}` is listed twice")));
        }
    }
    Ok(())
}

/// Chooses.
pub fn decide(question: &Question, settings: &Settings) -> Answer {
    question
        .rank_by(|candidate| {
            let place = place(candidate, settings);
            let reason = format!("{}; {}", zone_in_words(candidate, settings, place), candidate.cost_in_words());
            // The score orders zones only; the cost within a zone is in the words and in the order.
            let score = (settings.zones.len() - place) as i64;
            ((place, candidate.cost()), score, reason)
        })
        .into_answer()
}

/// The candidate's zone's place in the list; behind the last where it is not listed.
fn place(candidate: &Candidate, settings: &Settings) -> usize {
    settings.zones.iter().position(|zone| *zone == candidate.zone).unwrap_or(settings.zones.len())
}

fn zone_in_words(candidate: &Candidate, settings: &Settings, place: usize) -> String {
    let listed = settings.zones.len();
    if place < listed {
        return format!("is in zone {}, preference {} of {listed}", candidate.zone, place + 1);
    }
    let wanted = settings.zones.join(", ");
    if candidate.zone.is_empty() {
        return format!("is in no known zone (preferred: {wanted})");
    }
    format!("is in zone {}, which is not preferred (preferred: {wanted})", candidate.zone)
}

grampus_policy::primary_selection! {
    summary: "keeps the primary in the first zone of a list that has an eligible member",
    settings_schema: include_str!("settings.schema.json"),
    settings: Settings,
    check: check,
    decide: decide,
}

#[cfg(test)]
mod tests;

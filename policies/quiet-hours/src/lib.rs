//! Has backups wait while the shop is open: at times of the week that somebody named, and while servers are busy.
//!
//! It goes by what clocks show where the schedule is, so that a summer time moves nothing. What was not measured is not
//! busy: a backup must never wait because nothing is known. It must never count on waiting for ever, either; whoever
//! asks begins in the end whatever it says.

use grampus_policy::SettingsError;
use grampus_policy::backup_window::{Answer, LocalTime, Policy, Question, begin, clock, postpone};
use serde::Deserialize;

/// What can be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct QuietHours {
    /// When no backup begins.
    pub closed: Vec<Hours>,
    /// No backup begins while any server has more statements a second than this. No limit if not given.
    pub busy_above_queries_per_second: Option<u64>,
}

/// Some hours of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hours {
    /// Days of the week, from 1 for Monday to 7 for Sunday. Every day if none is given.
    #[serde(default)]
    pub weekdays: Vec<u32>,
    /// From when on, as in `09:30`.
    pub from: String,
    /// Until when, as in `18:00`; up to `24:00`. Hours that go on after midnight are written as two entries.
    pub until: String,
    /// Why, for whoever asks why there is no backup yet.
    #[serde(default)]
    pub because: String,
}

impl Hours {
    /// Their beginning and their end, in minutes after midnight.
    fn minutes(&self) -> Result<(u32, u32), (&'static str, String)> {
        let from = clock(&self.from).map_err(|why| ("from", why))?;
        let until = clock(&self.until).map_err(|why| ("until", why))?;
        if from >= until {
            let why =
                format!("expected later than {}; write hours that go on after midnight as two entries", self.from);
            return Err(("until", why));
        }
        Ok((from, until))
    }

    fn hold(&self, local: &LocalTime) -> bool {
        let day = self.weekdays.is_empty() || self.weekdays.contains(&local.weekday);
        day && self.minutes().is_ok_and(|(from, until)| (from..until).contains(&local.minute_of_day))
    }
}

impl Policy for QuietHours {
    fn check(&self) -> Result<(), SettingsError> {
        for (at, hours) in self.closed.iter().enumerate() {
            if let Err((field, why)) = hours.minutes() {
                return Err(SettingsError::at(format!("closed[{at}].{field}"), why));
            }
            if let Some(wrong) = hours.weekdays.iter().find(|day| !(1..=7).contains(*day)) {
                let why = format!("expected days from 1 for Monday to 7 for Sunday, found {wrong}");
                return Err(SettingsError::at(format!("closed[{at}].weekdays"), why));
            }
        }
        Ok(())
    }

    fn decide(&self, question: &Question) -> Answer {
        if let Some(hours) = self.closed.iter().find(|hours| hours.hold(&question.local)) {
            let because = if hours.because.is_empty() { String::new() } else { format!(": {}", hours.because) };
            return postpone(format!("no backup begins from {} until {}{because}", hours.from, hours.until));
        }
        if let Some(most) = self.busy_above_queries_per_second {
            let busy =
                question.servers.iter().find(|server| server.load.queries_per_second.is_some_and(|now| now > most));
            if let Some(busy) = busy {
                let now = busy.load.queries_per_second.unwrap_or_default();
                return postpone(format!("{} has {now} statements a second, more than {most}", busy.name));
            }
        }
        begin("nothing is in its way")
    }
}

grampus_policy::backup_window! {
    summary: "has backups wait at times of the week, and while servers are busy",
    settings_schema: include_str!("settings.schema.json"),
    policy: QuietHours,
}

#[cfg(test)]
mod tests;

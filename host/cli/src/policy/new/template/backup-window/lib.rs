//! When a backup that is due may begin: say here when not.

use grampus_policy::SettingsError;
use grampus_policy::backup_window::{Answer, Policy, Question, begin, postpone};
use serde::Deserialize;

/// The policy. Its fields are what can be set under `settings` in a cluster's spec.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TYPE {
    /// No backup begins on these days of the week, from 1 for Monday to 7 for Sunday.
    #[serde(default)]
    pub not_on: Vec<u32>,
}

impl Policy for TYPE {
    /// Finds what the types allow and makes no sense.
    fn check(&self) -> Result<(), SettingsError> {
        match self.not_on.iter().find(|day| !(1..=7).contains(*day)) {
            Some(day) => Err(SettingsError::at("notOn", format!("expected days from 1 to 7, found {day}"))),
            None => Ok(()),
        }
    }

    /// Says whether the backup may begin. It does so by itself when it cannot wait any longer.
    fn decide(&self, question: &Question) -> Answer {
        let today = question.local.weekday;
        if self.not_on.contains(&today) {
            return postpone(format!("not on day {today}; it can wait for {} s more", question.can_wait_s()));
        }
        begin("today is a day for backups")
    }
}

grampus_policy::backup_window! {
    summary: "has backups wait on some days",
    settings_schema: include_str!("settings.schema.json"),
    policy: TYPE,
}

#[cfg(test)]
mod tests {
    use grampus_policy::backup_window::scenario::nightly;

    use super::*;

    #[test]
    fn a_backup_waits_on_the_days_that_are_named() {
        let policy = TYPE { not_on: vec![5] };
        assert!(matches!(policy.decide(&nightly().at(5, 120)), Answer::Postpone(_)));
        assert!(matches!(policy.decide(&nightly().at(6, 120)), Answer::Begin(_)));
    }
}

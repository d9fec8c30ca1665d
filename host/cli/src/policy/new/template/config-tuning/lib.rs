//! How mysqld shall be set: say here what follows from what.

use grampus_policy::SettingsError;
use grampus_policy::config_tuning::{Answer, Policy, Question, keep};
use serde::Deserialize;

/// The policy. Its fields are what can be set under `settings` in a cluster's spec.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TYPE {
    /// The cache of open tables grows where more than this many were put out of it in an hour.
    #[serde(default = "overflows_per_hour")]
    pub overflows_per_hour: u64,
}

fn overflows_per_hour() -> u64 {
    100
}

impl Policy for TYPE {
    /// Finds what the types allow and makes no sense.
    fn check(&self) -> Result<(), SettingsError> {
        if self.overflows_per_hour == 0 {
            return Err(SettingsError::at("overflowsPerHour", "expected at least 1: a cache that never overflows grows for ever"));
        }
        Ok(())
    }

    /// Says what should be otherwise. What is not measured is None, and nothing follows from it.
    fn decide(&self, question: &Question) -> Answer {
        let name = "table_open_cache";
        let Some(overflows) = question.activity.table_cache_overflows_per_hour else {
            return keep("nobody knows how many tables were put out of the cache");
        };
        let answer = keep(format!("{overflows} tables were put out of the cache in an hour"));
        let now = question.number(name).unwrap_or(0);
        // `step` goes as far as one step may, and nowhere with what a person set.
        match question.step(name, now.saturating_mul(2)) {
            Some(more) if overflows > self.overflows_per_hour => answer.with(name, more, "they had to be opened again"),
            _ => answer,
        }
    }
}

grampus_policy::config_tuning! {
    summary: "gives the cache of open tables the size that is needed",
    settings_schema: include_str!("settings.schema.json"),
    policy: TYPE,
}

#[cfg(test)]
mod tests {
    use grampus_policy::config_tuning::scenario::server;

    use super::*;

    #[test]
    fn the_cache_grows_where_it_overflows() {
        let policy = TYPE { overflows_per_hour: 100 };
        let mut question = server(8 << 30).set("table_open_cache", 4_000);
        assert!(policy.decide(&question).changes.is_empty());
        question.activity.table_cache_overflows_per_hour = Some(500);
        assert_eq!(policy.decide(&question).value("table_open_cache"), Some("5000"));
        assert!(policy.decide(&question.by_person("table_open_cache", 4_000)).changes.is_empty());
    }
}

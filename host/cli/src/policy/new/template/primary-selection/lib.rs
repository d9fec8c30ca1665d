//! Who shall lead: say here what is preferred, and what must never be.

use grampus_policy::SettingsError;
use grampus_policy::primary_selection::{Answer, Policy, Question};
use serde::Deserialize;

/// The policy. Its fields are what can be set under `settings` in a cluster's spec.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TYPE {
    /// Zones in which the primary should rather not be.
    #[serde(default)]
    pub avoid_zones: Vec<String>,
}

impl Policy for TYPE {
    /// Finds what the types allow and makes no sense.
    fn check(&self) -> Result<(), SettingsError> {
        match self.avoid_zones.iter().position(String::is_empty) {
            Some(at) => Err(SettingsError::at(format!("avoidZones[{at}]"), "a zone needs a name")),
            None => Ok(()),
        }
    }

    /// Chooses: the most points win, and between equals the member with the least work left.
    fn decide(&self, question: &Question) -> Answer {
        question
            .weigh(|candidate, scales| {
                let avoided = self.avoid_zones.contains(&candidate.zone);
                scales.add_if(avoided, -100, "is in a zone to avoid");
                scales.prefer_label("disk", "fast", 10);
            })
            .into_answer()
    }
}

grampus_policy::primary_selection! {
    summary: "stays out of some zones and prefers fast disks",
    settings_schema: include_str!("settings.schema.json"),
    policy: TYPE,
}

#[cfg(test)]
mod tests {
    use grampus_policy::primary_selection::scenario::{failover, member};

    use super::*;

    #[test]
    fn a_member_elsewhere_is_better() {
        let policy = TYPE { avoid_zones: vec!["a".into()] };
        let answer = policy.decide(&failover([
            member("shop-0").unreachable(),
            member("shop-1").zone("a"),
            member("shop-2").zone("b").has_to_apply(500),
        ]));
        assert_eq!(answer.chosen(), Some("shop-2"));
    }

    #[test]
    fn a_zone_without_a_name_is_refused() {
        let policy = TYPE { avoid_zones: vec!["a".into(), String::new()] };
        assert_eq!(policy.check().unwrap_err().path, "avoidZones[1]");
    }
}

//! What shall be larger or more: say here when.

use grampus_policy::SettingsError;
use grampus_policy::scaling::{Answer, Policy, Question, keep};
use serde::Deserialize;

/// The policy. Its fields are what can be set under `settings` in a cluster's spec.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TYPE {
    /// Volumes grow by half where less than this part of one is free, in thousandths.
    #[serde(default = "keep_free_permille")]
    pub keep_free_permille: u64,
}

fn keep_free_permille() -> u64 {
    200
}

impl Policy for TYPE {
    /// Finds what the types allow and makes no sense.
    fn check(&self) -> Result<(), SettingsError> {
        if self.keep_free_permille >= 1_000 {
            return Err(SettingsError::at("keepFreePermille", "expected less than 1000: no volume is ever empty"));
        }
        Ok(())
    }

    /// Says what should be otherwise. What is not measured is None, and nothing follows from it.
    fn decide(&self, question: &Question) -> Answer {
        let size = question.present.volume_bytes;
        let Some(free) = question.servers.iter().filter_map(|server| server.load.volume_free_bytes).min() else {
            return keep("nobody knows how much is free");
        };
        let permille = free.saturating_mul(1_000) / size.max(1);
        let answer = keep(format!("{permille} ‰ of the fullest volume are free"));
        if permille >= self.keep_free_permille {
            return answer;
        }
        let most = question.bounds.volume_most_bytes.unwrap_or(size);
        match size.saturating_add(size / 2).min(most) {
            larger if larger > size => answer.with_volume(larger, "it would be full soon"),
            _ => answer,
        }
    }
}

grampus_policy::scaling! {
    summary: "grows volumes before they are full",
    settings_schema: include_str!("settings.schema.json"),
    policy: TYPE,
}

#[cfg(test)]
mod tests {
    use grampus_policy::scaling::scenario::cluster;

    use super::*;

    #[test]
    fn a_volume_grows_before_it_is_full() {
        let policy = TYPE { keep_free_permille: 200 };
        let with_free = |free: u64| cluster(0).measured(|server| server.load.volume_free_bytes = Some(free));
        let answer = policy.decide(&with_free(3 << 30));
        assert_eq!(answer.volume.map(|wish| wish.bytes), Some(30 << 30));
        assert!(policy.decide(&with_free(5 << 30)).keeps());
        assert!(policy.decide(&cluster(0)).keeps());
    }
}

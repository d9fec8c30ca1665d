//! Has as many read replicas as reading needs.
//!
//! It looks at the servers that only read or that are replicas, for these are what applications read from, and at how
//! much of their processor limit they use. One more reader comes where that is more than it should be, one goes where
//! the others would still have little to do without it. It must never take a reader away while another does not serve,
//! and never wish for anything but readers: writes do not become faster by them.

use grampus_policy::SettingsError;
use grampus_policy::scaling::{Answer, Policy, Question, Role, Server, keep};
use serde::Deserialize;

/// What can be set. Everything has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ReadLoad {
    /// A reader comes where the servers use more of their processors than this on average, in thousandths. Beyond
    /// about three quarters, waiting grows faster than work.
    pub add_above_permille: u64,
    /// A reader goes where the others would use less than this without it. Far enough below for what goes not to be
    /// missed at once.
    pub remove_below_permille: u64,
    /// What was measured over less than this many seconds is not acted upon: a peak is over before a copy has ended.
    pub least_window_s: u64,
}

impl Default for ReadLoad {
    fn default() -> Self {
        Self { add_above_permille: 700, remove_below_permille: 400, least_window_s: 60 }
    }
}

/// A container that was throttled in so many thousandths of its periods has used all it may have, whatever the average.
const THROTTLED_PERMILLE: u64 = 250;

/// How much of its processors a server uses, in thousandths.
fn busy_permille(question: &Question, server: &Server) -> Option<u64> {
    let used = server.cpu_used_permille(&question.present.resources)?;
    let throttled = server.load.cpu_throttled_permille.is_some_and(|throttled| throttled >= THROTTLED_PERMILLE);
    Some(if throttled { used.max(1_000) } else { used })
}

impl Policy for ReadLoad {
    fn check(&self) -> Result<(), SettingsError> {
        if self.add_above_permille == 0 {
            return Err(SettingsError::at("addAbovePermille", "expected at least 1; 700 if not given"));
        }
        if self.remove_below_permille >= self.add_above_permille {
            let message = "expected less than addAbovePermille, or readers would come and go for ever";
            return Err(SettingsError::at("removeBelowPermille", message));
        }
        Ok(())
    }

    fn decide(&self, question: &Question) -> Answer {
        let reading = || question.servers.iter().filter(|server| server.role != Role::Primary && server.serving);
        let measured = reading().filter(|server| server.load.window_s >= self.least_window_s);
        let busy: Vec<u64> = measured.filter_map(|server| busy_permille(question, server)).collect();
        let count = reading().count() as u64;
        if busy.is_empty() || (busy.len() as u64) < count {
            return keep(format!("{} of {count} servers that are read from were measured for long enough", busy.len()));
        }
        let sum = busy.iter().fold(0, |sum: u64, one| sum.saturating_add(*one));
        let (mean, now) = (sum / count, question.present.read_replicas);
        let told = format!("{count} servers that are read from use {mean} ‰ of their processors on average");
        if mean > self.add_above_permille {
            let reason = format!("more than {} ‰ are used", self.add_above_permille);
            return match question.step_to_read_replicas(now.saturating_add(1)) {
                Some(more) if more > now => keep(told).with_read_replicas(more, reason),
                Some(_) | None => keep(format!("{told}, and another reader may not come now")),
            };
        }
        let away = question.readers().filter(|reader| !reader.serving).count();
        let without = if count > 1 { sum / (count - 1) } else { u64::MAX };
        if now > 0 && without < self.remove_below_permille {
            if away > 0 {
                return keep(format!("{told}; none goes while {away} readers do not serve"));
            }
            let reason = format!("the others would use {without} ‰ without one");
            return match question.step_to_read_replicas(now - 1) {
                Some(fewer) if fewer < now => keep(told).with_read_replicas(fewer, reason),
                Some(_) | None => keep(format!("{told}, and no reader may go now")),
            };
        }
        keep(told)
    }
}

grampus_policy::scaling! {
    summary: "has as many read replicas as reading needs",
    settings_schema: include_str!("settings.schema.json"),
    policy: ReadLoad,
}

#[cfg(test)]
mod tests;

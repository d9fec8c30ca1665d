//! Tuning mysqld: the question, the answer, and helpers to get from one to the other.
//!
//! The types are those of the contract `grampus:config-tuning@0.1.0`. The helpers must never wish for more than one
//! step, or for a setting that a person has set.

pub mod scenario;

#[doc(hidden)]
#[allow(missing_docs, reason = "generated from the contract, which is documented")]
#[allow(clippy::all, clippy::unwrap_used, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        world: "config-tuning",
        path: "../wit/config-tuning",
        pub_export_macro: true,
        export_macro_name: "export_config_tuning",
        default_bindings_module: "grampus_policy::config_tuning::bindings",
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

pub use bindings::exports::grampus::config_tuning::policy::{
    Activity, Answer, Change, Load, Present, Question, Resources, Setting,
};

#[doc(hidden)]
pub use bindings::exports::grampus::config_tuning::policy as contract;

pub use crate::settings::{NoSettings, SettingsError};

/// How far a number may move at once, in hundredths of what it is: what the guard allows.
pub const STEP_PERCENT: u64 = 25;

/// A policy as a struct: its fields are the settings, and it has one function that must be written.
///
/// Give it to the macro as `policy: MyPolicy`. Put `#[serde(deny_unknown_fields)]` on it, so that a misspelt field
/// is refused when it is written.
pub trait Policy: serde::de::DeserializeOwned {
    /// Finds what the types allow and makes no sense.
    ///
    /// # Errors
    /// The path of the first field that makes no sense, and why.
    fn check(&self) -> Result<(), SettingsError> {
        Ok(())
    }

    /// Says what should be otherwise. The same question must always get the same answer.
    fn decide(&self, question: &Question) -> Answer;
}

/// An answer that keeps everything, for this reason. Changes can be added to it.
pub fn keep(reason: impl Into<String>) -> Answer {
    Answer { reason: reason.into(), changes: Vec::new() }
}

impl Answer {
    /// The same, with one more change, which is wanted less than those before it.
    pub fn with(mut self, name: impl Into<String>, value: impl ToString, reason: impl Into<String>) -> Self {
        self.changes.push(Change { name: name.into(), value: value.to_string(), reason: reason.into() });
        self
    }

    /// The value that a setting should have, if it is to be changed.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.changes.iter().find(|change| change.name == name).map(|change| change.value.as_str())
    }
}

impl Question {
    /// A setting in force at the primary.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.present.settings.iter().find(|setting| setting.name == name)
    }

    /// The whole number that a setting has.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.setting(name)?.value.parse().ok()
    }

    /// The number nearest to a wanted one that one step reaches. None where nothing is to be changed: it is so already, a
    /// person set it, or what there is now is not known.
    pub fn step(&self, name: &str, wanted: u64) -> Option<u64> {
        let now = self.number(name)?;
        if self.setting(name)?.by_person {
            return None;
        }
        let far = (now / 100).saturating_mul(STEP_PERCENT).saturating_add(now % 100 * STEP_PERCENT / 100).max(1);
        let reached = wanted.max(now.saturating_sub(far)).min(now.saturating_add(far));
        (reached != now).then_some(reached)
    }

    /// The value of a further observation.
    pub fn fact(&self, name: &str) -> Option<&str> {
        crate::lookup(&self.facts, name)
    }
}

/// Makes a policy that tunes, of a struct or of a function. [`crate::module`] has the fields.
#[macro_export]
macro_rules! config_tuning {
    ($($fields:tt)*) => { $crate::__policy! { config_tuning export_config_tuning; $($fields)* } };
}

/// What is said where settings that were checked do not fit any more.
#[doc(hidden)]
pub fn without_settings(why: String) -> Answer {
    keep(why)
}

#[cfg(test)]
mod tests {
    use super::scenario::server;

    #[test]
    fn a_step_goes_a_quarter_far() {
        let question = server(8 << 30).set("max_connections", 200).by_person("thread_cache_size", 9);
        assert_eq!(question.step("max_connections", 1_000), Some(250));
        assert_eq!(question.step("max_connections", 0), Some(150));
        assert_eq!(question.step("max_connections", 210), Some(210));
        assert_eq!(question.step("max_connections", 200), None);
        assert_eq!(question.step("thread_cache_size", 20), None);
        assert_eq!(question.step("no_such_setting", 20), None);
        assert_eq!(question.set("max_connections", 2).step("max_connections", 9), Some(3));
    }
}

//! Backup windows: the question whether a backup that is due may begin, the answer, and helpers to get from one to the
//! other.
//!
//! The types are those of the contract `grampus:backup-window@0.1.0`. A policy can have a backup wait; that it is made in
//! the end is not in its hands, and the helpers must never suggest otherwise.

pub mod scenario;

#[doc(hidden)]
#[allow(missing_docs, reason = "generated from the contract, which is documented")]
#[allow(clippy::all, clippy::unwrap_used, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        world: "backup-window",
        path: "../wit/backup-window",
        pub_export_macro: true,
        export_macro_name: "export_backup_window",
        default_bindings_module: "grampus_policy::backup_window::bindings",
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

pub use bindings::exports::grampus::backup_window::policy::{
    Answer, LastBackup, Load, LocalTime, Question, Role, Server,
};

#[doc(hidden)]
pub use bindings::exports::grampus::backup_window::policy as contract;

pub use crate::settings::{NoSettings, SettingsError};

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

    /// Says whether the backup may begin now. The same question must always get the same answer.
    fn decide(&self, question: &Question) -> Answer;
}

/// The backup may begin, for this reason.
pub fn begin(reason: impl Into<String>) -> Answer {
    Answer::Begin(reason.into())
}

/// Not now, for this reason. The same is asked again after a minute.
pub fn postpone(reason: impl Into<String>) -> Answer {
    Answer::Postpone(reason.into())
}

impl Question {
    /// For how many more seconds the backup can wait.
    pub fn can_wait_s(&self) -> u64 {
        self.latest_unix_ms.saturating_sub(self.now_unix_ms) / 1_000
    }

    /// The member that leads, if it can be reached.
    pub fn primary(&self) -> Option<&Server> {
        self.servers.iter().find(|server| server.role == Role::Primary)
    }

    /// The value of a further observation.
    pub fn fact(&self, name: &str) -> Option<&str> {
        crate::lookup(&self.facts, name)
    }
}

/// A moment of the day as a clock shows it, as in `09:30`; `24:00` is the end of a day. Minutes since midnight.
///
/// # Errors
/// It is no such moment.
pub fn clock(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no time of a day; write it as in 09:30, up to 24:00");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| match digits.len() {
        2 => digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u32>().ok()).flatten(),
        _ => None,
    };
    let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(wrong)?;
    let all = hours * 60 + minutes;
    if minutes > 59 || all > 24 * 60 { Err(wrong()) } else { Ok(all) }
}

/// Makes a policy that says when backups are made, of a struct or of a function. [`crate::module`] has the fields.
#[macro_export]
macro_rules! backup_window {
    ($($fields:tt)*) => { $crate::__policy! { backup_window export_backup_window; $($fields)* } };
}

/// What is said where settings that were checked do not fit any more.
#[doc(hidden)]
pub fn without_settings(why: String) -> Answer {
    begin(why)
}

#[cfg(test)]
mod tests {
    use super::scenario::nightly;
    use super::*;

    #[test]
    fn a_time_of_a_day_is_two_numbers_of_two_digits() {
        let minutes = ["00:00", "09:30", "23:59", "24:00"].map(|text| clock(text).unwrap());
        assert_eq!(minutes, [0, 570, 1_439, 1_440]);
        for wrong in ["", "9:30", "09:60", "24:01", "25:00", "0930", "+9:30", "09:3é"] {
            assert!(clock(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_to_wait_ends_at_the_latest_moment() {
        let mut question = nightly();
        assert_eq!(question.can_wait_s(), 6 * 3_600);
        question.now_unix_ms = question.latest_unix_ms + 1;
        assert_eq!(question.can_wait_s(), 0);
    }
}

//! Choosing a primary: the question, the answer, and helpers to get from one to the other.
//!
//! The types are those of the contract `grampus:primary-selection@0.2.0`. The helpers must never offer a member
//! that is not eligible.

mod cost;
mod rank;
mod rules;
pub mod scenario;

#[doc(hidden)]
#[allow(missing_docs, reason = "generated from the contract, which is documented")]
#[allow(clippy::all, clippy::unwrap_used, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        world: "primary-selection",
        path: "../wit/primary-selection",
        pub_export_macro: true,
        export_macro_name: "export_primary_selection",
        default_bindings_module: "grampus_policy::primary_selection::bindings",
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

pub use bindings::exports::grampus::primary_selection::policy::{
    Activity, Answer, Candidate, Capacity, CatchUp, Hold, Ineligible, NodePressure, Promotion, Question, Ranked,
    Trigger,
};
pub use cost::{CORDONED_COST, MISSING_WEIGHT, NOT_READY_COST};
pub use rank::{Ranking, Scored};
pub use rules::{Scales, VETOED, Weighed};

#[doc(hidden)]
pub use bindings::exports::grampus::primary_selection::policy as contract;

pub use crate::settings::{NoSettings, SettingsError};

/// A policy as a struct: its fields are the settings, and it has one function that must be written.
///
/// Give it to the macro as `policy: MyPolicy`. Put `#[serde(deny_unknown_fields)]` on it, so that a misspelt field
/// is refused when it is written and not ignored until the failover it was meant for.
pub trait Policy: serde::de::DeserializeOwned {
    /// Finds what the types allow and makes no sense.
    ///
    /// # Errors
    /// The path of the first field that makes no sense, and why.
    fn check(&self) -> Result<(), SettingsError> {
        Ok(())
    }

    /// Chooses. The same question must always get the same answer.
    fn decide(&self, question: &Question) -> Answer;
}

/// An answer: this member, for this reason.
pub fn promote(candidate: impl Into<String>, reason: impl Into<String>) -> Answer {
    Answer::Promote(Promotion { candidate: candidate.into(), reason: reason.into(), ranking: Vec::new() })
}

/// An answer: nobody yet, for this reason.
pub fn hold(reason: impl Into<String>) -> Answer {
    Answer::Hold(Hold { reason: reason.into() })
}

impl Candidate {
    /// Whether a policy may name it.
    pub fn is_eligible(&self) -> bool {
        self.ineligible.is_empty()
    }

    /// The value of a label of its pod.
    pub fn label(&self, key: &str) -> Option<&str> {
        crate::lookup(&self.labels, key)
    }

    /// The value of a further observation.
    pub fn fact(&self, name: &str) -> Option<&str> {
        crate::lookup(&self.facts, name)
    }
}

impl Question {
    /// The members a policy may choose from: the eligible ones and, in a switchover, not the one that leads now.
    pub fn choices(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.is_eligible() && !self.is_being_replaced(candidate))
    }

    /// Whether this is the healthy primary that somebody wants to be replaced.
    ///
    /// After a failover the former primary may lead again once it is back and eligible; in a switchover naming
    /// it would mean doing nothing.
    pub fn is_being_replaced(&self, candidate: &Candidate) -> bool {
        self.trigger == Trigger::Switchover && self.former_primary.as_deref() == Some(candidate.name.as_str())
    }

    /// The value of a further observation about the cluster.
    pub fn fact(&self, name: &str) -> Option<&str> {
        crate::lookup(&self.facts, name)
    }
}

/// Makes a policy that chooses primaries, of a struct or of a function. [`crate::module`] has the fields.
#[macro_export]
macro_rules! primary_selection {
    ($($fields:tt)*) => { $crate::__policy! { primary_selection export_primary_selection; $($fields)* } };
}

/// What is said where settings that were checked do not fit any more.
#[doc(hidden)]
pub fn without_settings(why: String) -> Answer {
    hold(why)
}

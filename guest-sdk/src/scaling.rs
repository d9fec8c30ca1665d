//! Scaling: the question, the answer, and helpers to get from one to the other.
//!
//! The types are those of the contract `grampus:scaling@0.1.0`. The helpers must never wish for what the bounds in the
//! question do not allow.

pub mod scenario;

#[doc(hidden)]
#[allow(missing_docs, reason = "generated from the contract, which is documented")]
#[allow(clippy::all, clippy::unwrap_used, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        world: "scaling",
        path: "../wit/scaling",
        pub_export_macro: true,
        export_macro_name: "export_scaling",
        default_bindings_module: "grampus_policy::scaling::bindings",
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

pub use bindings::exports::grampus::scaling::policy::{
    Answer, Bounds, Load, Present, Question, Range, ReadReplicasWish, Resources, ResourcesWish, Role, Server,
    VolumeWish,
};

#[doc(hidden)]
pub use bindings::exports::grampus::scaling::policy as contract;

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

    /// Says what should be otherwise. The same question must always get the same answer.
    fn decide(&self, question: &Question) -> Answer;
}

/// An answer that keeps everything, for this reason. Wishes can be added to it.
pub fn keep(reason: impl Into<String>) -> Answer {
    Answer { reason: reason.into(), read_replicas: None, resources: None, volume: None }
}

impl Answer {
    /// The same, with another number of read replicas.
    pub fn with_read_replicas(mut self, count: u32, reason: impl Into<String>) -> Self {
        self.read_replicas = Some(ReadReplicasWish { count, reason: reason.into() });
        self
    }

    /// The same, with other resources. What is None in them stays as it is.
    pub fn with_resources(mut self, resources: Resources, reason: impl Into<String>) -> Self {
        self.resources = Some(ResourcesWish { resources, reason: reason.into() });
        self
    }

    /// The same, with volumes of another size.
    pub fn with_volume(mut self, bytes: u64, reason: impl Into<String>) -> Self {
        self.volume = Some(VolumeWish { bytes, reason: reason.into() });
        self
    }

    /// Whether it wishes for nothing.
    pub fn keeps(&self) -> bool {
        self.read_replicas.is_none() && self.resources.is_none() && self.volume.is_none()
    }
}

impl Question {
    /// The servers that only read.
    pub fn readers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.role == Role::ReadReplica)
    }

    /// The member that leads.
    pub fn primary(&self) -> Option<&Server> {
        self.servers.iter().find(|server| server.role == Role::Primary)
    }

    /// The number of read replicas nearest to a wanted one that may be had in one step now. None where there are to be no
    /// others than now: it is the number there is, the spec gives no bounds, or it changed a short while ago.
    pub fn step_to_read_replicas(&self, wanted: u32) -> Option<u32> {
        let Range { least, most } = self.bounds.read_replicas?;
        if self.present.read_replicas_changed_s.is_some_and(|ago| ago < self.bounds.cooldown_s) {
            return None;
        }
        let (now, step) = (self.present.read_replicas, self.bounds.read_replicas_step.max(1));
        let narrow = |bound: u64| u32::try_from(bound).unwrap_or(u32::MAX);
        let reached = wanted.max(now.saturating_sub(step)).min(now.saturating_add(step));
        let reached = reached.min(narrow(most)).max(narrow(least));
        (reached != now && least <= most).then_some(reached)
    }

    /// The value of a further observation.
    pub fn fact(&self, name: &str) -> Option<&str> {
        crate::lookup(&self.facts, name)
    }
}

impl Server {
    /// The part of its processor limit that it uses, in thousandths. None where one of both is not known.
    pub fn cpu_used_permille(&self, limit: &Resources) -> Option<u64> {
        let (used, limit) = (self.load.cpu_used_millicores?, limit.cpu_millicores.filter(|limit| *limit > 0)?);
        Some(used.saturating_mul(1_000) / limit)
    }
}

/// Makes a policy that scales, of a struct or of a function. [`crate::module`] has the fields.
#[macro_export]
macro_rules! scaling {
    ($($fields:tt)*) => { $crate::__policy! { scaling export_scaling; $($fields)* } };
}

/// What is said where settings that were checked do not fit any more.
#[doc(hidden)]
pub fn without_settings(why: String) -> Answer {
    keep(why)
}

#[cfg(test)]
mod tests {
    use super::scenario::cluster;
    use super::*;

    #[test]
    fn a_step_goes_as_far_as_it_may() {
        let mut question = cluster(2);
        assert_eq!(question.step_to_read_replicas(9), Some(3));
        assert_eq!(question.step_to_read_replicas(0), Some(1));
        assert_eq!(question.step_to_read_replicas(2), None);
        question.present.read_replicas_changed_s = Some(question.bounds.cooldown_s - 1);
        assert_eq!(question.step_to_read_replicas(9), None);
        question.present.read_replicas_changed_s = Some(question.bounds.cooldown_s);
        question.bounds.read_replicas = Some(Range { least: 0, most: 2 });
        assert_eq!(question.step_to_read_replicas(9), None);
        question.bounds.read_replicas = None;
        assert_eq!(question.step_to_read_replicas(1), None);
    }
}

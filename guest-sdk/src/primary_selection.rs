//! Choosing a primary: the question, the answer, and helpers to get from one to the other.
//!
//! The types are those of the contract `grampus:primary-selection@0.1.0`. The helpers must never offer a member
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
    Answer, Candidate, Hold, Ineligible, Promotion, Question, Ranked, Trigger,
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
        lookup(&self.labels, key)
    }

    /// The value of a further observation.
    pub fn fact(&self, name: &str) -> Option<&str> {
        lookup(&self.facts, name)
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
        lookup(&self.facts, name)
    }
}

fn lookup<'a>(list: &'a [(String, String)], key: &str) -> Option<&'a str> {
    list.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// Makes a policy of a struct or of a function.
///
/// Fields, in this order: `name` and `version` (both optional; the crate's own by default), `summary`,
/// `settings_schema` (optional, a JSON Schema as a string), and then one of three:
/// - `policy`, a type that implements [`Policy`](crate::primary_selection::Policy);
/// - `settings` (a type that implements `Deserialize`), `check` (optional, `fn(&Settings) -> Result<(),
///   SettingsError>` for what a type cannot express) and `decide` (`fn(&Question, &Settings) -> Answer`);
/// - `decide` alone (`fn(&Question) -> Answer`), for a policy that takes no settings.
///
/// Outside the sandbox it expands to nothing that runs, so the crate stays an ordinary, testable library.
#[macro_export]
macro_rules! primary_selection {
    (
        $(name: $name:expr,)?
        $(version: $version:expr,)?
        summary: $summary:expr,
        $(settings_schema: $schema:expr,)?
        policy: $policy:ty $(,)?
    ) => {
        $crate::__primary_selection! {
            name: [$($name)?], version: [$($version)?], summary: $summary, schema: [$($schema)?],
            read: |json: &str| -> ::core::result::Result<$policy, $crate::SettingsError> {
                let policy: $policy = $crate::settings::read(json)?;
                $crate::primary_selection::Policy::check(&policy)?;
                Ok(policy)
            },
            decide: |question: &$crate::primary_selection::Question, policy: &$policy| {
                $crate::primary_selection::Policy::decide(policy, question)
            },
        }
    };
    (
        $(name: $name:expr,)?
        $(version: $version:expr,)?
        summary: $summary:expr,
        $(settings_schema: $schema:expr,)?
        settings: $settings:ty,
        $(check: $check:expr,)?
        decide: $decide:expr $(,)?
    ) => {
        $crate::__primary_selection! {
            name: [$($name)?], version: [$($version)?], summary: $summary, schema: [$($schema)?],
            read: |json: &str| -> ::core::result::Result<$settings, $crate::SettingsError> {
                let settings: $settings = $crate::settings::read(json)?;
                $({
                    let check: fn(&$settings) -> ::core::result::Result<(), $crate::SettingsError> = $check;
                    check(&settings)?;
                })?
                Ok(settings)
            },
            decide: |question: &$crate::primary_selection::Question, settings: &$settings| {
                let decide: fn(
                    &$crate::primary_selection::Question,
                    &$settings,
                ) -> $crate::primary_selection::Answer = $decide;
                decide(question, settings)
            },
        }
    };
    (
        $(name: $name:expr,)?
        $(version: $version:expr,)?
        summary: $summary:expr,
        decide: $decide:expr $(,)?
    ) => {
        $crate::__primary_selection! {
            name: [$($name)?], version: [$($version)?], summary: $summary, schema: [],
            read: $crate::settings::none,
            decide: |question: &$crate::primary_selection::Question, _: &$crate::NoSettings| {
                let decide: fn(&$crate::primary_selection::Question) -> $crate::primary_selection::Answer = $decide;
                decide(question)
            },
        }
    };
}

/// The common part of both forms of [`primary_selection!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __primary_selection {
    (
        name: [$($name:expr)?], version: [$($version:expr)?], summary: $summary:expr, schema: [$($schema:expr)?],
        read: $read:expr, decide: $decide:expr,
    ) => {
        #[allow(dead_code, reason = "outside the sandbox only the types are checked")]
        const _: () = {
            struct __Module;

            impl $crate::primary_selection::contract::Guest for __Module {
                fn describe() -> $crate::primary_selection::contract::Description {
                    #[cfg(target_family = "wasm")]
                    $crate::guest::panics_speak();
                    let name: &str = [$($name,)? env!("CARGO_PKG_NAME")][0];
                    let version: &str = [$($version,)? env!("CARGO_PKG_VERSION")][0];
                    let schema: ::core::option::Option<&str> = [$(Some($schema),)? None][0];
                    $crate::primary_selection::contract::Description {
                        name: name.into(),
                        version: version.into(),
                        summary: ($summary).into(),
                        settings_schema: schema.map(::std::string::String::from),
                    }
                }

                fn validate_settings(
                    settings_json: ::std::string::String,
                ) -> ::core::result::Result<(), $crate::primary_selection::contract::SettingsError> {
                    #[cfg(target_family = "wasm")]
                    $crate::guest::panics_speak();
                    match ($read)(&settings_json) {
                        Ok(_) => Ok(()),
                        Err(error) => Err($crate::primary_selection::contract::SettingsError {
                            path: error.path,
                            message: error.message,
                        }),
                    }
                }

                fn decide(
                    question: $crate::primary_selection::Question,
                    settings_json: ::std::string::String,
                ) -> $crate::primary_selection::Answer {
                    #[cfg(target_family = "wasm")]
                    $crate::guest::panics_speak();
                    match ($read)(&settings_json) {
                        Ok(settings) => ($decide)(&question, &settings),
                        Err(error) => $crate::primary_selection::hold(format!(
                            "the settings do not fit: {}{}{}",
                            error.path,
                            if error.path.is_empty() { "" } else { ": " },
                            error.message,
                        )),
                    }
                }
            }

            #[cfg(target_family = "wasm")]
            #[global_allocator]
            static ALLOCATOR: $crate::guest::Bump = $crate::guest::Bump::new();

            #[cfg(target_family = "wasm")]
            $crate::primary_selection::bindings::export_primary_selection!(
                __Module with_types_in $crate::primary_selection::bindings
            );
        };
    };
}

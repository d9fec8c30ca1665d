//! How a struct or a function becomes a module: what the macros of all decisions have in common.
//!
//! `primary_selection!`, `scaling!`, `config_tuning!` and `backup_window!` take the same fields, in this order: `name` and `version` (both
//! optional; the crate's own by default), `summary`, `settings_schema` (optional, a JSON Schema as a string), and then
//! one of three:
//! - `policy`, a type that implements the decision's `Policy`;
//! - `settings` (a type that implements `Deserialize`), `check` (optional, `fn(&Settings) -> Result<(),
//!   SettingsError>` for what a type cannot express) and `decide` (`fn(&Question, &Settings) -> Answer`);
//! - `decide` alone (`fn(&Question) -> Answer`), for a policy that takes no settings.
//!
//! Outside the sandbox they expand to nothing that runs, so the crate stays an ordinary, testable library.

/// The three forms, for the decision whose module is named first.
#[doc(hidden)]
#[macro_export]
macro_rules! __policy {
    (
        $decision:ident $export:ident;
        $(name: $name:expr,)?
        $(version: $version:expr,)?
        summary: $summary:expr,
        $(settings_schema: $schema:expr,)?
        policy: $policy:ty $(,)?
    ) => {
        $crate::__module! {
            $decision $export;
            name: [$($name)?], version: [$($version)?], summary: $summary, schema: [$($schema)?],
            read: |json: &str| -> ::core::result::Result<$policy, $crate::SettingsError> {
                let policy: $policy = $crate::settings::read(json)?;
                $crate::$decision::Policy::check(&policy)?;
                Ok(policy)
            },
            decide: |question: &$crate::$decision::Question, policy: &$policy| {
                $crate::$decision::Policy::decide(policy, question)
            },
        }
    };
    (
        $decision:ident $export:ident;
        $(name: $name:expr,)?
        $(version: $version:expr,)?
        summary: $summary:expr,
        $(settings_schema: $schema:expr,)?
        settings: $settings:ty,
        $(check: $check:expr,)?
        decide: $decide:expr $(,)?
    ) => {
        $crate::__module! {
            $decision $export;
            name: [$($name)?], version: [$($version)?], summary: $summary, schema: [$($schema)?],
            read: |json: &str| -> ::core::result::Result<$settings, $crate::SettingsError> {
                let settings: $settings = $crate::settings::read(json)?;
                $({
                    let check: fn(&$settings) -> ::core::result::Result<(), $crate::SettingsError> = $check;
                    check(&settings)?;
                })?
                Ok(settings)
            },
            decide: |question: &$crate::$decision::Question, settings: &$settings| {
                let decide: fn(&$crate::$decision::Question, &$settings) -> $crate::$decision::Answer = $decide;
                decide(question, settings)
            },
        }
    };
    (
        $decision:ident $export:ident;
        $(name: $name:expr,)?
        $(version: $version:expr,)?
        summary: $summary:expr,
        decide: $decide:expr $(,)?
    ) => {
        $crate::__module! {
            $decision $export;
            name: [$($name)?], version: [$($version)?], summary: $summary, schema: [],
            read: $crate::settings::none,
            decide: |question: &$crate::$decision::Question, _: &$crate::NoSettings| {
                let decide: fn(&$crate::$decision::Question) -> $crate::$decision::Answer = $decide;
                decide(question)
            },
        }
    };
}

/// What all forms come to.
#[doc(hidden)]
#[macro_export]
macro_rules! __module {
    (
        $decision:ident $export:ident;
        name: [$($name:expr)?], version: [$($version:expr)?], summary: $summary:expr, schema: [$($schema:expr)?],
        read: $read:expr, decide: $decide:expr,
    ) => {
        #[allow(dead_code, reason = "outside the sandbox only the types are checked")]
        const _: () = {
            struct __Module;

            impl $crate::$decision::contract::Guest for __Module {
                fn describe() -> $crate::$decision::contract::Description {
                    #[cfg(target_family = "wasm")]
                    $crate::guest::panics_speak();
                    let name: &str = [$($name,)? env!("CARGO_PKG_NAME")][0];
                    let version: &str = [$($version,)? env!("CARGO_PKG_VERSION")][0];
                    let schema: ::core::option::Option<&str> = [$(Some($schema),)? None][0];
                    $crate::$decision::contract::Description {
                        name: name.into(),
                        version: version.into(),
                        summary: ($summary).into(),
                        settings_schema: schema.map(::std::string::String::from),
                    }
                }

                fn validate_settings(
                    settings_json: ::std::string::String,
                ) -> ::core::result::Result<(), $crate::$decision::contract::SettingsError> {
                    #[cfg(target_family = "wasm")]
                    $crate::guest::panics_speak();
                    match ($read)(&settings_json) {
                        Ok(_) => Ok(()),
                        Err(error) => Err($crate::$decision::contract::SettingsError {
                            path: error.path,
                            message: error.message,
                        }),
                    }
                }

                fn decide(
                    question: $crate::$decision::Question,
                    settings_json: ::std::string::String,
                ) -> $crate::$decision::Answer {
                    #[cfg(target_family = "wasm")]
                    $crate::guest::panics_speak();
                    match ($read)(&settings_json) {
                        Ok(settings) => ($decide)(&question, &settings),
                        Err(error) => $crate::$decision::without_settings(format!(
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
            $crate::$decision::bindings::$export!(__Module with_types_in $crate::$decision::bindings);
        };
    };
}

//! The contracts this host speaks. Each version has a file that translates it to the host's own words.
//!
//! A contract is recognised by the names a component exports, never by what it says about itself. A published
//! version must never lose its file. Each is bound to the frozen copy in `wit/released`.

/// A record of a contract from a record of the host whose fields have the same names.
macro_rules! same {
    ($contract:ident: $from:expr => { $($field:ident),* $(,)? }) => {{
        let from = $from;
        contract::$contract { $($field: from.$field),* }
    }};
}

/// The load of a server, which contracts that have one have with the same fields.
macro_rules! load {
    ($from:expr) => {
        same!(Load: $from => {
            window_s, running_threads_milli, running_threads_peak, cpu_used_millicores, cpu_throttled_permille,
            queries_per_second, reads_per_second, writes_per_second, statement_p95_micros, connections_peak,
            connections_limit, buffer_pool_misses_per_second, buffer_pool_hit_permille, data_read_micros,
            data_write_micros, row_lock_waits_per_minute, history_list_length, replication_lag_s,
            memory_working_set_bytes, oom_kills, volume_free_bytes, volume_growth_bytes_per_hour,
            semi_sync_wait_micros,
        })
    };
}

/// What every contract has: a way to instantiate, to describe itself and to check settings.
macro_rules! contract {
    ($pre:ident, $interface:ident) => {
        /// A component of this contract, ready to be instantiated.
        pub struct Ready(bindings::$pre<Context>);

        impl Ready {
            /// Links a component with the log.
            pub fn link(component: &Component) -> wasmtime::Result<Self> {
                bindings::$pre::new(crate::abi::linker(component.engine())?.instantiate_pre(component)?).map(Self)
            }
        }

        impl crate::abi::Contract for Ready {
            fn try_out(&self, store: &mut Store<Context>) -> wasmtime::Result<()> {
                self.0.instantiate(store).map(drop)
            }

            fn describe(&self, store: &mut Store<Context>) -> wasmtime::Result<Description> {
                let instance = self.0.instantiate(&mut *store)?;
                let said = instance.$interface().call_describe(store)?;
                Ok(Description {
                    name: said.name,
                    version: said.version,
                    summary: said.summary,
                    settings_schema: said.settings_schema,
                })
            }

            fn validate(
                &self,
                store: &mut Store<Context>,
                json: &str,
            ) -> wasmtime::Result<Result<(), (String, String)>> {
                let instance = self.0.instantiate(&mut *store)?;
                let found = instance.$interface().call_validate_settings(store, json)?;
                Ok(found.map_err(|error| (error.path, error.message)))
            }
        }
    };
}

mod backup_window_v0_1;
mod config_tuning_v0_1;
mod log;
mod scaling_v0_1;
mod v0_1;
mod v0_2;

use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::call::{Context, clean};
use crate::error::LoadError;
use crate::kind::Kind;
use crate::module::Description;

/// A contract this host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Abi {
    /// `grampus:primary-selection@0.1.0`.
    PrimarySelectionV0_1,
    /// `grampus:primary-selection@0.2.0`.
    PrimarySelectionV0_2,
    /// `grampus:scaling@0.1.0`.
    ScalingV0_1,
    /// `grampus:config-tuning@0.1.0`.
    ConfigTuningV0_1,
    /// `grampus:backup-window@0.1.0`.
    BackupWindowV0_1,
}

impl Abi {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::PrimarySelectionV0_1,
        Self::PrimarySelectionV0_2,
        Self::ScalingV0_1,
        Self::ConfigTuningV0_1,
        Self::BackupWindowV0_1,
    ];

    /// What is decided by it.
    pub fn kind(self) -> Kind {
        match self {
            Self::PrimarySelectionV0_1 | Self::PrimarySelectionV0_2 => Kind::PrimarySelection,
            Self::ScalingV0_1 => Kind::Scaling,
            Self::ConfigTuningV0_1 => Kind::ConfigTuning,
            Self::BackupWindowV0_1 => Kind::BackupWindow,
        }
    }

    /// The name of the contract with its version.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrimarySelectionV0_1 => "grampus:primary-selection@0.1.0",
            Self::PrimarySelectionV0_2 => "grampus:primary-selection@0.2.0",
            Self::ScalingV0_1 => "grampus:scaling@0.1.0",
            Self::ConfigTuningV0_1 => "grampus:config-tuning@0.1.0",
            Self::BackupWindowV0_1 => "grampus:backup-window@0.1.0",
        }
    }

    /// The world a component of this contract is built for.
    pub fn world(self) -> &'static str {
        match self {
            Self::PrimarySelectionV0_1 => "grampus:primary-selection/primary-selection@0.1.0",
            Self::PrimarySelectionV0_2 => "grampus:primary-selection/primary-selection@0.2.0",
            Self::ScalingV0_1 => "grampus:scaling/scaling@0.1.0",
            Self::ConfigTuningV0_1 => "grampus:config-tuning/config-tuning@0.1.0",
            Self::BackupWindowV0_1 => "grampus:backup-window/backup-window@0.1.0",
        }
    }

    /// The interface a component of this contract exports.
    pub fn interface(self) -> &'static str {
        match self {
            Self::PrimarySelectionV0_1 => "grampus:primary-selection/policy@0.1.0",
            Self::PrimarySelectionV0_2 => "grampus:primary-selection/policy@0.2.0",
            Self::ScalingV0_1 => "grampus:scaling/policy@0.1.0",
            Self::ConfigTuningV0_1 => "grampus:config-tuning/policy@0.1.0",
            Self::BackupWindowV0_1 => "grampus:backup-window/policy@0.1.0",
        }
    }

    /// Finds the contract of a component by its exports.
    pub(crate) fn of(component: &Component) -> Result<Self, LoadError> {
        let engine = component.engine();
        let ty = component.component_type();
        let names: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
        if let Some(abi) = Self::ALL.into_iter().find(|abi| names.contains(&abi.interface())) {
            return Ok(abi);
        }
        let found = if names.is_empty() { "no exports".to_owned() } else { format!("`{}`", names.join("`, `")) };
        let found = clean(&found, NAME_BYTES);
        Err(LoadError::OtherWorld { expected: Self::ALL.map(Self::interface).join("` or `"), found })
    }
}

/// Bytes of names that are shown: a component may have thousands, each of a hundred thousand letters.
const NAME_BYTES: usize = 300;

/// The interface that policies may import, without its version.
const LOG: &str = "grampus:log/log@";

/// The versions of it that are known. A later one of the same minor version is linked where it has the same functions.
const LOG_VERSION: &str = "0.1.";

/// Refuses imports other than the log, and gives the names of those.
pub fn check_imports(component: &Component) -> Result<Vec<String>, LoadError> {
    let ty = component.component_type();
    let mut allowed = Vec::new();
    for (import, _) in ty.imports(component.engine()) {
        let log = import.strip_prefix(LOG);
        if log.is_some_and(|version| version.starts_with(LOG_VERSION)) {
            allowed.push(import.to_owned());
            continue;
        }
        let hint = if import.starts_with("wasi:") {
            " Build it for wasm32-unknown-unknown instead of a WASI target: time and seed are in the question, and a policy has no files, clock or network"
        } else if log.is_some() {
            " This Grampus knows version 0.1 of it: build the module against that, or update Grampus"
        } else {
            ""
        };
        return Err(LoadError::ForbiddenImport { import: clean(import, NAME_BYTES), hint });
    }
    Ok(allowed)
}

/// What every policy may import.
fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    log::log::add_to_linker::<_, HasSelf<_>>(&mut linker, |context| context)?;
    Ok(linker)
}

/// What can be done with a component of any contract.
pub trait Contract {
    /// Makes an instance and throws it away. Types are only compared here.
    fn try_out(&self, store: &mut Store<Context>) -> wasmtime::Result<()>;

    /// Asks what it is.
    fn describe(&self, store: &mut Store<Context>) -> wasmtime::Result<Description>;

    /// Lets it check settings. The inner error is a path and a message.
    fn validate(&self, store: &mut Store<Context>, json: &str) -> wasmtime::Result<Result<(), (String, String)>>;
}

/// A component that is ready to be instantiated.
pub enum Ready {
    /// `grampus:primary-selection@0.1.0`.
    PrimarySelectionV0_1(v0_1::Ready),
    /// `grampus:primary-selection@0.2.0`.
    PrimarySelectionV0_2(v0_2::Ready),
    /// `grampus:scaling@0.1.0`.
    ScalingV0_1(scaling_v0_1::Ready),
    /// `grampus:config-tuning@0.1.0`.
    ConfigTuningV0_1(config_tuning_v0_1::Ready),
    /// `grampus:backup-window@0.1.0`.
    BackupWindowV0_1(backup_window_v0_1::Ready),
}

impl Ready {
    /// Links a component.
    pub fn link(abi: Abi, component: &Component) -> wasmtime::Result<Self> {
        match abi {
            Abi::PrimarySelectionV0_1 => v0_1::Ready::link(component).map(Self::PrimarySelectionV0_1),
            Abi::PrimarySelectionV0_2 => v0_2::Ready::link(component).map(Self::PrimarySelectionV0_2),
            Abi::ScalingV0_1 => scaling_v0_1::Ready::link(component).map(Self::ScalingV0_1),
            Abi::ConfigTuningV0_1 => config_tuning_v0_1::Ready::link(component).map(Self::ConfigTuningV0_1),
            Abi::BackupWindowV0_1 => backup_window_v0_1::Ready::link(component).map(Self::BackupWindowV0_1),
        }
    }

    /// What does not depend on what it decides.
    pub fn contract(&self) -> &dyn Contract {
        match self {
            Self::PrimarySelectionV0_1(ready) => ready,
            Self::PrimarySelectionV0_2(ready) => ready,
            Self::ScalingV0_1(ready) => ready,
            Self::ConfigTuningV0_1(ready) => ready,
            Self::BackupWindowV0_1(ready) => ready,
        }
    }
}

/// The pairs of a list, borrowed, because the records of contracts borrow their lists.
fn pairs(list: &[(String, String)]) -> Vec<(&str, &str)> {
    list.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

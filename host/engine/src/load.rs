//! The ladder from bytes to a binding.
//!
//! unpack → component? → compile (in a child) → known contract? → allowed imports? → trial instance → describe;
//! then, with settings: the right decision? → validate → rehearse. Nothing may be skipped for anybody, the embedded
//! default included.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::abi::{Abi, Ready, check_imports};
use crate::call::{clean, wants_too_much};
use crate::compile::{self, Compiler};
use crate::decision::FailureKind;
use crate::dry_run;
use crate::embedded;
use crate::error::{EngineError, LoadError};
use crate::kind::DecisionKind;
use crate::limits::Limits;
use crate::module::{Binding, Description, Module, Sandbox};
use crate::runtime::{self, Room};
use crate::schema;

/// How an engine works.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much modules may cost.
    pub limits: Limits,
    /// The program that compiles. `None` compiles in this process, which bounds neither time nor memory: for
    /// tests, and for a person's own modules on their own machine.
    pub compiler: Option<Compiler>,
}

impl Options {
    /// The usual limits, with this program to compile.
    pub fn new(compiler: Compiler) -> Self {
        Self { limits: Limits::default(), compiler: Some(compiler) }
    }

    /// The usual limits, compiling in this process. See [`Options::compiler`] for when that is right.
    pub fn compiling_in_process() -> Self {
        Self { limits: Limits::default(), compiler: None }
    }
}

/// Loads modules and binds them to settings. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    sandbox: Arc<Sandbox>,
    compiler: Option<Compiler>,
    /// Modules in use, by digest, so that a hundred clusters with one policy compile it once.
    modules: Mutex<HashMap<String, Weak<Module>>>,
    /// One compilation at a time: two together could take the memory that decisions need.
    compiling: Arc<Mutex<()>>,
    embedded: Result<Arc<Binding>, LoadError>,
}

impl Engine {
    /// Starts the runtime and loads the embedded default.
    ///
    /// A default that does not load is no error, because a decision can be had without it; [`Engine::embedded`]
    /// tells why. Blocks for some 50 ms.
    ///
    /// # Errors
    /// The runtime does not work on this machine.
    pub fn new(options: Options) -> Result<Self, EngineError> {
        Self::compiling_in_turn(options, Arc::default())
    }

    /// Another engine with the same limits for modules, so many of whose calls may run at once. The two share nothing
    /// but the turn to compile: whatever runs in one, a call in the other finds its own room. Blocks as
    /// [`Engine::new`] does.
    ///
    /// # Errors
    /// The runtime cannot be started a second time.
    pub fn apart(&self, concurrent_calls: u32) -> Result<Self, EngineError> {
        let limits = Limits { concurrent_calls, ..self.limits().clone() };
        let options = Options { limits, compiler: self.0.compiler.clone() };
        Self::compiling_in_turn(options, self.0.compiling.clone())
    }

    fn compiling_in_turn(options: Options, compiling: Arc<Mutex<()>>) -> Result<Self, EngineError> {
        let engine = runtime::start(&options.limits)?;
        let room = Room::new(options.limits.concurrent_calls);
        let mut inner = Inner {
            sandbox: Arc::new(Sandbox { engine, limits: options.limits, room }),
            compiler: options.compiler,
            modules: Mutex::default(),
            compiling,
            embedded: Err(LoadError::Compiler { why: "it has not been tried yet".to_owned() }),
        };
        inner.embedded = inner.load(embedded::MODULE).and_then(|module| inner.bind(module, &Value::Null));
        if let Err(error) = &inner.embedded {
            tracing::error!(%error, "the embedded policy does not load; its rule runs as native code instead");
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Takes a module as it came: a component, plain or packed with gzip or zstd. Blocks while it compiles.
    ///
    /// # Errors
    /// The rung of the ladder that the module did not reach.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Module>, LoadError> {
        self.0.load(bytes)
    }

    /// Joins a module with settings (`null` is the same as `{}`): the module checks them, then is rehearsed on
    /// [`DecisionKind::rehearsals`]. Blocks for some milliseconds.
    ///
    /// # Errors
    /// The module makes another decision, the settings do not fit, or the module fails in a rehearsal.
    pub fn bind<Q: DecisionKind>(&self, module: Arc<Module>, settings: &Value) -> Result<Arc<Binding<Q>>, LoadError> {
        self.0.bind(module, settings)
    }

    /// The embedded default's module.
    ///
    /// # Errors
    /// Why it did not load when the engine was made.
    pub fn embedded(&self) -> Result<Arc<Module>, LoadError> {
        self.embedded_binding().map(|binding| binding.module.clone())
    }

    /// The embedded default with its settings.
    pub(crate) fn embedded_binding(&self) -> Result<Arc<Binding>, LoadError> {
        self.0.embedded.clone()
    }

    /// What bounds modules here.
    pub fn limits(&self) -> &Limits {
        &self.0.sandbox.limits
    }

    /// The version of everything that fuel depends on, for the journal.
    pub fn version() -> &'static str {
        concat!("grampus ", env!("CARGO_PKG_VERSION"), ", wasmtime 48.0.8")
    }
}

impl Inner {
    fn load(&self, bytes: &[u8]) -> Result<Arc<Module>, LoadError> {
        let component = crate::unpack::unpack(bytes, self.sandbox.limits.component_bytes)?;
        crate::unpack::expect_component(&component)?;
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&component)));
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        let _one_at_a_time = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        let module = Arc::new(self.climb(&component, digest.clone())?);
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }

    fn known(&self, digest: &str) -> Option<Arc<Module>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).get(digest).and_then(Weak::upgrade)
    }

    fn climb(&self, bytes: &[u8], digest: String) -> Result<Module, LoadError> {
        let sandbox = &self.sandbox;
        let component = compile::compile(&sandbox.engine, self.compiler.as_ref(), bytes, &sandbox.limits)?;
        let abi = Abi::of(&component)?;
        let imports = check_imports(&component)?;
        let unfit =
            |why: String| LoadError::Instantiate { abi: abi.name(), why: clean(&why, sandbox.limits.text_bytes) };
        let ready = Ready::link(abi, &component).map_err(|error| unfit(format!("{error:#}")))?;
        sandbox.call(|store| ready.contract().try_out(store)).result.map_err(|failure| match failure.kind {
            FailureKind::Sandbox if wants_too_much(&failure.message) => LoadError::OverLimits { why: failure.message },
            FailureKind::Sandbox => unfit(failure.message),
            _ => LoadError::Start(failure),
        })?;
        let said = sandbox.call(|store| ready.contract().describe(store)).result;
        let said = said.map_err(|failure| LoadError::Describe { why: failure.message })?;
        let description = presentable(said, sandbox.limits.text_bytes)?;
        let read = |text: &str| schema::read(text, sandbox.limits.settings_bytes);
        let schema = description.settings_schema.as_deref().map(read).transpose();
        let schema = schema.map_err(|why| {
            let why = clean(&format!("its settings' schema is none: {why}"), sandbox.limits.text_bytes);
            LoadError::Describe { why }
        })?;
        Ok(Module { sandbox: sandbox.clone(), ready, abi, digest, description, bytes: bytes.len(), imports, schema })
    }

    fn bind<Q: DecisionKind>(&self, module: Arc<Module>, settings: &Value) -> Result<Arc<Binding<Q>>, LoadError> {
        if module.kind() != Q::KIND {
            let (wanted, found) = (Q::KIND.name(), module.kind().name());
            return Err(LoadError::OtherDecision { wanted, found, contract: module.abi.name() });
        }
        let nothing = json!({});
        let value = if settings.is_null() { &nothing } else { settings };
        let settings = value.to_string();
        let limits = &self.sandbox.limits;
        if settings.len() > limits.settings_bytes {
            let message = format!("{} bytes, at most {} are allowed", settings.len(), limits.settings_bytes);
            return Err(LoadError::Settings { path: String::new(), message });
        }
        let checked = self.sandbox.call(|store| module.ready.contract().validate(store, &settings)).result;
        checked.map_err(LoadError::SettingsCheck)?.map_err(|(path, message)| LoadError::Settings {
            path: clean(&path, limits.text_bytes),
            message: clean(&message, limits.text_bytes),
        })?;
        if let Some(schema) = &module.schema {
            schema::check(schema, value).map_err(|(path, message)| LoadError::Settings {
                path: clean(&path, limits.text_bytes),
                message: clean(&message, limits.text_bytes),
            })?;
        }
        let binding = Binding { module, settings, asks: PhantomData };
        dry_run::rehearse(&binding)?;
        Ok(Arc::new(binding))
    }
}

/// Makes a description fit to be shown, or says why it is none.
fn presentable(said: Description, text_bytes: usize) -> Result<Description, LoadError> {
    /// Bytes of a name or a version: what fits the value of a Kubernetes label.
    const NAME_BYTES: usize = 63;
    for (field, text) in [("name", &said.name), ("version", &said.version)] {
        let fits = |character: char| character.is_ascii_alphanumeric() || "-_.+".contains(character);
        if text.is_empty() || text.len() > NAME_BYTES || !text.chars().all(fits) {
            let found = clean(text, NAME_BYTES);
            let why =
                format!("its {field} is \"{found}\", expected 1 to {NAME_BYTES} letters, digits, `-`, `_`, `.` or `+`");
            return Err(LoadError::Describe { why });
        }
    }
    let summary = clean(&said.summary, text_bytes);
    Ok(Description { summary, ..said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, version: &str) -> Description {
        Description { name: name.into(), version: version.into(), summary: "a\nb".into(), settings_schema: None }
    }

    #[test]
    fn the_version_in_the_journal_is_the_one_that_is_linked() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
        let (linked, _) = after.split_once('"').unwrap();
        assert!(Engine::version().ends_with(&format!("wasmtime {linked}")), "linked is {linked}");
    }

    #[test]
    fn a_description_is_fit_to_be_shown_or_refused() {
        assert_eq!(presentable(said("prefer-zone", "1.2.0+x"), 100).unwrap().summary, "a b");
        for (name, version) in [("", "1"), ("a b", "1"), ("a", ""), ("a", "\x1b[31m"), (&"x".repeat(64), "1")] {
            let error = presentable(said(name, version), 100).unwrap_err();
            assert!(matches!(&error, LoadError::Describe { why } if why.contains("expected 1 to 63")), "{error}");
        }
    }
}

//! The ladder from bytes to a binding.
//!
//! unpack → the one that was named, and signed? → component? → compile (in a child) → known contract? → allowed imports?
//! → trial instance → describe; then, with settings: the right decision? → validate → rehearse. Nothing may be skipped for
//! anybody, the embedded default included.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::abi::{Abi, Ready, check_imports};
use crate::call::{clean, wants_too_much};
use crate::compile::{self, Compiler, MachineCode};
use crate::decision::FailureKind;
use crate::dry_run;
use crate::embedded;
use crate::error::{EngineError, LoadError};
use crate::kind::DecisionKind;
use crate::limits::Limits;
use crate::module::{Binding, Description, Module, Sandbox};
use crate::refused::Refused;
use crate::runtime::{self, Room};
use crate::schema;
use crate::trust::{Demand, Vouched};

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
    /// Modules that do not climb, so that a hundred clusters with one bad policy try it once.
    refused: Refused,
    compiling: Arc<Compiling>,
    embedded: Result<Arc<Binding>, LoadError>,
}

/// What engines that are apart share.
#[derive(Default)]
struct Compiling {
    /// One compilation at a time: two together could take the memory that decisions need.
    turn: Mutex<()>,
    /// The machine code of modules in use, by digest.
    known: Mutex<HashMap<String, Weak<MachineCode>>>,
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
    /// but the turn to compile and what was compiled: whatever runs in one, a call in the other finds its own room. Blocks as
    /// [`Engine::new`] does.
    ///
    /// # Errors
    /// The runtime cannot be started a second time.
    pub fn apart(&self, concurrent_calls: u32) -> Result<Self, EngineError> {
        let limits = Limits { concurrent_calls, ..self.limits().clone() };
        let options = Options { limits, compiler: self.0.compiler.clone() };
        Self::compiling_in_turn(options, self.0.compiling.clone())
    }

    fn compiling_in_turn(options: Options, compiling: Arc<Compiling>) -> Result<Self, EngineError> {
        let engine = runtime::start(&options.limits)?;
        let room = Room::new(options.limits.concurrent_calls);
        let mut inner = Inner {
            sandbox: Arc::new(Sandbox { engine, limits: options.limits, room }),
            compiler: options.compiler,
            modules: Mutex::default(),
            refused: Refused::default(),
            compiling,
            embedded: Err(LoadError::Compiler { why: "it has not been tried yet".to_owned() }),
        };
        let embedded = inner.load(embedded::MODULE, &Demand::default());
        inner.embedded = embedded.and_then(|(module, _)| inner.bind(module, &Value::Null));
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
        self.0.load(bytes, &Demand::default()).map(|(module, _)| module)
    }

    /// The same for a module that has to be a certain one, or signed. Nothing of one that is not is compiled. Says who
    /// signed it.
    ///
    /// # Errors
    /// The rung of the ladder that the module did not reach.
    pub fn load_vouched(&self, bytes: &[u8], demand: &Demand) -> Result<(Arc<Module>, Vouched), LoadError> {
        self.0.load(bytes, demand)
    }

    /// Joins a module with settings (`null` is the same as `{}`): the module checks them, then is rehearsed on
    /// [`DecisionKind::rehearsals`]. Blocks for some milliseconds.
    ///
    /// # Errors
    /// The module makes another decision, the settings do not fit, or the module fails in a rehearsal.
    pub fn bind<Q: DecisionKind>(&self, module: Arc<Module>, settings: &Value) -> Result<Arc<Binding<Q>>, LoadError> {
        self.0.bind(module, settings)
    }

    /// Asks a binding what was asked lately, each question with its name, as the built-in ones were asked when it was bound.
    /// A hold passes.
    ///
    /// # Errors
    /// It fails; the first question on which it does is named.
    pub fn rehearse<Q: DecisionKind>(&self, binding: &Binding<Q>, recent: &[(String, Q)]) -> Result<(), LoadError> {
        dry_run::rehearse_on(binding, recent.iter().map(|(name, question)| (name.as_str(), question)))
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
    fn load(&self, bytes: &[u8], demand: &Demand) -> Result<(Arc<Module>, Vouched), LoadError> {
        let component = crate::unpack::unpack(bytes, self.sandbox.limits.component_bytes)?;
        let digest = digest(&component);
        let vouched = demand.check(&digest)?;
        crate::unpack::expect_component(&component)?;
        self.compiled(&component, digest).map(|module| (module, vouched))
    }

    /// The module of that digest: the one in use, or one that is compiled now. However many ask at once, one compiles.
    fn compiled(&self, component: &[u8], digest: String) -> Result<Arc<Module>, LoadError> {
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        let _one_at_a_time = self.compiling.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        if let Some(error) = self.refused.get(&digest, Instant::now()) {
            return Err(error);
        }
        let climbed = self.climb(component, digest.clone());
        let climbed = climbed.inspect_err(|error| self.refused.remember(&digest, error, Instant::now()));
        let module = Arc::new(climbed?);
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }

    fn known(&self, digest: &str) -> Option<Arc<Module>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).get(digest).and_then(Weak::upgrade)
    }

    /// The component, compiled, with the machine code that another engine can use.
    fn component(&self, bytes: &[u8], digest: &str) -> Result<(Component, Option<Arc<MachineCode>>), LoadError> {
        let Sandbox { engine, limits, .. } = self.sandbox.as_ref();
        let Some(compiler) = &self.compiler else { return Ok((compile::here(engine, bytes, limits)?, None)) };
        let mut known = self.compiling.known.lock().unwrap_or_else(PoisonError::into_inner);
        let code = match known.get(digest).and_then(Weak::upgrade) {
            Some(code) => code,
            None => Arc::new(compile::apart(compiler, bytes, limits)?),
        };
        let component = code.take(engine, limits)?;
        known.retain(|_, code| code.strong_count() > 0);
        known.insert(digest.to_owned(), Arc::downgrade(&code));
        Ok((component, Some(code)))
    }

    fn climb(&self, bytes: &[u8], digest: String) -> Result<Module, LoadError> {
        let sandbox = &self.sandbox;
        let (component, code) = self.component(bytes, &digest)?;
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
        Ok(Module {
            sandbox: sandbox.clone(),
            ready,
            abi,
            digest,
            description,
            bytes: bytes.len(),
            imports,
            schema,
            _code: code,
        })
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

/// The digest of a module, however it is packed. Nothing of it is compiled.
///
/// # Errors
/// It does not unpack, is too large, or is no component.
pub fn module_digest(bytes: &[u8]) -> Result<String, LoadError> {
    let component = crate::unpack::unpacked(bytes)?;
    crate::unpack::expect_component(&component)?;
    Ok(digest(&component))
}

/// What tells a component from every other.
fn digest(component: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(component)))
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

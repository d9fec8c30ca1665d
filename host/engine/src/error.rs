//! What can be wrong with an engine or a module, each rung of the ladder with words of its own.
//!
//! These texts are read in conditions and Events. None may be silent about what was expected or what to do next.

use crate::decision::Failure;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The WebAssembly runtime does not work here.
    #[error(
        "the WebAssembly runtime cannot start: {0}. It needs an x86-64 or arm64 Linux that allows executable memory"
    )]
    Runtime(String),
    /// No thread could be started.
    #[error("the thread that limits how long modules run cannot start: {0}. Raise the limit on threads (pids)")]
    Thread(#[from] std::io::Error),
}

/// Why a module is not used. The variants are the rungs of the ladder, in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is packed, and unpacking failed.
    #[error(
        "the module is {format}, but does not unpack: {why}. Pack it again (zstd: at most level 19), or give the plain .wasm"
    )]
    Unpack {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// What the unpacker says.
        why: String,
    },
    /// It is larger than a policy can sensibly be.
    #[error(
        "the module is larger than {limit} bytes {when}. Build it with `opt-level = \"s\"`, `lto = \"fat\"` and `strip = true`"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// `as given` or `unpacked`.
        when: &'static str,
    },
    /// It is another module than the one that was named.
    #[error(
        "the module is {found}, and {expected} is what was named. Put that module there, or name this one if it is the one you mean"
    )]
    OtherDigest {
        /// The digest that was pinned.
        expected: String,
        /// The digest it has.
        found: String,
    },
    /// It is not signed and has to be.
    #[error(
        "the module is not signed, and {by} asks for signed modules. Sign it (`grampus policy sign`, or `push --sign`) with one of the trusted keys: {tried}"
    )]
    Unsigned {
        /// Who asks for a signature.
        by: String,
        /// The identifiers of the keys that would do.
        tried: String,
    },
    /// It is signed by nobody who is trusted, or for something else.
    #[error(
        "the signature is not that of {digest} for {decision} by a trusted key; tried: {tried}. Sign this very module for this decision (`grampus policy sign`), or give the operator the signer's public key"
    )]
    WrongSignature {
        /// What the signature has to be for.
        decision: String,
        /// The digest of the module.
        digest: String,
        /// The identifiers of the keys that were tried.
        tried: String,
    },
    /// It is no WebAssembly.
    #[error(
        "the module is not WebAssembly: expected a component (plain, gzip or zstd), found {found}. Check which file the ConfigMap was made from, and that it is under binaryData"
    )]
    NotWasm {
        /// What it looks like.
        found: String,
    },
    /// It is a core module.
    #[error(
        "the module is a core WebAssembly module, not a component. Componentize it: `wasm-tools component new policy.wasm -o policy.component.wasm`, or build it with `grampus policy build`"
    )]
    CoreModule,
    /// The compiler rejects it.
    #[error(
        "the module does not compile: {why}. It is damaged or uses WebAssembly features that policies may not use (threads, memory64, relaxed SIMD, several memories, garbage collection, exceptions, asynchronous calls)"
    )]
    Invalid {
        /// What the compiler says.
        why: String,
    },
    /// Compiling it costs too much.
    #[error("compiling the module exceeded its limit of {limit}. Make it smaller: a policy is usually below 100 kB")]
    CompileLimit {
        /// Which limit.
        limit: String,
    },
    /// The compiling process does not work: not the module's fault.
    #[error(
        "the compiling process failed: {why}. The module may be fine; it is tried again with its next change or restart"
    )]
    Compiler {
        /// What happened.
        why: String,
    },
    /// It makes no decision we know.
    #[error(
        "the module targets another world: expected an export `{expected}`, found {found}. Build it against one of the contracts in wit/"
    )]
    OtherWorld {
        /// The interface names that are known.
        expected: String,
        /// What it exports.
        found: String,
    },
    /// It wants something a policy must not have.
    #[error("the module imports `{import}`, but a policy may only import `grampus:log/log`.{hint}")]
    ForbiddenImport {
        /// The name of the import.
        import: String,
        /// What to do about it, after a space; may be empty.
        hint: &'static str,
    },
    /// An instance of it would be larger than it may be.
    #[error(
        "the module wants more than an instance may have: {why}. Let it begin with less; the limits are in docs/policies.md"
    )]
    OverLimits {
        /// What of, how much, and how much there is.
        why: String,
    },
    /// It fails before anybody asks it anything.
    #[error("the module failed before it was asked anything, in its start function or for its initial memory: {0}")]
    Start(Failure),
    /// An instance cannot be made.
    #[error("the module cannot be instantiated: {why}. Build it against the published contract `{abi}`, unchanged")]
    Instantiate {
        /// The contract.
        abi: &'static str,
        /// What does not fit.
        why: String,
    },
    /// It does not say what it is.
    #[error("the module does not describe itself: {why}")]
    Describe {
        /// What happened.
        why: String,
    },
    /// It makes another decision than the one it is named for.
    #[error(
        "the module decides {found} (its contract is {contract}), and is named here to decide {wanted}. Name it under the policy for {found}, or a module that decides {wanted}"
    )]
    OtherDecision {
        /// What was to be decided.
        wanted: &'static str,
        /// What it decides.
        found: &'static str,
        /// Its contract.
        contract: &'static str,
    },
    /// Its settings are wrong.
    #[error("settings{}: {message}", at(.path))]
    Settings {
        /// Where, e.g. `zones[1]`. Empty when it is about the whole.
        path: String,
        /// What was expected and what was found.
        message: String,
    },
    /// It cannot check settings.
    #[error("the module failed while it checked its settings: {0}")]
    SettingsCheck(Failure),
    /// It fails in a rehearsal.
    #[error("the module failed in a rehearsal (\"{question}\"): {failure}")]
    DryRun {
        /// Which question: a built-in one, or one that the cluster asked lately.
        question: String,
        /// How.
        failure: Failure,
    },
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(".{path}") }
}

impl LoadError {
    /// Whether another try with the very same bytes may end otherwise: then it was not the module's fault.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Compiler { .. })
    }

    /// One word for conditions and metrics, in the CamelCase that Kubernetes wants of a condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unpack { .. } => "ModuleDoesNotUnpack",
            Self::TooLarge { .. } => "ModuleTooLarge",
            Self::OtherDigest { .. } => "ModuleOtherDigest",
            Self::Unsigned { .. } => "ModuleUnsigned",
            Self::WrongSignature { .. } => "SignatureWrong",
            Self::NotWasm { .. } => "ModuleNotWasm",
            Self::CoreModule => "ModuleNotComponent",
            Self::Invalid { .. } => "ModuleDoesNotCompile",
            Self::CompileLimit { .. } => "ModuleExceedsCompileLimit",
            Self::Compiler { .. } => "CompilerFailed",
            Self::OtherWorld { .. } => "ModuleOtherWorld",
            Self::ForbiddenImport { .. } => "ModuleForbiddenImport",
            Self::OverLimits { .. } => "ModuleExceedsLimits",
            Self::Start(_) => "ModuleFailsAtStart",
            Self::Instantiate { .. } => "ModuleDoesNotInstantiate",
            Self::Describe { .. } => "ModuleDoesNotDescribeItself",
            Self::OtherDecision { .. } => "ModuleOtherDecision",
            Self::Settings { .. } => "SettingsInvalid",
            Self::SettingsCheck(_) => "SettingsCheckFailed",
            Self::DryRun { .. } => "RehearsalFailed",
        }
    }
}

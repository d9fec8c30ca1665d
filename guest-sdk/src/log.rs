//! Lines for people, kept with the decision they belong to.
//!
//! Inside the sandbox they go to the host, which keeps the first few of each call; in native tests they go to
//! standard error. Logging must never fail or influence an answer.

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the policy's author.
    Debug,
    /// For the operator of the cluster.
    Info,
    /// Something looks wrong.
    Warn,
    /// Something is wrong.
    Error,
}

/// Writes one line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    {
        use crate::primary_selection::bindings::grampus::log::log as host;
        let level = match level {
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::write(level, message);
    }
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message}");
}

/// Writes a line for the policy's author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line for the operator of the cluster.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes that something looks wrong.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes that something is wrong.
pub fn error(message: &str) {
    write(Level::Error, message);
}

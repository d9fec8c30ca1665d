//! `grampus:log@0.1.0`, which all contracts share.

use crate::call::{Context, Level};

#[allow(missing_docs, clippy::all, reason = "generated from the contract, which is documented")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/released/log@0.1.0.wit",
        inline: "package grampus:host; world host { import grampus:log/log@0.1.0; }",
        imports: { default: trappable },
    });
}

pub use bindings::grampus::log::log;

impl log::Host for Context {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log(level, &message)
    }
}

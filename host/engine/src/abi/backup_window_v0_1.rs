//! `grampus:backup-window@0.1.0` in the host's own words.
//!
//! Only translation happens here. Nothing may be judged or left out.

use topology::backup_window::{Answer, LastBackup, LocalTime, Question, Server};
use topology::scaling::Role;
use wasmtime::Store;
use wasmtime::component::Component;

use super::pairs;
use crate::call::Context;
use crate::module::Description;

#[allow(missing_docs, clippy::all, reason = "generated from the contract, which is documented")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/released/log@0.1.0.wit", "../../wit/released/backup-window@0.1.0.wit"],
        world: "grampus:backup-window/backup-window@0.1.0",
        ownership: Borrowing { duplicate_if_necessary: false },
        with: { "grampus:log/log@0.1.0": crate::abi::log::log },
    });
}

use bindings::exports::grampus::backup_window::policy as contract;

contract!(BackupWindowPre, grampus_backup_window_policy);

impl Ready {
    /// Asks it.
    pub fn decide(&self, store: &mut Store<Context>, question: &Question, json: &str) -> wasmtime::Result<Answer> {
        let instance = self.0.instantiate(&mut *store)?;
        let servers: Vec<_> = question.servers.iter().map(server).collect();
        let asked = contract::Question {
            namespace: &question.namespace,
            cluster: &question.cluster,
            now_unix_ms: question.now_unix_ms,
            seed: question.seed,
            local: local(question.local),
            due_unix_ms: question.due_unix_ms,
            latest_unix_ms: question.latest_unix_ms,
            last: question.last.map(last),
            servers: &servers,
            facts: &pairs(&question.facts),
        };
        let answer = instance.grampus_backup_window_policy().call_decide(store, asked, json)?;
        Ok(match answer {
            contract::Answer::Begin(reason) => Answer::Begin { reason },
            contract::Answer::Postpone(reason) => Answer::Postpone { reason },
        })
    }
}

fn local(local: LocalTime) -> contract::LocalTime {
    same!(LocalTime: local => { year, month, day, weekday, minute_of_day })
}

fn last(last: LastBackup) -> contract::LastBackup {
    same!(LastBackup: last => { ended_unix_ms, took_s, bytes })
}

fn server(server: &Server) -> contract::Server<'_> {
    contract::Server {
        name: &server.name,
        role: match server.role {
            Role::Primary => contract::Role::Primary,
            Role::Replica => contract::Role::Replica,
            Role::ReadReplica => contract::Role::ReadReplica,
        },
        load: load!(&server.load),
    }
}

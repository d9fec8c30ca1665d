//! `grampus:scaling@0.1.0` in the host's own words.
//!
//! Only translation happens here. Nothing may be judged or left out.

use topology::measured::Resources;
use topology::scaling::{Answer, Question, Range, Role, Server, Wish};
use wasmtime::Store;
use wasmtime::component::Component;

use super::pairs;
use crate::call::Context;
use crate::module::Description;

#[allow(missing_docs, clippy::all, reason = "generated from the contract, which is documented")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/released/log@0.1.0.wit", "../../wit/released/scaling@0.1.0.wit"],
        world: "grampus:scaling/scaling@0.1.0",
        ownership: Borrowing { duplicate_if_necessary: false },
        with: { "grampus:log/log@0.1.0": crate::abi::log::log },
    });
}

use bindings::exports::grampus::scaling::policy as contract;

contract!(ScalingPre, grampus_scaling_policy);

impl Ready {
    /// Asks it.
    pub fn decide(&self, store: &mut Store<Context>, question: &Question, json: &str) -> wasmtime::Result<Answer> {
        let instance = self.0.instantiate(&mut *store)?;
        let servers: Vec<_> = question.servers.iter().map(server).collect();
        let (present, bounds) = (&question.present, &question.bounds);
        let asked = contract::Question {
            namespace: &question.namespace,
            cluster: &question.cluster,
            now_unix_ms: question.now_unix_ms,
            seed: question.seed,
            present: contract::Present {
                members: present.members,
                acks: present.acks,
                read_replicas: present.read_replicas,
                resources: same!(Resources: present.resources => { cpu_millicores, memory_bytes }),
                volume_bytes: present.volume_bytes,
                read_replicas_changed_s: present.read_replicas_changed_s,
                resources_changed_s: present.resources_changed_s,
                volume_changed_s: present.volume_changed_s,
                unsettled: present.unsettled.as_deref(),
            },
            bounds: contract::Bounds {
                read_replicas: bounds.read_replicas.map(range),
                read_replicas_step: bounds.read_replicas_step,
                cpu_millicores: bounds.cpu_millicores.map(range),
                memory_bytes: bounds.memory_bytes.map(range),
                volume_most_bytes: bounds.volume_most_bytes,
                cooldown_s: bounds.cooldown_s,
            },
            servers: &servers,
            facts: &pairs(&question.facts),
        };
        let answer = instance.grampus_scaling_policy().call_decide(store, asked, json)?;
        Ok(Answer {
            reason: answer.reason,
            read_replicas: answer.read_replicas.map(|wish| Wish { value: wish.count, reason: wish.reason }),
            resources: answer.resources.map(|wish| Wish {
                value: Resources {
                    cpu_millicores: wish.resources.cpu_millicores,
                    memory_bytes: wish.resources.memory_bytes,
                },
                reason: wish.reason,
            }),
            volume_bytes: answer.volume.map(|wish| Wish { value: wish.bytes, reason: wish.reason }),
        })
    }
}

fn range(range: Range) -> contract::Range {
    same!(Range: range => { least, most })
}

fn server(server: &Server) -> contract::Server<'_> {
    contract::Server {
        name: &server.name,
        role: match server.role {
            Role::Primary => contract::Role::Primary,
            Role::Replica => contract::Role::Replica,
            Role::ReadReplica => contract::Role::ReadReplica,
        },
        zone: &server.zone,
        serving: server.serving,
        load: load!(&server.load),
    }
}

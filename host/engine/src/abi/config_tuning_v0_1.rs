//! `grampus:config-tuning@0.1.0` in the host's own words.
//!
//! Only translation happens here. Nothing may be judged or left out.

use topology::tuning::{Answer, Change, Question, Setting};
use wasmtime::Store;
use wasmtime::component::Component;

use super::pairs;
use crate::call::Context;
use crate::module::Description;

#[allow(missing_docs, clippy::all, reason = "generated from the contract, which is documented")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/released/log@0.1.0.wit", "../../wit/released/config-tuning@0.1.0.wit"],
        world: "grampus:config-tuning/config-tuning@0.1.0",
        ownership: Borrowing { duplicate_if_necessary: false },
        with: { "grampus:log/log@0.1.0": crate::abi::log::log },
    });
}

use bindings::exports::grampus::config_tuning::policy as contract;

contract!(ConfigTuningPre, grampus_config_tuning_policy);

impl Ready {
    /// Asks it.
    pub fn decide(&self, store: &mut Store<Context>, question: &Question, json: &str) -> wasmtime::Result<Answer> {
        let instance = self.0.instantiate(&mut *store)?;
        let present = &question.present;
        let settings: Vec<_> = present.settings.iter().map(setting).collect();
        let asked = contract::Question {
            namespace: &question.namespace,
            cluster: &question.cluster,
            now_unix_ms: question.now_unix_ms,
            seed: question.seed,
            version: &question.version,
            present: contract::Present {
                resources: same!(Resources: present.resources => { cpu_millicores, memory_bytes }),
                volume_bytes: present.volume_bytes,
                agent_bytes: present.agent_bytes,
                settings: &settings,
                changed_s: present.changed_s,
                cooldown_s: present.cooldown_s,
                backup_every_s: present.backup_every_s,
                unsettled: present.unsettled.as_deref(),
            },
            load: load!(&question.load),
            activity: same!(Activity: &question.activity => {
                redo_written_bytes_per_hour, checkpoint_age_bytes, log_waits_per_hour, dirty_pages_permille,
                buffer_pool_used_permille, free_page_waits_per_hour, tmp_tables_per_hour,
                tmp_tables_on_disk_permille, table_cache_misses_per_hour, table_cache_overflows_per_hour,
                threads_created_per_hour, sort_merge_passes_per_hour, full_joins_per_hour,
                binlog_cache_disk_uses_per_hour, aborted_clients_per_hour, aborted_connects_per_hour,
                refused_connections_per_hour, connections_peak_since_start, data_bytes,
            }),
            facts: &pairs(&question.facts),
        };
        let answer = instance.grampus_config_tuning_policy().call_decide(store, asked, json)?;
        let changes = answer.changes.into_iter();
        Ok(Answer {
            reason: answer.reason,
            changes: changes
                .map(|change| Change { name: change.name, value: change.value, reason: change.reason })
                .collect(),
        })
    }
}

fn setting(setting: &Setting) -> contract::Setting<'_> {
    contract::Setting { name: &setting.name, value: &setting.value, by_person: setting.by_person }
}

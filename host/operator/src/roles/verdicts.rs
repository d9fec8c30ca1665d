//! What guards make of wishes, in words: what would be done, and what would not and why. Nothing is judged here.

use topology::{scaling, tuning};

/// Of a wish to scale.
pub(super) fn scaling(verdict: &scaling::Verdict) -> (Vec<String>, Vec<String>) {
    let granted = &verdict.granted;
    let readers = granted.read_replicas().map(|count| format!("{count} read replicas"));
    let resources = granted.resources().unwrap_or_default();
    let cpu = resources.cpu_millicores.map(|cpu| format!("{cpu} thousandths of a processor for each server"));
    let memory = resources.memory_bytes.map(|memory| format!("{memory} bytes of memory for each server"));
    let volumes = granted.volume_bytes().map(|bytes| format!("volumes of {bytes} bytes"));
    let granted = [readers, cpu, memory, volumes].into_iter().flatten().collect();
    (granted, verdict.refused.iter().map(ToString::to_string).collect())
}

/// Of a wish for another setting.
pub(super) fn tuning(verdict: &tuning::Verdict) -> (Vec<String>, Vec<String>) {
    let granted = verdict.granted.iter().map(|granted| {
        let how = if granted.while_running() { "while mysqld runs" } else { "with a restart" };
        format!("{} = {}, {how}", granted.name(), granted.value())
    });
    (granted.collect(), verdict.refused.iter().map(ToString::to_string).collect())
}

//! How long it takes from applying a ConfigMap to the first decision of the new module.
//!
//! What can be seen from outside is that the operator says the module is in force, which it does after the swap;
//! the time in the log is that of the swap itself.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kit::{Cluster, Operator, Packed, PolicyModule, Steps, eventually};
use objects::api::PolicyStatus;
use serde_json::json;

use crate::figures::Report;

const LIMIT: Duration = Duration::from_secs(30);

/// Swaps between the same module compressed and not: the bytes of the ConfigMap differ, and so the operator loads
/// anew each time.
pub async fn measure(
    steps: &Steps,
    cluster: &Cluster,
    policy: &PolicyModule,
    times: usize,
    report: &mut Report,
) -> Result<()> {
    if times == 0 {
        return Ok(());
    }
    let step = steps.begin("swapping modules");
    let mut took = Vec::new();
    cluster.apply_policy("bench", "policy.wasm", &policy.component, Packed::Labelled).await?;
    cluster
        .patch_spec(json!({ "policies": { "primarySelection": {
            "module": { "configMap": { "name": "bench", "key": "policy.wasm" } }, "settings": { "zones": ["a"] },
        }}}))
        .await?;
    cluster
        .wait_for("the first module to be in force", LIMIT, || async {
            Ok(in_force(cluster).await?.filter(|policy| policy.name == "prefer-zone"))
        })
        .await?;
    for number in 1..=times {
        step.tell(&format!("{number} of {times}"));
        let bytes = with_remark(&policy.component, number);
        let applied = Timestamp::now();
        cluster.apply_policy("bench", "policy.wasm", &bytes, Packed::Labelled).await?;
        let swapped = eventually("the new module to be in force", LIMIT, || async {
            let lines = Operator::of(cluster.env()).log_since(applied).await?;
            let mut told = lines.iter().filter(|line| line.text("cluster").ends_with(&cluster.name));
            Ok(told.find(|line| line.text("message") == "policy in force").map(|line| line.at))
        });
        let swapped = swapped.await?;
        took.push(Duration::try_from(swapped.duration_since(applied)).context("the log is from before the swap")?);
    }
    step.done();
    report.add("ConfigMap applied → new module decides", took);
    Ok(())
}

/// The same component with a custom section more, so that it has another digest and nothing cached fits.
fn with_remark(component: &[u8], number: usize) -> Vec<u8> {
    let remark = format!("run {number:06}");
    let mut bytes = component.to_vec();
    let name = b"bench";
    bytes.push(0);
    bytes.push(u8::try_from(1 + name.len() + remark.len()).unwrap_or(0));
    bytes.push(u8::try_from(name.len()).unwrap_or(0));
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(remark.as_bytes());
    bytes
}

async fn in_force(cluster: &Cluster) -> Result<Option<PolicyStatus>> {
    Ok(cluster.status().await?.policies.and_then(|policies| policies.primary_selection))
}

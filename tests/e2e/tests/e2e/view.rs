//! What a person sees with kubectl, and what the API server sees of a cluster at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{NAMESPACE, world};
use kit::{Operator, eventually};

/// How long nothing may be written for a cluster to count as silent.
const SILENT: Duration = Duration::from_secs(15);

#[test]
fn kubectl_shows_the_cluster_and_who_leads() {
    world().run(async |cluster| {
        let line = cluster.env().kubectl(&["-n", NAMESPACE, "get", "myc", "pool", "--no-headers"])?;
        let columns: Vec<&str> = line.split_whitespace().collect();
        let primary = cluster.primary().await?;
        let epoch = cluster.record().await?.epoch.to_string();
        ensure!(columns[..4] == ["pool", "3/3", &primary, &epoch], "kubectl get myc shows: {line}");
        let described = cluster.env().kubectl(&["-n", NAMESPACE, "describe", "myc", "pool"])?;
        for word in ["PrimaryAvailable", "takes writes", "PolicyReady", "most-advanced", "PrimaryOpen"] {
            ensure!(described.contains(word), "kubectl describe says nothing of {word}:\n{described}");
        }
        shows_every_member(&cluster.env().plugin(&["status", "pool", "-n", NAMESPACE])?)
    });
}

fn shows_every_member(output: &std::process::Output) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "kubectl grampus status failed: {output:?}");
    for word in ["pool-0", "pool-1", "pool-2", "most-advanced"] {
        ensure!(text.contains(word), "kubectl grampus status says nothing of {word}:\n{text}");
    }
    Ok(())
}

#[test]
fn a_cluster_at_rest_is_silent() {
    world().run(async |cluster| {
        let operator = Operator::of(cluster.env());
        // The end of the test before may still be reported, so the first windows may show something.
        eventually("a while without a write", Duration::from_secs(120), || async {
            let (clock, before) = (jiff::Timestamp::now(), writes(cluster.env())?);
            tokio::time::sleep(SILENT).await;
            let after = writes(cluster.env())?;
            let said: Vec<_> = operator.log_since(clock).await?.iter().map(|line| line.fields.to_string()).collect();
            let news: BTreeMap<_, _> = after.iter().filter(|(what, count)| before.get(*what) != Some(count)).collect();
            ensure!(news.is_empty() && said.is_empty(), "written: {news:?}; logged: {said:?}");
            Ok(Some(()))
        })
        .await
    });
}

/// How often the API server was asked to change what Grampus makes, or what it reports on, by verb and resource. Its
/// Lease is left out, and so are pods' statuses, which are the kubelet's.
fn writes(env: &kit::Environment) -> Result<BTreeMap<String, u64>> {
    const OURS: [&str; 10] = [
        "mysqlclusters",
        "mysqltopologies",
        "mysqloperations",
        "statefulsets",
        "services",
        "configmaps",
        "secrets",
        "endpointslices",
        "poddisruptionbudgets",
        "events",
    ];
    let metrics = env.kubectl(&["get", "--raw", "/metrics"])?;
    let mut counts = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
        if !OURS.contains(&resource) || !matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE") {
            continue;
        }
        let count: f64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
        *counts.entry(format!("{verb} {resource}")).or_default() += count as u64;
    }
    ensure!(!counts.is_empty(), "the API server counts nothing");
    Ok(counts)
}

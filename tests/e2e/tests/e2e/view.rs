//! What a person sees with kubectl.

use anyhow::{Result, ensure};
use e2e::{NAMESPACE, world};

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

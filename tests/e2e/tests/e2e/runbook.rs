//! docs/disaster-recovery.md, followed as it is written: its commands, with the names of a test in the place of its own.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::NAMESPACE;
use kit::Cluster;
use serde_json::Value;

/// The cluster and the transaction that the paper speaks of.
const CLUSTER: &str = "shop";
const GTID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:23";

/// The paper, for this cluster and this transaction.
pub struct Runbook<'a> {
    cluster: &'a Cluster,
    text: String,
}

impl<'a> Runbook<'a> {
    /// Reads it. What its commands leave and take up is in this directory.
    pub fn read(cluster: &'a Cluster, mistake: &str, directory: &Path) -> Result<Self> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/disaster-recovery.md");
        let text = std::fs::read_to_string(path).context("the runbook cannot be read")?;
        ensure!(text.contains(GTID), "the runbook speaks of another transaction");
        let text =
            text.replace(GTID, mistake).replace(&format!("default/{CLUSTER}"), &format!("{NAMESPACE}/{CLUSTER}"));
        let text = text.replace(CLUSTER, &cluster.name);
        let text = text.replace("apply -f ", &format!("apply -f {}/", directory.display()));
        let text = text.replace("--in-place ", &format!("--in-place --keep-in {} ", directory.display()));
        Ok(Self { cluster, text })
    }

    /// The commands of kubectl below a heading that hold these words, in order.
    fn commands(&self, heading: &str, words: &str) -> Result<Vec<Vec<&str>>> {
        let blocks = self.blocks(heading, "sh");
        let lines = blocks.iter().flat_map(|block| block.lines()).filter(|line| line.contains(words));
        let commands: Vec<_> = lines
            .filter_map(|line| Some(line.strip_prefix("kubectl ")?.split_whitespace().collect::<Vec<_>>()))
            .collect();
        ensure!(!commands.is_empty(), "below `{heading}` the runbook has no kubectl with `{words}`");
        Ok(commands)
    }

    /// Types them, with something added.
    pub fn type_in(&self, heading: &str, words: &str, added: &[&str]) -> Result<()> {
        for command in self.commands(heading, words)? {
            let arguments = [&command[..], &["-n", NAMESPACE], added].concat();
            self.cluster.env().kubectl(&arguments).with_context(|| format!("kubectl {}", command.join(" ")))?;
        }
        Ok(())
    }

    /// The spec of the manifest below a heading.
    pub fn spec(&self, heading: &str) -> Result<Value> {
        for block in self.blocks(heading, "yaml") {
            let documents: Vec<Value> = serde_saphyr::from_multiple(block)?;
            if let Some(found) = documents.into_iter().find(|document| document["kind"] == "MysqlCluster") {
                ensure!(found["metadata"]["name"] == self.cluster.name.as_str(), "{found}");
                return Ok(found["spec"].clone());
            }
        }
        anyhow::bail!("below `{heading}` the runbook has no MysqlCluster")
    }

    fn blocks(&self, heading: &str, language: &str) -> Vec<&str> {
        let section = self.text.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_default();
        let fenced = section.split("```").skip(1).step_by(2);
        fenced.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
    }
}

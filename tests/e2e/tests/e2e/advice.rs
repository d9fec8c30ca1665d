//! What policies that scale and tune say of a cluster is shown, and nothing is done about it.

use anyhow::{Context, Result, ensure};
use e2e::{TOLD, world};
use engine::Answered as _;
use kit::{Cluster, Packed};
use mysql_async::prelude::Queryable;
use objects::conditions::POLICY_READY;
use serde_json::{Value, json};
use topology::{scaling, tuning};

use crate::policies::{back_to_default, journal};

const POOL: &str = "innodb_buffer_pool_size";

fn module(map: &str) -> Value {
    json!({ "configMap": { "name": map, "key": "policy.wasm.zst" } })
}

/// What the primary's mysqld is set to.
async fn pool(cluster: &Cluster) -> Result<u64> {
    let primary = cluster.primary().await?;
    let member = cluster.members().await?.into_iter().find(|member| member.name == primary);
    let mut conn = member.context("the primary is no member")?.login.connect().await?;
    conn.query_first(format!("SELECT @@GLOBAL.{POOL}")).await?.context("no pool")
}

#[test]
fn what_would_be_scaled_and_tuned_is_shown_and_nothing_is_changed_by_it() {
    world().run(async |cluster| {
        for (map, policy) in [("read-load", &world().read_load), ("memory-budget", &world().memory_budget)] {
            cluster.apply_policy(map, "policy.wasm.zst", &policy.packed, Packed::Labelled).await?;
        }
        let (before, bytes) = (cluster.fingerprints().await?, pool(&cluster).await?);
        cluster
            .patch_spec(json!({ "policies": {
                "scaling": { "module": module("read-load"), "settings": { "leastWindowS": 1 }, "mode": "Shadow",
                    "bounds": { "readReplicas": { "min": 0, "max": 2 } } },
                "configTuning": { "module": module("memory-budget"), "settings": { "poolPermille": 200 }, "mode": "Shadow" },
            }}))
            .await?;
        cluster
            .wait_for("both policies to be in force", TOLD, || async {
                let condition = cluster.condition(POLICY_READY).await?;
                let ready = condition.filter(|ready| ready.status == "True");
                let both = |text: &str| ["most-advanced", "read-load", "memory-budget"].iter().all(|name| text.contains(name));
                Ok(ready.filter(|ready| both(&ready.message)).map(drop))
            })
            .await?;
        let tuned = cluster
            .wait_for("what would be tuned in the journal", TOLD, || async { last::<tuning::Question>(&cluster) })
            .await?;
        let wish = tuned.answer.changes.first().with_context(|| format!("a smaller pool should be wanted: {tuned:?}"))?;
        ensure!(wish.name == POOL && wish.value.parse::<u64>()? < bytes, "{wish:?}");
        ensure!(tuned.question.load.queries_per_second.is_some(), "the load was not measured: {:?}", tuned.question.load);
        let scaled = cluster
            .wait_for("what would be scaled in the journal", TOLD, || async { last::<scaling::Question>(&cluster) })
            .await?;
        ensure!(scaled.question.servers.len() == 3 && scaled.by.name == "read-load", "{scaled:?}");
        let output = cluster.env().plugin(&["explain", &cluster.name, "-n", &cluster.namespace])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let whole = ["scaling, which nobody follows yet", "read-load", "config-tuning, which nobody follows yet", "memory-budget", POOL];
        for words in whole {
            ensure!(text.contains(words), "kubectl grampus explain says nothing of `{words}`:\n{text}");
        }
        ensure!(text.contains(&tuned.answer.in_words()), "explain does not say what was answered:\n{text}");
        ensure!(pool(&cluster).await? == bytes, "the pool was changed");
        ensure!(cluster.fingerprints().await? == before, "something was restarted");
        let readers = cluster.status().await?.read_replicas.unwrap_or_default();
        ensure!((readers.count, readers.members.len()) == (0, 0), "read replicas came: {readers:?}");
        for map in ["read-load", "memory-budget"] {
            cluster.delete_policy(map).await?;
        }
        back_to_default(&cluster).await
    });
}

/// The last decision of a kind that was measured, if there is one.
fn last<Q: engine::DecisionKind>(cluster: &Cluster) -> Result<Option<engine::Entry<Q>>> {
    Ok(journal::<Q>(cluster)?.pop())
}

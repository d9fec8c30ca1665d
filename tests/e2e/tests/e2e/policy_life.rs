//! A policy outlives the ConfigMap it came from, a person can go back to a former one, and nobody is let in unsigned where
//! signatures are asked for.

use anyhow::{Context as _, Result, ensure};
use e2e::{NAMESPACE, TOLD, world};
use engine::SecretKey;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kit::{Cluster, Packed};
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use objects::api::{labels, policy};
use objects::conditions::POLICY_READY;
use serde_json::{Value, json};

use crate::policies::{back_to_default, in_force, is_refused, names, wait_in_force};

const KEY: &str = policy::PACKED;

/// The names of the copies that the operator keeps for a cluster.
async fn copies(cluster: &Cluster) -> Result<Vec<String>> {
    let maps: Api<ConfigMap> = cluster.api();
    let label = format!("{}={}", labels::POLICY_COPY, policy::PRIMARY_SELECTION);
    let listed = maps.list_metadata(&ListParams::default().labels(&label)).await?;
    Ok(listed.items.into_iter().filter_map(|map| map.metadata.name).collect())
}

/// Waits until `policy history` shows a pair with these settings.
async fn wait_kept(cluster: &Cluster, settings: &str) -> Result<()> {
    cluster
        .wait_for(&format!("a copy with {settings}"), TOLD, || async {
            let output = cluster.env().plugin(&["policy", "history", &cluster.name, "-n", NAMESPACE])?;
            Ok(String::from_utf8_lossy(&output.stdout).contains(settings).then_some(()))
        })
        .await
}

/// Waits until the module that scales comes from there.
async fn wait_scaling(cluster: &Cluster, source: &str) -> Result<()> {
    cluster
        .wait_for(&format!("what scales to come from {source}"), TOLD, || async {
            let scaling = cluster.status().await?.policies.and_then(|policies| policies.scaling);
            Ok(scaling.filter(|scaling| scaling.name == "read-load" && scaling.source.starts_with(source)).map(drop))
        })
        .await
}

async fn wait_told(cluster: &Cluster, words: &[&str]) -> Result<()> {
    cluster
        .wait_for(&format!("PolicyReady=False with {words:?}"), TOLD, || async {
            let condition = cluster.condition(POLICY_READY).await?.filter(|condition| condition.status == "False");
            Ok(condition.filter(|condition| words.iter().all(|words| condition.message.contains(words))).map(drop))
        })
        .await
}

/// Gives the operators that start from now on a public key; None takes it away.
async fn give_operators(cluster: &Cluster, key: Option<&SecretKey>) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.env().client(), "grampus-system");
    let name = "grampus-policy-keys";
    let Some(key) = key else {
        return maps.delete(name, &DeleteParams::default()).await.map(drop).context("removing the key");
    };
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([("e2e.pub".to_owned(), key.public().to_pem())].into()),
        ..ConfigMap::default()
    };
    maps.patch(name, &PatchParams::apply("grampus-tests").force(), &Patch::Apply(&map))
        .await
        .context("giving a key")?;
    Ok(())
}

async fn ask_for_signatures(cluster: &Cluster, value: Value) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.env().client());
    let patch = json!({ "metadata": { "labels": { labels::REQUIRE_SIGNED: value } } });
    namespaces.patch(NAMESPACE, &PatchParams::default(), &Patch::Merge(&patch)).await.context("labelling")?;
    Ok(())
}

#[test]
fn a_policy_outlives_its_config_map_and_every_operator_and_a_person_can_go_back() {
    world().run(async |cluster| {
        let trusted = SecretKey::generate()?;
        give_operators(&cluster, Some(&trusted)).await?;
        cluster.apply_policy("prefer-zone", KEY, &world().prefer_zone.packed, Packed::Labelled).await?;
        cluster.patch_spec(names("prefer-zone", KEY, json!({ "zones": ["a", "b", "c"] }))).await?;
        wait_in_force(&cluster, "prefer-zone").await?;
        wait_kept(&cluster, r#"{"zones":["a","b","c"]}"#).await?;
        cluster.apply_policy("read-load", KEY, &world().read_load.packed, Packed::Labelled).await?;
        let mut spec = names("prefer-zone", KEY, json!({ "zones": ["c", "b", "a"] }));
        spec["policies"]["scaling"] =
            json!({ "module": { "configMap": { "name": "read-load", "key": KEY } }, "mode": "Shadow" });
        cluster.patch_spec(spec).await?;
        wait_kept(&cluster, r#"{"zones":["c","b","a"]}"#).await?;
        wait_scaling(&cluster, "ConfigMap read-load").await?;

        cluster.delete_policy("prefer-zone").await?;
        cluster.delete_policy("read-load").await?;
        let operator = kit::Operator::of(cluster.env());
        operator.scale(0).await?;
        operator.scale(2).await?;
        wait_told(&cluster, &["there is no ConfigMap prefer-zone", "running from the copy of"]).await?;
        let copied = in_force(&cluster).await?;
        ensure!(
            copied.name == "prefer-zone" && copied.source.starts_with("copy in ConfigMap pool-policy-"),
            "{copied:?}"
        );
        let reason = cluster.switchover(None).await?.succeeded()?.reason.clone().unwrap_or_default();
        ensure!(reason.contains("prefer-zone") && reason.contains("preference"), "the copy should decide: {reason}");

        wait_scaling(&cluster, "copy in ConfigMap pool-policy-scaling-").await?;
        for decision in [policy::SCALING, policy::PRIMARY_SELECTION] {
            let rollback = ["policy", "rollback", &cluster.name, "--decision", decision, "-n", NAMESPACE];
            let output = cluster.env().plugin(&rollback)?;
            ensure!(output.status.success(), "rollback: {output:?}");
        }
        wait_scaling(&cluster, "ConfigMap pool-policy-scaling-").await?;
        wait_in_force(&cluster, "prefer-zone").await?;
        let back = in_force(&cluster).await?;
        ensure!(back.digest == copied.digest && back.source.starts_with("ConfigMap pool-policy-"), "{back:?}");

        cluster.patch_spec(json!({ "policies": { "scaling": null } })).await?;
        ask_for_signatures(&cluster, "true".into()).await?;
        cluster.apply_policy("hostile", KEY, &world().hostile.packed, Packed::Labelled).await?;
        let signed_by = |key: Option<&SecretKey>, decision: &str| -> Result<Value> {
            let digest = engine::module_digest(&world().hostile.packed)?;
            // What is not named stays in a spec that is patched.
            let mut spec = names("hostile", KEY, json!({ "do": "nothing", "zones": null }));
            let module = &mut spec["policies"]["primarySelection"]["module"];
            module["digest"] = digest.clone().into();
            module["signature"] = key.map_or(Value::Null, |key| key.sign(decision, &digest).into());
            Ok(spec)
        };
        let unsigned = signed_by(None, policy::PRIMARY_SELECTION)?;
        is_refused(&cluster, unsigned, "asks for signed modules").await?;
        let id = trusted.public().id();
        is_refused(&cluster, signed_by(Some(&trusted), "scaling")?, &id).await?;
        cluster.patch_spec(signed_by(Some(&trusted), policy::PRIMARY_SELECTION)?).await?;
        wait_in_force(&cluster, "hostile").await?;
        ensure!(in_force(&cluster).await?.signed_by == Some(id), "the status does not say who signed it");
        ensure!(copies(&cluster).await?.len() <= 3, "the last three are enough");

        ask_for_signatures(&cluster, Value::Null).await?;
        give_operators(&cluster, None).await?;
        cluster.delete_policy("hostile").await?;
        back_to_default(&cluster).await
    });
}

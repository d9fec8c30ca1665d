//! What people get wrong is refused or told, and the cluster that runs is left alone.

use anyhow::{Result, ensure};
use e2e::{TOLD, spec, world};
use k8s_openapi::api::core::v1::{Secret, Service, ServicePort, ServiceSpec};
use kit::Cluster;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use objects::conditions::{RESOURCES_APPLIED, SPEC_VALID};
use serde_json::{Value, json};

use crate::event;

async fn is_refused(spec: Value, field: &str) -> Result<()> {
    let cluster = world().cluster("refused");
    match cluster.apply(spec).await {
        Ok(()) => {
            cluster.remove().await?;
            anyhow::bail!("the API server should have refused {field}");
        }
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains(field), "the refusal does not name {field}: {said}");
            Ok(())
        }
    }
}

#[test]
fn the_api_server_refuses_what_cannot_be() {
    world().run(async |_| {
        is_refused(json!({ "replicas": 4, "storage": { "size": "1Gi" } }), "spec.replicas").await?;
        is_refused(json!({ "storage": { "size": "ten" } }), "spec.storage.size").await?;
        let mode = json!({ "storage": { "size": "1Gi" }, "policies": { "primarySelection": { "mode": "Maybe" } } });
        is_refused(mode, "mode").await
    });
}

#[test]
fn an_option_that_breaks_durability_is_told_and_not_used() {
    world().run(async |cluster| {
        let (before, primary) = (cluster.fingerprints().await?, cluster.primary().await?);
        cluster.patch_spec(json!({ "config": { "sync_binlog": 0 } })).await?;
        told(&cluster, SPEC_VALID, "sync_binlog").await?;
        event(&cluster, "InvalidSpec", "sync_binlog").await?;
        for member in cluster.members().await? {
            let value: i64 = member.ask("SELECT @@GLOBAL.sync_binlog").await?;
            ensure!(value == 1, "{} runs with sync_binlog={value}", member.name);
        }
        ensure!(
            cluster.fingerprints().await? == before && cluster.primary().await? == primary,
            "the cluster was touched"
        );
        cluster.patch_spec(json!({ "config": null })).await?;
        cluster.wait_condition(SPEC_VALID, "True", TOLD).await.map(drop)
    });
}

#[test]
fn a_service_of_somebody_else_is_left_alone() {
    world().run(async |_| {
        let cluster = world().cluster("taken");
        let services: Api<Service> = cluster.api();
        let port = ServicePort { port: 80, ..ServicePort::default() };
        let theirs = Service {
            metadata: ObjectMeta { name: Some("taken-primary".to_owned()), ..ObjectMeta::default() },
            spec: Some(ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() }),
            ..Service::default()
        };
        let _ = services.delete("taken-primary", &DeleteParams::default()).await;
        let made = services.create(&PostParams::default(), &theirs).await?;
        cluster.apply(spec()).await?;
        told(&cluster, RESOURCES_APPLIED, "taken-primary").await?;
        event(&cluster, "NameTaken", "taken-primary").await?;
        let now = services.get("taken-primary").await?;
        ensure!(now.spec == made.spec, "somebody else's Service was changed");
        services.delete("taken-primary", &DeleteParams::default()).await?;
        cluster.remove().await
    });
}

#[test]
fn a_secret_without_the_key_is_told() {
    world().run(async |_| {
        let cluster = world().cluster("keyless");
        let secrets: Api<Secret> = cluster.api();
        let metadata = ObjectMeta { name: Some("keyless-passwords".to_owned()), ..ObjectMeta::default() };
        let data = [("other".to_owned(), "x".to_owned())].into();
        let secret = Secret { metadata, string_data: Some(data), ..Secret::default() };
        let _ = secrets.delete("keyless-passwords", &DeleteParams::default()).await;
        secrets.create(&PostParams::default(), &secret).await?;
        let mut wanted = spec();
        wanted["rootPasswordSecret"] = json!({ "name": "keyless-passwords", "key": "root" });
        cluster.apply(wanted).await?;
        let message = told(&cluster, RESOURCES_APPLIED, "keyless-passwords").await;
        let message = match message {
            Ok(message) => message,
            Err(_) => told(&cluster, SPEC_VALID, "keyless-passwords").await?,
        };
        ensure!(
            message.contains("rootPasswordSecret") && message.contains("root"),
            "it should name the field: {message}"
        );
        secrets.delete("keyless-passwords", &DeleteParams::default()).await?;
        cluster.remove().await
    });
}

/// Waits until a condition is False and its message has this in it.
async fn told(cluster: &Cluster, kind: &str, word: &str) -> Result<String> {
    cluster
        .wait_for(&format!("{kind}=False with `{word}`"), TOLD, || async {
            let condition = cluster.condition(kind).await?;
            let found = condition.filter(|condition| condition.status == "False" && condition.message.contains(word));
            Ok(found.map(|condition| condition.message))
        })
        .await
}

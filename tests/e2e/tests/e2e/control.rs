//! The control: writes that are acknowledged too early must be seen to be lost, or a check that finds nothing
//! missing would prove nothing.
//!
//! Three plain mysqlds without semi-sync, no Grampus anywhere: the replicas' links are cut 300 ms before the
//! source is killed, five times. What the replicas hold then is what any promotion would have had.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{WHOLE, world};
use k8s_openapi::api::core::v1::Pod;
use kit::{Cluster, Fingerprint, Load, Login, Member, Writer, eventually};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mysql_async::prelude::Queryable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

const KILLS: usize = 5;
const PASSWORD: &str = "control";

/// How long the links are cut before the kill.
const CUT: Duration = Duration::from_millis(300);

#[test]
fn without_semi_sync_the_check_sees_losses_in_five_of_five_kills() {
    world().run(async |_| {
        let cluster = world().cluster("control");
        let result = losses(&cluster).await;
        // The lab is everybody's: no cut outlives the test.
        cluster.env().lab.heal_all()?;
        remove(&cluster).await?;
        let losses = result?;
        println!("control: acknowledged rows missing on both replicas after each kill: {losses:?}");
        ensure!(losses.len() == KILLS && losses.iter().all(|lost| *lost > 0), "the check is blind: {losses:?}");
        Ok(())
    });
}

fn name(number: usize) -> String {
    format!("control-{number}")
}

async fn losses(cluster: &Cluster) -> Result<Vec<usize>> {
    remove(cluster).await?;
    let nodes: Vec<String> = cluster.env().lab.nodes().iter().take(3).map(ToString::to_string).collect();
    ensure!(nodes.len() == 3, "the control needs three nodes");
    let pods: Api<Pod> = cluster.api();
    for (number, node) in nodes.iter().enumerate() {
        pods.create(&PostParams::default(), &plain_mysqld(number, node)?).await?;
    }
    let mut members = Vec::new();
    for number in 0..nodes.len() {
        members.push(up(&pods, number).await?);
    }
    replicate(&members).await?;
    let mut losses = Vec::new();
    for _ in 0..KILLS {
        losses.push(one_kill(cluster, &pods, &nodes, &members).await?);
    }
    Ok(losses)
}

/// How many acknowledged rows neither replica has after a cut and a kill.
async fn one_kill(cluster: &Cluster, pods: &Api<Pod>, nodes: &[String], members: &[Member]) -> Result<usize> {
    let login = Login { user: "root".to_owned(), database: Some("app".to_owned()), ..members[0].login.clone() };
    let mut writer = Writer::start_at(login, Load::default()).await?;
    writer.wait_rows(50, WHOLE).await?;
    for node in &nodes[1..] {
        cluster.env().lab.cut(&nodes[0], Some(node), false)?;
    }
    tokio::time::sleep(CUT).await;
    let pod = pods.get(&name(0)).await?;
    let mysqld = Fingerprint::take(&cluster.env().lab, &pod)?.mysqld.context("the source does not run")?;
    kill(Pid::from_raw(mysqld.pid), Signal::SIGKILL)?;
    let ledger = writer.stop().await?;
    // Whatever a replica has received it may still apply.
    for member in &members[1..] {
        let mut conn = member.login.connect().await?;
        conn.query_drop("STOP REPLICA IO_THREAD").await?;
        let received: Option<String> = conn
            .query_first("SELECT received_transaction_set FROM performance_schema.replication_connection_status")
            .await?;
        let received = received.unwrap_or_default().replace(char::is_whitespace, "");
        conn.query_drop(format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{received}', 20)")).await?;
    }
    let mut missing = BTreeSet::new();
    for member in &members[1..] {
        missing.insert(ledger.missing_on(member, "app").await?);
    }
    cluster.env().lab.heal_all()?;
    up(pods, 0).await?;
    replicate(members).await?;
    missing.first().copied().context("there are no replicas")
}

/// Waits until a member answers.
async fn up(pods: &Api<Pod>, number: usize) -> Result<Member> {
    eventually(&format!("{} to answer", name(number)), WHOLE, || async {
        let pod = pods.get(&name(number)).await?;
        let host = pod.status.and_then(|status| status.pod_ip).context("no address yet")?;
        let login = Login { host, user: "root".to_owned(), password: PASSWORD.to_owned(), database: None };
        let member = Member { name: name(number), login };
        let _: i64 = member.ask("SELECT 1").await?;
        Ok(Some(member))
    })
    .await
}

/// Lets the replicas follow the source, and waits until they have what it has.
async fn replicate(members: &[Member]) -> Result<()> {
    let executed: String = members[0].ask("SELECT @@GLOBAL.gtid_executed").await?;
    let executed = executed.replace(char::is_whitespace, "");
    for member in &members[1..] {
        let mut conn = member.login.connect().await?;
        conn.query_drop("STOP REPLICA").await?;
        conn.query_drop(format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{}', SOURCE_USER='root', SOURCE_PASSWORD='{PASSWORD}', \
             SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1",
            members[0].login.host
        ))
        .await?;
        conn.query_drop("START REPLICA").await?;
        let caught: Option<i64> =
            conn.query_first(format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 30)")).await?;
        ensure!(caught == Some(0), "{} does not catch up", member.name);
    }
    Ok(())
}

async fn remove(cluster: &Cluster) -> Result<()> {
    let pods: Api<Pod> = cluster.api();
    for number in 0..3 {
        let _ = pods.delete(&name(number), &DeleteParams::default().grace_period(0)).await;
    }
    eventually("the plain mysqlds to go", WHOLE, || async {
        for number in 0..3 {
            if pods.get_opt(&name(number)).await?.is_some() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

/// A shell as the first process, so that a killed mysqld comes back at once and with its data.
fn plain_mysqld(number: usize, node: &str) -> Result<Pod> {
    let users = format!(
        "CREATE USER root@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION; CREATE DATABASE app;"
    );
    let options = format!(
        "--no-defaults --datadir=/data/mysql --socket=/data/mysql.sock --pid-file=/data/mysql.pid --mysqlx=OFF \
         --secure-file-priv=NULL --server-id={} --gtid-mode=ON --enforce-gtid-consistency=ON --tmpdir=/data",
        number + 1
    );
    let script = format!(
        "echo \"{users}\" | tr ';' '\\n' | sed '/^ *$/d; s/$/;/' > /data/users.sql; \
         mysqld {options} --initialize-insecure --skip-log-bin --init-file=/data/users.sql; \
         while true; do mysqld {options} --log-bin=/data/binlog; sleep 0.2; done"
    );
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name(number) },
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "securityContext": { "runAsUser": 1001, "runAsGroup": 1001, "fsGroup": 1001 },
            "containers": [{
                "name": "mysql", "image": kit::MYSQL_IMAGE, "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", script],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    }))?)
}

//! Plain mysqlds in pods, without Grampus: what it is compared with, and what its check has to fail on.
//!
//! Each is pinned to a node of its own and comes back by itself when its mysqld is killed, with its data. Nothing
//! here sets up more than it is told: whether and how they replicate is the caller's.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Cluster, Fingerprint, Login, MYSQL_IMAGE, Member, eventually};

/// How long a mysqld may take to be there, and its pod to go.
const LIMIT: Duration = Duration::from_secs(240);

/// Root's password on all of them.
const PASSWORD: &str = "plain";

/// The database that each begins with.
const DATABASE: &str = "app";

/// Three plain mysqlds.
pub struct Plain {
    cluster: Cluster,
    nodes: Vec<String>,
    /// How each is reached, as root.
    pub members: Vec<Member>,
}

impl Plain {
    /// Makes three anew, named after `cluster` (of which only namespace and name are used), with these further
    /// options of mysqld. In them `$POD_IP` is the address of the pod.
    ///
    /// # Errors
    /// The lab has fewer than three nodes, or one of the servers does not answer.
    pub async fn raise(cluster: &Cluster, options: &str) -> Result<Self> {
        Self::raise_with(cluster, options, &json!({})).await
    }

    /// The same with `resources` of the container, as a pod's spec has them. Without any, a pod comes last wherever
    /// processors are short, which is not what anything should be compared with.
    ///
    /// # Errors
    /// As [`Plain::raise`].
    pub async fn raise_with(cluster: &Cluster, options: &str, resources: &Value) -> Result<Self> {
        let nodes: Vec<String> = cluster.env().lab.nodes().iter().take(3).map(ToString::to_string).collect();
        ensure!(nodes.len() == 3, "three plain servers need three nodes");
        let mut plain = Self { cluster: cluster.clone(), nodes, members: Vec::new() };
        plain.remove().await?;
        for number in 0..plain.nodes.len() {
            plain.pods().create(&PostParams::default(), &plain.pod(number, options, resources)?).await?;
        }
        for number in 0..plain.nodes.len() {
            let member = plain.up(number).await?;
            plain.members.push(member);
        }
        Ok(plain)
    }

    /// The node of one of them.
    pub fn node(&self, number: usize) -> &str {
        &self.nodes[number]
    }

    /// How the application's database on one of them is reached.
    pub fn login(&self, number: usize) -> Login {
        Login { database: Some(DATABASE.to_owned()), ..self.members[number].login.clone() }
    }

    /// SIGKILL for one mysqld. Gives the moment.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&self, number: usize) -> Result<Instant> {
        let pod = self.pods().get(&self.name(number)).await?;
        let found = Fingerprint::take(&self.cluster.env().lab, &pod)?;
        let mysqld = found.mysqld.with_context(|| format!("{} runs no mysqld", found.pod))?;
        let now = Instant::now();
        crate::faults::signal(mysqld.pid, Signal::SIGKILL)?;
        Ok(now)
    }

    /// Waits until one answers, and says how it is reached.
    ///
    /// # Errors
    /// It does not.
    pub async fn up(&self, number: usize) -> Result<Member> {
        let name = self.name(number);
        eventually(&format!("{name} to answer"), LIMIT, || async {
            let pod = self.pods().get(&name).await?;
            let host = pod.status.and_then(|status| status.pod_ip).context("no address yet")?;
            let login = Login { host, user: "root".to_owned(), password: PASSWORD.to_owned(), database: None };
            let member = Member { name: name.clone(), login };
            let _: i64 = member.ask("SELECT 1").await?;
            Ok(Some(member))
        })
        .await
    }

    /// Lets the others follow the first, and waits until they have what it has.
    ///
    /// # Errors
    /// One of them refuses or does not catch up.
    pub async fn replicate(&self) -> Result<()> {
        let executed: String = self.members[0].ask("SELECT @@GLOBAL.gtid_executed").await?;
        let executed = executed.replace(char::is_whitespace, "");
        for member in &self.members[1..] {
            let source = format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{}', SOURCE_USER='root', SOURCE_PASSWORD='{PASSWORD}', \
                 SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1",
                self.members[0].login.host
            );
            member.run(&["STOP REPLICA", &source, "START REPLICA"]).await?;
            let caught: i64 = member.ask(&format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 30)")).await?;
            ensure!(caught == 0, "{} does not catch up", member.name);
        }
        Ok(())
    }

    /// Takes them away with their data.
    ///
    /// # Errors
    /// They do not go.
    pub async fn remove(&self) -> Result<()> {
        let names: Vec<String> = (0..self.nodes.len()).map(|number| self.name(number)).collect();
        for name in &names {
            let _ = self.pods().delete(name, &DeleteParams::default().grace_period(0)).await;
        }
        eventually("the plain mysqlds to go", LIMIT, || async {
            for name in &names {
                if self.pods().get_opt(name).await?.is_some() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    fn pods(&self) -> Api<Pod> {
        self.cluster.api()
    }

    fn name(&self, number: usize) -> String {
        format!("{}-{number}", self.cluster.name)
    }

    /// A shell as the first process, so that a killed mysqld comes back at once and with its data.
    fn pod(&self, number: usize, options: &str, resources: &Value) -> Result<Pod> {
        let users = format!(
            "CREATE USER root@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION; CREATE DATABASE {DATABASE};"
        );
        let common = format!(
            "--no-defaults --datadir=/data/mysql --socket=/data/mysql.sock --pid-file=/data/mysql.pid --mysqlx=OFF \
             --secure-file-priv=NULL --server-id={} --gtid-mode=ON --enforce-gtid-consistency=ON --tmpdir=/data",
            number + 1
        );
        let script = format!(
            "echo \"{users}\" | tr ';' '\\n' | sed '/^ *$/d; s/$/;/' > /data/users.sql; \
             mysqld {common} --initialize-insecure --skip-log-bin --init-file=/data/users.sql; \
             while true; do mysqld {common} --log-bin=/data/binlog {options}; sleep 0.2; done"
        );
        Ok(serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": self.name(number) },
            "spec": {
                "nodeName": self.nodes[number],
                "terminationGracePeriodSeconds": 0,
                "securityContext": { "runAsUser": 1001, "runAsGroup": 1001, "fsGroup": 1001 },
                "containers": [{
                    "name": "mysql", "image": MYSQL_IMAGE, "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script],
                    "resources": resources,
                    "env": [{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                }],
                "volumes": [{ "name": "data", "emptyDir": {} }],
            },
        }))?)
    }
}

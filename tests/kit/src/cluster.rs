//! One MysqlCluster: its objects, its members, SQL on them, and commands to it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use mysql_async::prelude::Queryable;
use objects::api::{
    MysqlCluster, MysqlClusterStatus, MysqlOperation, MysqlOperationSpec, MysqlOperationStatus, MysqlTopology,
    OperationType, Outcome, labels, names,
};
use objects::conditions;
use topology::record::{Phase, Record};

use crate::processes::Fingerprint;
use crate::sql::Login;
use crate::{Environment, diagnose, eventually};

/// Under which name these tools write.
const MANAGER: &str = "grampus-tests";

/// How long an object may take to disappear.
const DISAPPEAR: Duration = Duration::from_secs(90);

/// A cluster in the lab.
#[derive(Clone)]
pub struct Cluster {
    env: Arc<Environment>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A member that can be talked to.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its pod.
    pub name: String,
    /// Root, on this member only.
    pub login: Login,
}

/// What became of an operation.
#[derive(Debug, Clone)]
pub struct Operated {
    /// The object.
    pub name: String,
    /// Its last status.
    pub status: MysqlOperationStatus,
}

impl Cluster {
    /// A cluster by name, whether it exists or not.
    pub fn named(env: &Arc<Environment>, namespace: &str, name: &str) -> Self {
        Self { env: env.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// One of another name in the same namespace.
    pub fn beside(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// The lab it is in.
    pub fn env(&self) -> &Environment {
        &self.env
    }

    /// An API of its namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.env.client(), &self.namespace)
    }

    /// Makes the namespace if it is not there.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn make_namespace(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.env.client());
        let metadata = ObjectMeta { name: Some(self.namespace.clone()), ..ObjectMeta::default() };
        match namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error).with_context(|| format!("creating namespace {}", self.namespace)),
        }
    }

    /// Applies a MysqlCluster with this spec.
    ///
    /// # Errors
    /// The API server refused; the error has its words.
    pub async fn apply(&self, spec: serde_json::Value) -> Result<()> {
        let object = serde_json::json!({
            "apiVersion": MysqlCluster::api_version(&()), "kind": MysqlCluster::kind(&()),
            "metadata": { "name": self.name }, "spec": spec,
        });
        let params = PatchParams::apply(MANAGER).force();
        let api: Api<MysqlCluster> = self.api();
        api.patch(&self.name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("applying MysqlCluster {}", self.name))?;
        Ok(())
    }

    /// Merges something into the spec, as `kubectl patch` does.
    ///
    /// # Errors
    /// The API server refused; the error has its words.
    pub async fn patch_spec(&self, spec: serde_json::Value) -> Result<()> {
        let api: Api<MysqlCluster> = self.api();
        let patch = serde_json::json!({ "spec": spec });
        let patched = api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.with_context(|| format!("patching MysqlCluster {}", self.name)).map(drop)
    }

    /// The object.
    ///
    /// # Errors
    /// There is none, or the API server did not answer.
    pub async fn object(&self) -> Result<MysqlCluster> {
        let api: Api<MysqlCluster> = self.api();
        api.get(&self.name).await.with_context(|| format!("reading MysqlCluster {}/{}", self.namespace, self.name))
    }

    /// Its status as it is now.
    ///
    /// # Errors
    /// There is no such cluster, or the API server did not answer.
    pub async fn status(&self) -> Result<MysqlClusterStatus> {
        Ok(self.object().await?.status.unwrap_or_default())
    }

    /// A condition of the cluster, if it has it.
    ///
    /// # Errors
    /// There is no such cluster, or the API server did not answer.
    pub async fn condition(&self, kind: &str) -> Result<Option<Condition>> {
        Ok(conditions::find(&self.status().await?.conditions, kind).cloned())
    }

    /// The record as it is now.
    ///
    /// # Errors
    /// There is none, or the API server did not answer.
    pub async fn record(&self) -> Result<Record> {
        let api: Api<MysqlTopology> = self.api();
        let topology = api.get(&self.name).await.with_context(|| format!("reading MysqlTopology {}", self.name))?;
        Ok(topology.spec.record)
    }

    /// The pod that leads under a record that is served.
    ///
    /// # Errors
    /// Nobody leads now.
    pub async fn primary(&self) -> Result<String> {
        let record = self.record().await?;
        ensure!(record.phase == Phase::Serving, "{} has no primary: its record is {}", self.name, record.claim());
        Ok(record.primary)
    }

    /// Waits until a primary takes writes and `members` members are in good standing.
    ///
    /// # Errors
    /// It did not come to that. The error has all that helps to find out why.
    pub async fn wait_serving(&self, members: i32, limit: Duration) -> Result<String> {
        let what = format!("{} to serve with {members} members", self.name);
        let waited = eventually(&what, limit, || async {
            let (status, record) = (self.status().await?, self.record().await?);
            let whole =
                status.ready_members.unwrap_or(0) >= members && status.primary_name() == Some(record.primary.as_str());
            let wanted = usize::try_from(members)?;
            let settled = record.phase == Phase::Serving && record.members.len() >= wanted;
            // A pod that is being deleted serves on for a moment, and the status may be from just before.
            let pods = self.pods().await?;
            let stay = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() >= wanted;
            Ok((whole && settled && stay).then_some(record.primary))
        });
        match waited.await {
            Ok(primary) => Ok(primary),
            Err(error) => Err(error.context(self.diagnosis().await)),
        }
    }

    /// How it stands, in many lines, for whoever has to find out why it is not as it should be. What is out of reach is
    /// missing, so links are better healed before.
    pub async fn diagnosis(&self) -> String {
        diagnose::dump(self).await
    }

    /// Waits for something about the cluster, with a diagnosis if it does not come.
    ///
    /// # Errors
    /// It did not come.
    pub async fn wait_for<T, F, Fut>(&self, what: &str, limit: Duration, look: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        match eventually(what, limit, look).await {
            Ok(found) => Ok(found),
            Err(error) => Err(error.context(self.diagnosis().await)),
        }
    }

    /// Waits until a condition has this status, and gives it.
    ///
    /// # Errors
    /// It did not come to that.
    pub async fn wait_condition(&self, kind: &str, status: &str, limit: Duration) -> Result<Condition> {
        self.wait_for(&format!("{kind}={status} on {}", self.name), limit, || async {
            Ok(self.condition(kind).await?.filter(|condition| condition.status == status))
        })
        .await
    }

    /// The pods of its members, sorted by name.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let api: Api<Pod> = self.api();
        let ours = ListParams::default().labels(&format!("{}={}", labels::CLUSTER, self.name));
        let mut pods = api.list(&ours).await?.items;
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// The fingerprint of each member.
    ///
    /// # Errors
    /// A pod does not run.
    pub async fn fingerprints(&self) -> Result<Vec<Fingerprint>> {
        self.pods().await?.iter().map(|pod| Fingerprint::take(&self.env.lab, pod)).collect()
    }

    /// Every member that has an address, with root's password.
    ///
    /// # Errors
    /// The API server did not answer, or there is no password.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let secret = names::root_secret(&self.name);
        let password = self.secret_text(&secret, "password").await?;
        let pods = self.pods().await?;
        Ok(pods
            .iter()
            .filter_map(|pod| {
                let host = pod.status.as_ref()?.pod_ip.clone()?;
                let login = Login { host, user: "root".to_owned(), password: password.clone(), database: None };
                Some(Member { name: pod.name_any(), login })
            })
            .collect())
    }

    /// One member.
    ///
    /// # Errors
    /// It is not there.
    pub async fn member(&self, name: &str) -> Result<Member> {
        let found = self.members().await?.into_iter().find(|member| member.name == name);
        found.with_context(|| format!("{} has no member {name} with an address", self.name))
    }

    /// Applications' way in: the Service that takes writes, as the application's user.
    ///
    /// # Errors
    /// The Service or the Secret is not there.
    pub async fn application(&self) -> Result<Login> {
        let services: Api<Service> = self.api();
        let service =
            services.get(&names::primary_service(&self.name)).await.context("reading the Service for writes")?;
        let host = service.spec.and_then(|spec| spec.cluster_ip).context("the Service for writes has no ClusterIP")?;
        let secret = names::app_secret(&self.name);
        let user = self.secret_text(&secret, "username").await?;
        let password = self.secret_text(&secret, "password").await?;
        let database = self.secret_text(&secret, "database").await.unwrap_or_else(|_| "app".to_owned());
        Ok(Login { host, user, password, database: Some(database) })
    }

    async fn secret_text(&self, secret: &str, key: &str) -> Result<String> {
        let secrets: Api<Secret> = self.api();
        let object = secrets.get(secret).await.with_context(|| format!("reading Secret {secret}"))?;
        let value = object.data.unwrap_or_default().remove(key);
        let value = value.with_context(|| format!("Secret {secret} has no key {key}"))?;
        String::from_utf8(value.0).with_context(|| format!("{key} of Secret {secret} is no text"))
    }

    /// Asks for a switchover and gives the name of the operation.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn ask_for_switchover(&self, to: Option<&str>) -> Result<String> {
        let api: Api<MysqlOperation> = self.api();
        let operation = MysqlOperation {
            metadata: ObjectMeta { generate_name: Some(format!("{}-switchover-", self.name)), ..ObjectMeta::default() },
            spec: MysqlOperationSpec {
                to: to.map(ToOwned::to_owned),
                ..MysqlOperationSpec::new(&self.name, OperationType::Switchover)
            },
            status: None,
        };
        Ok(api.create(&PostParams::default(), &operation).await.context("asking for a switchover")?.name_any())
    }

    /// Asks for a switchover and waits for its end.
    ///
    /// # Errors
    /// It was not taken up or not finished. That it failed is no error here: see the status.
    pub async fn switchover(&self, to: Option<&str>) -> Result<Operated> {
        let name = self.ask_for_switchover(to).await?;
        let api: Api<MysqlOperation> = self.api();
        let limit = Duration::from_secs(60);
        let awaited = format!("operation {name} to end");
        let status = self.wait_for(&awaited, limit, || async {
            let status = api.get(&name).await?.status.unwrap_or_default();
            Ok(status.is_finished().then_some(status))
        });
        Ok(Operated { status: status.await?, name })
    }

    /// Takes the cluster away with its volumes and Secrets, as somebody would who wants a new one of the same name.
    ///
    /// # Errors
    /// It did not go in time.
    pub async fn remove(&self) -> Result<()> {
        let clusters: Api<MysqlCluster> = self.api();
        if clusters.get_opt(&self.name).await?.is_some() {
            clusters.delete(&self.name, &DeleteParams::foreground()).await?;
        }
        eventually(&format!("{} and its pods to go", self.name), DISAPPEAR, || async {
            let gone = clusters.get_opt(&self.name).await?.is_none() && self.pods().await?.is_empty();
            Ok(gone.then_some(()))
        })
        .await?;
        let ours = ListParams::default().labels(&format!("{}={}", labels::CLUSTER, self.name));
        let claims: Api<PersistentVolumeClaim> = self.api();
        claims.delete_collection(&DeleteParams::default(), &ours).await?;
        let secrets: Api<Secret> = self.api();
        secrets.delete_collection(&DeleteParams::default(), &ours).await?;
        eventually("the volumes to go", DISAPPEAR, || async {
            Ok(claims.list(&ours).await?.items.is_empty().then_some(()))
        })
        .await
    }
}

impl Operated {
    /// The status, if it succeeded.
    ///
    /// # Errors
    /// It failed; the error has its message.
    pub fn succeeded(&self) -> Result<&MysqlOperationStatus> {
        if self.status.outcome != Some(Outcome::Succeeded) {
            bail!(
                "operation {} failed: {}",
                self.name,
                self.status.message.as_deref().unwrap_or("it does not say why")
            );
        }
        Ok(&self.status)
    }
}

impl Member {
    /// Statements as root, one after the other.
    ///
    /// # Errors
    /// The member refused one.
    pub async fn run(&self, statements: &[&str]) -> Result<()> {
        let mut conn = self.login.connect().await.with_context(|| self.name.clone())?;
        for statement in statements {
            conn.query_drop(*statement).await.with_context(|| format!("{}: {statement}", self.name))?;
        }
        conn.disconnect().await.with_context(|| self.name.clone())
    }

    /// One row of one column, of a query as root.
    ///
    /// # Errors
    /// The member did not answer as asked.
    pub async fn ask<T: mysql_async::prelude::FromValue + Send + 'static>(&self, query: &str) -> Result<T> {
        let mut conn = self.login.connect().await.with_context(|| self.name.clone())?;
        let answer: Option<T> = conn.query_first(query).await.with_context(|| format!("{}: {query}", self.name))?;
        let _ = conn.disconnect().await;
        answer.with_context(|| format!("{}: {query} gave nothing", self.name))
    }
}

/// Asks every member the same, at once.
///
/// # Errors
/// A member did not answer as asked.
pub async fn ask_all<T: mysql_async::prelude::FromValue + Send + 'static>(
    members: &[Member],
    query: &str,
) -> Result<Vec<T>> {
    join_all(members.iter().map(|member| member.ask(query))).await.into_iter().collect()
}

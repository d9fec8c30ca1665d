//! Where a command acts: the API server and the namespace, and the cluster it is about.

use anyhow::{Context as _, bail};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use objects::api::MysqlCluster;

/// Where to act. kubectl does not pass its own flags on to plugins, so these are ours.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// The namespace. That of the kubeconfig's context if not given.
    #[arg(short, long)]
    namespace: Option<String>,
    /// The context of the kubeconfig. The current one if not given.
    #[arg(long)]
    context: Option<String>,
}

/// An API server and a namespace.
pub struct Site {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

impl Target {
    /// Connects as kubectl would: `KUBECONFIG`, then `~/.kube/config`, then the pod's own service account.
    ///
    /// # Errors
    /// There is no usable configuration.
    pub async fn connect(&self) -> anyhow::Result<Site> {
        let config = match &self.context {
            Some(context) => {
                let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                let kubeconfig = Kubeconfig::read().context("--context: the kubeconfig could not be read")?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(|| {
                    format!("--context: `{context}` is of no use; `kubectl config get-contexts` lists what there is")
                })?
            }
            None => Config::infer().await.context("no Kubernetes API server is configured; set KUBECONFIG")?,
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("the kubeconfig is of no use")?;
        Ok(Site { client, namespace })
    }
}

impl Site {
    /// Objects of one kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The cluster of that name.
    ///
    /// # Errors
    /// There is none, or the API server could not be asked. Says which clusters there are.
    pub async fn cluster(&self, name: &str) -> anyhow::Result<MysqlCluster> {
        let clusters: Api<MysqlCluster> = self.api();
        match clusters.get_opt(name).await {
            Ok(Some(cluster)) => Ok(cluster),
            Ok(None) => bail!("{}", self.absent(name).await?),
            Err(error) => Err(explained(error, "MysqlCluster", name, &self.namespace)),
        }
    }

    /// What to say about a cluster that is not there.
    async fn absent(&self, name: &str) -> anyhow::Result<String> {
        let namespace = &self.namespace;
        let here = match self.api::<MysqlCluster>().list(&ListParams::default()).await {
            Ok(list) => names(&list.items),
            Err(kube::Error::Api(status)) if status.code == 404 => bail!(
                "this Kubernetes does not know MysqlClusters; install them: grampus crds | kubectl apply --server-side -f -"
            ),
            Err(error) => return Err(explained(error, "MysqlCluster", name, namespace)),
        };
        // Listing everywhere may be forbidden, and is only there to help.
        let everywhere = Api::<MysqlCluster>::all(self.client.clone()).list(&ListParams::default()).await;
        let elsewhere = everywhere.map(|list| list.items).unwrap_or_default();
        let namesakes =
            elsewhere.iter().filter(|cluster| cluster.name_any() == name).filter_map(ResourceExt::namespace);
        Ok(absent(name, namespace, &here, &namesakes.collect::<Vec<_>>()))
    }
}

fn names(clusters: &[MysqlCluster]) -> Vec<String> {
    clusters.iter().map(ResourceExt::name_any).collect()
}

fn absent(name: &str, namespace: &str, here: &[String], namesakes: &[String]) -> String {
    let missing = format!("there is no MysqlCluster {name} in namespace {namespace}");
    if let Some(other) = namesakes.first() {
        return format!("{missing}, but there is one in {}; say -n {other}", namesakes.join(", "));
    }
    if here.is_empty() {
        return format!("{missing}, nor any other; apply one, or name another namespace with -n");
    }
    format!("{missing}; there: {}", here.join(", "))
}

/// An error of the API server with the object it is about.
pub fn explained(error: kube::Error, kind: &str, name: &str, namespace: &str) -> anyhow::Error {
    let remedy = match &error {
        kube::Error::Api(status) if status.code == 401 => "; log in to this Kubernetes first",
        kube::Error::Api(status) if status.code == 403 => "; ask for a role that allows it",
        kube::Error::Api(_) => "",
        _ => "; is the API server of the kubeconfig up?",
    };
    anyhow::Error::new(error).context(format!("{kind} {name} in namespace {namespace}{remedy}"))
}

#[cfg(test)]
mod tests {
    use super::absent;

    #[test]
    fn a_missing_cluster_is_told_with_what_there_is() {
        let none: [String; 0] = [];
        let two = ["shop".to_owned(), "till".to_owned()];
        let other = ["prod".to_owned()];
        assert_eq!(
            absent("shpo", "default", &two, &none),
            "there is no MysqlCluster shpo in namespace default; there: shop, till"
        );
        assert_eq!(
            absent("shop", "default", &none, &other),
            "there is no MysqlCluster shop in namespace default, but there is one in prod; say -n prod"
        );
        assert_eq!(
            absent("shop", "default", &none, &none),
            "there is no MysqlCluster shop in namespace default, nor any other; apply one, or name another namespace with -n"
        );
    }
}
